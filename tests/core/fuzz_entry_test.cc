// Runs the entry functions of the fuzz targets, built by the ordinary compiler, over the seeds, the golden files, and
// changed versions of the small ones. The changes are the same in every run.
#include <gtest/gtest.h>

#include <vector>

#include "core/file.h"
#include "core/philox.h"
#include "tests/fuzz/entry.h"
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/zip_mutator.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Outcome;

Outcome open(const std::string& file, bool safetensors) {
  const std::vector<char> copy(file.begin(), file.end());  // an exact copy, so that a read past its end is seen
  const auto bytes = std::as_bytes(std::span(copy));
  return safetensors ? test::open_safetensors(bytes) : test::open_pth(bytes);
}

struct Tally {
  int loaded = 0, refused = 0;
  void operator()(Outcome o) { ++(o == Outcome::loaded ? loaded : refused); }
};

// Makes a few changes as fuzzers do: of bits, bytes and numbers; pieces are removed, repeated and moved.
std::string changed(std::string text, Philox& rng) {
  const auto below = [&](size_t n) { return static_cast<size_t>(rng.uniform() * static_cast<double>(n)); };
  for (size_t changes = 1 + below(3); changes > 0 && !text.empty(); --changes) {
    const size_t at = below(text.size()), n = 1 + below(std::min<size_t>(text.size() - at, 16));
    constexpr char numbers[] = {'\0', '\1', '\x7f', '\x80', '\xff'};
    switch (below(7)) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        text[at] = static_cast<char>(below(256));
        break;
      case 2:
        text.replace(at, n, n, numbers[below(5)]);
        break;
      case 3:
        text.erase(at, n);
        break;
      case 4:
        text.insert(at, text.substr(below(text.size()), n));
        break;
      case 5:
        text.replace(at, n, text.substr(below(text.size()), n));
        break;
      default:
        if (below(8) == 0) text.resize(at);
    }
  }
  return text;
}

Tally try_changes(const std::map<std::string, std::string>& files, bool safetensors, bool zip, int per_file) {
  Tally tally;
  uint64_t number = 0;
  for (const auto& [name, file] : files) {
    for (int i = 0; i < per_file; ++i) {
      Philox rng(4, 0x66757a7a, number++);  // "fuzz"
      const auto below = [&](size_t n) { return static_cast<size_t>(rng.uniform() * static_cast<double>(n)); };
      const std::string other = zip && below(4) != 0
                                    ? test::mutate_inside(file, below, [&](auto& text) { return changed(text, rng); })
                                    : changed(file, rng);
      SCOPED_TRACE(name);
      tally(open(other, safetensors));
    }
  }
  return tally;
}

TEST(FuzzEntry, SeedsLoadAndTheirChangesEndInAnErrorAtWorst) {
  const test::Seeds seeds = test::make_seeds();
  for (const auto& [name, file] : seeds.zip) EXPECT_EQ(open(file, false), Outcome::loaded) << "zip " << name;
  for (const auto& [name, file] : seeds.legacy) {
    EXPECT_EQ(open(file, false), name.starts_with("protocol") ? Outcome::refused : Outcome::loaded)
        << "legacy " << name;
  }
  for (const auto& [name, file] : seeds.safetensors) EXPECT_EQ(open(file, true), Outcome::loaded) << name;

  const Tally zip = try_changes(seeds.zip, false, true, 400), legacy = try_changes(seeds.legacy, false, false, 400),
              safe = try_changes(seeds.safetensors, true, false, 2000);
  // Enough of the files must get past the container, and enough must not.
  for (const Tally& t : {zip, legacy, safe}) {
    EXPECT_GT(t.loaded, 100);
    EXPECT_GT(t.refused, 1000);
  }
}

TEST(FuzzEntry, GoldenFilesAndTheirChanges) {
  HR_NEEDS_ORACLE("weights");
  Tally whole;
  std::map<std::string, std::string> zip, legacy, safe;
  for (const auto& entry : fs::recursive_directory_iterator(test::oracle("weights"))) {
    const std::string name = entry.path().filename().string(), ending = entry.path().extension().string();
    if (ending != ".pth" && ending != ".safetensors") continue;
    const std::string file = read_file(entry.path());
    SCOPED_TRACE(name);
    whole(open(file, ending == ".safetensors"));
    if (file.size() > 16384) continue;
    (ending == ".safetensors" ? safe : file.starts_with("PK") ? zip : legacy)[name] = file;
  }
  EXPECT_GT(whole.loaded, 20);
  EXPECT_GT(whole.refused, 80);
  const Tally a = try_changes(zip, false, true, 60), b = try_changes(legacy, false, false, 60),
              c = try_changes(safe, true, false, 60);
  EXPECT_GT(a.refused + b.refused + c.refused, 1000);
}

}  // namespace
}  // namespace hr

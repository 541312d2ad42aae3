#include "core/io/pth.h"

#include <gtest/gtest.h>

#include <bit>
#include <fstream>

#include "core/error.h"
#include "tests/support/child.h"
#include "tests/support/named_tensors.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_samples.h"

namespace hr {
namespace {

using namespace test::pickled;
using test::kCounting;
using test::kTwelve;
using test::kW;
using test::little;
using test::named_tensors;
using test::NamedView;

TEST(Pth, ALargeFileTakesNoMemoryBesideItsTensors) {
  const auto folder = test::temporary_folder();
  constexpr size_t kBytes = size_t{48} << 20, kParts = 3;
  std::vector<float> data(kBytes / 4);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::bit_cast<float>(static_cast<uint32_t>(i * 2654435761u) >> 9);
  std::vector<NamedArray> arrays;
  for (size_t i = 0; i < kParts; ++i) {
    arrays.push_back(
        {std::to_string(i), DType::f32, {static_cast<int64_t>(data.size())}, std::as_bytes(std::span(data))});
  }
  const auto stored = folder / "stored.pth";
  write_pth(stored, arrays);
  // Two storages in deflated members. Their data hardly compress: 9 of 10 bytes remain.
  std::vector<std::pair<std::string, std::string>> entries;
  std::map<std::string, std::string> members;
  const std::string raw(reinterpret_cast<const char*>(data.data()), size_t{16} << 20);
  for (const char* key : {"0", "1"}) {
    entries.emplace_back(key, tensor(storage("FloatStorage", key, 4 << 20), 0, {4 << 20}, {1}));
    members[key] = raw;
  }
  const auto packed = folder / "packed.pth";
  write_file(packed, test::zip_pth(dict(entries), members, true));

  const auto load = [](const fs::path& path) {
    const PthFile file(path);
    double sum = 0;
    for (const NamedView& t : named_tensors(file.root(), "")) {
      for (size_t i = 0; i < t.array->bytes.size(); i += 4096) sum += static_cast<double>(t.array->bytes[i]);
    }
    return fmt::format("{}", sum > 0);
  };
  const test::ChildResult a = test::in_child(int64_t{1} << 40, [&] { return load(stored); });
  EXPECT_EQ(a.said, "true");
  const test::ChildResult b = test::in_child(int64_t{1} << 40, [&] { return load(packed); });
  EXPECT_EQ(b.said, "true");
#ifndef HR_SHADOWED_MEMORY
  EXPECT_LE(a.grown, static_cast<int64_t>(kParts * kBytes + (size_t{8} << 20)));
  EXPECT_LE(b.grown, (int64_t{32} << 20) + (int64_t{12} << 20)) << "the packed bytes do not stay beside the inflated";
#endif
}

TEST(Pth, AZipBeyond4GiBIsRead) {
  const auto path = test::temporary_folder() / "large.pth";
  const std::string small = test::zip_pth(kW, {{"0", kTwelve}});
  const uint64_t hole = (uint64_t{1} << 32) + 64;  // takes no space on the disk
  {
    std::ofstream file(path, std::ios::binary);
    file << small.substr(0, 4);
    file.seekp(static_cast<std::streamoff>(hole));
    file << small;
    ASSERT_TRUE(file.flush());
  }
  const PthFile file(path);
  EXPECT_EQ(file.container(), "zip");
  EXPECT_EQ(file.root().find("w")->as<ArrayView>()->to_f32(), kCounting);
  EXPECT_NO_THROW(file.verify());
  fs::resize_file(path, hole + small.size() - 1);
  try {
    const PthFile cut(path);
    FAIL() << "was read";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is the download complete?"), std::string::npos) << e.what();
  }
}

// The limits apply to what the reader counts. This test measures the memory of the process.
TEST(Pth, APickleMayGrowTheProcessBy64MiBAtMost) {
#ifdef HR_SHADOWED_MEMORY
  GTEST_SKIP() << "the sanitizer takes memory of its own";
#endif
  const std::vector<std::pair<const char*, std::string>> pieces{
      {"lists", "]"},
      {"tuples", "N\x85"},
      {"strings", text("some text of a length that needs memory")},
      {"globals", global("m", "n")},
      {"objects", global("m", "n") + ")R"},
      {"ints", "K\x01"},
      {"pairs", "K\x01K\x02\x86"},
      {"tensors", tensor(storage("FloatStorage", "0", 12), 0, {4, 3}, {1, 4})},
      {"large ints", "\x8a\x09" + little(1, 8) + "\x01"},
  };
  int loaded = 0, refused = 0;
  for (const auto& [name, piece] : pieces) {
    for (const size_t count : {size_t{30000}, size_t{100000}, size_t{180000}, size_t{400000}}) {
      std::string all;
      for (size_t i = 0; i < count; ++i) all += piece;
      const std::string file = test::zip_pth("}K\x01(" + all + "ts", {{"0", kTwelve}});
      const test::ChildResult r = test::in_child(int64_t{64} << 20, [&] {
        const PthFile pth(std::as_bytes(std::span(file)), "test.pth");
        return std::string("loaded");
      });
      EXPECT_TRUE(r.exited) << name << " " << count << ": " << r.said;
      EXPECT_LE(r.grown, int64_t{64} << 20) << name << " " << count << ": " << r.said;
      ++(r.threw ? refused : loaded);
    }
  }
  EXPECT_GT(loaded, 10);
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace hr

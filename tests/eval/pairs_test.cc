// Pairs of a ground truth and a result file with unusual fields and shapes, and pycocotools' numbers for them
// (tests/eval/make_pairs.py). Either all ten numbers are equal to the last bit, or both evaluators refuse the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "data/formats/coco.h"
#include "eval/coco_eval.h"
#include "eval/coco_files.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

struct Pair {
  std::string what, truth, results;
  std::vector<double> sigmas;                   // empty: COCO's
  std::optional<std::array<double, 10>> stats;  // empty: pycocotools ends with an exception
  std::string exception;
};

// Returns false at the end of the file.
bool next_pair(std::istream& in, Pair& pair) {
  std::string last;
  if (!std::getline(in, pair.what)) return false;
  std::getline(in, pair.truth);
  std::getline(in, pair.results);
  std::getline(in, last);
  const size_t bar = last.find('|');
  check(bar != std::string::npos, "pairs: no verdict after {}", pair.what);
  pair.sigmas.clear();
  std::istringstream sigmas(last.substr(0, bar));
  for (double v = 0; sigmas >> v;) pair.sigmas.push_back(v);
  const std::string verdict = last.substr(bar + 2);
  pair.stats.reset();
  pair.exception.clear();
  if (verdict.starts_with("refused ")) {
    pair.exception = verdict.substr(8);
    return true;
  }
  std::istringstream numbers(verdict);
  pair.stats.emplace();
  for (double& v : *pair.stats) numbers >> v;
  check(!numbers.fail(), "pairs: ten numbers expected after {}", pair.what);
  return true;
}

struct Verdict {
  std::optional<std::array<double, 10>> stats;
  std::string message;
};

Verdict our_verdict(const Pair& pair, const std::filesystem::path& folder) {
  try {
    write_file(folder / "gt.json", pair.truth);
    write_file(folder / "dt.json", pair.results);
    const CocoAnnotations gt = read_truth(folder / "gt.json");
    const auto dt = read_results(folder / "dt.json");
    return {evaluate_coco(gt, dt, {.sigmas = pair.sigmas, .fill_in = false, .detections_name = "dt.json"}).stats, ""};
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

// Here pycocotools computes numbers and we refuse on purpose: it pairs the x of one joint with the y of another if a
// list is not made of triples, ignores boxes if the first entry has none, compares one joint with all joints of another
// list, and does not check masks of categories that are not evaluated.
constexpr std::array<const char*, 5> kStricter = {"keypoints: expected x, y,", "give all entries a bbox, or none",
                                                  "has 3 keypoint numbers; expected", "expected 3 x 1 (one sigma",
                                                  "takes the detections' areas from masks"};

struct Tally {
  int pairs = 0, equal = 0, refused = 0, by_rule = 0, only_ours = 0, only_theirs = 0, different = 0;
};

Tally compare(const std::filesystem::path& file) {
  std::ifstream in(file);
  const std::filesystem::path folder = test::temporary_folder();
  Tally tally;
  for (Pair pair; next_pair(in, pair); ++tally.pairs) {
    const Verdict ours = our_verdict(pair, folder);
    if (ours.stats && pair.stats) {
      const bool same = *ours.stats == *pair.stats;
      ++(same ? tally.equal : tally.different);
      for (int i = 0; !same && i < 10; ++i) {
        EXPECT_EQ(ours.stats->at(i), pair.stats->at(i)) << pair.what << ": number " << i;
      }
    } else if (!ours.stats && !pair.stats) {
      ++tally.refused;
    } else if (pair.stats && std::ranges::any_of(kStricter, [&](const char* rule) {
                 return ours.message.find(rule) != std::string::npos;
               })) {
      ++tally.by_rule;
    } else if (pair.stats) {
      ++tally.only_ours;
      ADD_FAILURE() << pair.what << ": refused, pycocotools has " << pair.stats->at(0) << ": " << ours.message;
    } else {
      ++tally.only_theirs;
      ADD_FAILURE() << pair.what << ": " << ours.stats->at(0) << ", pycocotools ends with " << pair.exception;
    }
  }
  return tally;
}

TEST(Pairs, TenNumbersEqualToTheLastBitOrBothRefuse) {
  const char* asked = std::getenv("HR_PAIRS");
  const std::filesystem::path file =
      asked != nullptr ? std::filesystem::path(asked) : test::source_folder() / "tests/eval/data/pairs.txt";
  const Tally t = compare(file);
  std::printf(
      "%d pairs: %d equal, %d refused by both, %d refused by us on purpose, %d refused by us alone, %d by pycocotools "
      "alone, %d different\n",
      t.pairs, t.equal, t.refused, t.by_rule, t.only_ours, t.only_theirs, t.different);
  EXPECT_LT(t.by_rule, t.pairs / 25);
  EXPECT_GE(t.pairs, 100);
  EXPECT_GT(t.equal, t.pairs / 2) << "most of the pairs should say something about numbers";
  EXPECT_GT(t.refused, t.pairs / 20);
}

}  // namespace
}  // namespace hr

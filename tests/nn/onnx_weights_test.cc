// The fuzz target's entry function, built by the ordinary compiler: over the seeds, and over changes of them that are
// the same in every run. What the entries are is tested with whole networks (tests/hrnet/export_test.cc).
#include "nn/onnx_weights.h"

#include <gtest/gtest.h>

#include "core/philox.h"
#include "tests/fuzz/onnx_entry.h"

namespace hr {
namespace {

using test::Outcome;

Outcome open(const std::string& file) {
  const std::vector<char> copy(file.begin(), file.end());  // its end is the end of the memory
  return test::open_onnx(std::as_bytes(std::span(copy)));
}

TEST(OnnxWeights, EntriesHaveTheNamesOfTheirModules) {
  const auto names_of = [](const std::string& seed) {
    const OnnxFile file(std::as_bytes(std::span(seed)), "seed.onnx");
    std::vector<std::string> names;
    for (const auto& [name, array] : OnnxWeights(file).entries) names.push_back(name);
    return names;
  };
  const auto seeds = test::onnx_seeds();
  EXPECT_EQ(names_of(seeds.at("batch_norm")),
            (std::vector<std::string>{"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
                                      "final_layer.weight", "final_layer.bias"}));
  EXPECT_EQ(names_of(seeds.at("folded")),
            (std::vector<std::string>{
                "layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias", "layer1.0.bn1.running_mean",
                "layer1.0.bn1.running_var", "backbone.backbone.stem.conv.conv.weight",
                "backbone.backbone.stem.conv.bn.weight", "backbone.backbone.stem.conv.bn.bias",
                "backbone.backbone.stem.conv.bn.running_mean", "backbone.backbone.stem.conv.bn.running_var", "half"}));
}

TEST(OnnxWeights, ChangedFilesEndInAnErrorAtWorst) {
  int loaded = 0, refused = 0;
  uint64_t number = 0;
  for (const auto& [name, seed] : test::onnx_seeds()) {
    SCOPED_TRACE(name);
    EXPECT_EQ(open(seed), Outcome::loaded);
    for (int i = 0; i < 2000; ++i) {
      Philox rng(4, 0x6f6e6e78, number++);
      const auto below = [&](size_t n) { return static_cast<size_t>(rng.below(n)); };
      const auto change = [&](std::string text) {
        if (text.empty()) return std::string(1, static_cast<char>(below(256)));
        const size_t at = below(text.size()), n = 1 + below(std::min<size_t>(text.size() - at, 8));
        switch (below(4)) {
          case 0:
            text[at] = static_cast<char>(below(256));
            break;
          case 1:
            text.replace(at, n, n, '\xff');
            break;
          case 2:
            text.erase(at, n);
            break;
          default:
            text.insert(at, text.substr(below(text.size()), n));
        }
        return text;
      };
      ++(open(test::mutate_message(seed, static_cast<int>(below(7)), below, change)) == Outcome::loaded ? loaded
                                                                                                        : refused);
    }
  }
  EXPECT_GT(loaded, 500);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace hr

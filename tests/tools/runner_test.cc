// Heatmaps of batches of many sizes on the CPU. tests/gpu/runner_test.cc tests the pipeline.
#include <gtest/gtest.h>

#include <sstream>

#include "core/philox.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/model/make_context.h"
#include "hrnet/model/model.h"
#include "tests/support/child.h"

namespace hr {
namespace {

std::vector<float> images(int n, uint64_t seed) {
  std::vector<float> v(static_cast<size_t>(n) * 64 * 64 * 3);
  Philox random(seed, 0, 0);
  for (float& x : v) x = static_cast<float>(random.normal());
  return v;
}

size_t held(HeatmapRunner& runner) {
  return dynamic_cast<const CachingAllocator&>(*runner.context().allocator).live_bytes();
}

TEST(HeatmapRunner, BatchesOfAllSizesTakeTheMemoryOfTheLargest) {
  Context cx = make_context({.threads = 1});
  const auto model = make_model(cx, "hrnet_w8", 17, 3, Init::torch);
  const HeatmapRunner::Options options{.flip = true};
  const std::vector<int> mirror(17);
  HeatmapRunner one(cx, *model, mirror, options);
  for (int round = 0; round < 2; ++round) one(images(6, 6), 6, 64, 64);
  for (const auto& sizes : {std::vector<int>{1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1}}) {
    HeatmapRunner all(cx, *model, mirror, options);
    for (int round = 0; round < 2; ++round) {
      for (const int n : sizes) all(images(n, n), n, 64, 64);
    }
    RecordProperty("all", std::to_string(held(all)));
    EXPECT_LE(held(all), held(one) + held(one) / 50);
    const auto peak = [](HeatmapRunner& r) { return r.context().allocator->peak_bytes(); };
    EXPECT_LE(peak(all), peak(one) + peak(one) / 50);
  }
}

// This runs in a process of its own, because only resident memory includes what oneDNN keeps. Batch sizes follow each
// other as in a server with mixed requests. The reordered filters of all of them together would be as large as five
// models.
TEST(HeatmapRunner, ResidentMemoryDoesNotGrowWithTheNumberOfBatchSizes) {
#ifdef HR_SHADOWED_MEMORY
  GTEST_SKIP() << "a sanitizer keeps freed memory";
#endif
  const test::ChildResult child = test::in_child(int64_t{4} << 30, [] {
    Context cx = make_context({.threads = 1});
    const auto model = make_model(cx, "hrnet_w32", 17, 3, Init::torch);
    HeatmapRunner runner(cx, *model, std::vector<int>(17), {.flip = false});
    std::string text;
    for (int n = 1; n <= 6; ++n) {
      for (int round = 0; round < 2; ++round) runner(images(n, n), n, 64, 64);
      text += fmt::format("{} ", test::memory_status("VmRSS") >> 20);
    }
    return text;
  });
  ASSERT_TRUE(child.exited && !child.threw) << child.said;
  std::istringstream in(child.said);
  std::vector<int> mib;
  for (int v = 0; in >> v;) mib.push_back(v);
  ASSERT_EQ(mib.size(), 6U) << child.said;
  RecordProperty("mib", child.said);
  EXPECT_LT(mib.back(), mib.front() + 60) << child.said;  // MiB; each size took 115 more
}

}  // namespace
}  // namespace hr

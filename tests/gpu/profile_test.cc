// The measurements on the device that `bench --mode kernels` prints: launches within launches, and what happens to them
// if one throws.
#include "core/profile.h"

#include "ops/for_each.h"
#include "tests/gpu/pair.h"
#include "tools/bench/kernels.h"

namespace hr {
namespace {

class GpuProfile : public test::Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (test::test_device() == "cpu") GTEST_SKIP() << "a profile's times come from a GPU's events";
  }
};

// A convolution that casts its filter is a span with another span inside. Each kind has its own launches and bytes. The
// time of the inner one is subtracted from the outer one, so all kinds together take no longer than the whole.
TEST_F(GpuProfile, NestedLaunchesAreCountedAndTimedOnce) {
  Context cx = test::device_context();
  const Tensor x = cx.zeros({1 << 20}, DType::f32), y = cx.zeros({1 << 20}, DType::f32);
  const cuda::Event begin = cuda::create_event(true), end = cuda::create_event(true);
  Profile profile(true);
  cuda::synchronize(cx.stream);
  cuda::record(begin, cx.stream);
  cx.profile = &profile;
  for (int i = 0; i < 3; ++i) {
    profile.begin("outer", 10, 7, cx.stream);
    copy_or_add(cx, x, y, true);
    profile.begin("middle", 5, 1, cx.stream);
    copy_or_add(cx, x, y, true);
    profile.end(cx.stream);
    copy_or_add(cx, x, y, false);
    profile.end(cx.stream);
  }
  cuda::record(end, cx.stream);
  const auto& kinds = profile.finish();
  cuda::synchronize(end);
  const double whole = 1e-3 * static_cast<double>(cuda::elapsed_ms(begin, end));
  cuda::destroy_event(begin);
  cuda::destroy_event(end);

  ASSERT_EQ(kinds.size(), 4u);
  const auto& outer = kinds.at("outer");
  EXPECT_EQ(outer.launches, 3);
  EXPECT_EQ(outer.bytes, 30);
  EXPECT_EQ(outer.operations, 21);
  EXPECT_EQ(kinds.at("middle").launches, 3);
  EXPECT_EQ(kinds.at("sum of gradients").launches, 6);
  EXPECT_EQ(kinds.at("cast").launches, 3);
  double all = 0;
  for (const auto& [name, k] : kinds) {
    EXPECT_GE(k.seconds, -1e-6) << name;
    all += k.seconds;
  }
  EXPECT_GT(kinds.at("sum of gradients").seconds, 0);
  EXPECT_LE(all, whole * (1 + 1e-3));
}

// An op that throws ends its span in the destructor, during unwinding. The kinds that ran before are still reported.
TEST_F(GpuProfile, AnExceptionClosesTheSpansItLeaves) {
  Context cx = test::device_context();
  const Tensor x = cx.zeros({1000}, DType::f32), y = cx.zeros({1000}, DType::f32);
  Profile profile(true);
  cx.profile = &profile;
  EXPECT_THROW(
      {
        const Profiled outer(cx, "outer", 1);
        copy_or_add(cx, x, y, true);
        const Profiled inner(cx, "inner", 1);
        fail("in the middle");
      },
      Error);
  copy_or_add(cx, x, y, true);
  const auto& kinds = profile.finish();
  EXPECT_EQ(kinds.at("outer").launches, 1);
  EXPECT_EQ(kinds.at("inner").launches, 1);
  EXPECT_EQ(kinds.at("sum of gradients").launches, 2);
}

// The whole mode, for every precision and direction. It names convolutions and the casts inside them.
TEST_F(GpuProfile, BenchKernelsFinishes) {
  for (const char* dtype : {"f32", "bf16"}) {
    for (const bool training : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", dtype, training ? "training" : "inference"));
      testing::internal::CaptureStdout();
      bench_kernels({.training = training,
                     .model = "hrnet_w2",
                     .dtype = dtype,
                     .device = "cuda",
                     .fixed_size = {64, 64},
                     .batch_size = 2,
                     .repeats = 1,
                     .threads = 0,
                     .bandwidth = 3.0,
                     .json = false});
      const std::string table = testing::internal::GetCapturedStdout();
      EXPECT_NE(table.find("convolution: forward"), std::string::npos) << table;
      EXPECT_NE(table.find("| all "), std::string::npos) << table;
    }
  }
}

}  // namespace
}  // namespace hr

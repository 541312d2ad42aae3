#include "ops/conv/cpu_conv.h"

#include <gtest/gtest.h>

#include "core/file.h"
#include "tests/support/conv3x3.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::filter_size;
using test::Floats;
using test::geometry;
using test::numbers;
using test::x_size;
using test::y_size;

// One convolution by a backend, and by each way alone.
struct Ways {
  ConvGeometry g;
  Floats x = numbers(x_size(g), 1), filter = numbers(filter_size(g), 2), direct = Floats(y_size(g)), fast;

  explicit Ways(const ConvGeometry& geometry) : g(geometry) {
    DnnlConv dnnl;
    dnnl.forward(Context(), g, x.data(), {filter.data()}, nullptr, nullptr, ConvAct::none, direct.data(), nullptr);
    fast.resize(direct.size());
    Winograd().forward(Context(), g, x.data(), filter.data(), nullptr, nullptr, ConvAct::none, fast.data());
    EXPECT_FALSE(direct == fast) << "the test needs shapes that show the way";
  }
  std::string way(ConvBackend& conv, const Context& cx = Context()) const {
    Floats y(y_size(g));
    conv.forward(cx, g, x.data(), {filter.data()}, nullptr, nullptr, ConvAct::none, y.data(), nullptr);
    return y == direct ? "direct" : y == fast ? "winograd" : "neither";
  }
};

// A convolution for which the estimate is too close to 1 to decide.
ConvGeometry close_call() {
  const Winograd winograd;
  for (const int64_t c : {256, 224, 192, 160, 128, 96, 64}) {
    for (int64_t n = 1; n < 4; ++n) {
      const ConvGeometry g = geometry(n, 8, 6, c, c);
      const double gain = winograd.gain(g, Winograd::Pass::forward);
      if (gain > 0.9 && gain < 1.15) return g;
    }
  }
  ADD_FAILURE() << "no shape is a close call";
  return geometry(1, 8, 6, 256, 256);
}

TEST(CpuConv, LargeConvolutionsTakeWinogradsMethodUnlessTheyShallBeExact) {
  if (!Winograd().exists()) GTEST_SKIP() << "no AVX2";
  const Ways large(geometry(2, 32, 24, 64, 64)), small(geometry(1, 2, 2, 16, 16));
  CpuConv conv({});
  EXPECT_EQ(large.way(conv), "winograd");
  EXPECT_EQ(small.way(conv), "direct");
  Context exact;
  exact.exact = true;
  EXPECT_EQ(large.way(conv, exact), "direct");
  EXPECT_GT(conv.clock.primitives, 0);
  EXPECT_EQ(conv.clock.calls, 3);
}

// If the method does not compute them, the caller reads the outputs once more.
TEST(CpuConv, WinogradsMethodComputesStatisticsUnlessTheyShallBeExact) {
  if (!Winograd().exists()) GTEST_SKIP() << "no AVX2";
  const Ways large(geometry(2, 32, 24, 64, 64)), small(geometry(1, 2, 2, 16, 16));
  const Ways close(close_call());
  CpuConv conv({});
  Context exact;
  exact.exact = true;
  const auto statistics = [&](const Ways& of, const Context& cx, Floats& y) {
    return conv.forward_with_statistics(cx, of.g, of.x.data(), {of.filter.data()}, y.data());
  };
  Floats y(large.fast.size());
  EXPECT_TRUE(statistics(large, Context(), y).defined());
  EXPECT_TRUE(y == large.fast);
  EXPECT_FALSE(statistics(large, exact, y).defined());
  EXPECT_FALSE(statistics(small, Context(), y).defined());
  EXPECT_FALSE(statistics(close, Context(), y).defined());
}

TEST(CpuConv, TheGradientsTakeWinogradsMethodToo) {
  if (!Winograd().exists()) GTEST_SKIP() << "no AVX2";
  const ConvGeometry g = geometry(2, 32, 24, 64, 64);
  const Floats x = numbers(x_size(g), 1), dy = numbers(y_size(g), 2), filter = numbers(filter_size(g), 3);
  struct Gradients {
    Floats x, filter, bias;
    bool operator==(const Gradients&) const = default;
  };
  const auto gradients = [&](auto& conv, const Context& cx, bool with_bias) {
    Gradients d{Floats(x.size()), Floats(filter.size()), Floats(g.co)};
    conv.backward_data(cx, g, dy.data(), {filter.data()}, d.x.data());
    conv.backward_filter(cx, g, x.data(), dy.data(), d.filter.data(), with_bias ? d.bias.data() : nullptr);
    return d;
  };
  Gradients fast{Floats(x.size()), Floats(filter.size()), Floats(g.co)};
  Winograd().backward_data(Context(), g, dy.data(), filter.data(), fast.x.data());
  Winograd().backward_filter(g, x.data(), dy.data(), fast.filter.data());
  CpuConv conv({});
  DnnlConv dnnl;
  EXPECT_TRUE(gradients(conv, Context(), false) == fast);
  Context exact;
  exact.exact = true;
  EXPECT_TRUE(gradients(conv, exact, false) == gradients(dnnl, exact, false));
  // Only the direct sum computes the gradient of a bias.
  const Gradients both = gradients(conv, Context(), true), direct = gradients(dnnl, Context(), true);
  EXPECT_TRUE(both.bias == direct.bias);
  EXPECT_TRUE(both.filter == direct.filter);
}

TEST(CpuConv, ACloseCallIsMeasuredOnceAndRemembered) {
  if (!Winograd().exists()) GTEST_SKIP() << "no AVX2";
  const Ways ways(close_call());
  const fs::path plans = test::temporary_folder() / "plans" / "cpu.txt";
  const std::string first = ways.way(*std::make_unique<CpuConv>(plans));
  std::string text = read_file(plans);
  const size_t line = text.find('\n') + 1;
  ASSERT_EQ(text.substr(line, text.find('\t') - line), first) << text;
  // The next program takes what the file says, whatever a measurement would.
  for (const std::string way : {"direct", "winograd"}) {
    const size_t tab = text.find('\t');
    text.replace(line, tab - line, way);
    write_file(plans, text);
    CpuConv conv(plans);
    EXPECT_EQ(ways.way(conv), way);
    EXPECT_EQ(ways.way(conv), way) << "the second call";
  }
}

// A measurement that cannot be stored could give another choice in the next run, so nothing is measured then.
TEST(CpuConv, WithoutAFileTheEstimateDecides) {
  if (!Winograd().exists()) GTEST_SKIP() << "no AVX2";
  const Ways ways(close_call());
  const std::string estimated = Winograd().gain(ways.g, Winograd::Pass::forward) > 1 ? "winograd" : "direct";
  CpuConv without({});
  EXPECT_EQ(ways.way(without), estimated);
  const fs::path file = test::temporary_folder() / "a file";
  write_file(file, "no folder");
  std::vector<std::string> remarks;
  CpuConv unwritable(file / "cpu.txt", [&](const std::string& remark) { remarks.push_back(remark); });
  for (int call = 0; call < 3; ++call) EXPECT_EQ(ways.way(unwritable), estimated);
  EXPECT_EQ(remarks.size(), 1u);
}

}  // namespace
}  // namespace hr

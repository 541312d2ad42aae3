#include "ops/fuse.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

struct Term {
  int up = 0;
  bool normalised = false;
  int same_x_as = -1;    // an earlier term whose tensor this one uses too
  bool learned = true;   // weight and bias ask for gradients
  bool x_learns = true;  // x asks for a gradient
};

struct Case {
  Shape shape;  // of y
  std::vector<Term> terms;
  bool relu = false;
  bool training = true;
  int uses = 1;  // of y

  Shape term_shape(const Term& t) const { return {shape[0], shape[1] >> t.up, shape[2] >> t.up, shape[3]}; }
  std::string name() const {
    std::string s = to_string(shape);
    for (const Term& t : terms) {
      s += fmt::format(" + {}{}x{}", t.normalised ? "bn " : "", 1 << t.up, t.same_x_as >= 0 ? " shared" : "");
    }
    return s + fmt::format("{}{}, used {}x", relu ? ", relu" : "", training ? "" : ", eval", uses);
  }
};

constexpr double kEps = 1e-5;

// The mean and the biased variance of every channel.
struct Statistics {
  Values mean, var;
  Statistics(const Values& x, int64_t channels) : mean(channels), var(channels) {
    const auto rows = static_cast<double>(x.size()) / static_cast<double>(channels);
    for (size_t i = 0; i < x.size(); ++i) mean[i % channels] += x[i] / rows;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = x[i] - mean[i % channels];
      var[i % channels] += d * d / rows;
    }
  }
};

// One case with its data. The inputs of the reference are x, weight and bias of each term (a shared x belongs to its
// first term).
struct Problem {
  Case c;
  std::vector<Values> in;
  std::vector<size_t> x_of;  // index into `in` of every term's x
  Values running_mean, running_var;

  Problem(const Case& which, DType t, uint64_t seed) : c(which) {
    const int64_t channels = c.shape[3];
    for (const Term& term : c.terms) {
      if (term.same_x_as >= 0) {
        x_of.push_back(x_of[term.same_x_as]);
      } else {
        x_of.push_back(in.size());
      }
      in.push_back(test::random_values(numel(c.term_shape(term)), ++seed, t, -2, 2));
      in.push_back(test::random_values(channels, ++seed, DType::f32, 0.5, 1.5));
      in.push_back(test::random_values(channels, ++seed));
    }
    running_mean = test::random_values(channels, ++seed);
    running_var = test::random_values(channels, ++seed, DType::f32, 0.5, 2);
  }

  Values before_activation(const std::vector<Values>& v) const {
    const int64_t h = c.shape[1], w = c.shape[2], channels = c.shape[3];
    Values y(numel(c.shape));
    for (size_t t = 0; t < c.terms.size(); ++t) {
      const Term& term = c.terms[t];
      const Values& x = v[x_of[t]];
      const Statistics s(x, channels);
      for (int64_t row = 0; row < numel(c.shape) / channels; ++row) {
        const int64_t n = row / (h * w), iy = row / w % h, ix = row % w;
        const int64_t low = (n * (h >> term.up) + (iy >> term.up)) * (w >> term.up) + (ix >> term.up);
        for (int64_t k = 0; k < channels; ++k) {
          double value = x[low * channels + k];
          if (term.normalised) {
            const double mean = c.training ? s.mean[k] : running_mean[k], var = c.training ? s.var[k] : running_var[k];
            value = (value - mean) / std::sqrt(var + kEps) * v[3 * t + 1][k] + v[3 * t + 2][k];
          }
          y[row * channels + k] += value;
        }
      }
    }
    return y;
  }
  Values operator()(const std::vector<Values>& v) const {
    Values y = before_activation(v);
    if (c.relu) {
      for (double& e : y) e = std::max(0.0, e);
    }
    return y;
  }
};

void check(const Case& c, DType t, uint64_t seed) {
  SCOPED_TRACE(c.name() + (t == DType::bf16 ? ", bf16" : ""));
  const Problem p(c, t, seed);
  const int64_t channels = c.shape[3], rows = numel(c.shape) / channels;
  const double u = test::rounding(t), u32 = 0x1p-24;

  // Near the kink of ReLU neither rounding nor a finite difference is reliable, so these outputs get no gradient.
  const Values z = p.before_activation(p.in);
  std::vector<Values> dys;
  dys.reserve(c.uses);
  Values dy(z.size());
  for (int k = 0; k < c.uses; ++k) {
    dys.push_back(test::random_values(numel(c.shape), seed + 100 + k, t));
    for (size_t i = 0; i < z.size(); ++i) {
      if (c.relu && std::abs(z[i]) < 0.05) dys.back()[i] = 0;
      dy[i] += dys.back()[i];
    }
  }

  test::Recording r(c.training);
  std::vector<Tensor> x(c.terms.size()), weight(c.terms.size()), bias(c.terms.size());
  std::map<size_t, std::shared_ptr<Tensor>> got;  // by index into p.in
  std::vector<Normalised> norms(c.terms.size());
  std::vector<FuseTerm> terms;
  for (size_t i = 0; i < c.terms.size(); ++i) {
    const Term& term = c.terms[i];
    if (term.same_x_as >= 0) {
      x[i] = x[term.same_x_as];
    } else {
      x[i] = test::make(r.cx, c.term_shape(term), t, p.in[3 * i]);
      if (term.x_learns) got[3 * i] = test::watch(r.cx, x[i]);
    }
    if (term.normalised) {
      weight[i] = test::make(r.cx, {channels}, DType::f32, p.in[3 * i + 1]);
      bias[i] = test::make(r.cx, {channels}, DType::f32, p.in[3 * i + 2]);
      if (term.learned) {
        got[3 * i + 1] = test::watch(r.cx, weight[i]);
        got[3 * i + 2] = test::watch(r.cx, bias[i]);
      }
      norms[i] = batch_norm(r.cx, x[i],
                            {weight[i], bias[i], test::make(r.cx, {channels}, DType::f32, p.running_mean),
                             test::make(r.cx, {channels}, DType::f32, p.running_var)});
    }
    terms.push_back({x[i], term.normalised ? &norms[i] : nullptr, term.up});
  }
  const Tensor y = fuse(r.cx, terms, c.relu ? Act::relu : Act::none);
  ASSERT_EQ(y.shape(), c.shape);
  ASSERT_EQ(y.dtype(), t);

  // The largest factor by which a normalisation may magnify.
  double gain = 1;
  for (size_t i = 0; i < c.terms.size(); ++i) {
    if (!c.terms[i].normalised) continue;
    const Statistics s(p.in[p.x_of[i]], channels);
    for (int64_t k = 0; k < channels; ++k)
      gain = std::max(gain, 1.5 / std::sqrt((c.training ? s.var[k] : p.running_var[k]) + kEps));
  }
  // y has one rounding to its type, after a few f32 operations on values up to gain * |x|.
  EXPECT_TRUE(test::close(test::values(y), p(p.in), u * test::max_abs(z) + 16 * u32 * (gain * 4 + 4)));

  std::vector<test::Cotangent> outputs;
  outputs.reserve(dys.size());
  for (const Values& one : dys) outputs.push_back({y, test::make(r.cx, c.shape, t, one)});
  r.tape.backward(r.cx, test::weighted_sum(r.cx, std::move(outputs)));
  for (const auto& [index, gradient] : got) {
    const size_t i = index / 3;
    SCOPED_TRACE(fmt::format("term {}, {}", i, index % 3 == 0 ? "x" : index % 3 == 1 ? "weight" : "bias"));
    ASSERT_TRUE(gradient->defined());
    const Values expected = test::finite_difference(p, p.in, index, dy);
    // The roundings to the activations' type are those of the sum over uses of y (and of partial sums beyond four), of
    // the sum over an upsampled footprint, of the result, and of the sum over the terms that share x.
    const double dy_size = c.uses * std::pow(4.0, c.terms[i].up);
    int roundings = (c.uses > 1 ? 1 : 0) + (c.uses > 4 ? c.uses - 3 : 0) + (c.terms[i].up > 0 ? 1 : 0);
    double size;
    if (index % 3 == 0) {
      roundings += 1 + static_cast<int>(c.terms.size());
      size = 4 * gain * dy_size * static_cast<double>(c.terms.size());  // dz - mean - xhat mean(dz xhat), |xhat| < 2
    } else {
      size = 2 * dy_size * static_cast<double>(rows >> (2 * c.terms[i].up));
    }
    const double tolerance = roundings * u * size + (32 + static_cast<double>(rows)) * u32 * size * gain + 1e-8;
    EXPECT_TRUE(test::close(test::values(*gradient), expected, tolerance));
    EXPECT_EQ(gradient->dtype(), index % 3 == 0 ? t : DType::f32);
  }
}

void check_both(const Case& c, uint64_t seed) {
  check(c, DType::f32, seed);
  check(c, DType::bf16, seed);
}

TEST(Fuse, BatchNormOfOneTermAtOddSizes) {
  uint64_t seed = 1;
  for (const Shape& shape : {Shape{2, 1, 1, 1}, Shape{3, 1, 1, 17}, Shape{1, 3, 3, 3}, Shape{1, 7, 5, 17},
                             Shape{3, 7, 5, 1}, Shape{3, 3, 3, 33}}) {
    for (const bool relu : {false, true}) {
      for (const bool training : {true, false}) {
        check_both({shape, {{.normalised = true}}, relu, training}, seed += 1000);
      }
    }
  }
}

// Kernels process channels 16 and 8 at a time, and then one by one; reductions process up to 64 at a time.
TEST(Fuse, EveryWidthOfTheVectorLoops) {
  uint64_t seed = 30000;
  for (const int64_t channels : {7, 8, 16, 27, 64, 123}) {
    for (const bool relu : {false, true}) {
      check_both({{2, 2, 2, channels}, {{.up = 1, .normalised = true}, {.normalised = true}, {}}, relu}, seed += 1000);
      check_both({{2, 2, 2, channels}, {{.up = 1}}, relu, true, 5}, seed += 1000);
    }
  }
}

TEST(Fuse, MoreThanOneBlockOfRows) {
  check_both({{3, 13, 9, 3}, {{.normalised = true}, {}}, true}, 5);  // 351 rows; a block has 256
}

TEST(Fuse, PlainTermsAndUpsampling) {
  uint64_t seed = 50000;
  for (const bool relu : {false, true}) {
    check_both({{1, 1, 1, 1}, {{}}, relu}, ++seed);
    check_both({{3, 7, 5, 17}, {{}, {}}, relu}, seed += 1000);
    check_both({{1, 6, 2, 3}, {{.up = 1}}, relu}, seed += 1000);
    check_both({{2, 4, 12, 3}, {{.up = 2}, {}}, relu}, seed += 1000);
    check_both({{1, 8, 24, 3}, {{}, {.up = 1}, {.up = 2}, {.up = 3}}, relu}, seed += 1000);
  }
}

// The four kinds of sums in HRNet, and some that it does not have.
TEST(Fuse, MixesOfNormalisedIdentityAndUpsampledTerms) {
  uint64_t seed = 90000;
  for (const bool training : {true, false}) {
    for (const bool relu : {false, true}) {
      const Shape shape{2, 8, 8, 3};
      check_both({{3, 7, 5, 3}, {{.normalised = true}, {}}, relu, training}, seed += 1000);  // a residual
      check_both({{3, 7, 5, 3}, {{.normalised = true}, {.normalised = true}}, relu, training}, seed += 1000);
      check_both({shape, {{}, {.up = 1, .normalised = true}}, relu, training}, seed += 1000);
      check_both({shape,
                  {{}, {.up = 1, .normalised = true}, {.up = 2, .normalised = true}, {.up = 3, .normalised = true}},
                  relu,
                  training},
                 seed += 1000);
      check_both(
          {shape, {{.normalised = true}, {.normalised = true}, {}, {.up = 1, .normalised = true}}, relu, training},
          seed += 1000);
      check_both({shape, {{.up = 3, .normalised = true}, {.up = 1}, {.normalised = true}}, relu, training},
                 seed += 1000);
    }
  }
}

TEST(Fuse, OneTensorAsSeveralTermsReceivesTheSum) {
  uint64_t seed = 200000;
  for (const bool relu : {false, true}) {
    check_both({{3, 7, 5, 3}, {{}, {.same_x_as = 0}}, relu}, seed += 1000);
    check_both({{3, 7, 5, 3}, {{}, {.same_x_as = 0}, {.same_x_as = 0}, {.same_x_as = 0}}, relu}, seed += 1000);
    check_both({{3, 7, 5, 3}, {{.normalised = true}, {.same_x_as = 0}}, relu}, seed += 1000);
    check_both({{3, 7, 5, 3}, {{.normalised = true}, {.normalised = true, .same_x_as = 0}}, relu}, seed += 1000);
    check_both({{1, 6, 2, 3}, {{.up = 1}, {.up = 1, .normalised = true, .same_x_as = 0}}, relu}, seed += 1000);
  }
}

TEST(Fuse, AnOutputUsedSeveralTimes) {
  uint64_t seed = 300000;
  for (int uses = 2; uses <= 6; ++uses) {
    for (const bool relu : {false, true}) {
      check_both({{3, 3, 3, 17}, {{.normalised = true}, {}}, relu, true, uses}, seed += 1000);
      check_both({{1, 6, 2, 3}, {{}, {.up = 1, .normalised = true}}, relu, true, uses}, seed += 1000);
      check_both({{1, 3, 3, 3}, {{}}, relu, true, uses}, seed += 1000);
    }
  }
}

TEST(Fuse, FrozenPartsGetNoGradientAndDisturbNobody) {
  uint64_t seed = 400000;
  for (const bool relu : {false, true}) {
    check_both({{3, 3, 3, 3}, {{.normalised = true, .learned = false}, {}}, relu}, seed += 1000);
    check_both({{3, 3, 3, 3}, {{.normalised = true, .x_learns = false}, {}}, relu}, seed += 1000);
    check_both({{3, 3, 3, 3}, {{.normalised = true}, {.x_learns = false}}, relu}, seed += 1000);
    check_both({{1, 6, 2, 3}, {{}, {.up = 1, .normalised = true, .x_learns = false}}, relu}, seed += 1000);
    check_both({{1, 6, 2, 3}, {{}, {.up = 1, .x_learns = false}}, relu}, seed += 1000);
  }
}

TEST(Fuse, ABiasLearnsAlone) {
  test::Recording r(true);
  const Tensor x = test::make(r.cx, {2, 1, 1, 1}, DType::f32, {1, 2}), weight = test::make(r.cx, {1}, DType::f32, {1});
  const Tensor mean = r.cx.zeros({1}, DType::f32), var = r.cx.zeros({1}, DType::f32);
  Tensor bias = r.cx.zeros({1}, DType::f32);
  const auto dbias = test::watch(r.cx, bias);
  const Normalised n = batch_norm(r.cx, x, {weight, bias, mean, var});
  const Tensor y = fuse(r.cx, {{x, &n}});
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, {2, 1, 1, 1}, DType::f32, {3, 4})}}));
  ASSERT_TRUE(dbias->defined());
  EXPECT_EQ(test::values(*dbias), Values{7});
}

// Gradients of several consumers may share memory. No op may write into an addend that another one still reads.
TEST(Fuse, SharedAddendsAreNotOverwritten) {
  for (const DType t : {DType::f32, DType::bf16}) {
    test::Recording r(true);
    const Shape shape{2, 3, 3, 4};
    Tensor x = test::make(r.cx, shape, t, test::random_values(72, 1, t));
    const auto dx = test::watch(r.cx, x);
    // a = x + x, b = relu(bn(a)) + a. The gradient dz of b goes to both terms, and that of a goes to x twice.
    const Tensor a = fuse(r.cx, {{x}, {x}});
    Tensor weight = test::make(r.cx, {4}, DType::f32, Values(4, 1)), bias = r.cx.zeros({4}, DType::f32);
    const Tensor mean = r.cx.zeros({4}, DType::f32), var = r.cx.zeros({4}, DType::f32);
    const Normalised n = batch_norm(r.cx, a, {weight, bias, mean, var});
    const Tensor b = fuse(r.cx, {{a, &n}, {a}});
    const Values dy = test::random_values(72, 2, t);
    const Tensor mine = test::make(r.cx, shape, t, dy);
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{b, mine}}));
    EXPECT_EQ(test::values(mine), dy) << "the caller's tensor was written to";

    Problem p({shape, {{.normalised = true}, {.same_x_as = 0}}}, t, 7);
    Values twice = test::values(a);
    p.in = {twice, Values(4, 1), Values(4, 0), {}, {}, {}};
    Values expected = test::finite_difference(p, p.in, 0, dy);
    for (double& e : expected) e *= 2;
    EXPECT_TRUE(test::close(test::values(*dx), expected, 12 * test::rounding(t) * test::max_abs(expected) + 1e-8));
  }
}

TEST(Fuse, ReluOfNanIsNanAndItsDerivativeAtZeroIsZero) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t channels : {4, 27}) {
      test::Recording r;
      const double nan = std::nan("");
      Values v(channels, 0.0);
      for (int64_t c = 0; c < channels; ++c) {
        const double kinds[] = {nan, 0.0, -0.0, 1e-30};
        v[c] = test::rounded(kinds[c % 4], t);
      }
      const Shape shape{1, 1, 1, channels};
      Tensor x = test::make(r.cx, shape, t, v);
      const auto dx = test::watch(r.cx, x);
      const Tensor y = fuse(r.cx, {{x}}, Act::relu);
      r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, shape, t, Values(channels, 1))}}));
      const Values got = test::values(y), slope = test::values(*dx);
      for (int64_t c = 0; c < channels; ++c) {
        if (c % 4 == 0) {
          EXPECT_TRUE(std::isnan(got[c])) << "a broken activation must not look like a dead one";
        } else {
          EXPECT_EQ(got[c], v[c]);
          EXPECT_EQ(slope[c], c % 4 == 3 ? 1 : 0);
        }
      }
    }
  }
}

TEST(Fuse, RefusesWhatDoesNotFit) {
  const Context plain;
  Context cx;
  const auto zeros = [&](Shape s, DType t = DType::f32) { return plain.zeros(std::move(s), t); };
  const Tensor x = zeros({1, 4, 4, 3});
  EXPECT_THROW(fuse(cx, {}), Error);
  EXPECT_THROW(fuse(cx, {{x}, {x}, {x}, {x}, {x}}), Error) << "five terms";
  EXPECT_THROW(fuse(cx, {{x}, {zeros({1, 4, 4, 2})}}), Error);
  EXPECT_THROW(fuse(cx, {{x}, {zeros({2, 4, 4, 3})}}), Error);
  EXPECT_THROW(fuse(cx, {{x}, {zeros({1, 4, 4, 3}, DType::bf16)}}), Error);
  EXPECT_THROW(fuse(cx, {{x}, {zeros({1, 2, 2, 3}), nullptr, 2}}), Error);
  EXPECT_THROW(fuse(cx, {{zeros({1, 5, 5, 3})}, {zeros({1, 2, 2, 3}), nullptr, 1}}), Error) << "5 is not 2 * 2";
  EXPECT_THROW(fuse(cx, {{x, nullptr, 4}}), Error);
  EXPECT_THROW(fuse(cx, {{x, nullptr, -1}}), Error);
  EXPECT_THROW(fuse(cx, {{zeros({4, 4, 3})}}), Error);
  const Tensor c2 = zeros({2});
  const Normalised n = batch_norm(cx, zeros({1, 1, 1, 2}), {c2, c2, c2, c2});
  EXPECT_THROW(fuse(cx, {{x, &n}}), Error);
  Context cuda;
  cuda.device.type = Device::Type::cuda;
  EXPECT_THROW(fuse(cuda, {{x}}), Error);
}

TEST(Fuse, ReluAndUpsamplingMatchTheGoldenData) {
  HR_NEEDS_ORACLE("train/layers.safetensors");
  const SafetensorsFile golden(test::oracle("train/layers.safetensors"));
  struct Layer {
    std::string name;
    int up;
    Act act;
  };
  for (const Layer& layer : {Layer{"relu", 0, Act::relu}, Layer{"upsample_nearest_x2", 1, Act::none},
                             Layer{"upsample_nearest_x8", 3, Act::none}}) {
    SCOPED_TRACE(layer.name);
    test::Recording r;
    Tensor x = test::make(r.cx, golden.at(layer.name + ".x"));
    const auto dx = test::watch(r.cx, x);
    const Tensor y = fuse(r.cx, {{x, nullptr, layer.up}}, layer.act);
    EXPECT_EQ(test::values(y), test::ours(golden.at(layer.name + ".y")));
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, golden.at(layer.name + ".dy"))}}));
    const Values expected = test::ours(golden.at(layer.name + ".dx"));
    EXPECT_TRUE(test::close(test::values(*dx), expected, 1e-5 * test::max_abs(expected)));
  }
}

}  // namespace
}  // namespace hr

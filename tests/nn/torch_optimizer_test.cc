#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "nn/state_dict.h"
#include "nn/weights.h"
#include "tests/support/checkpoints.h"
#include "tests/support/oracle.h"
#include "tests/support/parameters.h"

namespace hr {
namespace {

using test::PthBuilder;
using test::Values;
using namespace test::pickled;  // NOLINT(google-build-using-namespace)

std::string real(double v) {  // BINFLOAT: big-endian
  uint64_t bits = 0;
  std::memcpy(&bits, &v, 8);
  std::string out = "G";
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(bits >> shift & 255);
  return out;
}

struct Small {
  Context cx;
  ParameterStore store;
  Small() {
    store.add_parameter("a.weight", {3, 2, 2, 1}, ParameterLayout::filter, 0, 1);
    store.add_parameter("b.weight", {2, 3, 1, 2}, ParameterLayout::deconv_filter, 0, 1);
    store.add_buffer("bn.running_mean", 2, 0);
    store.add_parameter("c.bias", {5}, ParameterLayout::plain, 0, 1);
    store.allocate(cx, 1);
  }
};

// Returns the moments of a parameter in torch's order: first, first + 0.001, first + 0.002, ...
std::vector<float> moment(const Parameter& p, double first) {
  std::vector<float> v(static_cast<size_t>(numel(p.torch_shape)));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(first + 0.001 * static_cast<double>(i));
  return v;
}

struct AdamState {
  std::vector<int64_t> keys{0, 1, 2};
  std::vector<std::string> steps{integer(5), integer(5), integer(5)};
  std::string second = "exp_avg_sq", amsgrad = no();
  size_t states = 3;
  std::vector<std::pair<std::string, std::string>> group{};        // further fields of the parameter groups
  std::vector<std::pair<std::string, std::string>> state_extra{};  // further fields of every state
  size_t groups = 1;                                               // among which the parameters are divided evenly
  bool tensor_steps = false;  // torch writes it since 1.12 as a float32 tensor without dims
};

fs::path checkpoint(const Small& small, const AdamState& s) {
  PthBuilder b;
  std::vector<std::pair<int64_t, std::string>> state;
  std::vector<std::string> params;
  for (size_t k = 0; k < s.keys.size(); ++k) {
    const Parameter& p = small.store.parameters().at(std::min<size_t>(k, 2));
    params.push_back(big_integer(s.keys[k]));
    if (k >= s.states) continue;
    const auto first = static_cast<double>(k);
    std::vector<std::pair<std::string, std::string>> fields{
        {"step", s.tensor_steps ? b.tensor({}, {5}) : s.steps[k]},
        {"exp_avg", b.tensor(p.torch_shape, moment(p, first))},
        {s.second, b.tensor(p.torch_shape, moment(p, first + 0.5))}};
    fields.insert(fields.end(), s.state_extra.begin(), s.state_extra.end());
    state.insert(state.begin(), {s.keys[k], dict(fields)});  // in another order than the parameters
  }
  std::vector<std::string> groups;
  for (size_t i = 0; i < s.groups; ++i) {
    const auto from = static_cast<ptrdiff_t>(params.size() * i / s.groups),
               to = static_cast<ptrdiff_t>(params.size() * (i + 1) / s.groups);
    std::vector<std::pair<std::string, std::string>> fields{
        {"params", list({params.begin() + from, params.begin() + to})}};
    if (!s.amsgrad.empty()) fields.emplace_back("amsgrad", s.amsgrad);
    fields.insert(fields.end(), s.group.begin(), s.group.end());
    groups.push_back(dict(fields));
  }
  const std::string adam = dict({{"state", dict_by_number(state)}, {"param_groups", list(groups)}});
  fs::path path = test::temporary_folder() / "checkpoint.pth";
  b.write_zip(path, dict({{"model", dict({{"c.bias", b.tensor({5}, {1, 2, 3, 4, 5})}})},
                          {"optimizer", adam},
                          {"lr_scheduler", "}"},
                          {"epoch", integer(1)}}));
  return path;
}

void expect_moments(const Small& small, const Optimizer& o) {
  for (size_t k = 0; k < 3; ++k) {
    const Parameter& p = small.store.parameters()[k];
    const auto offset = p.value.data<float>() - small.store.values.data<float>();
    const auto first = static_cast<double>(k);
    for (const auto& [slab, start] : {std::pair{&o.exp_avg, first}, std::pair{&o.exp_avg_sq, first + 0.5}}) {
      const std::vector<float> expected = moment(p, start);
      const Values actual = test::torch_order(p, slab->view(p.shape(), offset));
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(actual[i], expected[i]) << p.name << " " << i;
    }
  }
}

TEST(TorchOptimizer, MomentsGoToTheirParametersByPosition) {
  Small small;
  for (const auto& keys : {std::vector<int64_t>{0, 1, 2}, {140211122334455, 140211122334400, 140211122334477}}) {
    for (const bool tensor_steps : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", keys[0], tensor_steps));
      Optimizer o(small.cx, small.store, {});
      load_optimizer(WeightFile(checkpoint(small, {.keys = keys, .tensor_steps = tensor_steps})), o);
      EXPECT_EQ(o.steps(), 5);
      expect_moments(small, o);
    }
  }
  Optimizer o(small.cx, small.store, {});
  load_optimizer(WeightFile(checkpoint(small, {.states = 0})), o);
  EXPECT_EQ(o.steps(), 0) << "saved before the first step";
}

TEST(TorchOptimizer, TheUsualHyperparametersAreNoReasonToRefuse) {
  Small small;
  Optimizer o(small.cx, small.store, {});
  load_optimizer(WeightFile(checkpoint(small, {.group = {{"betas", real(0.9) + real(0.999) + "\x86"},
                                                         {"eps", real(1e-8)},
                                                         {"lr", real(1e-3)},
                                                         {"weight_decay", integer(0)},
                                                         {"maximize", no()}}})),
                 o);
  EXPECT_EQ(o.steps(), 5);
  expect_moments(small, o);
}

// The entries that the optimisers of PyTorch 2.7 write into their parameter groups and states. They are loaded, or
// refused with the reason.
struct OptimizerKind {
  const char* name;
  AdamState state;
  std::vector<const char*> words;  // of the refusal; none if it is loaded
};
void PrintTo(const OptimizerKind& kind, std::ostream* out) { *out << kind.name; }

class TorchOptimizerKinds : public testing::TestWithParam<OptimizerKind> {};

TEST_P(TorchOptimizerKinds, IsLoadedOrRefusedWithAReason) {
  const auto& [name, state, words] = GetParam();
  Small small;
  Optimizer o(small.cx, small.store, {});
  o.set_steps(77);
  std::string why;
  try {
    load_optimizer(WeightFile(checkpoint(small, state)), o);
  } catch (const Error& e) {
    why = e.what();
  }
  if (words.empty()) {
    EXPECT_EQ(why, "");
    EXPECT_EQ(o.steps(), 5);
    expect_moments(small, o);
    return;
  }
  for (const char* word : words) EXPECT_NE(why.find(word), std::string::npos) << word << " in: " << why;
  EXPECT_NE(why.find("`weights`"), std::string::npos) << "the next step is missing in: " << why;
  EXPECT_EQ(o.steps(), 77);
  for (const double v : test::values(o.exp_avg)) ASSERT_EQ(v, 0);
}

std::string pair_of(double a, double b) { return real(a) + real(b) + "\x86"; }

INSTANTIATE_TEST_SUITE_P(
    Kinds, TorchOptimizerKinds,
    testing::Values(
        OptimizerKind{"Adam", {.group = {{"betas", pair_of(0.9, 0.999)}, {"eps", real(1e-8)}, {"maximize", no()}}}, {}},
        OptimizerKind{"AdamW",
                      {.group = {{"betas", pair_of(0.9, 0.999)},
                                 {"eps", real(1e-8)},
                                 {"weight_decay", real(0.01)},
                                 {"decoupled_weight_decay", yes()}},
                       .tensor_steps = true},
                      {}},
        OptimizerKind{"SGD",
                      {.second = "momentum_buffer",
                       .amsgrad = "",
                       .group = {{"momentum", real(0.9)}, {"dampening", integer(0)}, {"nesterov", no()}}},
                      {"SGD", "only Adam and AdamW"}},
        OptimizerKind{"NAdam",
                      {.amsgrad = "",
                       .group = {{"betas", pair_of(0.9, 0.999)},
                                 {"momentum_decay", real(0.004)},
                                 {"decoupled_weight_decay", no()}}},
                      {"NAdam", "only Adam and AdamW"}},
        OptimizerKind{"RAdam",
                      {.amsgrad = "",
                       .group = {{"betas", pair_of(0.9, 0.999)},
                                 {"eps", real(1e-8)},
                                 {"maximize", no()},
                                 {"decoupled_weight_decay", no()}}},
                      {"RAdam", "only Adam and AdamW"}},
        OptimizerKind{"RMSprop",
                      {.second = "square_avg",
                       .amsgrad = "",
                       .group = {{"momentum", integer(0)}, {"alpha", real(0.99)}, {"centered", no()}}},
                      {"RMSprop", "only Adam and AdamW"}},
        OptimizerKind{"Adamax",
                      {.second = "exp_inf", .amsgrad = "", .group = {{"betas", pair_of(0.9, 0.999)}}},
                      {"exp_avg_sq", "only Adam and AdamW"}},
        OptimizerKind{"Adagrad", {.amsgrad = "", .group = {{"lr_decay", integer(0)}}}, {"Adagrad"}},
        OptimizerKind{"Adadelta", {.amsgrad = "", .group = {{"rho", real(0.9)}}}, {"Adadelta"}},
        OptimizerKind{"Rprop", {.amsgrad = "", .group = {{"etas", pair_of(0.5, 1.2)}}}, {"Rprop"}},
        OptimizerKind{"LBFGS", {.amsgrad = "", .group = {{"history_size", integer(100)}}}, {"LBFGS"}},
        OptimizerKind{"AMSGrad", {.amsgrad = yes()}, {"amsgrad", "not supported"}},
        OptimizerKind{"AMSGradsThirdMoment", {.state_extra = {{"max_exp_avg_sq", integer(1)}}}, {"AMSGrad"}},
        OptimizerKind{"Maximize", {.group = {{"maximize", yes()}}}, {"maximize", "not supported"}},
        OptimizerKind{"OtherBeta1", {.group = {{"betas", pair_of(0.5, 0.999)}}}, {"betas[0] = 0.5", "0.9"}},
        OptimizerKind{"OtherBeta2", {.group = {{"betas", pair_of(0.9, 0.99)}}}, {"betas[1] = 0.99", "0.999"}},
        OptimizerKind{"OtherEps", {.group = {{"eps", real(1e-4)}}}, {"eps = 0.0001", "1e-08"}},
        OptimizerKind{"TwoGroups", {.groups = 2}, {"2 parameter groups", "order"}}),
    [](const auto& kind) { return std::string(kind.param.name); });

TEST(TorchOptimizer, WhatCannotBeResumedIsRefusedAndChangesNothing) {
  Small small;
  Optimizer o(small.cx, small.store, {});
  o.set_steps(77);
  const auto expect = [&](const AdamState& state, std::initializer_list<const char*> words) {
    std::string why;
    try {
      load_optimizer(WeightFile(checkpoint(small, state)), o);
    } catch (const Error& e) {
      why = e.what();
    }
    for (const char* word : words) EXPECT_NE(why.find(word), std::string::npos) << word << " in: " << why;
    EXPECT_EQ(o.steps(), 77);
    for (const double v : test::values(o.exp_avg)) ASSERT_EQ(v, 0);
  };
  expect({.keys = {0, 1}, .steps = {integer(1), integer(1)}, .states = 2}, {"2 parameters", "the model has 3"});
  expect({.states = 2}, {"c.bias", "missing", "`weights`"});
  expect({.steps = {integer(5), integer(4), integer(5)}}, {"b.weight", "4", "5"});
  expect({.second = "momentum_buffer"}, {"a.weight", "exp_avg_sq", "Adam"});
  expect({.amsgrad = "", .group = {{"momentum", real(0.9)}, {"nesterov", no()}}}, {"SGD", "Adam", "`weights`"});
  expect({.amsgrad = "", .group = {{"momentum_decay", real(0.004)}}}, {"NAdam", "`weights`"});
  expect({.state_extra = {{"max_exp_avg_sq", integer(1)}}}, {"AMSGrad", "`weights`"});
  expect({.group = {{"betas", real(0.5) + real(0.999) + "\x86"}}}, {"betas", "0.5", "0.9", "`weights`"});
  expect({.group = {{"eps", real(1e-4)}}}, {"eps", "0.0001", "1e-08", "`weights`"});
  expect({.group = {{"maximize", yes()}}}, {"maximize", "`weights`"});
  expect({.groups = 2}, {"2 parameter groups", "order", "`weights`"});
  expect({.amsgrad = yes()}, {"amsgrad", "`weights`"});
  expect({.steps = {text("5"), text("5"), text("5")}}, {"step"});
  expect({.steps = {integer(-1), integer(-1), integer(-1)}}, {"step"});
}

}  // namespace
}  // namespace hr

// One training step: losses, every gradient, running statistics, and the trajectories of the optimisers.
#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "core/io/json.h"
#include "core/parallel.h"
#include "hrnet/model/hrnet.h"
#include "hrnet/model/load.h"
#include "hrnet/model/pose_resnet.h"
#include "hrnet/train/pose_step.h"
#include "nn/optimizer.h"
#include "ops/joints_loss.h"
#include "tests/support/formula.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

struct Batch {
  Tensor input, target, weight;
};

struct Trainer {
  Tape tape;
  Context cx;
  std::unique_ptr<PoseModel> model;
  Trainer() {
    cx.tape = &tape;
    cx.training = true;
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  ParameterStore& store() const { return model->parameters(); }
  // Runs forward and backward. Gradients are on the store's slab.
  double step(const Batch& b, JointsLoss kind, Tensor* output = nullptr) {
    const Tensor y = model->forward(cx, b.input);
    if (output != nullptr) *output = y;
    const Tensor loss = joints_loss(cx, y, b.target, b.weight, kind);
    tape.backward(cx, loss);
    return *loss.data<float>();
  }
  double loss_only(const Batch& b, JointsLoss kind) {
    const Tensor loss = joints_loss(cx, model->forward(cx, b.input), b.target, b.weight, kind);
    tape.clear();
    return *loss.data<float>();
  }
};

// Golden training of HRNet-w8: `set` is "main" or "tight".
struct GoldenTrainer : Trainer {
  Batch batch;
  explicit GoldenTrainer(const std::string& set) {
    model = std::make_unique<HRNet>("hrnet_w8", 8, 17);
    test::allocate_by_formula(cx, store());
    load_weights(WeightFile(test::oracle("weights/w8.safetensors")), *model);
    store().bind(tape);
    const SafetensorsFile file(test::oracle("train/" + set + "_batch.safetensors"));
    batch = {test::make(cx, file.at("input")), test::make(cx, file.at("target")),
             test::make(cx, file.at("target_weight"))};
  }
};

// The golden samples of one tensor's elements: all of them, or every step-th (the file defines step).
class Samples {
 public:
  explicit Samples(const std::string& name) : file_(test::oracle("train/" + name + ".samples.safetensors")) {
    const std::string& rule = file_.metadata().at("rule");
    const size_t at = rule.find("numel/");
    EXPECT_NE(at, std::string::npos) << rule;
    target_ = std::stoll(rule.substr(at + 6));
  }
  Values golden(const std::string& name) const { return file_.at(name).to_f64(); }
  // Picks the same elements from a whole tensor in torch's order.
  Values pick(const std::string& name, const Values& whole) const {
    const auto n = static_cast<int64_t>(whole.size());
    if (file_.at(name).numel() == n) return whole;
    int64_t step = (n + target_ - 1) / target_;
    while (std::gcd(step, n) != 1) ++step;
    Values v;
    for (int64_t i = 0; i < n; i += step) v.push_back(whole[i]);
    EXPECT_EQ(static_cast<int64_t>(v.size()), file_.at(name).numel()) << name;
    return v;
  }

 private:
  SafetensorsFile file_;
  int64_t target_ = 0;
};

// Distances, summed over tensors.
struct Total {
  double off = 0, size = 0;
  void add(const Values& a, const Values& b) {
    off += std::pow(test::distance(a, b), 2);
    size += std::pow(test::norm(b), 2);
  }
  double relative() const { return std::sqrt(off / size); }
};

void expect_gradients(const GoldenTrainer& t, const std::string& what, double together, double per_tensor) {
  const Samples samples(what);
  const auto stats = parse_json_file(test::oracle("train/" + what + ".stats.json"));
  Total total, norms;
  for (const Parameter& p : t.store().parameters()) {
    const Values whole = test::torch_order(p, p.grad), golden = samples.golden(p.name);
    const Values mine = samples.pick(p.name, whole);
    total.add(mine, golden);
    EXPECT_LE(test::distance(mine, golden), per_tensor * test::norm(golden)) << p.name;
    // [sum, sum of abs, l2 norm, min, max] of all elements, also if only some are stored.
    const auto& s = stats[p.name.c_str()];
    double sum = 0, absolute = 0;
    for (const double v : whole) sum += v, absolute += std::abs(v);
    const double l2 = s[2].GetDouble();
    // Uses |sum(a) - sum(b)| <= |a - b|_1 <= sqrt(n) |a - b|_2. The 1e-8 is there because the file has nine digits.
    const double reach = per_tensor * l2 * std::sqrt(static_cast<double>(whole.size()));
    EXPECT_NEAR(sum, s[0].GetDouble(), reach + 1e-8 * absolute) << p.name;
    EXPECT_NEAR(absolute, s[1].GetDouble(), reach + 1e-8 * absolute) << p.name;
    EXPECT_NEAR(test::norm(whole), l2, (per_tensor + 1e-8) * l2) << p.name;
    EXPECT_NEAR(*std::min_element(whole.begin(), whole.end()), s[3].GetDouble(), (per_tensor + 1e-8) * l2) << p.name;
    EXPECT_NEAR(*std::max_element(whole.begin(), whole.end()), s[4].GetDouble(), (per_tensor + 1e-8) * l2) << p.name;
    norms.add({test::norm(whole)}, {l2});
  }
  testing::Test::RecordProperty("relative_l2_" + what, std::to_string(total.relative()));
  EXPECT_LE(total.relative(), together);
  EXPECT_LE(norms.relative(), together);
}

class GoldenStep : public testing::TestWithParam<std::string> {};

TEST_P(GoldenStep, LossOutputAndGradients) {
  const std::string set = GetParam();
  HR_NEEDS_ORACLE("train/train.json");
  const auto json = parse_json_file(test::oracle("train/train.json"));
  const SafetensorsFile forward(test::oracle("train/" + set + "_forward.safetensors"));
  for (const auto& [what, kind] : {std::pair{"official", JointsLoss::official}, {"seed", JointsLoss::seed}}) {
    SCOPED_TRACE(what);
    GoldenTrainer t(set);
    Tensor y;
    const double loss = t.step(t.batch, kind, &y), expected = json[set.c_str()]["losses"][what].GetDouble();
    EXPECT_NEAR(loss, expected, 1e-5 * expected);
    EXPECT_TRUE(test::close(test::values(y), test::ours(forward.at("output")), 1e-4));

    // The gradient of the loss with respect to our own output, which is off by up to 1e-4.
    test::Recording r;
    Tensor leaf = test::make(r.cx, y.shape(), DType::f32, test::values(y));
    const auto d_output = test::watch(r.cx, leaf);
    r.tape.backward(r.cx, joints_loss(r.cx, leaf, t.batch.target, t.batch.weight, kind));
    const Values golden = test::ours(forward.at(std::string("d_output.") + what));
    EXPECT_LE(test::relative_l2(test::values(*d_output), golden), 1e-4);

    const bool tight = set == "tight";
    expect_gradients(t, set + "_grads_" + what, tight ? 1e-4 : 5e-3, tight ? 5e-4 : 5e-2);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenStep, testing::Values("main", "tight"), [](const auto& i) { return i.param; });

TEST(Train, RunningStatisticsAfterOneStepMatchTheGoldenData) {
  HR_NEEDS_ORACLE("train/main_bn_after_one_step.safetensors");
  GoldenTrainer t("main");
  t.step(t.batch, JointsLoss::official);
  const SafetensorsFile golden(test::oracle("train/main_bn_after_one_step.safetensors"));
  size_t seen = 0;
  for (const auto& e : t.store().entries()) {
    if (e.parameter != nullptr) continue;
    ++seen;
    if (e.counter != nullptr) {
      EXPECT_EQ(e.counter->value, golden.at(e.name()).to_i64().at(0)) << e.name();
    } else {
      EXPECT_LE(test::relative_l2(test::values(e.buffer->value), golden.at(e.name()).to_f64()), 1e-5) << e.name();
    }
  }
  EXPECT_EQ(seen, golden.names().size());
}

class Trajectory : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(Trajectory, TenStepsFollowTheGoldenOne) {
  HR_NEEDS_ORACLE("train/train.json");
  set_compute_threads(1);  // for a small network: see MadeTrainer
  const auto& [set, name] = GetParam();
  const auto json = parse_json_file(test::oracle("train/train.json"));
  const auto& golden = json[set.c_str()]["trajectories"][name.c_str()];
  const bool seed = name == "adamw_seed";
  const double decay = golden["weight_decay"].GetDouble(), lr = golden["lr"].GetDouble();
  const JointsLoss kind = seed ? JointsLoss::seed : JointsLoss::official;
  std::vector<Values> losses(11);  // before each step and after the last one, for every draw
  const uint64_t draws = set == "tight" ? test::kTrajectories : 1;
  for (uint64_t draw = 0; draw < draws; ++draw) {
    GoldenTrainer t(set);
    Values input = test::values(t.batch.input);
    test::nudge(input, draw);
    t.batch.input = test::make(t.cx, t.batch.input.shape(), DType::f32, input);
    std::map<std::string, Values> before;
    for (const Parameter& p : t.store().parameters()) before[p.name] = test::torch_order(p, p.value);
    Optimizer o(t.cx, t.store(), {.weight_decay = decay, .decoupled = seed});
    for (unsigned step = 0; step < 10; ++step) {
      losses[step].push_back(t.step(t.batch, kind));
      o.step(t.cx, lr);
      if (step > 0 || draw > 0 || set != "tight") continue;
      const Samples samples("tight_params_" + name + "_after_1");
      Total update;
      for (const Parameter& p : t.store().parameters()) {
        const Values p0 = samples.pick(p.name, before[p.name]);
        Values mine = samples.pick(p.name, test::torch_order(p, p.value)), theirs = samples.golden(p.name);
        for (size_t i = 0; i < p0.size(); ++i) mine[i] -= p0[i], theirs[i] -= p0[i];
        update.add(mine, theirs);
      }
      EXPECT_LE(update.relative(), 2e-2);
    }
    losses[10].push_back(t.loss_only(t.batch, kind));
    if (set != "main") continue;
    const Samples samples("main_params_" + name + "_after_10");
    Total total;
    for (const Parameter& p : t.store().parameters())
      total.add(samples.pick(p.name, test::torch_order(p, p.value)), samples.golden(p.name));
    EXPECT_LE(total.relative(), 2e-2);
  }
  const double first = golden["losses_before_each_step"][0].GetDouble();
  EXPECT_NEAR(losses[0][0], first, 1e-5 * first);
  for (unsigned step = 1; step <= 10; ++step) {
    const double expected =
        step == 10 ? golden["loss_after_step_10"].GetDouble() : golden["losses_before_each_step"][step].GetDouble();
    EXPECT_NEAR(test::median(losses[step]), expected, 2e-2 * expected) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Trajectory,
                         testing::Combine(testing::Values("main", "tight"),
                                          testing::Values("adam_official", "adamw_seed")),
                         [](const auto& i) { return std::get<0>(i.param) + "_" + std::get<1>(i.param); });

// ---- On data made here ----

struct MadeTrainer : Trainer {
  Batch batch;
  MadeTrainer(std::unique_ptr<PoseModel> m, int64_t n, int64_t h, int64_t w) {
    set_compute_threads(1);  // in such small networks, threads wait for each other longer than they compute
    model = std::move(m);
    test::allocate_by_formula(cx, store());
    store().bind(tape);
    const Shape maps{n, h / 4, w / 4, model->joints()};
    batch = {test::input_by_formula(cx, n, h, w),
             test::make(cx, maps, DType::f32, test::random_values(numel(maps), 5, DType::f32, 0, 1)),
             test::make(cx, {n, maps[3]}, DType::f32, test::random_values(n * maps[3], 6, DType::f32, 0.5, 1.5))};
  }
};

// Compares the gradient of whole networks with differences of the loss itself, tensor by tensor, along the gradient and
// along a random direction.
void expect_slope(MadeTrainer& t, const std::vector<std::string>& names) {
  const double loss = t.step(t.batch, JointsLoss::official);
  size_t seen = 0;
  for (const Parameter& p : t.store().parameters()) {
    if (std::find(names.begin(), names.end(), p.name) == names.end()) continue;
    ++seen;
    const Values g = test::values(p.grad), before = test::values(p.value);
    const double length = test::norm(g);
    ASSERT_GT(length, 0) << p.name;
    Values random = test::random_values(p.grad.numel(), 9);
    const double random_length = test::norm(random);
    for (const bool along : {true, false}) {
      Values direction = along ? g : random;
      for (double& d : direction) d /= along ? length : random_length;
      double slope = 0;
      for (size_t i = 0; i < g.size(); ++i) slope += g[i] * direction[i];
      // h is small enough that few ReLUs change and the loss stays near its tangent, and large enough that its float32
      // noise (1e-7 of it) stays below a per cent of the change.
      const double h = std::min(0.5e-3 * loss / length, 3e-3 * test::norm(before));
      const auto at = [&](double x) {
        for (size_t i = 0; i < g.size(); ++i)
          p.value.data<float>()[i] = static_cast<float>(before[i] + x * direction[i]);
        return t.loss_only(t.batch, JointsLoss::official);
      };
      const double measured = (at(h) - at(-h)) / (2 * h);
      at(0);
      EXPECT_NEAR(slope, measured, 4e-2 * length)
          << p.name << (along ? " along the gradient" : " along a random direction");
    }
  }
  EXPECT_EQ(seen, names.size());
}

TEST(Train, GradientOfHRNetIsTheSlopeOfItsLoss) {
  MadeTrainer t(std::make_unique<HRNet>("hrnet_w2", 2, 3), 2, 64, 96);
  expect_slope(t, {"conv1.weight",
                   "bn1.bias",
                   "layer1.0.conv1.weight",
                   "layer1.0.downsample.0.weight",
                   "layer1.0.downsample.1.weight",
                   "layer1.3.bn3.weight",
                   "transition1.0.0.weight",
                   "transition1.1.0.0.weight",
                   "stage2.0.branches.1.2.conv2.weight",
                   "stage2.0.fuse_layers.0.1.0.weight",
                   "stage2.0.fuse_layers.1.0.0.0.weight",
                   "transition2.2.0.1.bias",
                   "stage3.1.fuse_layers.2.0.0.0.weight",
                   "stage3.1.fuse_layers.2.0.1.1.weight",
                   "stage3.2.fuse_layers.0.2.1.weight",
                   "transition3.3.0.0.weight",
                   "stage4.0.branches.3.0.bn1.weight",
                   "stage4.0.fuse_layers.3.0.2.0.weight",
                   "stage4.2.fuse_layers.0.3.0.weight",
                   "final_layer.weight",
                   "final_layer.bias"});
}

TEST(Train, GradientOfPoseResNetIsTheSlopeOfItsLoss) {
  MadeTrainer t(std::make_unique<PoseResNet>("small", std::array{1, 1, 1, 1}, 3), 2, 64, 96);
  expect_slope(t, {"conv1.weight", "bn1.weight", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight",
                   "layer2.0.conv2.weight", "layer4.0.bn3.bias", "deconv_layers.0.weight", "deconv_layers.4.weight",
                   "deconv_layers.6.weight", "final_layer.weight", "final_layer.bias"});
}

TEST(Train, EveryParameterReceivesAGradient) {
  MadeTrainer t(std::make_unique<HRNet>("hrnet_w2", 2, 3), 2, 64, 96);
  for (int64_t i = 0; i < t.store().grads.numel(); ++i) t.store().grads.data<float>()[i] = 777;
  t.step(t.batch, JointsLoss::official);
  for (const Parameter& p : t.store().parameters()) {
    const Values g = test::values(p.grad);
    EXPECT_EQ(std::count(g.begin(), g.end(), 777.0), 0) << p.name;
    EXPECT_GT(test::norm(g), 0) << p.name;
    EXPECT_TRUE(std::isfinite(test::norm(g))) << p.name;
  }
}

// bf16 keeps eight bits. A step's gradient has the same direction up to a few per cent.
TEST(Train, Bf16FollowsFloat32) {
  MadeTrainer exact(std::make_unique<HRNet>("hrnet_w8", 8, 3), 2, 64, 96);
  MadeTrainer narrow(std::make_unique<HRNet>("hrnet_w8", 8, 3), 2, 64, 96);
  narrow.cx.precision = DType::bf16;
  const double loss = exact.step(exact.batch, JointsLoss::official);
  EXPECT_NEAR(narrow.step(narrow.batch, JointsLoss::official), loss, 2e-2 * loss);
  const Values a = test::values(narrow.store().grads), b = test::values(exact.store().grads);
  const double cosine = std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / test::norm(a) / test::norm(b);
  testing::Test::RecordProperty("cosine", std::to_string(cosine));
  EXPECT_GE(cosine, 0.98);
  EXPECT_NEAR(test::norm(a), test::norm(b), 0.05 * test::norm(b));
}

TEST(Train, AStepWithoutAFiniteLossChangesNothing) {
  set_compute_threads(1);
  constexpr int kSide = 64, kJoints = 3;
  const auto floats = [](int64_t n, uint64_t seed) {
    const Values v = test::random_values(n, seed, DType::f32, 0, 1);
    return std::vector<float>(v.begin(), v.end());
  };
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool pixel : {true, false}) {
      SCOPED_TRACE(fmt::format("{}, {}", name_of(t), pixel ? "a pixel is NaN" : "a target is infinite"));
      Context cx;
      cx.precision = t;
      const auto model = make_model(cx, "hrnet_w2", kJoints, 3, Init::torch);
      ParameterStore& store = model->parameters();
      Optimizer adam(cx, store, {});
      PoseTrainStep step(cx, *model, adam, JointsLoss::official);
      auto images = floats(2 * kSide * kSide * 3, 1), targets = floats(2 * kSide / 4 * kSide / 4 * kJoints, 2);
      const auto weights = floats(2 * kJoints, 3);
      const auto run = [&] { return step({images, targets, weights, 2, kSide, kSide}, 1e-3); };
      EXPECT_TRUE(std::isfinite(run()));

      const auto state = [&] {
        std::vector<std::vector<std::byte>> all;
        for (const Tensor& slab : {store.values, store.buffers, adam.exp_avg, adam.exp_avg_sq})
          all.emplace_back(slab.data<std::byte>(), slab.data<std::byte>() + slab.bytes());
        return all;
      };
      const auto before = state();
      const uint64_t version = store.version;
      float& spoilt = pixel ? images[77] : targets[5];
      const float good = std::exchange(spoilt, pixel ? NAN : INFINITY);
      for (int i = 0; i < 2; ++i) EXPECT_FALSE(std::isfinite(run()));
      EXPECT_TRUE(state() == before);
      EXPECT_EQ(adam.steps(), 1);
      EXPECT_EQ(store.version, version) << "inference would fold the same weights again";
      for (const auto& e : store.entries()) {
        if (e.counter != nullptr) {
          EXPECT_EQ(e.counter->value, 1) << e.name();
        }
      }
      spoilt = good;
      EXPECT_TRUE(std::isfinite(run()));
      EXPECT_EQ(adam.steps(), 2);
      EXPECT_GT(store.version, version);
      EXPECT_FALSE(state() == before);
    }
  }
}

TEST(Train, AStepInAReplayedArenaHasTheSameBitsAndAddresses) {
  for (const DType t : {DType::f32, DType::bf16}) {
    MadeTrainer plain(std::make_unique<HRNet>("hrnet_w2", 2, 3), 2, 64, 64);
    MadeTrainer planned(std::make_unique<HRNet>("hrnet_w2", 2, 3), 2, 64, 64);
    plain.cx.precision = planned.cx.precision = t;
    const auto parent = planned.cx.allocator;
    Optimizer plain_adam(plain.cx, plain.store(), {}), planned_adam(planned.cx, planned.store(), {});
    const auto arena = std::make_shared<Arena>(parent);
    planned.cx.allocator = arena;
    const void* address = nullptr;
    for (int step = 0; step < 4; ++step) {
      SCOPED_TRACE(step);
      const double expected = plain.step(plain.batch, JointsLoss::official);
      arena->begin_step();
      {
        Tensor y;
        EXPECT_EQ(planned.step(planned.batch, JointsLoss::official, &y), expected);
        if (step == 1) address = y.raw();
        if (step > 1) {
          EXPECT_EQ(y.raw(), address);
        }
      }
      EXPECT_TRUE(test::same_bytes(planned.store().grads, plain.store().grads));
      planned_adam.step(planned.cx, 1e-3);
      arena->end_step();
      plain_adam.step(plain.cx, 1e-3);
    }
    EXPECT_TRUE(arena->replaying());
    EXPECT_TRUE(test::same_bytes(planned.store().values, plain.store().values));
    EXPECT_TRUE(test::same_bytes(planned.store().buffers, plain.store().buffers));
  }
}

}  // namespace
}  // namespace hr

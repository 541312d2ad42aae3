#include "hrnet/model/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/oracle.h"
#include "tests/support/parameters.h"

namespace hr {
namespace {

using test::Values;
using Names = std::vector<std::string>;

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
}

// Writes a file with the names of a model. Only the shapes that distinguish networks are real; the other tensors have
// one element.
fs::path names_of_model(const std::string& name, int joints, const std::function<bool(const std::string&)>& keep = {},
                        const Names& extra = {}) {
  static const std::vector<float> zeros(1 << 20);
  std::vector<NamedArray> arrays;
  const auto model = declare_model(name, joints);
  for (const auto& entry : model->parameters().entries()) {
    const std::string& n = entry.name();
    if (keep && !keep(n)) continue;
    const bool telling = n == "conv1.weight" || n.starts_with("final_layer.") ||
                         n.starts_with("stage2.0.branches.0.0.conv1.") || n == "layer1.0.conv1.weight";
    const Shape shape = telling ? entry.torch_shape() : Shape{1};
    arrays.push_back(
        {n, DType::f32, shape, std::as_bytes(std::span(zeros)).first(static_cast<size_t>(numel(shape)) * 4)});
  }
  for (const std::string& n : extra) arrays.push_back({n, DType::f32, {1}, std::as_bytes(std::span(zeros)).first(4)});
  fs::path path = test::temporary_folder() / "names.safetensors";
  write_safetensors(path, arrays);
  return path;
}

TEST(GuessModel, KnowsEveryArchitectureAndJointCount) {
  for (const std::string name : {"hrnet_w1", "hrnet_w2", "hrnet_w18", "hrnet_w32", "hrnet_w48", "pose_resnet50",
                                 "pose_resnet101", "pose_resnet152"}) {
    for (const int joints : {1, 16, 17, 133}) {
      const ModelGuess guess = guess_model(WeightFile(names_of_model(name, joints)));
      EXPECT_EQ(guess.model, name);
      EXPECT_EQ(guess.joints, joints) << name;
    }
    const auto backbone = [](const std::string& n) {
      return !n.starts_with("final_layer.") && !n.starts_with("deconv_layers.");
    };
    const ModelGuess guess = guess_model(WeightFile(names_of_model(name, 17, backbone, {"fc.weight", "fc.bias"})));
    EXPECT_EQ(guess.model, name);
    EXPECT_EQ(guess.joints, 0);
    EXPECT_NE(guess.what.find(name), std::string::npos) << guess.what;
  }
  // The later ImageNet files have a final_layer of another kind.
  const auto no_head = [](const std::string& n) { return !n.starts_with("final_layer."); };
  EXPECT_EQ(guess_model(WeightFile(names_of_model("hrnet_w32", 17, no_head, {"final_layer.0.weight"}))).joints, 0);
  // These numbers of blocks are those of no PoseResNet that we know.
  const auto short_one = [](const std::string& n) { return !n.starts_with("layer3.5."); };
  EXPECT_EQ(guess_model(WeightFile(names_of_model("pose_resnet50", 17, short_one))).model, "");
  EXPECT_EQ(guess_model(WeightFile(names_of_model("hrnet_w2", 17, [](auto& n) { return n == "bn1.bias"; }))).model, "");
}

// These networks share HRNet's body but have other heads. A list of what they lack of ours would explain nothing.
TEST(GuessModel, SisterNetworksAreCalledByTheirNames) {
  const auto no_head = [](const std::string& n) { return !n.starts_with("final_layer."); };
  const struct {
    Names head;
    const char* name;
  } sisters[] = {
      {{"final_layers.0.weight", "final_layers.1.weight", "deconv_layers.0.0.0.weight"}, "HigherHRNet"},
      {{"transition_heatmap.0.weight", "head_heatmap.1.weight", "offset_final_layer.0.weight"}, "DEKR"},
      {{"head.0.weight", "head.1.weight", "head.3.weight", "head.3.bias"}, "facial landmark HRNet"},
      {{"aux_head.0.weight", "ocr_distri_head.object_context_block.f_up.0.weight"}, "segmentation"},
      {{"last_layer.0.weight", "last_layer.3.weight"}, "segmentation"},
  };
  const auto model = declare_model("hrnet_w2", 17);
  for (const auto& sister : sisters) {
    SCOPED_TRACE(sister.name);
    const WeightFile file(names_of_model("hrnet_w2", 17, no_head, sister.head));
    EXPECT_NE(guess_model(file).what.find(sister.name), std::string::npos) << guess_model(file).what;
    for (const bool as_a_start : {false, true}) {
      if (as_a_start && std::string_view(sister.name) == "facial landmark HRNet") continue;  // its body is a start
      const std::string why = error_of(
          [&] { as_a_start ? static_cast<void>(load_pretrained(file, *model, false)) : load_weights(file, *model); });
      expect_words(why, {"this is a", sister.name, "hrnet_w2", "top-down"});
      EXPECT_EQ(why.find("classification checkpoint"), std::string::npos) << why;
    }
  }
}

TEST(GuessModel, NamesTheSmallResNetsThatAreNotHere) {
  std::vector<float> zeros(64 * 3 * 49);
  const auto resnet = [&](std::array<int, 4> blocks) {
    const auto bytes = std::as_bytes(std::span(zeros));
    std::vector<NamedArray> arrays{{"conv1.weight", DType::f32, {64, 3, 7, 7}, bytes}};
    for (int layer = 0; layer < 4; ++layer) {
      for (int k = 0; k < blocks[layer]; ++k) {
        const std::string name = fmt::format("layer{}.{}.conv1.weight", layer + 1, k);
        arrays.push_back({name, DType::f32, {1}, bytes.first(4)});
      }
    }
    fs::path path = test::temporary_folder() / "resnet.safetensors";
    write_safetensors(path, arrays);
    return guess_model(WeightFile(path));
  };
  EXPECT_EQ(resnet({2, 2, 2, 2}).what, "a torchvision ResNet-18");
  EXPECT_EQ(resnet({3, 4, 6, 3}).what, "a torchvision ResNet-34");
  EXPECT_EQ(resnet({3, 4, 6, 3}).model, "");
}

// The state dict of a small network, which tests change and write.
struct Weights {
  Context cx;
  std::unique_ptr<PoseModel> model;
  Names left_out;
  std::vector<std::pair<std::string, Shape>> more;

  explicit Weights(const std::string& name = "hrnet_w2", int joints = 17) : model(make_model(cx, name, joints, 5)) {}

  fs::path write() const {
    const fs::path whole = test::temporary_folder() / "whole.safetensors";
    fs::path path = whole.parent_path() / "w.safetensors";
    save_state_dict(whole, model->parameters(), {});
    const SafetensorsFile file(whole);
    std::vector<NamedArray> arrays;
    for (const std::string& n : file.names()) {
      const bool out =
          std::any_of(left_out.begin(), left_out.end(), [&](auto& prefix) { return n.starts_with(prefix); });
      if (!out) arrays.push_back({n, file.at(n).dtype, file.at(n).shape, file.at(n).bytes});
    }
    const std::vector<float> zeros(4096);
    for (const auto& [n, shape] : more)
      arrays.push_back(
          {n, DType::f32, shape, std::as_bytes(std::span(zeros)).first(static_cast<size_t>(numel(shape)) * 4)});
    write_safetensors(path, arrays);
    return path;
  }
};

TEST(LoadWeights, TheReasonStandsBeforeTheDifferences) {
  const fs::path path = Weights().write();
  const WeightFile file(path);
  Context cx;
  const auto other = make_model(cx, "hrnet_w3", 17, 1);
  const Values before = test::values(other->parameters().values);
  std::string why = error_of([&] { load_weights(file, *other); });
  expect_words(why, {"w.safetensors: this is hrnet_w2 with 17 joints; you asked for hrnet_w3: `model` hrnet_w2",
                     "of another shape: transition1.0.0.weight: file [2, 256, 3, 3], model [3, 256, 3, 3]", " in all)",
                     "`compare` with `model` hrnet_w3 lists all 1386"});
  EXPECT_EQ(test::values(other->parameters().values), before);
  EXPECT_LT(why.size(), 1200u) << "for a terminal: " << why;

  const auto sixteen = make_model(cx, "hrnet_w2", 16, 1);
  why = error_of([&] { load_weights(file, *sixteen); });
  expect_words(
      why, {"the file has 17 joints, you asked for 16", "`joints` 17", "`drop_final_layer`",
            "final_layer.weight: file [17, 2, 1, 1], model [16, 2, 1, 1]", "final_layer.bias: file [17], model [16]"});

  const auto resnet = declare_model("pose_resnet50", 17);
  expect_words(error_of([&] { load_weights(file, *resnet); }), {"hrnet_w2", "pose_resnet50", "missing", "unexpected"});

  Weights broken;
  broken.left_out = {"stage3.1.branches.0.2.bn1.running_var"};
  broken.more = {{"stage9.weight", {3}}};
  const auto same = make_model(cx, "hrnet_w2", 17, 1);
  expect_words(error_of([&] { load_weights(WeightFile(broken.write()), *same); }),
               {"do not fit hrnet_w2", "missing: stage3.1.branches.0.2.bn1.running_var", "unexpected: stage9.weight"});
}

TEST(LoadPretrained, AnImageNetBackboneStartsTrainingButPredictsNothing) {
  Weights w;
  w.left_out = {"final_layer."};
  w.more = {{"incre_modules.0.0.conv1.weight", {4, 2, 1, 1}},
            {"stage4.2.fuse_layers.3.1.0.0.weight", {4, 4, 3, 3}},
            {"final_layer.0.weight", {8, 4, 1, 1}},
            {"classifier.bias", {10}},
            {"head.0.0.0.conv1.weight", {1}},
            {"fc.weight", {10, 8}}};
  const WeightFile file(w.write());
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 1);
  expect_words(error_of([&] { load_weights(file, *model); }), {"ImageNet backbone for hrnet_w2", "`train.weights`"});
  const Parameter& head = model->parameters().parameters()[876];
  ASSERT_EQ(head.name, "final_layer.weight");
  const Values initial = test::values(head.value);
  const std::string line = load_pretrained(file, *model, false);
  expect_words(line, {"initial values kept for final_layer (2)", "incre_modules (1)", "stage4.2.fuse_layers (1)",
                      "classifier (1)", "fc (1)"});
  EXPECT_EQ(test::values(head.value), initial);
  EXPECT_TRUE(test::same_bytes(model->parameters().buffers, w.model->parameters().buffers));
  for (size_t k = 0; k < 876; ++k)
    EXPECT_TRUE(
        test::same_bytes(model->parameters().parameters()[k].value, w.model->parameters().parameters()[k].value));

  // Only tensors that are known to belong to classification may be left out, and only the head may be missing.
  w.more.push_back({"auxiliary.weight", {1}});
  expect_words(error_of([&] { load_pretrained(WeightFile(w.write()), *model, false); }), {"auxiliary.weight"});
  w.more.clear();
  w.left_out.push_back("stage2.0.branches.1.3.conv2.weight");
  expect_words(error_of([&] { load_pretrained(WeightFile(w.write()), *model, false); }),
               {"stage2.0.branches.1.3.conv2.weight"});
}

TEST(LoadPretrained, ATorchvisionResNetIsABackboneOfPoseResNet) {
  Weights w("pose_resnet50");
  w.left_out = {"final_layer.", "deconv_layers."};
  w.more = {{"fc.weight", {5, 4}}, {"fc.bias", {5}}};
  const WeightFile file(w.write());
  Context cx;
  const auto model = make_model(cx, "pose_resnet50", 17, 1);
  expect_words(load_pretrained(file, *model, false),
               {"ResNet-50", "initial values kept for deconv_layers (15), final_layer (2)", "left out fc (2)"});
  EXPECT_TRUE(
      test::same_bytes(model->parameters().parameters()[10].value, w.model->parameters().parameters()[10].value));
  const auto deeper = declare_model("pose_resnet101", 17);
  expect_words(error_of([&] { load_pretrained(file, *deeper, false); }), {"ResNet-50", "`model` pose_resnet50"});
}

TEST(LoadPretrained, AFinalLayerOfAnotherJointCountIsDroppedOnlyWhenAsked) {
  const WeightFile file(Weights().write());
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 16, 1);
  const Values initial = test::values(model->parameters().parameters()[876].value);
  expect_words(error_of([&] { load_pretrained(file, *model, false); }), {"the file has 17 joints, you asked for 16"});
  expect_words(load_pretrained(file, *model, true),
               {"hrnet_w2 with 17 joints", "initial values kept for final_layer (2)"});
  EXPECT_EQ(test::values(model->parameters().parameters()[876].value), initial);
  // It is refused also if the count is the same.
  const auto same = make_model(cx, "hrnet_w2", 17, 1);
  const Values own = test::values(same->parameters().parameters()[876].value);
  load_pretrained(file, *same, true);
  EXPECT_EQ(test::values(same->parameters().parameters()[876].value), own);
  load_pretrained(file, *same, false);
  EXPECT_NE(test::values(same->parameters().parameters()[876].value), own);
}

TEST(LoadWeights, TheGoldenBackboneIsReportedInOrder) {
  HR_NEEDS_ORACLE("weights/w2_imagenet_like.expect.json");
  const auto expected = parse_json_file(test::oracle("weights/w2_imagenet_like.expect.json"));
  const WeightFile file(test::oracle("weights/w2_imagenet_like.pth"));
  const auto names = [&](const char* key) {
    Names list;
    for (const auto& n : expected[key].GetArray()) list.emplace_back(n.GetString());
    return list;
  };
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 1);
  const Fit fit = compare(file, model->parameters());
  EXPECT_EQ(fit.missing, names("missing"));
  Names unexpected = fit.unexpected, golden = names("unexpected");
  EXPECT_EQ(fit.unexpected, golden);
  EXPECT_EQ(static_cast<int>(fit.matched), expected["matched"].GetInt());
  EXPECT_TRUE(fit.misshaped.empty());
  EXPECT_THROW(load_weights(file, *model), Error);
  expect_words(load_pretrained(file, *model, false), {"final_layer (2)", "incre_modules", "classifier (2)"});
}

// ---- training checkpoints of PyTorch ----

// Returns the state of the k-th parameter, whichever way the file names it.
const Value& state_of(const WeightFile& file, size_t k) {
  const Value& groups = *file.optimizer()->find("param_groups");
  const Value& params = *groups.as<Value::List>()->items.at(0)->find("params");
  const int64_t key = *params.as<Value::List>()->items.at(k)->as<int64_t>();
  for (const auto& [name, value] : file.optimizer()->find("state")->as<Value::Dict>()->items) {
    if (*name->as<int64_t>() == key) return *value;
  }
  throw Error("no such state");
}

class TorchCheckpoint : public testing::TestWithParam<std::string> {};

TEST_P(TorchCheckpoint, MomentsAreTheFilesAndTheNextStepIsAdams) {
  const std::string name = "weights/" + GetParam();
  HR_NEEDS_ORACLE(name);
  const WeightFile file(test::oracle(name));
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 1);
  ParameterStore& store = model->parameters();
  load_weights(file, *model);
  const double decay = GetParam() == "w2_checkpoint.pth" ? 1e-4 : 0, lr = 1e-3;
  Optimizer optimizer(cx, store, {.weight_decay = decay, .decoupled = true});
  load_optimizer(file, optimizer);
  EXPECT_EQ(optimizer.steps(), 1);

  const auto& parameters = store.parameters();
  std::vector<Values> before(parameters.size()), m(parameters.size()), v(parameters.size()), g(parameters.size());
  const auto part = [&](const Tensor& slab, const Parameter& p) {
    return test::torch_order(p, slab.view(p.shape(), p.value.data<float>() - store.values.data<float>()));
  };
  for (size_t k = 0; k < parameters.size(); ++k) {
    const Parameter& p = parameters[k];
    const Value& state = state_of(file, k);
    m[k] = state.find("exp_avg")->as<ArrayView>()->to_f64();
    v[k] = state.find("exp_avg_sq")->as<ArrayView>()->to_f64();
    EXPECT_EQ(part(optimizer.exp_avg, p), m[k]) << p.name;
    EXPECT_EQ(part(optimizer.exp_avg_sq, p), v[k]) << p.name;
    before[k] = test::torch_order(p, p.value);
    EXPECT_EQ(before[k], file.at(p.name).to_f64()) << p.name;
    const Values drawn = test::random_values(p.grad.numel(), 1000 + k);
    for (int64_t i = 0; i < p.grad.numel(); ++i) p.grad.data<float>()[i] = static_cast<float>(1e-3 * drawn[i]);
    g[k] = test::torch_order(p, p.grad);
  }
  // Adam's second step in double, in torch's order, from the file's moments. Its size is at most about lr. The f32
  // computation is off by a few roundings of that, plus one rounding of the parameter.
  optimizer.step(cx, lr);
  const double b1 = 0.9, b2 = 0.999;
  for (size_t k = 0; k < parameters.size(); ++k) {
    const Values after = test::torch_order(parameters[k], parameters[k].value);
    for (size_t i = 0; i < after.size(); ++i) {
      const double first = b1 * m[k][i] + (1 - b1) * g[k][i], second = b2 * v[k][i] + (1 - b2) * g[k][i] * g[k][i];
      const double step = lr * (first / (1 - b1 * b1)) / (std::sqrt(second / (1 - b2 * b2)) + 1e-8);
      const double expected = before[k][i] * (1 - lr * decay) - step;
      ASSERT_NEAR(after[i], expected, 1e-5 * lr + 2e-7 * std::abs(expected)) << parameters[k].name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, TorchCheckpoint, testing::Values("w2_checkpoint.pth", "w2_official_checkpoint.pth"),
                         [](const auto& i) { return i.param == "w2_checkpoint.pth" ? "seed" : "official"; });

}  // namespace
}  // namespace hr

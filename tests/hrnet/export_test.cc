#include "hrnet/export/onnx.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "hrnet/export/onnx_decode.h"
#include "hrnet/export/onnx_run.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"
#include "hrnet/model/load.h"
#include "tests/support/formula.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

using test::Values;

std::string message_of(const std::function<void()>& body) {
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

// Writes the weights of a pose network to a file. The numbers are computed from the names of the entries.
fs::path write_pose(const std::string& name, int joints, const std::map<std::string, std::string>& metadata = {}) {
  Context cx;
  const auto model = declare_model(name, joints);
  test::allocate_by_formula(cx, model->parameters());
  fs::path path = test::temporary_folder() / (name + ".safetensors");
  save_state_dict(path, model->parameters(), metadata);
  return path;
}

Values pose_output(const WeightFile& file, int64_t n, int64_t h, int64_t w) {
  Context cx;
  return test::values(load_model(cx, file)->forward(cx, test::input_by_formula(cx, n, h, w)));
}

testing::AssertionResult near(const Values& got, const Values& expected, double tolerance) {
  return test::close(got, expected, tolerance * test::max_abs(expected));
}

size_t count(const OnnxModel& model, const std::string& op) {
  return static_cast<size_t>(
      std::count_if(model.nodes.begin(), model.nodes.end(), [&](const auto& n) { return n.op == op; }));
}

// export_onnx() itself compares the results for a batch of three. This function checks that it did so and that the
// differences were small.
void expect_exact(const OnnxReport& r) {
  EXPECT_EQ(r.batch % 2, 1) << "an odd batch";
  EXPECT_GT(r.largest, 0);
  EXPECT_LE(r.relative(), 1e-5);
}

// export_onnx() compares every tensor of bytes with the network's own.
void expect_same_bytes(const OnnxReport& r) {
  EXPECT_TRUE(r.int8);
  EXPECT_GT(r.bytes_check.bytes, 100'000);
  EXPECT_LE(r.bytes_check.steps, 1);
  EXPECT_LE(static_cast<double>(r.bytes_check.differing), 1e-3 * static_cast<double>(r.bytes_check.bytes));
}

TEST(OnnxExport, PoseNetworksGiveTheSameHeatmapsFoldedAndWithBatchNorm) {
  const struct {
    const char* name;
    int joints;
    std::array<int, 2> size;
    size_t convolutions, norms;
  } cases[] = {{"hrnet_w4", 5, {64, 96}, 293, 292}, {"pose_resnet50", 3, {64, 32}, 54, 56}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const WeightFile file(write_pose(c.name, c.joints));
    const fs::path out = test::temporary_folder() / "w.onnx";
    const OnnxReport folded = export_onnx(file, out, {.fixed_size = c.size});
    expect_exact(folded);
    EXPECT_EQ(folded.input, fmt::format("input [batch, 3, {}, {}]", c.size[0], c.size[1]));
    EXPECT_EQ(folded.outputs, fmt::format("heatmaps [batch, {}, {}, {}]", c.joints, c.size[0] / 4, c.size[1] / 4));
    {
      const OnnxFile onnx(out);
      EXPECT_EQ(onnx.model().opset, 17);
      EXPECT_EQ(count(onnx.model(), "Conv"), c.convolutions);
      EXPECT_EQ(count(onnx.model(), "BatchNormalization"), 0u);
      EXPECT_EQ(onnx.model().metadata.at("model"), c.name);
    }
    EXPECT_TRUE(near(pose_output(WeightFile(out), 1, 32, 32), pose_output(file, 1, 32, 32), 1e-5)) << "as weights";
    expect_exact(export_onnx(file, out, {.keep_bn = true, .fixed_size = c.size}));
    EXPECT_EQ(count(OnnxFile(out).model(), "BatchNormalization"), c.norms);
  }
}

const OnnxNode* maker_of(const OnnxModel& model, const std::string& value) {
  const auto found =
      std::find_if(model.nodes.begin(), model.nodes.end(), [&](const OnnxNode& n) { return n.outputs[0] == value; });
  return found == model.nodes.end() ? nullptr : &*found;
}

const NamedArray& tensor_of(const OnnxModel& model, const std::string& name) {
  const auto found =
      std::find_if(model.tensors.begin(), model.tensors.end(), [&](const auto& t) { return t.name == name; });
  check(found != model.tensors.end(), "no tensor {}", name);
  return *found;
}

std::vector<float> floats_of(const ArrayView& view) {
  if (view.dtype == DType::f32) return view.to_f32();
  const std::vector<int64_t> whole = view.to_i64();
  return {whole.begin(), whole.end()};
}
std::vector<float> floats_of(const NamedArray& t) {
  return floats_of(ArrayView{.dtype = t.dtype, .shape = t.shape, .bytes = t.bytes});
}

// Checks that bytes go into and come out of every convolution whose weights are bytes, with the scales of the file.
void expect_quantised(const OnnxModel& model, const WeightFile& file) {
  size_t convolutions = 0, results = 0;
  for (const OnnxNode& n : model.nodes) {
    if (n.op == "QuantizeLinear") {
      const std::string range = n.inputs[1].substr(0, n.inputs[1].rfind(".scale"));
      const std::vector<float> both = file.at(range + ".range").to_f32();
      EXPECT_EQ(floats_of(tensor_of(model, n.inputs[1])), std::vector<float>{(both[1] - both[0]) / 255}) << n.name;
      EXPECT_EQ(tensor_of(model, n.inputs[2]).dtype, DType::u8);
      const float zero = floats_of(tensor_of(model, n.inputs[2]))[0];
      EXPECT_EQ(zero, std::round(-both[0] / ((both[1] - both[0]) / 255)));
      EXPECT_NE(zero == 0, both[0] < 0) << "negative numbers need a zero above 0";
      ++results;
      continue;
    }
    if (n.op != "Conv" && n.op != "ConvTranspose") continue;
    const bool bytes = file.at(n.name + ".weight").dtype == DType::i8;
    const OnnxNode *input = maker_of(model, n.inputs[0]), *weight = maker_of(model, n.inputs[1]);
    if (!bytes) {
      EXPECT_EQ(weight, nullptr) << n.name << " has weights in float32";
      continue;
    }
    ++convolutions;
    ASSERT_TRUE(input != nullptr && weight != nullptr) << n.name;
    EXPECT_EQ(input->op, "DequantizeLinear") << n.name;
    EXPECT_EQ(maker_of(model, input->inputs[0])->op, "QuantizeLinear") << n.name;
    EXPECT_EQ(weight->op, "DequantizeLinear") << n.name;
    ASSERT_NE(weight->find<int64_t>("axis"), nullptr);
    EXPECT_EQ(*weight->find<int64_t>("axis"), n.op == "Conv" ? 0 : 1);
    const NamedArray& stored = tensor_of(model, weight->inputs[0]);
    EXPECT_EQ(stored.dtype, DType::i8);
    EXPECT_EQ(floats_of(stored), floats_of(file.at(n.name + ".weight"))) << n.name;
    const std::vector<float> scale = file.at(n.name + ".weight_scale").to_f32();
    EXPECT_EQ(floats_of(tensor_of(model, weight->inputs[1])), scale) << n.name;
    // The bias is exact in units of the sums.
    const OnnxNode* bias = maker_of(model, n.inputs[2]);
    ASSERT_NE(bias, nullptr) << n.name;
    EXPECT_EQ(tensor_of(model, bias->inputs[0]).dtype, DType::i32);
    const float in_scale = floats_of(tensor_of(model, input->inputs[1]))[0];
    const std::vector<float> units = floats_of(tensor_of(model, bias->inputs[1])),
                             whole = floats_of(tensor_of(model, bias->inputs[0])),
                             expected = file.at(n.name + ".bias").to_f32();
    for (size_t o = 0; o < units.size(); ++o) {
      EXPECT_FLOAT_EQ(units[o], in_scale * scale[o]);
      EXPECT_NEAR(whole[o] * units[o], expected[o], 0.51 * units[o] + 1e-6 * std::abs(expected[o])) << n.name;
    }
  }
  EXPECT_GT(convolutions, 20u);
  EXPECT_GT(results, 20u);
  size_t stored = 0;
  for (const std::string& name : file.names()) stored += file.at(name).dtype == DType::i8 ? 1 : 0;
  EXPECT_EQ(convolutions, stored) << "every convolution of the file";
}

TEST(OnnxExport, WeightsOf8BitsBecomeAGraphWithQuantizeAndDequantize) {
  Context cx;
  for (const char* name : {"hrnet_w4", "pose_resnet50"}) {
    SCOPED_TRACE(name);
    const fs::path weights = write_pose(name, 5), quantised = test::temporary_folder() / "w.int8.safetensors",
                   out = test::temporary_folder() / "w.onnx";
    const auto model = load_model(cx, WeightFile(weights), {}, {}, {}, Purpose::training);
    Int8Calibrator calibrator(*model);
    calibrator.add(test::input_by_formula(cx, 2, 64, 64));
    save_int8(quantised, calibrator.graph(), calibrator.parameters(RangeMethod::max),
              {{"model", name}, {"joints", "5"}, {"color", "rgb"}, {"codec", "udp"}});
    const WeightFile file(quantised);
    const OnnxReport r = export_onnx(file, out, {.fixed_size = {{64, 96}}});
    expect_exact(r);
    expect_same_bytes(r);
    const OnnxFile onnx(out);
    EXPECT_EQ(onnx.model().opset, 17);
    EXPECT_EQ(onnx.model().metadata.at("precision"), "int8");
    EXPECT_EQ(onnx.model().metadata.at("codec"), "udp");
    EXPECT_EQ(onnx.model().metadata.at("source_sha256"), file.sha256());
    expect_quantised(onnx.model(), file);
    expect_words(message_of([&] { export_onnx(file, out, {.keep_bn = true}); }), {"batch norm is folded"});
    expect_words(message_of([&] { export_onnx(file, out, {.half = true}); }), {"8 bits"});
  }
}

TEST(OnnxExport, DetectorsOf8BitsBecomeSuchAGraph) {
  Context cx;
  for (const YoloxShape& shape : {YoloxShape{8, 1, false, 3}, YoloxShape{8, 1, true, 3}}) {
    SCOPED_TRACE(yolox_name(shape));
    const auto model = load_yolox(cx, WeightFile(test::write_yolox(shape)));
    Int8Calibrator calibrator(*model);
    calibrator.add(test::input_by_formula(cx, 2, 64, 64));
    const fs::path quantised = test::temporary_folder() / "y.int8.safetensors",
                   out = test::temporary_folder() / "y.onnx";
    save_int8(quantised, calibrator.graph(), calibrator.parameters(RangeMethod::max),
              {{"model", model->name()}, {"input", "rgb_normalised"}});
    const WeightFile file(quantised);
    const OnnxReport r = export_onnx(file, out, {.decode = true, .fixed_size = {{64, 96}}});
    expect_exact(r);
    expect_same_bytes(r);
    EXPECT_LE(r.pixels, 1e-3);
    expect_quantised(OnnxFile(out).model(), file);
  }
}

TEST(OnnxExport, DetectorsGiveTheSameTableWithTheirStemOverBlocks) {
  for (const YoloxShape& shape :
       {YoloxShape{8, 1, false, 3}, YoloxShape{8, 2, true, 3}, *yolox_shape("yolox_nano", 80)}) {
    SCOPED_TRACE(yolox_name(shape));
    const WeightFile file(test::write_yolox(shape));
    const fs::path out = test::temporary_folder() / "y.onnx";
    for (const bool keep : {false, true}) {
      const OnnxReport r = export_onnx(file, out, {.keep_bn = keep, .fixed_size = {{64, 96}}});
      expect_exact(r);
      EXPECT_EQ(r.input, "images [batch, 3, 64, 96]");
      EXPECT_EQ(r.outputs, fmt::format("output [batch, {}, {}]", Yolox::anchors(64, 96), 5 + shape.classes));
    }
    const OnnxReport boxes = export_onnx(file, out, {.decode = true, .fixed_size = {{64, 96}}});
    expect_exact(boxes);
    EXPECT_LE(boxes.pixels, 1e-4);
    EXPECT_EQ(OnnxFile(out).model().metadata.at("task"), "detection");
  }
}

TEST(OnnxExport, AnExportedFileOpensLikeTheWeightsThatItWasMadeFrom) {
  const fs::path weights = write_pose("hrnet_w4", 5, {{"color", "bgr"}, {"input_h", "64"}, {"input_w", "32"}});
  const WeightFile file(weights);
  const fs::path out = test::temporary_folder() / "w.onnx";
  const Values expected = pose_output(file, 2, 64, 32);
  for (const bool keep : {true, false}) {
    const OnnxReport r = export_onnx(file, out, {.keep_bn = keep});
    EXPECT_EQ(r.input, "input [batch, 3, 64, 32]") << "the weights' own size";
    const WeightFile again(out);
    EXPECT_EQ(again.container(), "onnx");
    EXPECT_EQ(guess_model(again).what, "hrnet_w4 with 5 joints");
    EXPECT_EQ(weight_info(again).color, "bgr");
    EXPECT_TRUE(near(pose_output(again, 2, 64, 32), expected, keep ? 0 : 1e-5)) << keep;
    // The exported network can be exported again.
    expect_exact(export_onnx(again, test::temporary_folder() / "again.onnx"));
  }
  const WeightFile yolox(test::write_yolox({8, 2, true, 3}));
  const auto table = [](const WeightFile& f) {
    Context cx;
    return test::values(load_yolox(cx, f)->forward(cx, test::input_by_formula(cx, 1, 64, 64)));
  };
  export_onnx(yolox, out, {.fixed_size = {{64, 64}}});
  EXPECT_TRUE(near(table(WeightFile(out)), table(yolox), 1e-5));
}

TEST(OnnxExport, HalfStoresFiltersInTwoBytes) {
  const WeightFile file(write_pose("hrnet_w4", 5));
  const fs::path folder = test::temporary_folder(), out = folder / "half.onnx";
  const OnnxReport whole = export_onnx(file, folder / "whole.onnx", {.fixed_size = {{32, 32}}});
  const OnnxReport half = export_onnx(file, out, {.half = true, .fixed_size = {{32, 32}}});
  expect_exact(half);
  EXPECT_GT(half.rounding, 1e-5);
  EXPECT_LT(half.rounding, 1e-2);
  EXPECT_LT(half.bytes, whole.bytes);
  EXPECT_EQ(WeightFile(out).at("conv1.weight").dtype, DType::f16);
  EXPECT_EQ(guess_model(WeightFile(out)).what, "hrnet_w4 with 5 joints");
}

TEST(OnnxExport, ToHalfIsTheNearestHalfToEven) {
  const std::pair<float, uint16_t> known[] = {{0.0F, 0},
                                              {-0.0F, 0x8000},
                                              {1.0F, 0x3c00},
                                              {-2.0F, 0xc000},
                                              {65504.0F, 0x7bff},
                                              {65519.0F, 0x7bff},
                                              {65520.0F, 0x7c00},
                                              {0x1p-14F, 0x0400},
                                              {0x1p-24F, 1},
                                              {0x1p-25F, 0},
                                              {0x1.8p-24F, 2},
                                              {0x1.ff8p-15F, 0x3ff},
                                              {0x1.ffcp-15F, 0x400},
                                              {1 + 0x1p-11F, 0x3c00},
                                              {1 + 0x1.8p-10F, 0x3c02},
                                              {0x1.ffep-1F, 0x3c00}};
  for (const auto& [value, bits] : known) EXPECT_EQ(to_half(value), bits) << value;
}

// The filters are so small that float16 rounds them to 0, and the batch norms, which are not folded, would scale them
// up again.
TEST(OnnxExport, AGraphThatGivesOtherNumbersLeavesNoFileAndTheOldOneStays) {
  auto entries = test::yolox_by_formula({8, 1, false, 3});
  for (auto& [name, e] : entries) {
    if (!name.starts_with("head.stems.")) continue;
    const double factor = name.ends_with("conv.weight") || name.ends_with("running_mean") ? 1e-10
                          : name.ends_with("running_var")                                 ? 1e-20
                          : name.ends_with("bn.weight")                                   ? 3e8
                                                                                          : 1;
    for (float& v : e.numbers) v = static_cast<float>(v * factor);
  }
  const WeightFile file(test::write_entries(entries));
  const fs::path folder = test::temporary_folder(), out = folder / "y.onnx";
  write_file(out, "old");
  const std::string why = message_of([&] {
    export_onnx(file, out, {.keep_bn = true, .half = true, .fixed_size = {{64, 64}}});
  });
  expect_words(why, {"weights in float16 gives other numbers", "No file was written"});
  EXPECT_EQ(read_file(out), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1) << "nothing else is left";
}

TEST(OnnxExport, MetadataTellsHowPicturesBecomeInputs) {
  const WeightFile file(write_pose("hrnet_w4", 17, {{"codec", "msra"}}));
  const fs::path out = test::temporary_folder() / "w.onnx";
  export_onnx(file, out, {.fixed_size = {{64, 64}}, .color = "bgr"});
  const auto m = OnnxFile(out).model().metadata;
  EXPECT_EQ(m.at("task"), "pose");
  EXPECT_EQ(m.at("color"), "bgr");
  EXPECT_EQ(m.at("codec"), "msra");
  EXPECT_EQ(m.at("mean"), "[0.485, 0.456, 0.406]");
  EXPECT_EQ(m.at("input_h"), "64");
  EXPECT_EQ(m.at("skeleton"), "coco");
  EXPECT_EQ(m.at("source_sha256"), file.sha256());
  expect_words(m.at("keypoints"), {"left_shoulder"});
  expect_words(m.at("flip_pairs"), {"[1, 2]"});
  expect_words(m.at("sigmas"), {"0.026"});
}

TEST(OnnxExport, WhatDoesNotFitIsRefused) {
  const fs::path out = test::temporary_folder() / "w.onnx";
  const WeightFile file(write_pose("hrnet_w4", 5, {{"codec", "dark"}}));
  const auto why = [&](const OnnxOptions& o) { return message_of([&] { export_onnx(file, out, o); }); };
  expect_words(why({.decode = true, .fixed_size = {{64, 64}}}), {"`decode`", "dark"});
  expect_words(why({.fixed_size = {{60, 64}}}), {"`fixed_size`", "60 64"});
  expect_words(why({.keypoints_path = "coco"}), {"`keypoints_path`", "17 joints"});
  const WeightFile yolox(test::write_yolox({8, 1, false, 3}));
  expect_words(message_of([&] { export_onnx(yolox, out, {.color = "rgb"}); }), {"`color`", "pose networks"});
  EXPECT_FALSE(fs::exists(out));
}

// A killed export leaves the file that it had not checked yet.
TEST(OnnxExport, WhatAKilledExportLeftIsRemovedByTheNext) {
  const fs::path folder = test::temporary_folder(), left = folder / "w.onnx.unchecked";
  const WeightFile file(write_pose("hrnet_w4", 17));
  for (const bool fails : {false, true}) {
    write_file(left, "half a graph");
    const std::string why = message_of([&] {
      export_onnx(file, folder / "w.onnx", {.fixed_size = {{fails ? 60 : 64, 64}}});
    });
    EXPECT_EQ(why.find("fixed_size") != std::string::npos, fails) << why;
    EXPECT_FALSE(fs::exists(left)) << fails;
  }
}

// The maps have peaks in the middle, at borders and in corners; some have ties, and some have no positive number.
TEST(OnnxDecode, JointsAreThoseOfDecode) {
  constexpr int n = 2, k = 7, h = 6, w = 5;
  std::vector<float> maps(n * h * w * k);  // [n, h, w, k]
  const uint64_t hash = test::fnv1a64("maps");
  for (size_t i = 0; i < maps.size(); ++i) maps[i] = static_cast<float>(test::unit(hash, i));
  const auto at = [&](int i, int y, int x, int j) -> float& {
    return maps[((static_cast<size_t>(i) * h + y) * w + x) * k + j];
  };
  const std::pair<int, int> peaks[] = {{2, 2}, {0, 0}, {h - 1, w - 1}, {3, 0}, {0, 3}, {2, w - 2}};
  for (int j = 0; j < 6; ++j) at(0, peaks[j].first, peaks[j].second, j) = 2;
  at(1, 2, 2, 0) = at(1, 3, 3, 0) = 3;                  // a tie of maxima
  at(1, 2, 2, 1) = 3, at(1, 2, 1, 1) = at(1, 2, 3, 1);  // neighbours that are equal
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) at(1, y, x, 6) = y == 2 && x == 2 ? 0.0F : -1.0F;
  }
  for (const Codec codec : {Codec::argmax, Codec::quarter, Codec::msra}) {
    SCOPED_TRACE(codec_name(codec));
    OnnxBuilder b(false);
    add_joints(b, "heatmaps", h, w, 4, codec);
    OnnxArray in{.dtype = DType::f32, .shape = {n, k, h, w}, .reals = {}, .integers = {}};
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < k; ++j) {
        for (int y = 0; y < h; ++y) {
          for (int x = 0; x < w; ++x) in.reals.push_back(at(i, y, x, j));
        }
      }
    }
    Context cx;
    const OnnxArrays got = run_onnx(cx, b.model, {{"heatmaps", in}}, {"joints", "scores"});
    EXPECT_EQ(got.at("joints").shape, (Shape{n, k, 2}));
    EXPECT_EQ(got.at("scores").shape, (Shape{n, k}));
    const std::vector<float> poses = decode({maps.data(), n, h, w, k}, {.codec = codec});
    for (size_t i = 0; i < n * k; ++i) {
      EXPECT_EQ(got.at("joints").reals[2 * i], 4 * poses[3 * i]) << i;
      EXPECT_EQ(got.at("joints").reals[2 * i + 1], 4 * poses[3 * i + 1]) << i;
      EXPECT_EQ(got.at("scores").reals[i], poses[3 * i + 2]) << i;
    }
  }
}

// PyTorch's name for the node of a module: "layer1.0.conv1" is "/layer1/layer1.0/conv1/Conv".
std::string torch_node(const std::string& module, const std::string& op) {
  std::string text, scope;
  for (size_t at = 0; at <= module.size();) {
    const size_t dot = std::min(module.find('.', at), module.size());
    const std::string part = module.substr(at, dot - at);
    const bool number = part.find_first_not_of("0123456789") == std::string::npos;
    if (!number) scope.clear();
    scope.append(number ? "." : "").append(part);
    // A ModuleList is never called itself, so no scope has its name alone; the number of the element is part of it.
    if (number || (scope != "branches" && scope != "fuse_layers")) text.append("/").append(scope);
    at = dot + 1;
  }
  return text + "/" + op;
}

// Changes an exported network to the form that torch.onnx.export writes for a network in eval mode: batch norms are
// folded, and tensors have numbers instead of names.
OnnxModel as_torch_writes_it(const OnnxFile& file, bool node_names) {
  OnnxModel m = file.model();
  std::map<std::string, std::string> renamed;
  for (NamedArray& t : m.tensors) {
    if (t.name.starts_with("final_layer") || t.dtype != DType::f32 || t.name.starts_with("scales")) continue;
    t.name = renamed[t.name] = fmt::format("onnx::Conv_{}", 1000 + renamed.size());
  }
  for (OnnxNode& n : m.nodes) {
    for (std::string& input : n.inputs) {
      if (renamed.count(input) != 0) input = renamed[input];
    }
    n.name = node_names ? torch_node(n.name, n.op) : "";
  }
  m.metadata.clear();
  return m;
}

TEST(OnnxReading, ModulesAreFoundByTheNamesOfNodesWhereTensorsHaveNone) {
  const WeightFile file(write_pose("hrnet_w4", 5));
  const fs::path folder = test::temporary_folder();
  export_onnx(file, folder / "ours.onnx", {.fixed_size = {{32, 32}}});
  const OnnxFile ours(folder / "ours.onnx");
  EXPECT_EQ(torch_node("stage2.0.branches.0.0.conv1", "Conv"), "/stage2/stage2.0/branches.0/branches.0.0/conv1/Conv");
  write_onnx(folder / "torch.onnx", as_torch_writes_it(ours, true));
  EXPECT_TRUE(near(pose_output(WeightFile(folder / "torch.onnx"), 1, 32, 32), pose_output(file, 1, 32, 32), 1e-5));
  write_onnx(folder / "nameless.onnx", as_torch_writes_it(ours, false));
  expect_words(message_of([&] { WeightFile(folder / "nameless.onnx"); }),
               {"nameless.onnx", "onnx::Conv_1000", "TrainingMode.PRESERVE"});
}

TEST(OnnxReading, EqualTensorsThatWereStoredOnceAreFoundUnderBothNames) {
  const WeightFile file(write_pose("hrnet_w4", 5));
  const fs::path folder = test::temporary_folder();
  export_onnx(file, folder / "ours.onnx", {.keep_bn = true, .fixed_size = {{32, 32}}});
  const OnnxFile ours(folder / "ours.onnx");
  OnnxModel m = ours.model();
  std::erase_if(m.tensors, [](const auto& t) { return t.name == "bn2.running_var"; });
  m.nodes.insert(m.nodes.begin(), {.op = "Identity",
                                   .name = "Identity_0",
                                   .inputs = {"bn1.running_var"},
                                   .outputs = {"bn2.running_var"},
                                   .attributes = {},
                                   .domain = {}});
  write_onnx(folder / "shared.onnx", m);
  const WeightFile shared(folder / "shared.onnx");
  EXPECT_EQ(shared.at("bn2.running_var").to_f32(), file.at("bn1.running_var").to_f32());
  EXPECT_EQ(guess_model(shared).what, "hrnet_w4 with 5 joints");
  Context cx;
  EXPECT_NO_THROW(load_model(cx, shared));
}

}  // namespace
}  // namespace hr

#include "hrnet/model/yolox.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/json.h"
#include "hrnet/model/load.h"
#include "nn/state_dict.h"
#include "tests/support/checkpoints.h"
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

Values run(const Yolox& network, DType precision, int64_t n, int64_t h, int64_t w) {
  Context cx;
  cx.precision = precision;
  return test::values(network.forward(cx, test::input_by_formula(cx, n, h, w)));
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << text << "\" has no \"" << part << '"';
}

testing::AssertionResult near(const Values& got, const Values& expected, double tolerance) {
  return test::close(got, expected, tolerance * test::max_abs(expected));
}

TEST(Yolox, NamesOrderAndShapesAreTheOfficialStateDicts) {
  HR_NEEDS_ORACLE("yolox/layouts.json");
  const auto layouts = parse_json_file(test::oracle("yolox/layouts.json"));
  for (const char* size : {"nano", "tiny", "s", "m", "l", "x"}) {
    SCOPED_TRACE(size);
    const std::string name = std::string("yolox_") + size;
    const Yolox network(yolox_shape(name).value());
    EXPECT_EQ(network.name(), name);
    const auto& golden = layouts[size]["entries"];
    const auto& entries = network.layout().entries();
    ASSERT_EQ(entries.size(), golden.Size());
    for (unsigned i = 0; i < golden.Size(); ++i) {
      Shape shape;
      for (const auto& d : golden[i][1].GetArray()) shape.push_back(d.GetInt64());
      ASSERT_EQ(entries[i].name(), golden[i][0].GetString()) << i;
      EXPECT_EQ(entries[i].torch_shape(), shape) << entries[i].name();
      EXPECT_EQ(entries[i].parameter != nullptr, std::string(golden[i][2].GetString()) == "param") << entries[i].name();
    }
    EXPECT_EQ(network.layout().parameter_count(), layouts[size]["parameters"].GetInt64());
  }
}

// The published numbers of entries and parameters, for a clone without the golden data.
TEST(Yolox, HasThePublishedNumberOfParameters) {
  const std::tuple<const char*, size_t, int64_t> published[] = {
      {"yolox_nano", 642, 912'159}, {"yolox_tiny", 462, 5'055'855}, {"yolox_s", 462, 8'968'255},
      {"yolox_m", 606, 25'326'495}, {"yolox_l", 750, 54'208'895},   {"yolox_x", 894, 99'071'455}};
  for (const auto& [name, entries, parameters] : published) {
    const Yolox network(yolox_shape(name).value());
    EXPECT_EQ(network.layout().entries().size(), entries) << name;
    EXPECT_EQ(network.layout().parameter_count(), parameters) << name;
  }
}

// The error of float32 itself is at most 5.2e-6 of the largest value.
TEST(Yolox, OutputsAreTheOfficialNetworks) {
  HR_NEEDS_ORACLE("yolox/yolox.json");
  const auto json = parse_json_file(test::oracle("yolox/yolox.json"));
  int runs = 0;
  std::string loaded;
  std::unique_ptr<Yolox> network;
  for (const auto& member : json["runs"].GetObject()) {
    const std::string name = member.name.GetString();  // yolox_nano_416x416_n1
    SCOPED_TRACE(name);
    int h = 0, w = 0, n = 0;
    char size[8];
    ASSERT_EQ(std::sscanf(name.c_str(), "yolox_%7[a-z]_%dx%d_n%d", size, &h, &w, &n), 4);
    const std::string model = std::string("yolox_") + size;
    if (model != loaded) network = load_yolox(Context(), WeightFile(test::write_yolox(yolox_shape(model).value())));
    loaded = model;
    const SafetensorsFile golden(test::oracle("yolox/" + name + ".safetensors"));
    // The bytes of these files are in the order [N, 85, A], before the last permutation of the official code, although
    // their headers say [N, A, 85]. The range of objectness in yolox.json fits column 4 only in this order.
    const ArrayView& output = golden.at("output");
    const int64_t anchors = output.shape[1], columns = output.shape[2];
    const Values expected = test::second_to_last(output.to_f64(), {n, columns, 1, anchors});
    double least = 2, most = -1;
    for (size_t i = 4; i < expected.size(); i += static_cast<size_t>(columns)) {
      least = std::min(least, expected[i]);
      most = std::max(most, expected[i]);
    }
    EXPECT_NEAR(least, member.value["obj"][0].GetDouble(), 1e-6);
    EXPECT_NEAR(most, member.value["obj"][1].GetDouble(), 1e-6);
    EXPECT_TRUE(near(run(*network, DType::f32, n, h, w), expected, 2e-5));
    EXPECT_TRUE(near(run(*network, DType::bf16, n, h, w), expected, 5e-2));
    ++runs;
  }
  EXPECT_GE(runs, 5);
}

// Small networks, computed in double with NumPy (tests/hrnet/data/yolox_golden.py).
TEST(Yolox, OutputsAreThoseOfAPlainNetworkInDouble) {
  const SafetensorsFile golden(test::source_folder() / "tests/hrnet/data/yolox_golden.safetensors");
  const struct {
    YoloxShape shape;
    const char* name;
    int64_t n, h, w;
  } cases[] = {{{8, 1, false, 3}, "yolox_c8_d1", 2, 64, 96}, {{8, 2, true, 3}, "yolox_c8_d2_depthwise", 1, 96, 32}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const WeightFile file(test::write_yolox(c.shape));
    const auto network = load_yolox(Context(), file);
    EXPECT_EQ(network->name(), c.name);
    const Values expected = golden.at(c.name).to_f64();
    EXPECT_TRUE(near(run(*network, DType::f32, c.n, c.h, c.w), expected, 2e-5));
    EXPECT_TRUE(near(run(*network, DType::bf16, c.n, c.h, c.w), expected, 5e-2));
  }
}

// The published files hold {"model": ..., "start_epoch": ..., "optimizer": ...}; ByteTrack's have one class.
TEST(Yolox, ACheckpointOfTheOfficialProjectIsLoaded) {
  const YoloxShape shape{4, 1, true, 1};
  const auto entries = test::yolox_by_formula(shape);
  test::PthBuilder builder;
  std::vector<std::pair<std::string, std::string>> model;
  for (const auto& [name, e] : entries) {
    model.emplace_back(name, builder.tensor(e.shape, e.numbers));
  }
  const fs::path folder = test::temporary_folder();
  builder.write_zip(folder / "nano_mot17.pth.tar", test::pickled::dict({{"start_epoch", test::pickled::integer(80)},
                                                                        {"model", test::pickled::dict(model)},
                                                                        {"optimizer", test::pickled::dict({})}}));
  const WeightFile file(folder / "nano_mot17.pth.tar");
  const std::optional<YoloxInfo> info = yolox_info(file);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->shape, shape);
  EXPECT_EQ(info->describe(), "yolox_c4_d1_depthwise, a detector of 1 class");
  const auto network = load_yolox(Context(), WeightFile(test::write_entries(entries)));
  EXPECT_EQ(run(*load_yolox(Context(), file), DType::f32, 1, 64, 64), run(*network, DType::f32, 1, 64, 64));
}

TEST(Yolox, TheStemTellsThePreprocessing) {
  auto entries = test::yolox_by_formula({8, 1, false, 3});
  EXPECT_EQ(yolox_info(WeightFile(test::write_entries(entries)))->input(), YoloxInput::rgb_normalised);
  // Numbers that are 50 times as large still describe the same network, whether the factor is in the filter or in its
  // batch norm.
  for (const char* entry : {"backbone.backbone.stem.conv.conv.weight", "backbone.backbone.stem.conv.bn.weight"}) {
    auto smaller = entries;
    for (auto& [name, e] : smaller) {
      for (float& v : e.numbers) v *= name == entry ? 0.02f : 1.0f;
    }
    EXPECT_EQ(yolox_info(WeightFile(test::write_entries(smaller)))->input(), YoloxInput::bgr_255) << entry;
  }
}

TEST(Yolox, ThePublishedNanoWeightsWantBgr) {
  HR_NEEDS_ORACLE("../real/detector/yolox_nano.pth");
  const WeightFile file(test::oracle("../real/detector/yolox_nano.pth"));
  const std::optional<YoloxInfo> info = yolox_info(file);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->describe(), "yolox_nano, a detector of 80 classes");
  EXPECT_EQ(info->input(), YoloxInput::bgr_255) << info->stem_size;
  EXPECT_EQ(load_yolox(Context(), file)->name(), "yolox_nano");
}

TEST(Yolox, AFileThatDoesNotFitIsRefusedWithTheReason) {
  const Context cx;
  auto entries = test::yolox_by_formula({8, 1, false, 3});
  auto fewer = entries;
  std::erase_if(fewer, [](const auto& e) { return e.first == "backbone.C3_n4.conv2.bn.running_var"; });
  EXPECT_TRUE(contains(message_of([&] { load_yolox(cx, WeightFile(test::write_entries(fewer))); }),
                       "missing: backbone.C3_n4.conv2.bn.running_var"));
  auto more = entries;
  more.emplace_back("head.extra.weight", test::MadeEntry{{2}, {1, 2}});
  EXPECT_TRUE(
      contains(message_of([&] { load_yolox(cx, WeightFile(test::write_entries(more))); }), "head.extra.weight"));
  auto other = entries;
  for (auto& [name, e] : other) {
    if (name == "head.obj_preds.2.weight") e = {{2, 32, 1, 1}, std::vector<float>(64)};
  }
  EXPECT_TRUE(
      contains(message_of([&] { load_yolox(cx, WeightFile(test::write_entries(other))); }), "head.obj_preds.2.weight"));
  const WeightFile file(test::write_entries(entries));
  EXPECT_TRUE(contains(message_of([&] { load_yolox(cx, file, "yolox_s"); }),
                       "this is yolox_c8_d1, a detector of 3 classes; you asked for yolox_s"));
  // A pose program says what kind of file it is.
  EXPECT_TRUE(contains(guess_model(file).what, "yolox_c8_d1, a detector of 3 classes"));
  EXPECT_TRUE(guess_model(file).model.empty());
}

TEST(Yolox, WhatCannotRunIsRefused) {
  Context cx;
  const Yolox empty({8, 1, false, 3});
  EXPECT_TRUE(contains(message_of([&] { empty.forward(cx, cx.zeros({1, 64, 64, 3}, DType::f32)); }), "no weights"));
  const auto network = load_yolox(cx, WeightFile(test::write_yolox({8, 1, false, 3})));
  EXPECT_TRUE(contains(message_of([&] {
                         network->forward(cx, cx.zeros({1, 60, 64, 3}, DType::f32));
                       }),
                       "multiples of 32, got 60 x 64"));
}

}  // namespace
}  // namespace hr

#include "tools/programs/convert.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/checkpoints.h"
#include "tests/support/formula.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_samples.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

using test::bits;
using test::PthBuilder;
using test::Values;
using namespace test::pickled;  // NOLINT(google-build-using-namespace)

std::string error_of(const ConvertOptions& o) {
  try {
    convert(o);
  } catch (const Error& e) {
    return with_flags(e.what());
  }
  return "";
}

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
}

void expect_same_tensors(const WeightFile& a, const WeightFile& b) {
  ASSERT_EQ(a.names(), b.names());
  for (const std::string& name : a.names()) {
    EXPECT_EQ(a.at(name).dtype, b.at(name).dtype) << name;
    EXPECT_EQ(a.at(name).shape, b.at(name).shape) << name;
    EXPECT_TRUE(bits(a.at(name)) == bits(b.at(name))) << name;
  }
}

// Sets the members by name, because gcc 12 warns of the base class's members where they are left out of a list.
ConvertOptions options_of(const fs::path& from, const fs::path& to, const std::string& color = "") {
  ConvertOptions options;
  options.input = from.string();
  options.output = to.string();
  options.color = color;
  return options;
}

void convert_file(const fs::path& from, const fs::path& to, const std::string& color = "") {
  convert(options_of(from, to, color));
}

// Converts there and back. Every step has the same tensors in the same order.
void round_trip(const fs::path& start, const fs::path& folder) {
  convert_file(start, folder / "a.safetensors");
  convert_file(folder / "a.safetensors", folder / "b.pth");
  convert_file(folder / "b.pth", folder / "c.safetensors");
  convert_file(folder / "b.pth", folder / "d.pth");
  const WeightFile first(start);
  for (const char* name : {"a.safetensors", "b.pth", "c.safetensors", "d.pth"}) {
    SCOPED_TRACE(name);
    expect_same_tensors(first, WeightFile(folder / name));
  }
  EXPECT_EQ(read_file(folder / "b.pth"), read_file(folder / "d.pth"));
}

TEST(Convert, KeepsBitsTypesShapesAndOrder) {
  const fs::path folder = test::temporary_folder();
  std::vector<std::byte> bytes(48);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(7 * i + 1);
  std::vector<NamedArray> arrays;
  for (const DType t :
       {DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::f32}) {
    const auto n = static_cast<int64_t>(48 / size_of(t) / 2);
    arrays.push_back({fmt::format("z.{}", name_of(t)), t, {2, n}, bytes});
  }
  const std::byte flags[] = {std::byte{1}, std::byte{0}, std::byte{1}};
  arrays.push_back({"a.bool", DType::boolean, {3}, flags});
  arrays.push_back({"scalar", DType::i64, {}, std::span(bytes).first(8)});
  arrays.push_back({"empty", DType::f32, {0, 3}, {}});
  write_pth(folder / "start.pth", arrays);
  round_trip(folder / "start.pth", folder);
}

TEST(Convert, ViewsBecomeDense) {
  const fs::path folder = test::temporary_folder();
  PthBuilder b;
  const std::string floats = storage("FloatStorage", "0", 12);
  std::vector<float> numbers(12);
  for (size_t i = 0; i < 12; ++i) numbers[i] = static_cast<float>(i);
  b.tensor({12}, numbers);  // storage "0"
  b.write_zip(folder / "views.pth", dict({{"model", dict({{"turned", tensor(floats, 0, {3, 4}, {1, 3})},
                                                          {"every_second", tensor(floats, 1, {5}, {2})},
                                                          {"same", tensor(floats, 2, {2, 3}, {0, 1})}})},
                                          {"epoch", integer(1)}}));
  round_trip(folder / "views.pth", folder);
  const WeightFile file(folder / "b.pth");
  EXPECT_EQ(file.at("turned").to_f64(), (Values{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  EXPECT_EQ(file.at("every_second").to_f64(), (Values{1, 3, 5, 7, 9}));
  EXPECT_EQ(file.at("same").to_f64(), (Values{2, 3, 4, 2, 3, 4}));
  for (const std::string& name : file.names()) EXPECT_TRUE(file.at(name).dense()) << name;
}

TEST(Convert, ColourOrderAndInputSizeTravelWithTheWeights) {
  const fs::path folder = test::temporary_folder();
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 1);
  Optimizer optimizer(cx, model->parameters(), {});
  save_state_dict(folder / "last.safetensors", model->parameters(),
                  {{"format", "hrnet.cpp checkpoint 1"},
                   {"model", "hrnet_w2"},
                   {"joints", "17"},
                   {"color", "bgr"},
                   {"input_h", "128"},
                   {"input_w", "96"},
                   {"codec", "quarter"},
                   {"position", "{}"},
                   {"history", "[]"}},
                  &optimizer);
  convert_file(folder / "last.safetensors", folder / "best.safetensors");
  const WeightFile file(folder / "best.safetensors");
  const WeightInfo info = weight_info(file);
  EXPECT_EQ(info.color, "bgr");
  EXPECT_EQ(info.input_h, 128);
  EXPECT_EQ(info.input_w, 96);
  EXPECT_EQ(info.codec, "quarter");
  EXPECT_EQ(file.metadata().count("position") + file.metadata().count("history"), 0u);
  EXPECT_FALSE(file.contains("optimizer.exp_avg"));
  EXPECT_TRUE(load_model(cx, file)->bgr_input());
  EXPECT_FALSE(load_model(cx, file, {}, {}, "rgb")->bgr_input()) << "asked for";

  // A .pth has no place for it, but the flag on the way back records it.
  convert_file(folder / "best.safetensors", folder / "best.pth");
  EXPECT_FALSE(load_model(cx, folder / "best.pth")->bgr_input());
  convert_file(folder / "best.pth", folder / "again.safetensors", "bgr");
  EXPECT_TRUE(load_model(cx, folder / "again.safetensors")->bgr_input());
}

TEST(Convert, AnOutputThatEndsInOnnxGetsTheNetwork) {
  const fs::path folder = test::temporary_folder();
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 1);
  save_state_dict(folder / "w.safetensors", model->parameters(), {{"color", "bgr"}});
  ConvertOptions o = options_of(folder / "w.safetensors", folder / "w.onnx");
  o.fixed_size = {64, 32};
  o.decode = true;
  convert(o);
  const WeightFile file(folder / "w.onnx");
  EXPECT_EQ(weight_info(file).color, "bgr");
  EXPECT_EQ(weight_info(file).input_h, 64);
  // Back again: the same network in another container.
  convert_file(folder / "w.onnx", folder / "back.pth");
  EXPECT_EQ(load_model(cx, folder / "back.pth")->name(), "hrnet_w2");
  o.output = (folder / "w.pth").string();
  expect_words(error_of(o), {"--decode", "ends in .onnx"});
  expect_words(error_of(options_of(folder / "w.onnx", folder / "w.onnx")), {"is the input itself"});
}

// The programs take from a file's metadata how much memory they need.
TEST(WeightInfo, NumbersOutOfRangeAreRefusedWithFileFieldValueAndRange) {
  const fs::path path = test::temporary_folder() / "w.safetensors";
  const float one = 1;
  const NamedArray array{"w", DType::f32, {1}, std::as_bytes(std::span(&one, 1))};
  const auto why = [&](const char* field, const std::string& value) -> std::string {
    write_safetensors(path, std::span(&array, 1), {{field, value}});
    try {
      static_cast<void>(weight_info(WeightFile(path)));
    } catch (const Error& e) {
      return with_flags(e.what());
    }
    return "";
  };
  const std::string range = "expected a whole number from 32 to 4096, a multiple of 32";
  for (const char* field : {"input_h", "input_w"}) {
    for (const char* value : {"1073741824", "99999999999999999999", "0", "-64", "256abc", "", "100", "1e2", "4128"}) {
      expect_words(why(field, value), {"w.safetensors: ", field, fmt::format("\"{}\"", value).c_str(), range.c_str()});
    }
    EXPECT_EQ(why(field, "4096"), "");
    EXPECT_EQ(why(field, "32"), "");
  }
  for (const char* value : {"0", "1073741824", "x"}) {
    expect_words(why("joints", value), {"w.safetensors: ", "joints", value, "expected a whole number from 1 to 10000"});
  }
  expect_words(why("input_h", std::string(5000, '9')), {"99999"});
  EXPECT_LT(why("input_h", std::string(5000, '9')).size(), 500u);
}

// hrnet_w1024 has 120 GB of parameters. Nothing of it may be allocated for a file with a single number.
TEST(WeightInfo, AModelThatDoesNotFitTheFileIsRefusedBeforeItsMemoryIsTaken) {
  const fs::path path = test::temporary_folder() / "w.safetensors";
  const float one = 1;
  const NamedArray array{"w", DType::f32, {1}, std::as_bytes(std::span(&one, 1))};
  write_safetensors(path, std::span(&array, 1), {{"model", "hrnet_w1024"}, {"joints", "17"}});
  class Counting : public Allocator {
   public:
    void* allocate(size_t bytes) override {
      largest = std::max(largest, bytes);
      throw Error("the model was allocated");
    }
    void deallocate(void*, size_t) noexcept override {}
    size_t peak_bytes() const override { return largest; }
    size_t largest = 0;
  };
  Context cx;
  const auto counting = std::make_shared<Counting>();
  cx.allocator = counting;
  std::string message;
  try {
    static_cast<void>(load_model(cx, path));
  } catch (const Error& e) {
    message = with_flags(e.what());
  }
  expect_words(message, {"w.safetensors: ", "hrnet_w1024", "missing: conv1.weight"});
  EXPECT_EQ(counting->largest, 0u);
}

TEST(Convert, RefusesWhatWouldLoseSomething) {
  const fs::path folder = test::temporary_folder();
  PthBuilder b;
  b.write_zip(folder / "w.pth", dict({{"w", b.tensor({1}, {1})}}));
  const std::string before = read_file(folder / "w.pth"), in = (folder / "w.pth").string();
  expect_words(error_of(options_of(in, in)), {"w.pth", "input itself"});
  fs::create_symlink(folder / "w.pth", folder / "link.pth");
  expect_words(error_of(options_of(in, folder / "link.pth")), {"link.pth", "input itself"});
  expect_words(error_of(options_of(in, folder / "out.bin")), {".safetensors", ".pth"});
  expect_words(error_of(options_of(in, "")), {"--info"});
  ConvertOptions info = options_of(in, "x.pth");
  info.info = true;
  expect_words(error_of(info), {"--info"});
  expect_words(error_of(options_of(folder / "none.pth", "x.pth")), {"none.pth"});
  EXPECT_EQ(read_file(folder / "w.pth"), before);

  // An existing file at the target stays if the input turns out to be damaged.
  std::string damaged = before;
  damaged[damaged.find("\x00\x00\x80\x3f", 0, 4)] ^= 1;
  write_file(folder / "damaged.pth", damaged);
  write_file(folder / "out.safetensors", "precious");
  expect_words(error_of(options_of(folder / "damaged.pth", folder / "out.safetensors")), {"damaged.pth", "CRC"});
  EXPECT_EQ(read_file(folder / "out.safetensors"), "precious");
}

TEST(Convert, KnowsTheHashInAFileName) {
  EXPECT_EQ(hash_in_name("a/hrnet_w32-36af842e.pth"), "36af842e");
  EXPECT_EQ(hash_in_name("hrnet_w32_coco_256x192-c78dce93_20200708.pth"), "c78dce93");
  EXPECT_EQ(hash_in_name("x-b511d8987c41f01a.safetensors"), "b511d8987c41f01a");
  EXPECT_EQ(hash_in_name("pose_hrnet_w32_256x192.pth"), "");
  EXPECT_EQ(hash_in_name("a-36af842.pth"), "") << "seven digits";
  EXPECT_EQ(hash_in_name("a-36af842x.pth"), "");
  EXPECT_EQ(hash_in_name("36af842e.pth"), "");
  EXPECT_EQ(hash_in_name("-.pth"), "");
}

TEST(Convert, TheReportSaysWhatAFileIs) {
  const fs::path folder = test::temporary_folder();
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 16, 1);
  save_state_dict(folder / "w.safetensors", model->parameters(), {});
  const std::string sha = WeightFile(folder / "w.safetensors").sha256();
  const std::string good = fmt::format("w-{}.safetensors", sha.substr(0, 8));
  fs::copy_file(folder / "w.safetensors", folder / good);
  fs::copy_file(folder / "w.safetensors", folder / "w-0123abcd.safetensors");
  std::string text = report(WeightFile(folder / good), {});
  expect_words(text, {"container    safetensors", "hrnet_w2 with 16 joints", "rgb", "1,754: 1462 f32, 292 i64",
                      sha.c_str(), "matches", "1,754 of 1,754 entries of hrnet_w2 with 16 joints match",
                      "\nconv1.weight ", "[64, 3, 3, 3]", "\nfinal_layer.bias ", "--all"});
  EXPECT_NE(text.find(fmt::format("parameters   {}",
                                  [&] {
                                    std::string n = std::to_string(model->parameters().parameter_count());
                                    return n.substr(0, n.size() - 3) + "," + n.substr(n.size() - 3);
                                  }())),
            std::string::npos)
      << text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 45);
  expect_words(report(WeightFile(folder / "w-0123abcd.safetensors"), {}), {"DOES NOT MATCH"});
  text = report(WeightFile(folder / good), {.all = true});
  EXPECT_GT(std::count(text.begin(), text.end(), '\n'), 1754);

  text = report(WeightFile(folder / good), {.model = "hrnet_w3"});
  expect_words(text, {"this is hrnet_w2", "--model hrnet_w2", "of another shape (1386):",
                      "\n    transition1.0.0.weight: file [2, 256, 3, 3], model [3, 256, 3, 3]\n",
                      "\n    final_layer.weight: file [16, 2, 1, 1], model [16, 3, 1, 1]\n"});
  text = report(WeightFile(folder / good), {.model = "hrnet_w2", .joints = 17});
  expect_words(text, {"--num-joints 16", "of another shape (2):"});
}

TEST(Convert, GoldenFilesSurviveTheRoundTrip) {
  HR_NEEDS_ORACLE("weights/w2_zip.pth");
  for (const char* name : {"w2_half.pth", "w2_noncontiguous.pth", "w2_legacy.pth", "w2_official_checkpoint.pth",
                           "w2_imagenet_like.pth", "zoo_zip_proto2.pth", "zoo_legacy_proto4.pth", "zoo.safetensors"}) {
    SCOPED_TRACE(name);
    round_trip(test::oracle(std::string("weights/") + name), test::temporary_folder());
  }
}

// ---- whole networks: formula weights through both containers into the network ----

class ConvertedNetwork : public testing::TestWithParam<std::string> {};

double relative_to_max(const Tensor& actual, const Values& expected) {
  const Values v = test::values(actual);
  EXPECT_EQ(v.size(), expected.size());
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double off = std::abs(v[i] - expected[i]);
    worst = off <= worst ? worst : off;  // a NaN counts
  }
  return worst / test::max_abs(expected);
}

TEST_P(ConvertedNetwork, GivesTheGoldenHeatmaps) {
  const std::string golden_file = "forward/" + GetParam() + ".safetensors";
  HR_NEEDS_ORACLE(golden_file);
  const std::string name = GetParam().substr(0, GetParam().find('_', GetParam().find('_') + 1));
  const SafetensorsFile golden(test::oracle(golden_file));
  const Shape s = golden.at("output").shape;  // [N, 17, H/4, W/4]
  const Values expected = test::ours(golden.at("output"));
  const fs::path folder = test::temporary_folder();
  {
    Context cx;
    const auto model = declare_model(name, 17);
    test::allocate_by_formula(cx, model->parameters());
    save_state_dict(folder / "formula.safetensors", model->parameters(), {});
  }
  convert_file(folder / "formula.safetensors", folder / "a.pth");
  convert_file(folder / "a.pth", folder / "b.safetensors");
  expect_same_tensors(WeightFile(folder / "formula.safetensors"), WeightFile(folder / "b.safetensors"));
  for (const char* file : {"a.pth", "b.safetensors"}) {
    SCOPED_TRACE(file);
    Context cx;
    const auto model = load_model(cx, folder / file);  // the file says what it is
    EXPECT_EQ(model->name(), name);
    EXPECT_EQ(model->joints(), 17);
    EXPECT_EQ(model->bgr_input(), name.starts_with("pose_resnet"));
    const Tensor y = model->forward(cx, test::input_by_formula(cx, s[0], 4 * s[2], 4 * s[3]));
    EXPECT_LE(relative_to_max(y, expected), 5e-6);
  }
  fs::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Golden, ConvertedNetwork,
                         testing::Values("hrnet_w32_96x160_n3", "hrnet_w48_384x288_n1", "pose_resnet50_256x192_n1",
                                         "pose_resnet101_256x192_n1", "pose_resnet152_256x192_n1"),
                         [](const auto& i) { return i.param; });

}  // namespace
}  // namespace hr

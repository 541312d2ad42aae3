#include "nn/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "core/error.h"
#include "tests/support/checkpoints.h"
#include "tests/support/oracle.h"
#include "tests/support/parameters.h"
#include "tests/support/pth_samples.h"

namespace hr {
namespace {

using test::bits;
using test::PthBuilder;
using test::Values;
using namespace test::pickled;  // NOLINT(google-build-using-namespace)
using Names = std::vector<std::string>;

std::string why_refused(const fs::path& path) {
  try {
    const WeightFile file(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::string state_dict(PthBuilder& b, const std::string& prefix = "") {
  return dict({{prefix + "conv.weight", b.tensor({2, 1, 1, 1}, {1, 2})}, {prefix + "bn.bias", b.tensor({1}, {3})}});
}

TEST(WeightFile, FindsTheStateDictInsideItsWrapper) {
  using Writer = Wrapper::Writer;
  const std::string adam = dict({{"state", "}"}, {"param_groups", "]"}});
  const auto mmpose = [](PthBuilder& b, const std::string& head) {
    return dict({{"backbone.conv.weight", b.tensor({2, 1, 1, 1}, {1, 2})}, {head + "bn.bias", b.tensor({1}, {3})}});
  };
  const struct {
    const char* what;
    std::function<std::string(PthBuilder&)> value;
    Writer writer;
    std::string entry;
    int64_t next_epoch;  // -1: none
    bool optimizer;
  } cases[] = {
      {"plain", [](auto& b) { return state_dict(b); }, Writer::plain, "", -1, false},
      {"plain, of DataParallel", [](auto& b) { return state_dict(b, "module."); }, Writer::plain, "", -1, false},
      {"seed",
       [&](auto& b) {
         return dict({{"model", state_dict(b)}, {"optimizer", adam}, {"lr_scheduler", "}"}, {"epoch", integer(3)}});
       },
       Writer::seed, "model", 4, true},
      {"simple-HRNet",
       [&](auto& b) {
         return dict(
             {{"epoch", integer(3)}, {"model", state_dict(b, "module.")}, {"optimizer", adam}, {"params", "]"}});
       },
       Writer::simple_hrnet, "model", 3, true},
      {"official",
       [&](auto& b) {
         return dict({{"epoch", integer(7)},
                      {"model", text("pose_hrnet")},
                      {"state_dict", state_dict(b, "module.")},
                      {"best_state_dict", dict({{"other", b.tensor({1}, {9})}})},
                      {"perf", "G" + std::string("\x3f\xe0\0\0\0\0\0\0", 8)},
                      {"optimizer", adam}});
       },
       Writer::official, "state_dict", 7, true},
      {"best only",
       [](auto& b) {
         return dict({{"best_state_dict", state_dict(b)}, {"note", text("x")}});
       },
       Writer::other, "best_state_dict", -1, false},
      {"mmpose 0.x",
       [&](auto& b) {
         return dict({{"meta", dict({{"epoch", integer(210)}})}, {"state_dict", mmpose(b, "keypoint_head.")}});
       },
       Writer::mmpose, "state_dict", 210, false},
      {"mmpose 1.x",
       [&](auto& b) {
         return dict({{"message_hub", "}"}, {"state_dict", mmpose(b, "head.")}});
       },
       Writer::mmpose, "state_dict", -1, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    for (const bool legacy : {false, true}) {
      PthBuilder b;
      const fs::path path = test::temporary_folder() / "weights.pth";
      const std::string value = c.value(b);
      legacy ? b.write_legacy(path, value) : b.write_zip(path, value);
      const WeightFile file(path);
      EXPECT_EQ(file.container(), legacy ? "legacy" : "zip");
      EXPECT_EQ(file.wrapper().writer, c.writer) << file.wrapper().describe();
      EXPECT_EQ(file.wrapper().entry, c.entry);
      EXPECT_EQ(file.names(), (Names{"conv.weight", "bn.bias"}));
      EXPECT_EQ(file.at("conv.weight").to_f64(), (Values{1, 2}));
      EXPECT_EQ(file.at("conv.weight").shape, (Shape{2, 1, 1, 1}));
      EXPECT_EQ(file.at("bn.bias").to_f64(), (Values{3}));
      EXPECT_EQ(file.next_epoch().value_or(-1), c.next_epoch);
      EXPECT_EQ(file.optimizer() != nullptr, c.optimizer);
      EXPECT_FALSE(file.contains("other"));
      EXPECT_THROW(file.at("other"), Error);
    }
  }
}

TEST(WeightFile, WrappersOfOtherToolsArePeeled) {
  const struct {
    const char* what;
    std::function<std::string(PthBuilder&)> value;
    std::string entry, prefix;
  } cases[] = {
      {"torch.compile", [](auto& b) { return state_dict(b, "_orig_mod."); }, "", "\"_orig_mod.\""},
      {"DataParallel twice", [](auto& b) { return state_dict(b, "module.module."); }, "", "\"module.\", \"module.\""},
      {"compiled, then parallel", [](auto& b) { return state_dict(b, "module._orig_mod."); }, "",
       "\"module.\", \"_orig_mod.\""},
      {"Lightning",
       [](auto& b) {
         return dict({{"epoch", integer(3)}, {"state_dict", state_dict(b, "model.")}});
       },
       "state_dict", "\"model.\""},
      {"a class around it", [](auto& b) { return state_dict(b, "net."); }, "", "\"net.\""},
      {"a backbone alone", [](auto& b) { return state_dict(b, "model.backbone."); }, "", "\"model.\", \"backbone.\""},
      {"PyTorch's tutorial",
       [](auto& b) {
         return dict({{"model_state_dict", state_dict(b)}, {"optimizer_state_dict", dict({{"state", "}"}})}});
       },
       "model_state_dict", ""},
      {"net",
       [](auto& b) {
         return dict({{"net", state_dict(b)}, {"acc", integer(1)}});
       },
       "net", ""},
      {"weights",
       [](auto& b) {
         return dict({{"weights", state_dict(b)}});
       },
       "weights", ""},
      {"ema alone",
       [](auto& b) {
         return dict({{"ema", state_dict(b)}});
       },
       "ema", ""},
      {"ema beside the model",
       [](auto& b) {
         return dict({{"ema", dict({{"other", b.tensor({1}, {9})}})}, {"model", state_dict(b)}});
       },
       "model", ""},
      {"ema with a module inside",
       [](auto& b) {
         return dict({{"ema", dict({{"decay", integer(1)}, {"module", state_dict(b, "module.")}})}});
       },
       "ema.module", "\"module.\""},
      {"AveragedModel",
       [](auto& b) {
         return dict({{"n_averaged", b.tensor({}, {7})},
                      {"module.conv.weight", b.tensor({2, 1, 1, 1}, {1, 2})},
                      {"module.bn.bias", b.tensor({1}, {3})}});
       },
       "", "\"module.\""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    PthBuilder b;
    const fs::path path = test::temporary_folder() / "weights.pth";
    b.write_zip(path, c.value(b));
    ASSERT_EQ(why_refused(path), "");
    const WeightFile file(path);
    EXPECT_EQ(file.wrapper().entry, c.entry);
    if (c.prefix.find("backbone") == std::string::npos) {
      EXPECT_EQ(file.wrapper().prefix, c.prefix);
    }
    EXPECT_EQ(file.names(), (Names{"conv.weight", "bn.bias"}));
    ASSERT_TRUE(file.contains("conv.weight") && file.contains("bn.bias"));
    EXPECT_EQ(file.at("conv.weight").to_f64(), (Values{1, 2}));
    EXPECT_EQ(file.at("bn.bias").to_f64(), (Values{3}));
    EXPECT_EQ(file.optimizer() != nullptr, c.entry == "model_state_dict");
  }
  // A name that consists only of prefixes must neither vanish nor take quadratic time.
  PthBuilder b;
  const fs::path path = test::temporary_folder() / "weights.pth";
  std::string name;
  for (int i = 0; i < 100000; ++i) name += "net.";
  b.write_zip(path, dict({{name, b.tensor({1}, {1})}}));
  const WeightFile file(path);
  EXPECT_GT(file.names().at(0).size(), 1000u);
  b.write_zip(path, dict({{"net.", b.tensor({1}, {1})}}));
  EXPECT_EQ(WeightFile(path).names(), Names{"net."});
}

TEST(WeightFile, AnEpochThatNoTrainingReachesIsRefusedWhenItIsAsked) {
  const fs::path path = test::temporary_folder() / "weights.pth";
  for (const int64_t epoch : {std::numeric_limits<int64_t>::max(), int64_t{-5}, int64_t{2'000'000'000}}) {
    PthBuilder b;
    b.write_zip(path, dict({{"model", state_dict(b)}, {"lr_scheduler", "}"}, {"epoch", big_integer(epoch)}}));
    const WeightFile file(path);  // the weights themselves are valid
    std::string why;
    try {
      static_cast<void>(file.next_epoch());
    } catch (const Error& e) {
      why = e.what();
    }
    for (const std::string& word : {std::string("weights.pth: "), std::string("epoch = ") + std::to_string(epoch),
                                    std::string("from 0 to 1000000000")}) {
      EXPECT_NE(why.find(word), std::string::npos) << word << " in: " << why;
    }
  }
}

TEST(WeightFile, WhatIsNoTensorIsReportedOrRefused) {
  const fs::path path = test::temporary_folder() / "w.pth";
  PthBuilder b;
  b.write_zip(path, dict({{"w", b.tensor({1}, {1})}, {"note", text("hello")}, {"sizes", ints({1, 2})}}));
  const WeightFile file(path);
  EXPECT_EQ(file.names(), Names{"w"});
  EXPECT_EQ(file.skipped(), (Names{"note", "sizes"}));

  const auto expect = [&](const std::string& value, std::initializer_list<const char*> words) {
    b.write_zip(path, value);
    const std::string why = why_refused(path);
    for (const char* word : words) EXPECT_NE(why.find(word), std::string::npos) << word << " in: " << why;
  };
  expect(dict({{"w", b.tensor({1}, {1})}, {"x", global("os", "system") + "(" + text("true") + "tR"}}),
         {"w.pth: x: ", "expected a tensor", "os.system"});
  expect(dict({{"epoch", integer(3)}, {"params", "]"}}), {"holds no weights", "\"epoch\", \"params\"", "state_dict"});
  expect(dict({{"model", dict({{"a", integer(1)}})}}), {"holds no weights"});
  expect(global("models", "Net") + "(tR", {"models.Net", "state_dict()"});
  expect(dict({{"backbone.w", b.tensor({1}, {1})}, {"head.w", b.tensor({1}, {2})}}), {"two of its entries", "w"});
}

// A safetensors file begins with the length of its header, and some lengths look like a pickle or a zip file.
TEST(WeightFile, ContainersAreToldByTheirFirstBytesNotTheirNames) {
  const float one = 1;
  const NamedArray array{"w", DType::f32, {1}, std::as_bytes(std::span(&one, 1))};
  const auto header_of = [&](size_t padding) {
    fs::path path = test::temporary_folder() / "named.pth";
    write_safetensors(path, std::span(&array, 1), {{"padding", std::string(padding, 'x')}});
    return path;
  };
  const auto first_two = [](const fs::path& path) { return read_file(path).substr(0, 2); };
  const size_t bare = static_cast<unsigned char>(first_two(header_of(0))[0]);  // the length without padding
  for (const size_t length : {0x280, 0x4b50}) {
    const fs::path path = header_of(length - bare);
    SCOPED_TRACE(length);
    ASSERT_EQ(first_two(path), length == 0x280 ? "\x80\x02" : "PK");
    const WeightFile file(path);
    EXPECT_EQ(file.container(), "safetensors");
    EXPECT_EQ(file.names(), Names{"w"});
  }
  PthBuilder b;
  const fs::path path = test::temporary_folder() / "named.safetensors";
  b.write_zip(path, state_dict(b));
  EXPECT_EQ(WeightFile(path).container(), "zip");
  PthBuilder l;
  l.write_legacy(path, state_dict(l));
  EXPECT_EQ(WeightFile(path).container(), "legacy");
}

TEST(WeightFile, OtherFilesAreCalledByTheirNames) {
  const fs::path path = test::temporary_folder() / "w.pth";
  const std::pair<std::string, const char*> cases[] = {{"", "empty"},
                                                       {"abc", "too short"},
                                                       {"<!DOCTYPE html><html>", "web page"},
                                                       {"version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
                                                       {"\x89PNG\r\n\x1a\n....", "picture"},
                                                       {"{\"images\": [1, 2, 3]}", "JSON"},
                                                       {"nothing in particular", "none of them"}};
  for (const auto& [text, word] : cases) {
    write_file(path, text);
    const std::string why = why_refused(path);
    EXPECT_NE(why.find(word), std::string::npos) << why;
    EXPECT_NE(why.find("w.pth"), std::string::npos) << why;
  }
  EXPECT_NE(why_refused(test::temporary_folder()), "") << "a folder";
  EXPECT_NE(why_refused("/nowhere.pth"), "");
}

TEST(WeightFile, HashesItsWholeFile) {
  const fs::path path = test::temporary_folder() / "w.pth";
  PthBuilder b;
  b.write_zip(path, state_dict(b));
  const std::string before = WeightFile(path).sha256();
  EXPECT_EQ(before.size(), 64u);
  int64_t done = 0, total = 0;
  EXPECT_EQ(WeightFile(path).sha256([&](int64_t d, int64_t t) { done = d, total = t; }), before);
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, static_cast<int64_t>(fs::file_size(path)));
}

float half_to_float(uint16_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const double v = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>((h & 0x8000) != 0 ? -v : v);
}

// The largest error of rounding to half precision: half a unit in the last place, of a subnormal number below 2^-14.
double half_rounding(double v) { return std::max(std::abs(v) * 0x1p-11, 0x1p-25); }

TEST(WeightFile, EveryGoldenFileHoldsTheSameTensors) {
  HR_NEEDS_ORACLE("weights/w2.safetensors");
  const WeightFile golden(test::oracle("weights/w2.safetensors"));
  ASSERT_EQ(golden.names().size(), 1754u);
  const std::pair<const char*, Wrapper::Writer> files[] = {
      {"w2_zip.pth", Wrapper::Writer::plain},           {"w2_legacy.pth", Wrapper::Writer::plain},
      {"w2_module_prefix.pth", Wrapper::Writer::plain}, {"w2_noncontiguous.pth", Wrapper::Writer::plain},
      {"w2_checkpoint.pth", Wrapper::Writer::seed},     {"w2_official_checkpoint.pth", Wrapper::Writer::official}};
  for (const auto& [name, writer] : files) {
    SCOPED_TRACE(name);
    const WeightFile file(test::oracle(std::string("weights/") + name));
    EXPECT_EQ(file.wrapper().writer, writer);
    EXPECT_TRUE(file.skipped().empty());
    ASSERT_EQ(file.names().size(), golden.names().size());
    for (const std::string& n : golden.names()) {
      const ArrayView &a = file.at(n), &b = golden.at(n);
      EXPECT_EQ(a.dtype, b.dtype) << n;
      EXPECT_EQ(a.shape, b.shape) << n;
      EXPECT_EQ(bits(a), bits(b)) << n;
    }
  }
  const WeightFile half(test::oracle("weights/w2_half.pth"));
  for (const std::string& n : golden.names()) {
    const ArrayView &a = half.at(n), &b = golden.at(n);
    EXPECT_EQ(a.shape, b.shape);
    if (b.dtype == DType::i64) {
      EXPECT_EQ(bits(a), bits(b)) << n;
      continue;
    }
    ASSERT_EQ(a.dtype, DType::f16) << n;
    const auto raw = bits(a);
    const Values converted = a.to_f64(), full = b.to_f64();
    for (size_t i = 0; i < full.size(); ++i) {
      uint16_t h = 0;
      std::memcpy(&h, raw.data() + 2 * i, 2);
      ASSERT_EQ(converted[i], half_to_float(h)) << n << " " << i;
      ASSERT_LE(std::abs(converted[i] - full[i]), half_rounding(full[i])) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace hr

#include "core/io/pth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/child.h"
#include "tests/support/named_tensors.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_builder.h"
#include "tests/support/values.h"

namespace hr {
namespace {

using namespace test::pickled;
using test::little;
using test::named_tensors;
using test::NamedView;

std::vector<std::byte> bits(const ArrayView& a) {
  std::vector<std::byte> out(static_cast<size_t>(a.numel()) * size_of(a.dtype));
  a.copy_to(out);
  return out;
}

std::string floats(std::initializer_list<float> values) {
  std::string out(values.size() * 4, '\0');
  std::memcpy(out.data(), values.begin(), out.size());
  return out;
}
const std::string kTwelve = floats({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
// {"w": 0 to 11 as [4, 3]}
const std::string kW = dict({{"w", tensor(storage("FloatStorage", "0", 12), 0, {4, 3}, {3, 1})}});

// Opens a file from an exact copy on the heap, where a sanitizer sees every read past the end, and reads each tensor.
// Returns the values as text, or "Error: …".
std::string opened(const std::string& file) {
  const std::vector<char> copy(file.begin(), file.end());
  try {
    const PthFile pth(std::as_bytes(std::span(copy)), "test.pth");
    for (const NamedView& t : named_tensors(pth.root(), "test.pth")) bits(*t.array);
    return test::text_of(pth.root());
  } catch (const Error& e) {
    return std::string("Error: ") + e.what();
  }
}

std::vector<float> w_of(const std::string& file) {
  const PthFile pth(std::as_bytes(std::span(file)), "test.pth");
  return pth.root().find("w")->as<ArrayView>()->to_f32();
}
const std::vector<float> kCounting{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

// ---- files made by the tests ----

TEST(Pth, BothContainersAndDeflatedMembers) {
  for (const std::string& file : {test::zip_pth(kW, {{"0", kTwelve}}), test::zip_pth(kW, {{"0", kTwelve}}, true),
                                  test::legacy_pth(kW, {{"0", kTwelve, 12}})}) {
    EXPECT_EQ(opened(file), "{\"w\": f32[4, 3]}");
    EXPECT_EQ(w_of(file), kCounting);
  }
}

TEST(Pth, OpensAPathAndCanBeMoved) {
  const auto path = test::temporary_folder() / "w.pth";
  write_file(path, test::zip_pth(kW, {{"0", kTwelve}}));
  PthFile first(path);
  const ArrayView& w = *first.root().find("w")->as<ArrayView>();
  const PthFile second = std::move(first);
  EXPECT_EQ(second.container(), "zip");
  EXPECT_EQ(second.path(), path);
  EXPECT_EQ(w.to_f32(), kCounting) << "views stay valid";
  EXPECT_NO_THROW(second.verify());
  EXPECT_THROW(PthFile(path.parent_path() / "none.pth"), Error);
  EXPECT_THROW(PthFile(path.parent_path()), Error);
}

TEST(Pth, SharedStoragesOffsetsAndStridesAreViewsOfOneMap) {
  const std::string s = storage("FloatStorage", "7", 12);
  const std::string value = dict({{"all", tensor(s, 0, {12}, {1})},
                                  {"turned", tensor(s, 0, {3, 4}, {1, 3})},
                                  {"tail", tensor(s, 9, {3}, {1})},
                                  {"every third", tensor(s, 1, {4}, {3})},
                                  {"scalar", tensor(s, 5, {}, {})},
                                  {"expanded", tensor(s, 2, {2, 3}, {1, 0})},
                                  {"empty", tensor(s, 0, {0, 3}, {3, 1})}});
  for (const std::string& file :
       {test::zip_pth(value, {{"7", kTwelve}}), test::legacy_pth(value, {{"7", kTwelve, 12}})}) {
    const PthFile pth(std::as_bytes(std::span(file)), "test.pth");
    const auto get = [&](const char* name) { return *pth.root().find(name)->as<ArrayView>(); };
    EXPECT_EQ(get("all").to_f32(), kCounting);
    EXPECT_TRUE(get("all").stride.empty()) << "dense";
    EXPECT_EQ(get("all").bytes.size(), 48u);
    EXPECT_EQ(get("turned").to_f32(), (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
    EXPECT_EQ(get("tail").to_f32(), (std::vector<float>{9, 10, 11}));
    EXPECT_EQ(get("every third").to_f32(), (std::vector<float>{1, 4, 7, 10}));
    EXPECT_EQ(get("scalar").to_f32(), std::vector<float>{5});
    EXPECT_EQ(get("scalar").shape.size(), 0u);
    EXPECT_EQ(get("expanded").to_f32(), (std::vector<float>{2, 2, 2, 3, 3, 3}));
    EXPECT_EQ(get("empty").numel(), 0);
    EXPECT_EQ(get("tail").bytes.data(), get("all").bytes.data() + 36) << "no copy";
    EXPECT_GE(get("all").bytes.data(), reinterpret_cast<const std::byte*>(file.data()));
    EXPECT_LE(get("all").bytes.data(), reinterpret_cast<const std::byte*>(file.data() + file.size()));
  }
}

TEST(Pth, PartsOfStoragesAsBeforeTorch04) {
  // ("storage", type, key, location, size, (key of the part, offset, size))
  const std::string part = "(" + text("storage") + global("torch", "FloatStorage") + text("root") + text("cpu") +
                           integer(12) + "(" + text("part") + integer(4) + integer(6) + "ttQ";
  const auto file = [&](int64_t offset, const std::vector<int64_t>& shape) {
    return test::legacy_pth(dict({{"w", tensor(part, offset, shape, {1})}}), {{"root", kTwelve, 12}});
  };
  EXPECT_EQ(w_of(file(1, {5})), (std::vector<float>{5, 6, 7, 8, 9}));
  EXPECT_NE(opened(file(1, {6})).find("leaves its storage"), std::string::npos);
}

TEST(Pth, WhatIsNoWeightFileIsRefusedWithAReason) {
  using test::zip_of;
  const std::string pickle = program(kW), good = test::zip_pth(kW, {{"0", kTwelve}});
  const auto with = [](std::string s, size_t at, const std::string& bytes) {
    return s.replace(at, bytes.size(), bytes);
  };
  const size_t directory = good.find("PK\x01\x02"), end = good.find("PK\x05\x06");
  const std::string head = test::legacy_head(), keys = program("]" + text("0") + "a");
  const auto count = [](int64_t n) { return little(static_cast<uint64_t>(n), 8); };
  const std::pair<std::string, const char*> cases[] = {
      {"", "it is empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"},
      {"\x89PNG\r\n\x1a\n", "a picture"},
      {"<html>", "a web page"},
      {"hello, this is text", "expected a zip file or a pickle"},
      {std::string("\x02\0\0\0\0\0\0\0{}", 10), "safetensors"},
      {program("N"), "expected a zip file or a pickle"},
      // zip
      {"PK\x03\x04", "download complete?"},
      {good.substr(0, good.size() - 1), "download complete?"},
      {zip_of({}), "an empty zip file"},
      {zip_of({{"archive/data/0", kTwelve}}), "without data.pkl"},
      {zip_of({{"a/b/data.pkl", pickle}}), "without data.pkl"},
      {zip_of({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}}), "2 members named data.pkl"},
      {zip_of({{"a/data.pkl", pickle}, {"a/version", "3"}}), "no member \"a/data/0\""},
      {zip_of({{"a/data.pkl", pickle}, {"a/data.pkl", pickle}}), "twice"},
      {zip_of({{"a/data.pkl", pickle}, {"a/data/0", kTwelve}, {"a/byteorder", "big"}}), "byte order \"big\""},
      {zip_of({{"a/data.pkl", pickle}, {"a/data/0", kTwelve.substr(4)}}), "has 44 bytes, expected 12 of torch.Float"},
      {zip_of({{"a/data.pkl", pickle},
               {"a/data/0", std::string(2000, 'x') + kTwelve, true},
               {"a/" + std::string(2000, 'n'), ""}}),
       "a name of 2002 bytes"},
      {with(good, directory + 8, "\x01"), "encrypted"},
      {with(good, directory + 10, "\x0e"), "compression method 14"},
      {with(good, directory + 20, little(1u << 30, 4)), "broken zip directory"},
      {with(good, directory + 24, little(1u << 30, 4)), "broken zip directory"},
      {with(good, directory + 42, little(1u << 30, 4)), "does not agree with the directory"},
      {with(good, end + 8, little(60000, 2) + little(60000, 2)), "cannot be read"},
      {with(good, good.find("FloatStorage"), "XloatStorage"), "CRC"},
      {test::zip_pth(dict({{"w", tensor(storage("FloatStorage", "../0", 12), 0, {12}, {1})}}), {{"../0", kTwelve}}),
       "is a path"},
      {test::zip_pth(dict({{"w", tensor(storage("FloatStorage", "0", 16 << 20), 0, {12}, {1})}}),
                     {{"0", std::string(64 << 20, '\0')}}, true),
       "inflates to 67108864 bytes"},
      // legacy
      {head.substr(0, head.size() - 1), "without STOP"},
      {program("\x8a\x0a\x6d\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"), "expected a zip file or a pickle"},
      {program("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + program(integer(1002)), "version is 1002"},
      {program("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + program(text("x")), "version is a string"},
      {test::legacy_head("\x89") + pickle, "big-endian"},
      {head + pickle + program("]"), "expected a list of 1"},
      {head + pickle + program("N"), "expected a list of 1"},
      {head + pickle + program("]" + text("1") + "a"), "which no tensor uses"},
      {head + pickle + program("](" + text("0") + text("0") + "e"), "expected a list of 1"},
      {head + pickle +
           program("]K\x01"
                   "a"),
       "which no tensor uses"},
      {head + pickle + program("]" + storage("FloatStorage", "0", 12) + "a"), "refers to a storage"},
      {head + pickle + keys, "before storage \"0\""},
      {head + pickle + keys + count(12) + kTwelve.substr(1), "download complete?"},
      {head + pickle + keys + count(13) + kTwelve + kTwelve, "announces 13 elements, expected 12"},
      {head + pickle + keys + count(-1) + kTwelve, "announces -1 elements"},
      {head + pickle + keys + count(1ll << 62) + kTwelve, "announces 4611686018427387904 elements"},
      // top object
      {test::zip_pth("N", {}), "found None; save model.state_dict()"},
      {test::zip_pth("]", {}), "found a list"},
      {test::zip_pth(global("models", "HRNet") + ")R}" + text("training") +
                         "\x88s"
                         "b",
                     {}),
       "models.HRNet"},
      {test::zip_pth(global("os", "system") + text("touch x") + "\x85R", {}), "the result of \\\"os.system\\\""},
      // entries
      {test::zip_pth(dict({{"w", "N"}}), {}), "\"w\": expected a tensor, found None"},
      {test::zip_pth("}K\x01Ns", {}), "but a key is an int"},
  };
  for (const auto& [file, reason] : cases) {
    const std::string got = opened(file);
    EXPECT_TRUE(got.starts_with("Error: test.pth: ")) << "no error for: " << reason << "\n" << got;
    std::string plain = reason;
    plain.erase(std::remove(plain.begin(), plain.end(), '\\'), plain.end());
    EXPECT_NE(got.find(plain), std::string::npos) << got << "\nexpected: " << plain;
    EXPECT_EQ(got.find('\n'), std::string::npos) << got;
  }
}

TEST(Pth, VerifyFindsADamagedTensor) {
  std::string file = test::zip_pth(kW, {{"0", kTwelve}});
  file[file.find(kTwelve) + 5] ^= 1;
  const PthFile pth(std::as_bytes(std::span(file)), "test.pth");
  EXPECT_THROW(pth.verify(), Error);
  std::string packed = test::zip_pth(kW, {{"0", kTwelve}}, true);
  const size_t entry = packed.find("PK\x01\x02", packed.find("PK\x01\x02") + 1);
  ASSERT_EQ(packed.substr(entry + 46, 14), "archive/data/0");
  packed[entry + 16] ^= 1;
  EXPECT_TRUE(opened(packed).starts_with("Error: "));
}

// Any input must end normally or in an Error. There is one file per container and variant, each with a bit of
// everything.
std::vector<std::string> small_files() {
  const std::string s = storage("FloatStorage", "0", 12), n = storage("LongStorage", "1", 2);
  const std::string value = dict({{"w", tensor(s, 0, {4, 3}, {3, 1})},
                                  {"t", tensor(s, 1, {2, 2}, {1, 3})},
                                  {"n", tensor(n, 1, {}, {})},
                                  {"p", global("torch._utils", "_rebuild_parameter") + "(" + tensor(s, 0, {2}, {1}) +
                                            "\x88" + global("collections", "OrderedDict") + ")RtR"}});
  const std::string numbers = little(41, 8) + little(42, 8);
  const std::map<std::string, std::string> data{{"0", kTwelve}, {"1", numbers}};
  return {test::zip_pth(value, data), test::zip_pth(value, data, true),
          test::legacy_pth(value, {{"0", kTwelve, 12}, {"1", numbers, 2}})};
}

TEST(Pth, TruncatedAtEveryByteIsAnError) {
  for (const std::string& file : small_files()) {
    ASSERT_TRUE(opened(file).starts_with("{\"w\": f32[4, 3]")) << opened(file);
    for (size_t n = 0; n < file.size(); ++n) {
      EXPECT_TRUE(opened(file.substr(0, n)).starts_with("Error: test.pth: ")) << n << " of " << file.size() << " bytes";
    }
  }
}

TEST(Pth, EveryByteFlippedIsAnErrorOrAFile) {
  int loaded = 0, refused = 0;
  for (const std::string& file : small_files()) {
    for (size_t i = 0; i < file.size(); ++i) {
      for (const int flip : {0xff, 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01}) {
        std::string changed = file;
        changed[i] = static_cast<char>(changed[i] ^ flip);
        const std::string got = opened(changed);
        const bool error = got.starts_with("Error: ");
        EXPECT_TRUE(error || got.starts_with("{")) << got;
        EXPECT_EQ(got.find('\n'), std::string::npos) << got;
        ++(error ? refused : loaded);
      }
    }
  }
  EXPECT_GT(refused, 5000);
  EXPECT_GT(loaded, 1000) << "bytes of tensors may have any value";
}

// ---- golden files ----

// Returns the state dict inside a checkpoint, as far as these tests need it.
const Value& inner(const Value& root, const char* key) {
  const Value* found = root.find(key);
  EXPECT_NE(found, nullptr) << key;
  return found != nullptr ? *found : root;
}

// Expects equal names in equal order, equal dtypes, shapes and bits. `prefix` is removed from the names.
void expect_same(const Value& dict, const SafetensorsFile& reference, const std::string& prefix,
                 const std::string& what) {
  const std::vector<NamedView> tensors = named_tensors(dict, what);
  ASSERT_EQ(tensors.size(), reference.names().size()) << what;
  for (const NamedView& t : tensors) {
    ASSERT_TRUE(t.name.starts_with(prefix)) << what << ": " << t.name;
    const std::string name = t.name.substr(prefix.size());
    ASSERT_TRUE(reference.contains(name)) << what << ": " << name;
    const ArrayView& r = reference.at(name);
    EXPECT_EQ(t.array->dtype, r.dtype) << what << ": " << name;
    EXPECT_EQ(t.array->shape, r.shape) << what << ": " << name;
    EXPECT_EQ(bits(*t.array), bits(r)) << what << ": " << name;
  }
}

TEST(Pth, GoldenCheckpointsHoldTheReferenceBitForBit) {
  HR_NEEDS_ORACLE("weights/w2.safetensors");
  const SafetensorsFile reference(test::oracle("weights/w2.safetensors"));
  const auto open = [](const char* name) { return PthFile(test::oracle(std::string("weights/") + name)); };
  const PthFile zip = open("w2_zip.pth"), legacy = open("w2_legacy.pth");
  EXPECT_EQ(zip.container(), "zip");
  EXPECT_EQ(legacy.container(), "legacy");
  EXPECT_NO_THROW(zip.verify());
  expect_same(zip.root(), reference, "", "w2_zip");
  expect_same(legacy.root(), reference, "", "w2_legacy");
  expect_same(open("w2_module_prefix.pth").root(), reference, "module.", "w2_module_prefix");

  const PthFile noncontiguous = open("w2_noncontiguous.pth");
  expect_same(noncontiguous.root(), reference, "", "w2_noncontiguous");
  int strided = 0;
  for (const NamedView& t : named_tensors(noncontiguous.root(), "")) strided += t.array->dense() ? 0 : 1;
  EXPECT_GT(strided, 200);

  const PthFile seed = open("w2_checkpoint.pth");
  expect_same(inner(seed.root(), "model"), reference, "", "w2_checkpoint");
  EXPECT_EQ(test::text_of(inner(seed.root(), "epoch")), "3");
  const Value& milestones = inner(inner(seed.root(), "lr_scheduler"), "milestones");
  EXPECT_NE(milestones.as<Value::Dict>(), nullptr) << test::text_of(milestones);
  const Value& state = inner(inner(seed.root(), "optimizer"), "state");
  ASSERT_NE(state.as<Value::Dict>(), nullptr);
  ASSERT_EQ(state.as<Value::Dict>()->items.size(), 878u);
  const Value& first = *state.as<Value::Dict>()->items[0].second;
  EXPECT_EQ(inner(first, "exp_avg").as<ArrayView>()->shape, reference.at("conv1.weight").shape);
  EXPECT_EQ(inner(first, "step").as<ArrayView>()->to_f32(), std::vector<float>{1});

  const PthFile official = open("w2_official_checkpoint.pth");
  expect_same(inner(official.root(), "state_dict"), reference, "module.", "w2_official_checkpoint");
  expect_same(inner(official.root(), "best_state_dict"), reference, "", "w2_official_checkpoint best");
  EXPECT_EQ(inner(inner(official.root(), "state_dict"), "module.conv1.weight").as<ArrayView>()->bytes.data(),
            inner(inner(official.root(), "best_state_dict"), "conv1.weight").as<ArrayView>()->bytes.data())
      << "one storage, not two";
  EXPECT_EQ(test::text_of(inner(official.root(), "model")), "\"pose_hrnet\"");
  EXPECT_NE(inner(official.root(), "perf").as<double>(), nullptr);
  EXPECT_EQ(inner(*inner(inner(official.root(), "optimizer"), "state").as<Value::Dict>()->items[0].second, "step")
                    .as<int64_t>() != nullptr,
            true);
}

// Rounds to a multiple of the distance between halves of that size. nearbyint rounds to even.
float rounded_to_half(float v) {
  const double distance = std::ldexp(1.0, std::max(std::ilogb(v), -14) - 10);
  return v == 0 ? v : static_cast<float>(std::nearbyint(v / distance) * distance);
}

TEST(Pth, GoldenHalvesAreTheReferenceRoundedToNearestEven) {
  HR_NEEDS_ORACLE("weights/w2_half.pth");
  const SafetensorsFile reference(test::oracle("weights/w2.safetensors"));
  const PthFile half(test::oracle("weights/w2_half.pth"));
  const auto tensors = named_tensors(half.root(), "w2_half");
  ASSERT_EQ(tensors.size(), reference.names().size());
  for (const NamedView& t : tensors) {
    const ArrayView& r = reference.at(t.name);
    if (r.dtype == DType::i64) {
      EXPECT_EQ(bits(*t.array), bits(r)) << t.name;
      continue;
    }
    ASSERT_EQ(t.array->dtype, DType::f16) << t.name;
    std::vector<float> rounded = r.to_f32();
    for (float& v : rounded) v = rounded_to_half(v);
    EXPECT_EQ(t.array->to_f32(), rounded) << t.name;
  }
}

TEST(Pth, GoldenImagenetNamesHoldTheSameBackbone) {
  HR_NEEDS_ORACLE("weights/w2_imagenet_like.pth");
  const SafetensorsFile reference(test::oracle("weights/w2.safetensors"));
  const PthFile file(test::oracle("weights/w2_imagenet_like.pth"));
  int common = 0;
  for (const NamedView& t : named_tensors(file.root(), "w2_imagenet_like")) {
    if (!reference.contains(t.name)) continue;
    ++common;
    EXPECT_EQ(bits(*t.array), bits(reference.at(t.name))) << t.name;
  }
  EXPECT_EQ(common, 1752);
}

// Writes JSON as text_of would show the Python value that it stands for.
std::string text_of_json(const Json& json, const Value& found) {
  if (json.IsNull()) return "None";
  if (json.IsBool()) return json.GetBool() ? "True" : "False";
  if (json.IsInt64()) return std::to_string(json.GetInt64());
  if (json.IsDouble() && json.GetDouble() == 0x1p70) return "<int(\"0x400000000000000000\")>";
  if (json.IsDouble()) return fmt::format("{:#}", json.GetDouble());
  if (json.IsString()) return json_quote({json.GetString(), json.GetStringLength()});
  std::string out;
  if (json.IsObject()) {
    for (const auto& m : json.GetObject()) {
      const Value* item = found.find(m.name.GetString());
      if (item == nullptr) return fmt::format("no key {}", m.name.GetString());
      out += (out.empty() ? "" : ", ") + json_quote(m.name.GetString()) + ": " + text_of_json(m.value, *item);
    }
    return "{" + out + "}";
  }
  // JSON has one kind of list, but Python has two.
  const auto* tuple = found.as<Value::Tuple>();
  const auto* list = found.as<Value::List>();
  if (tuple == nullptr && list == nullptr) return "a list";
  const auto& items = tuple != nullptr ? tuple->items : list->items;
  if (items.size() != json.Size()) return fmt::format("{} items", json.Size());
  for (rapidjson::SizeType i = 0; i < json.Size(); ++i) {
    out += (i == 0 ? "" : ", ") + text_of_json(json[i], *items[i]);
  }
  return tuple != nullptr ? "(" + out + ")" : "[" + out + "]";
}

TEST(Pth, GoldenZooOfDtypesViewsAndPythonValues) {
  HR_NEEDS_ORACLE("weights/zoo.expect.json");
  const auto expect = parse_json_file(test::oracle("weights/zoo.expect.json"));
  const std::map<std::string, DType> dtypes{{"float32", DType::f32},   {"float64", DType::f64}, {"float16", DType::f16},
                                            {"bfloat16", DType::bf16}, {"int64", DType::i64},   {"int32", DType::i32},
                                            {"int16", DType::i16},     {"int8", DType::i8},     {"uint8", DType::u8},
                                            {"bool", DType::boolean}};
  const auto check_tensor = [&](const ArrayView& a, const Json& e, const std::string& name) {
    EXPECT_EQ(a.dtype, dtypes.at(e["dtype"].GetString())) << name;
    std::vector<int64_t> shape;
    for (const auto& d : e["shape"].GetArray()) shape.push_back(d.GetInt64());
    EXPECT_EQ(a.shape, shape) << name;
    std::string hex;
    for (const std::byte b : bits(a)) hex += fmt::format("{:02x}", static_cast<int>(b));
    EXPECT_EQ(hex, e["hex"].GetString()) << name;
  };
  for (const char* file : {"zoo_legacy_proto2.pth", "zoo_legacy_proto4.pth", "zoo_zip_proto2.pth", "zoo_zip_proto4.pth",
                           "zoo_zip_torch2_layout.pth"}) {
    const PthFile pth(test::oracle(std::string("weights/") + file));
    int tensors = 0;
    for (const auto& m : expect["tensors"].GetObject()) {
      const Value* found = pth.root().find(m.name.GetString());
      ASSERT_TRUE(found != nullptr && found->as<ArrayView>() != nullptr) << file << ": " << m.name.GetString();
      check_tensor(*found->as<ArrayView>(), m.value, std::string(file) + ": " + m.name.GetString());
      ++tensors;
    }
    EXPECT_EQ(tensors, 18);
    const Value& values = inner(pth.root(), "python_values");
    for (const auto& m : expect["python_values"].GetObject()) {
      const Value& found = inner(values, m.name.GetString());
      EXPECT_EQ(test::text_of(found), text_of_json(m.value, found)) << file << ": " << m.name.GetString();
    }
  }
  const SafetensorsFile safe(test::oracle("weights/zoo.safetensors"));
  for (const std::string& name : safe.names()) {
    ASSERT_TRUE(expect["tensors"].HasMember(name.c_str())) << name;
    check_tensor(safe.at(name), expect["tensors"][name.c_str()], "zoo.safetensors: " + name);
  }
}

// Opens either format and reads all of it. Returns the values of "w" if there is one.
std::string open_fully(const fs::path& path) {
  const auto show = [](const ArrayView& a) {
    std::string out = fmt::format("[{}]", fmt::join(a.shape, ", "));
    if (a.dtype == DType::f32) out += fmt::format(" {}", fmt::join(a.to_f32(), " "));
    if (a.dtype == DType::i64) out += fmt::format(" {}", fmt::join(a.to_i64(), " "));
    return out;
  };
  std::string out;
  const auto add = [&](const std::string& name, const ArrayView& a) {
    bits(a);
    if (a.numel() <= 12) out += fmt::format("{}: {}\n", name, show(a));
  };
  if (path.extension() == ".safetensors") {
    const SafetensorsFile file(path);
    for (const std::string& name : file.names()) add(name, file.at(name));
  } else {
    const PthFile file(path);
    for (const NamedView& t : named_tensors(file.root(), path.string())) add(t.name, *t.array);
  }
  return out;
}

TEST(Pth, HostileFilesEndAsTheirExpectationSays) {
  HR_NEEDS_ORACLE("weights/hostile/expect.json");
  const auto expect = parse_json_file(test::oracle("weights/hostile/expect.json"));
  const char* traces[] = {"/tmp/pwned", "/tmp/pwned_traversal", "/tmp/pwned_absolute"};
  for (const char* trace : traces) ASSERT_FALSE(fs::exists(trace)) << trace << " is there before the test";

  // The expected result for files that may be either loaded or refused.
  const std::string counting = "w: [4, 3] 0 1 2 3 4 5 6 7 8 9 10 11\n";
  std::string control;
  for (const auto& m : expect["control_values"].GetObject()) {
    std::vector<int64_t> shape;
    for (const auto& d : m.value["shape"].GetArray()) shape.push_back(d.GetInt64());
    control += fmt::format("{}: [{}]", m.name.GetString(), fmt::join(shape, ", "));
    for (const auto& v : m.value["values"].GetArray()) control += fmt::format(" {}", static_cast<float>(v.GetDouble()));
    control += "\n";
  }
  const std::map<std::string, std::string> must_say{{"ok_zip.pth", control},
                                                    {"ok_legacy.pth", control},
                                                    {"ok_handmade_zip.pth", counting},
                                                    {"ok_handmade_legacy.pth", counting},
                                                    {"ok.safetensors", counting},
                                                    {"zip_deflated.pth", counting},
                                                    {"zip_bad_crc.pth", counting},
                                                    {"zip_comment_fake_eocd.pth", counting},
                                                    {"size_storage_too_long_zip.pth", counting}};

  int files = 0;
  for (const auto& m : expect["files"].GetObject()) {
    const std::string name = m.name.GetString(), must = m.value["must"].GetString();
    const fs::path path = test::oracle("weights/hostile/" + name);
    const auto size = static_cast<int64_t>(fs::file_size(path));
    ++files;
    const test::ChildResult r = test::in_child(size + (int64_t{64} << 20), [&] { return open_fully(path); });
    EXPECT_TRUE(r.exited) << name << ": " << r.said;
    EXPECT_LT(r.seconds, 1) << name;
    EXPECT_LE(r.grown, size + (int64_t{64} << 20)) << name;
    if (must == "load") {
      EXPECT_FALSE(r.threw) << name << ": " << r.said;
    }
    if (must == "reject") {
      EXPECT_TRUE(r.threw) << name << " was accepted: " << r.said;
    }
    if (r.threw) {
      EXPECT_NE(r.said.find(path.string()), std::string::npos) << "the message names the file: " << r.said;
      EXPECT_EQ(r.said.find('\n'), std::string::npos) << r.said;
      EXPECT_LT(r.said.size(), path.string().size() + 400) << r.said;
    } else if (const auto it = must_say.find(name); it != must_say.end()) {
      EXPECT_EQ(r.said, it->second) << name;
    }
    RecordProperty(name, r.threw ? r.said.substr(path.string().size()) : "loads");
    if (std::getenv("HR_VERBOSE") != nullptr) {
      fmt::print("{:45} {:15} {:.1f} ms {:6.2f} MiB  {}\n", name, must, r.seconds * 1e3,
                 static_cast<double>(r.grown) / (1 << 20), r.threw ? r.said.substr(path.string().size()) : "loads");
    }
    for (const char* trace : traces) ASSERT_FALSE(fs::exists(trace)) << name << " made " << trace;
  }
  EXPECT_GE(files, 119);
}

// ---- memory ----

TEST(Pth, ALargeFileTakesNoMemoryBesideItsTensors) {
  const auto folder = test::temporary_folder();
  constexpr size_t kBytes = size_t{48} << 20, kParts = 3;
  std::vector<float> data(kBytes / 4);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::bit_cast<float>(static_cast<uint32_t>(i * 2654435761u) >> 9);
  std::vector<NamedArray> arrays;
  for (size_t i = 0; i < kParts; ++i) {
    arrays.push_back(
        {std::to_string(i), DType::f32, {static_cast<int64_t>(data.size())}, std::as_bytes(std::span(data))});
  }
  const auto stored = folder / "stored.pth";
  write_pth(stored, arrays);
  // The same storage, deflated with 9 of 10 bytes left.
  std::vector<std::pair<std::string, std::string>> entries;
  std::map<std::string, std::string> members;
  const std::string raw(reinterpret_cast<const char*>(data.data()), size_t{16} << 20);
  for (const char* key : {"0", "1"}) {
    entries.emplace_back(key, tensor(storage("FloatStorage", key, 4 << 20), 0, {4 << 20}, {1}));
    members[key] = raw;
  }
  const auto packed = folder / "packed.pth";
  write_file(packed, test::zip_pth(dict(entries), members, true));

  const auto load = [](const fs::path& path) {
    const PthFile file(path);
    double sum = 0;
    for (const NamedView& t : named_tensors(file.root(), "")) {
      for (size_t i = 0; i < t.array->bytes.size(); i += 4096) sum += static_cast<double>(t.array->bytes[i]);
    }
    return fmt::format("{}", sum > 0);
  };
  const test::ChildResult a = test::in_child(int64_t{1} << 40, [&] { return load(stored); });
  EXPECT_EQ(a.said, "true");
  const test::ChildResult b = test::in_child(int64_t{1} << 40, [&] { return load(packed); });
  EXPECT_EQ(b.said, "true");
#ifndef HR_SHADOWED_MEMORY
  EXPECT_LE(a.grown, static_cast<int64_t>(kParts * kBytes + (size_t{8} << 20)));
  EXPECT_LE(b.grown, (int64_t{32} << 20) + (int64_t{12} << 20)) << "the packed bytes do not stay beside the inflated";
#endif
}

TEST(Pth, AZipBeyond4GiBIsRead) {
  const auto path = test::temporary_folder() / "large.pth";
  const std::string small = test::zip_pth(kW, {{"0", kTwelve}});
  const uint64_t hole = (uint64_t{1} << 32) + 64;  // takes no space on the disk
  {
    std::ofstream file(path, std::ios::binary);
    file << small.substr(0, 4);
    file.seekp(static_cast<std::streamoff>(hole));
    file << small;
    ASSERT_TRUE(file.flush());
  }
  const PthFile file(path);
  EXPECT_EQ(file.container(), "zip");
  EXPECT_EQ(file.root().find("w")->as<ArrayView>()->to_f32(), kCounting);
  EXPECT_NO_THROW(file.verify());
  fs::resize_file(path, hole + small.size() - 1);
  try {
    const PthFile cut(path);
    FAIL() << "was read";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is the download complete?"), std::string::npos) << e.what();
  }
}

// The limits apply to what the reader counts. This test measures the memory of the process.
TEST(Pth, APickleMayGrowTheProcessBy64MiBAtMost) {
#ifdef HR_SHADOWED_MEMORY
  GTEST_SKIP() << "the sanitizer takes memory of its own";
#endif
  const std::vector<std::pair<const char*, std::string>> pieces{
      {"lists", "]"},
      {"tuples", "N\x85"},
      {"strings", text("some text of a length that needs memory")},
      {"globals", global("m", "n")},
      {"objects", global("m", "n") + ")R"},
      {"ints", "K\x01"},
      {"pairs", "K\x01K\x02\x86"},
      {"tensors", tensor(storage("FloatStorage", "0", 12), 0, {4, 3}, {1, 4})},
      {"large ints", "\x8a\x09" + little(1, 8) + "\x01"},
  };
  int loaded = 0, refused = 0;
  for (const auto& [name, piece] : pieces) {
    for (const size_t count : {size_t{30000}, size_t{100000}, size_t{180000}, size_t{400000}}) {
      std::string all;
      for (size_t i = 0; i < count; ++i) all += piece;
      const std::string file = test::zip_pth("}K\x01(" + all + "ts", {{"0", kTwelve}});
      const test::ChildResult r = test::in_child(int64_t{64} << 20, [&] {
        const PthFile pth(std::as_bytes(std::span(file)), "test.pth");
        return std::string("loaded");
      });
      EXPECT_TRUE(r.exited) << name << " " << count << ": " << r.said;
      EXPECT_LE(r.grown, int64_t{64} << 20) << name << " " << count << ": " << r.said;
      ++(r.threw ? refused : loaded);
    }
  }
  EXPECT_GT(loaded, 10);
  EXPECT_GT(refused, 10);
}

// ---- writing ----

TEST(WritePth, WhatIsWrittenIsReadBackBitForBit) {
  const auto folder = test::temporary_folder();
  std::vector<NamedArray> arrays;
  std::vector<std::vector<std::byte>> data;
  const DType all[] = {DType::f32, DType::bf16, DType::f64, DType::f16, DType::i64,
                       DType::i32, DType::i16,  DType::i8,  DType::u8,  DType::boolean};
  const std::vector<std::vector<int64_t>> shapes{{}, {3}, {2, 3}, {0, 3}, {1, 1, 5, 7}, {300}, {70000}};
  int seed = 1;
  for (const DType t : all) {
    for (const auto& shape : shapes) {
      size_t n = size_of(t);
      for (const int64_t d : shape) n *= static_cast<size_t>(d);
      auto& bytes = data.emplace_back(n);
      for (auto& b : bytes) b = static_cast<std::byte>(t == DType::boolean ? (seed++ & 1) : (seed++ * 167 >> 3));
      arrays.push_back({fmt::format("{}.ключ-{}", name_of(t), shape.size() * 100000 + n), t, shape, {}});
    }
  }
  for (size_t i = 0; i < arrays.size(); ++i) arrays[i].bytes = data[i];
  const auto path = folder / "a.pth", again = folder / "b.pth";
  write_pth(path, arrays);
  const PthFile file(path);
  EXPECT_EQ(file.container(), "zip");
  EXPECT_NO_THROW(file.verify());
  const auto tensors = named_tensors(file.root(), "a.pth");
  ASSERT_EQ(tensors.size(), arrays.size());
  std::vector<NamedArray> back;
  const std::string text = read_file(path);
  for (size_t i = 0; i < arrays.size(); ++i) {
    EXPECT_EQ(tensors[i].name, arrays[i].name);
    EXPECT_EQ(tensors[i].array->dtype, arrays[i].dtype);
    EXPECT_EQ(tensors[i].array->shape, arrays[i].shape);
    EXPECT_TRUE(tensors[i].array->stride.empty());
    EXPECT_EQ(bits(*tensors[i].array), data[i]) << arrays[i].name;
    back.push_back({tensors[i].name, tensors[i].array->dtype, tensors[i].array->shape, tensors[i].array->bytes});
  }
  // pth -> safetensors -> pth gives the same file.
  write_safetensors(folder / "a.safetensors", back);
  const SafetensorsFile safe(folder / "a.safetensors");
  std::vector<NamedArray> third;
  for (const NamedView& t : tensors) {
    const ArrayView& a = safe.at(t.name);
    third.push_back({t.name, a.dtype, a.shape, a.bytes});
  }
  write_pth(again, third);
  EXPECT_EQ(read_file(again), text);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 3) << "no temporary file is left";
}

TEST(WritePth, StoragesAreAlignedAndTheRecordsAreTorchs) {
  const auto path = test::temporary_folder() / "a.pth";
  const std::vector<float> data(5, 1.25f);
  std::vector<NamedArray> arrays;
  arrays.reserve(12);
  for (int i = 0; i < 12; ++i) arrays.push_back({std::to_string(i), DType::f32, {5}, std::as_bytes(std::span(data))});
  write_pth(path, arrays);
  const std::string text = read_file(path);
  const PthFile file(std::as_bytes(std::span(text)), path);
  for (const NamedView& t : named_tensors(file.root(), "")) {
    EXPECT_EQ((reinterpret_cast<const char*>(t.array->bytes.data()) - text.data()) % 64, 0) << t.name;
  }
  for (const char* member :
       {"archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/data/11", "archive/version"}) {
    EXPECT_NE(text.find(member), std::string::npos) << member;
  }
}

TEST(WritePth, WhatCannotBeWrittenLeavesTheOldFile) {
  const auto path = test::temporary_folder() / "a.pth";
  write_file(path, "old");
  const std::vector<float> data(6);
  const auto bytes = std::as_bytes(std::span(data));
  const std::vector<std::vector<NamedArray>> wrong{{{"w", DType::f32, {2, 2}, bytes}},
                                                   {{"w", DType::f64, {2, 3}, bytes}},
                                                   {{"\xff", DType::f32, {6}, bytes}},
                                                   {{"w", DType::f32, {6}, bytes}, {"w", DType::f32, {6}, bytes}}};
  for (const auto& arrays : wrong) {
    EXPECT_THROW(write_pth(path, arrays), Error);
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_THROW(write_pth(path.parent_path() / "none" / "a.pth", {}), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1);
  // Imitates a full disk by a limit on the file size, in a child process.
  const std::vector<float> large(1 << 20);
  const test::ChildResult r = test::in_child(int64_t{1} << 40, [&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const NamedArray array{"w", DType::f32, {1 << 20}, std::as_bytes(std::span(large))};
    write_pth(path, std::span(&array, 1));
    return std::string("written");
  });
  EXPECT_TRUE(r.threw) << r.said;
  EXPECT_NE(r.said.find("cannot write"), std::string::npos) << r.said;
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1);
}

TEST(WritePth, NoTensorsIsAnEmptyDict) {
  const auto path = test::temporary_folder() / "a.pth";
  write_pth(path, {});
  EXPECT_EQ(test::text_of(PthFile(path).root()), "{}");
}

}  // namespace
}  // namespace hr

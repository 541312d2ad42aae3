#include "core/io/pth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/child.h"
#include "tests/support/named_tensors.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_samples.h"
#include "tests/support/values.h"

namespace hr {
namespace {

using test::bits;
using test::named_tensors;
using test::NamedView;

// Returns the value of a key, and reports a failure if there is none.
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

// Formats JSON as test::text_of() formats the Python value that it describes.
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

}  // namespace
}  // namespace hr

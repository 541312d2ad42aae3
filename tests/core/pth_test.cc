#include "core/io/pth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "tests/support/named_tensors.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_samples.h"
#include "tests/support/values.h"

namespace hr {
namespace {

using namespace test::pickled;
using test::bits;
using test::kCounting;
using test::kTwelve;
using test::kW;
using test::little;
using test::named_tensors;
using test::NamedView;

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

}  // namespace
}  // namespace hr

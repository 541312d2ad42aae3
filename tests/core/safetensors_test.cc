#include "core/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

std::string with_header(const std::string& header, size_t data_bytes) {
  uint64_t size = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);
  return file + header + std::string(data_bytes, 'x');
}

std::string why_refused(const std::string& bytes) {
  const auto path = test::temporary_folder() / "f.safetensors";
  write_file(path, bytes);
  try {
    SafetensorsFile file(path);
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos)
        << "the message names the file: " << e.what();
    return e.what();
  }
  return "";
}

TEST(Safetensors, RoundTrip) {
  const auto path = test::temporary_folder() / "a.safetensors";
  const float a[] = {1, 2, 3, 4, 5, 6};
  const int64_t b = -7;
  const NamedArray arrays[] = {{"weight \"quoted\"", DType::f32, {2, 3}, std::as_bytes(std::span(a))},
                               {"scalar", DType::i64, {}, std::as_bytes(std::span(&b, 1))},
                               {"empty", DType::f32, {0, 3}, {}}};
  write_safetensors(path, arrays, {{"model", "hrnet_w32"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.names().size(), 3u);
  EXPECT_EQ(file.at("weight \"quoted\"").to_f32(), std::vector<float>(a, a + 6));
  EXPECT_EQ(file.at("weight \"quoted\"").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.at("scalar").to_i64(), std::vector<int64_t>{-7});
  EXPECT_EQ(file.at("empty").numel(), 0);
  EXPECT_EQ(file.metadata().at("model"), "hrnet_w32");
  EXPECT_THROW(file.at("missing"), Error);
  EXPECT_THROW(file.at("scalar").to_f32(), Error);
}

TEST(Safetensors, RefusesEverySizeThatDoesNotFit) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(why_refused(with_header(good, 8)), "");
  EXPECT_NE(why_refused("short"), "");
  EXPECT_NE(why_refused(with_header(good, 7)), "");
  EXPECT_NE(why_refused(with_header(good, 9)), "");
  EXPECT_NE(why_refused(with_header(R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(why_refused(with_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(why_refused(with_header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(why_refused(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)), "");
  EXPECT_NE(why_refused(with_header(R"({"a":{"dtype":"F32","shape":[2]}})", 8)), "");
  // 2^62 * 4 * 4 wraps around to 0 in 64 bits.
  EXPECT_NE(
      why_refused(with_header(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0)), "");
  const std::string twice =
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  EXPECT_NE(why_refused(with_header(twice, 8)).find("twice"), std::string::npos);
  EXPECT_NE(why_refused(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)), "");
}

// Opens an exact copy on the heap and reads all tensors. Returns "" or the reason of the refusal.
std::string why_refused_in_memory(const std::string& bytes) {
  const std::vector<char> copy(bytes.begin(), bytes.end());
  try {
    const SafetensorsFile file(std::as_bytes(std::span(copy)), "f.safetensors");
    for (const std::string& name : file.names()) {
      std::vector<std::byte> out(file.at(name).bytes.size());
      file.at(name).copy_to(out);
    }
  } catch (const Error& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with("f.safetensors: ")) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    EXPECT_LT(std::strlen(e.what()), 500u);
    return e.what();
  }
  return "";
}

TEST(Safetensors, TruncatedOrFlippedAnywhereIsAnErrorOrAFile) {
  const std::string good =
      with_header(R"({"__metadata__":{"é":"\u0041"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})",
                  9);
  ASSERT_EQ(why_refused_in_memory(good), "");
  for (size_t n = 0; n < good.size(); ++n) EXPECT_NE(why_refused_in_memory(good.substr(0, n)), "") << n;
  int refused = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0xff, 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01}) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      refused += why_refused_in_memory(changed).empty() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 500);
}

// A dimension of 0 makes the product 0 whatever the others are, but code that multiplies one by one overflows.
TEST(Safetensors, DimensionsThatOverflowBesideAZeroAreRefused) {
  const auto why = [](const std::string& shape) {
    return why_refused(with_header(R"({"a":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,0]}})", 0));
  };
  for (const char* shape : {"4611686018427387904,2,0", "0,4611686018427387904,4611686018427387904",
                            "9223372036854775807,0", "18446744073709551615,0"}) {
    const std::string message = why(shape);
    EXPECT_NE(message.find("tensor \"a\": shape ["), std::string::npos) << shape << ": " << message;
    EXPECT_NE(message.find("too large"), std::string::npos) << shape << ": " << message;
  }
  EXPECT_EQ(why("0,1000000"), "");
}

TEST(Safetensors, NamesCanNeitherSpoilAMessageNorFillTheMemory) {
  const std::string newline = R"({"a\nb\u001b[2J":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_NE(why_refused_in_memory(with_header(newline, 8)).find(R"("a\nb\u001B[2J")"), std::string::npos);
  const std::string large(2 << 20, 'n');
  EXPECT_NE(why_refused_in_memory(with_header("{\"" + large + "\":{}}", 0)).find("longer than"), std::string::npos);
  EXPECT_NE(why_refused_in_memory(with_header(R"({"__metadata__":{"k":")" + large + "\"}}", 0)).find("longer than"),
            std::string::npos);
  std::string many = "{";
  for (int i = 0; i < 200000; ++i) {
    many += fmt::format(R"("{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},)", i);
  }
  many.back() = '}';
  EXPECT_NE(why_refused_in_memory(with_header(many, 0)).find("MiB beside the tensors"), std::string::npos);
  // Spaces need no memory.
  EXPECT_EQ(why_refused_in_memory(with_header("{}" + std::string(50 << 20, ' '), 0)), "");
  std::string dims = "1";
  for (int i = 0; i < 64; ++i) dims += ",1";
  EXPECT_NE(
      why_refused_in_memory(with_header(R"({"a":{"dtype":"U8","shape":[)" + dims + R"(],"data_offsets":[0,1]}})", 1)),
      "");
}

TEST(Safetensors, HostileFilesEndAsTheirExpectationSays) {
  HR_NEEDS_ORACLE("weights/hostile/expect.json");
  const auto expect = parse_json_file(test::oracle("weights/hostile/expect.json"));
  int seen = 0;
  for (const auto& entry : fs::directory_iterator(test::oracle("weights/hostile"))) {
    if (entry.path().extension() != ".safetensors") continue;
    ++seen;
    const std::string name = entry.path().filename().string();
    const auto& root = expect.HasMember("files") ? expect["files"] : static_cast<const Json&>(expect);
    ASSERT_TRUE(root.HasMember(name.c_str())) << name;
    const std::string must = root[name.c_str()]["must"].GetString();
    bool loaded = true;
    try {
      SafetensorsFile file(entry.path());
    } catch (const Error&) {
      loaded = false;
    }
    if (must == "load" || must == "reject") {
      EXPECT_EQ(loaded, must == "load") << name;
    }
  }
  EXPECT_GT(seen, 5);
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const auto path = test::temporary_folder() / "f";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1);
}

TEST(Json, ErrorsNameLineAndColumn) {
  try {
    parse_json("{\n \"a\": 1,\n \"b\": ]\n}", "x.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("x.json:3:7"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hr

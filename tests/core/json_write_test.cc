#include "core/io/json_write.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "core/error.h"
#include "core/io/json.h"

namespace hr {
namespace {

std::string text_of(const JsonStyle& style, const auto& write) {
  std::string text;
  JsonWriter json(text, style);
  write(json);
  return text;
}

void sample(JsonWriter& json) {
  json.begin_object().member("a", 1).key("b").begin_list().value("x").value(true).end();
  json.key("c").begin_object().member("d", 0.5).end().end();
}

TEST(JsonWrite, EachStyleSeparatesAndIndentsInItsWay) {
  EXPECT_EQ(text_of({}, sample), R"({"a": 1, "b": ["x", true], "c": {"d": 0.5}})");
  EXPECT_EQ(text_of(kJsonCompact, sample), R"({"a":1,"b":["x",true],"c":{"d":0.5}})");
  EXPECT_EQ(text_of({.lines = 1}, sample), "{\n  \"a\": 1,\n  \"b\": [\"x\", true],\n  \"c\": {\"d\": 0.5}\n}");
  EXPECT_EQ(
      text_of({.lines = 9, .indent = 4}, sample),
      "{\n    \"a\": 1,\n    \"b\": [\n        \"x\",\n        true\n    ],\n    \"c\": {\n        \"d\": 0.5\n    "
      "}\n}");
  EXPECT_EQ(text_of({.lines = 9}, [](JsonWriter& json) { json.begin_list().begin_object().end().end(); }),
            "[\n  {}\n]");
}

TEST(JsonWrite, RealsReadBackEqualInTheFewestDigits) {
  const auto one = [](const auto& v, const JsonStyle& style = {}) {
    return text_of(style, [&](JsonWriter& json) { json.value(v); });
  };
  EXPECT_EQ(one(0.1), "0.1");
  EXPECT_EQ(one(0.1F), "0.1");
  EXPECT_EQ(one(static_cast<double>(0.1F)), "0.10000000149011612");
  EXPECT_EQ(one(5e-324), "5e-324");
  EXPECT_EQ(one(1e16), "1e+16");
  EXPECT_EQ(one(-0.0), "-0");
  EXPECT_EQ(one(12.0), "12");
  EXPECT_EQ(one(12.0, {.python_reals = true}), "12.0");
  EXPECT_EQ(one(1e16, {.python_reals = true}), "1e+16");
  EXPECT_EQ(one(JsonFixed{2.0 / 3, 3}), "0.667");
  EXPECT_EQ(one(JsonFixed{1e9, 0}), "1000000000");
  EXPECT_EQ(one(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(one(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(one(std::array{1.5, -2.0}), "[1.5, -2]");
}

TEST(JsonWrite, WhatIsNotFiniteIsAnErrorNullOrPythonsName) {
  std::string text;
  JsonWriter json(text);
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  EXPECT_THROW(json.value(nan), Error);
  EXPECT_THROW(json.value(-std::numeric_limits<float>::infinity()), Error);
  EXPECT_THROW(json.value(JsonFixed{infinity, 2}), Error);
  EXPECT_EQ(text, "");
  json.begin_list().value(if_finite(nan)).value(if_finite(2)).end();
  EXPECT_EQ(text, "[null, 2]");
  EXPECT_EQ(text_of({.non_finite = true},
                    [&](JsonWriter& j) {
                      j.value(std::array{nan, infinity, -infinity});
                    }),
            "[NaN, Infinity, -Infinity]");
}

TEST(JsonWrite, TheReaderReadsEveryQuotedByteBack) {
  std::string all = "\xC3\xA9\xE2\x82\xAC";
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  const std::string text =
      text_of({}, [&](JsonWriter& json) { json.begin_object().member(all, std::string_view(all)).end(); });
  for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  const rapidjson::Document document = parse_json(text, "test");
  const auto member = document.MemberBegin();
  EXPECT_EQ(std::string(member->name.GetString(), member->name.GetStringLength()), all);
  EXPECT_EQ(std::string(member->value.GetString(), member->value.GetStringLength()), all);
  EXPECT_EQ(json_quote("a\"b\\\n\x1f"), "\"a\\\"b\\\\\\n\\u001F\"");
}

TEST(JsonWrite, TextThatIsNoJsonCannotBeWritten) {
  std::string text;
  EXPECT_THROW(JsonWriter(text).end(), Error);
  EXPECT_THROW(JsonWriter(text).key("a"), Error);
  EXPECT_THROW(JsonWriter(text).begin_list().key("a"), Error);
  EXPECT_THROW(JsonWriter(text).begin_object().value(1), Error);
  EXPECT_THROW(JsonWriter(text).begin_object().key("a").key("b"), Error);
  EXPECT_THROW(JsonWriter(text).begin_object().key("a").end(), Error);
}

TEST(JsonWrite, TheCallerMayTakeTheTextAtAnyTime) {
  std::string text, file;
  JsonWriter json(text);
  json.begin_list();
  for (int i = 0; i < 3; ++i) {
    json.begin_object().member("i", i);
    file += std::exchange(text, {});
    json.end();
  }
  json.end();
  EXPECT_EQ(file + text, R"([{"i": 0}, {"i": 1}, {"i": 2}])");
}

}  // namespace
}  // namespace hr

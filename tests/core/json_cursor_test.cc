#include "core/io/json_cursor.h"

#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <bit>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "core/io/json.h"
#include "core/philox.h"

namespace hr {
namespace {

std::string message(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "(no error)";
}

double number(const std::string& text) {
  JsonCursor json(text, "n");
  const double value = json.number().real;
  json.finish();
  return value;
}

// Reads a text value by value. Returns the sum of all numbers, and all strings one after the other.
void walk(JsonCursor& json, double& sum, std::string& strings, int depth = 0) {
  switch (json.kind()) {
    case JsonCursor::Kind::object: {
      json.enter_object();
      for (std::string_view key; json.member(key);) {
        strings += key;
        walk(json, sum, strings, depth + 1);
      }
      break;
    }
    case JsonCursor::Kind::list:
      json.enter_list();
      while (json.item()) walk(json, sum, strings, depth + 1);
      break;
    case JsonCursor::Kind::string:
      strings += json.string();
      break;
    case JsonCursor::Kind::number:
      sum += json.number().real;
      break;
    case JsonCursor::Kind::boolean:
      sum += json.boolean() ? 1 : 0;
      break;
    case JsonCursor::Kind::null:
      json.null();
  }
}

void walk(const rapidjson::Value& v, double& sum, std::string& strings) {
  if (v.IsObject()) {
    for (const auto& m : v.GetObject()) {
      strings.append(m.name.GetString(), m.name.GetStringLength());
      walk(m.value, sum, strings);
    }
  } else if (v.IsArray()) {
    for (const auto& item : v.GetArray()) walk(item, sum, strings);
  } else if (v.IsString()) {
    strings.append(v.GetString(), v.GetStringLength());
  } else if (v.IsNumber()) {
    sum += v.GetDouble();
  } else if (v.IsBool()) {
    sum += v.GetBool() ? 1 : 0;
  }
}

TEST(JsonCursor, TakesWhatIsAskedForAndSkipsTheRest) {
  const std::string text =
      R"( {"a": [1, -2.5e1, 3], "skip": {"x": [{}, [], "}]", null, true, -0.5]}, "b" : "t\u00e4\n" ,
                              "c": false, "d": null, "e": {} , "f": [ ] } )";
  JsonCursor json(text, "t");
  json.enter_object();
  std::vector<double> a;
  std::string b, keys;
  bool c = true;
  for (std::string_view key; json.member(key);) {
    keys += key;
    if (key == "a") {
      EXPECT_TRUE(json.numbers(a));
    } else if (key == "b") {
      b = json.string();
    } else if (key == "c") {
      c = json.boolean();
    } else if (key == "e") {
      json.enter_object();
      std::string_view inner;
      EXPECT_FALSE(json.member(inner));
    } else {
      json.skip();
    }
  }
  json.finish();
  EXPECT_EQ(keys, "askipbcdef");
  EXPECT_EQ(a, (std::vector<double>{1, -25, 3}));
  EXPECT_EQ(b, "t\xC3\xA4\n");
  EXPECT_FALSE(c);
}

TEST(JsonCursor, NumbersAreTheNearestDouble) {
  Philox rng(5, 0, 0);
  const auto digits = [&](uint64_t n) {
    std::string s;
    for (uint64_t i = 0; i < n; ++i) s += static_cast<char>('0' + rng.below(10));
    return s;
  };
  for (int i = 0; i < 200000; ++i) {
    std::string text = rng.below(2) != 0 ? "-" : "";
    text +=
        rng.below(4) == 0 ? "0" : std::string(1, static_cast<char>('1' + rng.below(9))) + digits(rng.below(i % 24 + 1));
    if (rng.below(4) != 0) text += "." + digits(1 + rng.below(i % 30 + 1));
    if (rng.below(4) == 0) {
      text += rng.below(2) != 0 ? "e" : "E";
      text += std::array{"", "+", "-"}.at(rng.below(3)) + std::to_string(rng.below(i % 3 == 0 ? 330 : 25));
    }
    ASSERT_EQ(std::bit_cast<uint64_t>(number(text)), std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)))
        << text;
  }
  const std::string longest = "1" + std::string(308, '7') + ".0", small = "0." + std::string(320, '0') + "123";
  for (const char* text : {longest.c_str(), small.c_str(), "9007199254740993", "9007199254740992.5", "0.1", "123.45",
                           "4.9e-324", "2.4e-324", "1e-400", "1e400", "-1e999999999999", "1e-999999999999", "0e999999",
                           "0.00000000000000000000000000000000000000000000001",
                           "1.00000000000000011102230246251565404236316680908203125"}) {
    EXPECT_EQ(std::bit_cast<uint64_t>(number(text)), std::bit_cast<uint64_t>(std::strtod(text, nullptr))) << text;
  }
  EXPECT_TRUE(std::isnan(number("NaN")));
  EXPECT_EQ(number("-Infinity"), -HUGE_VAL);
  EXPECT_EQ(number("Infinity"), HUGE_VAL);
}

// Short numbers in lists have a way of their own, which must agree with that of numbers taken alone: for every length
// before and behind the point, with every separator, and at the end of the text.
TEST(JsonCursor, NumbersOfAListAreThoseTakenAlone) {
  Philox rng(6, 0, 0);
  std::vector<std::string> texts = {"0",    "0.0", "0.50", "9999999", "99999.9", "9.99999", "00", "01",  "01.5",
                                    "1.",   ".5",  "1..2", "1.2.3",   "1e2",     "1.5e1",   "1E", "2E2", "1.5E1",
                                    "-1.5", "-0",  "-",    "1a",      "1.a",     "12:",     "NaN"};
  for (int before = 1; before <= 9; ++before) {
    for (int behind = 0; behind <= 9; ++behind) {
      for (int i = 0; i < 20; ++i) {
        std::string text;
        for (int k = 0; k < before + behind; ++k) {
          if (k == before) text += '.';
          text += static_cast<char>('0' + (k == 0 && before > 1 ? 1 + rng.below(9) : rng.below(10)));
        }
        texts.push_back(text);
      }
    }
  }
  const auto result = [](const auto& take) {
    try {
      return fmt::format("{}", take());
    } catch (const Error&) {
      return std::string("refused");
    }
  };
  for (const std::string& text : texts) {
    const std::string alone = result([&] {
      JsonCursor json(text, "n");
      const double value = json.number().real;
      json.finish();
      return std::bit_cast<uint64_t>(value);
    });
    for (const char* behind : {"]", ",7]", " ]", "\n, 7]", "\r]          ", ", 123.456, 7]", "\t,7]"}) {
      for (const char* ahead : {"[", "[ ", "[5,", "[5, "}) {
        const std::string list = ahead + text + behind;
        const std::vector<char> exact(list.begin(), list.end());  // AddressSanitizer sees any read behind its end.
        EXPECT_EQ(result([&] {
                    JsonCursor json({exact.data(), exact.size()}, "n");
                    std::vector<double> all;
                    check(json.numbers(all), "not a number");
                    json.finish();
                    return std::bit_cast<uint64_t>(all.at(ahead[1] == '5' ? 1 : 0));
                  }),
                  alone)
            << list;
      }
    }
  }
}

TEST(JsonCursor, SaysWhichWholeNumberWasMeant) {
  const auto whole = [](const std::string& text) {
    const JsonNumber n = JsonCursor(text, "n").number();
    return n.is_whole ? std::to_string(n.whole) : "no";
  };
  EXPECT_EQ(whole("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(whole("-9007199254740993"), "-9007199254740993");
  EXPECT_EQ(whole("9223372036854775808"), "no");
  EXPECT_EQ(whole("785.0"), "785");
  EXPECT_EQ(whole("1e3"), "1000");
  EXPECT_EQ(whole("7.5"), "no");
  EXPECT_EQ(whole("1e300"), "no");
  EXPECT_EQ(whole("NaN"), "no");
  EXPECT_EQ(whole("-Infinity"), "no");
}

TEST(JsonCursor, RefusesWhatIsNotJsonWithItsPlace) {
  const auto walked = [](const std::string& text) {
    return message([&] {
      JsonCursor json(text, "t.json");
      double sum = 0;
      std::string strings;
      walk(json, sum, strings);
      json.finish();
    });
  };
  const auto skipped = [](const std::string& text) {
    return message([&] {
      JsonCursor json(text, "t.json");
      json.skip();
      json.finish();
    });
  };
  for (const char* text : {"",
                           " ",
                           "{",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "[1}",
                           "{\"a\":1]",
                           "01",
                           "-",
                           "-a",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "1e+",
                           "0x10",
                           "tru",
                           "truth",
                           "nul",
                           "\"",
                           "\"\\x\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"a\nb\"",
                           "1 2",
                           "[1 2]",
                           "{\"a\":1 \"b\":2}",
                           "nan",
                           "-NaN",
                           "Inf",
                           "Infinit",
                           "'a'",
                           "]",
                           "}",
                           "//",
                           "[1]]"}) {
    EXPECT_TRUE(walked(text).starts_with("t.json:1:")) << text << ": " << walked(text);
    EXPECT_NE(walked(text).find("not valid JSON"), std::string::npos) << text << ": " << walked(text);
    EXPECT_NE(skipped(text).find("not valid JSON"), std::string::npos) << text << ": " << skipped(text);
  }
  EXPECT_EQ(walked("{\"a\": 1\n  \"b\": 2}"), "t.json:2:3: not valid JSON: expected ',' or '}'");
  EXPECT_EQ(walked("[1, 2"), "t.json:1:6: not valid JSON: the text ends too early");
  EXPECT_EQ(skipped(std::string(3000000, '[')), "t.json:1:3000001: not valid JSON: the text ends too early");
}

// The two JSON readers must accept and refuse the same texts and read the same values. Otherwise one program would
// refuse a file that another one reads.
std::string by_both(const std::string& text) {
  const std::string cursor = message([&] {
    JsonCursor json(text, "t.json");
    json.skip();
    json.finish();
  });
  EXPECT_EQ(message([&] { parse_json(text, "t.json"); }), cursor);
  return cursor;
}

TEST(JsonText, AByteOrderMarkIsPassedOver) {
  EXPECT_EQ(by_both("\xEF\xBB\xBF{\"a\": [1, 2]}"), "(no error)");
  EXPECT_EQ(parse_json("\xEF\xBB\xBF[7]", "t.json")[0].GetInt(), 7);
  EXPECT_EQ(message([] { JsonCursor("\xEF\xBB\xBF]", "t.json").kind(); }),
            "t.json:1:1: not valid JSON: expected a value");
}

TEST(JsonText, OtherKindsOfFilesAreCalledByTheirNames) {
  using namespace std::string_literals;
  EXPECT_NE(by_both("\x1f\x8b\x08\0\0"s).find("t.json: is compressed with gzip; unpack it first"), std::string::npos);
  for (const std::string& text : {"\xff\xfe[\0]\0"s, "\xfe\xff\0[\0]"s, "[\0]\0"s, "\0[\0]"s}) {
    EXPECT_NE(by_both(text).find("t.json: is UTF-16 text; save it as UTF-8"), std::string::npos) << text;
  }
  for (const std::string text : {"<!DOCTYPE html><html>", "\n  <html lang=\"en\">", "\xEF\xBB\xBF<HTML>"}) {
    EXPECT_NE(by_both(text).find("t.json: is an HTML page"), std::string::npos) << text;
  }
  EXPECT_NE(by_both("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n")
                .find("t.json: is a Git LFS pointer; fetch the file itself with git lfs pull"),
            std::string::npos);
  EXPECT_NE(by_both("PK\3\4").find("t.json: is a zip file; unpack it first"), std::string::npos);
}

TEST(JsonCursor, AgreesWithRapidJsonOnDamagedTexts) {
  const std::string whole =
      R"({"images": [{"id": 7, "name": "a\"\\\/\b\f\n\r\té\u20ac\ud83d\ude00b"}, {}], "x": [[1.5, -2e3, 0.25, 0], [], [[true, false, null]]], "y": -0.5})";
  const std::string pieces[] = {"1", "-",  ".",  "e", ",", "[",    "]", "{", "}",
                                ":", "\"", "\\", " ", "0", "null", "u", "9", "NaN"};
  int good = 0;
  for (int i = 0; i < 60000; ++i) {
    Philox rng(6, 0, i);
    std::string text = whole;
    for (uint64_t k = rng.below(3); k-- > 0;) {
      const size_t at = rng.below(text.size());
      switch (rng.below(3)) {
        case 0:
          text.erase(at, 1 + rng.below(3));
          break;
        case 1:
          text.insert(at, pieces[rng.below(std::size(pieces))]);
          break;
        default:
          text.resize(at == 0 ? 1 : rng.below(4) == 0 ? at : text.size());
          text[at % text.size()] = pieces[rng.below(std::size(pieces))][0];
      }
    }
    rapidjson::Document document;
    document
        .Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag>(
            text.data(), text.size());
    bool ours = true, skips = true;
    double sum = 0;
    std::string strings;
    try {
      JsonCursor json(text, "t");
      walk(json, sum, strings);
      json.finish();
    } catch (const Error&) {
      ours = false;
    }
    try {
      JsonCursor json(text, "t");
      json.skip();
      json.finish();
    } catch (const Error&) {
      skips = false;
    }
    EXPECT_EQ(ours, skips) << text;
    if (ours != !document.HasParseError()) {
      // RapidJSON accepts a lone second half of a surrogate pair and "-NaN", and refuses numbers beyond the range of
      // double.
      const bool known = text.find("\\ud") != std::string::npos || text.find("-N") != std::string::npos ||
                         document.GetParseError() == rapidjson::kParseErrorNumberTooBig;
      ASSERT_TRUE(known) << text << "\nours: " << ours << ", RapidJSON: " << document.GetParseError();
      continue;
    }
    if (!ours) continue;
    ++good;
    double their_sum = 0;
    std::string their_strings;
    walk(document, their_sum, their_strings);
    if (!std::isnan(sum)) {
      ASSERT_EQ(sum, their_sum) << text;
    }
    ASSERT_EQ(strings, their_strings) << text;
  }
  EXPECT_GT(good, 20000);
  EXPECT_LT(good, 50000);
}

}  // namespace
}  // namespace hr

#include "data/formats/mot.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hr {
namespace {

std::string refusal(std::string_view text, MotKind kind) {
  try {
    parse_mot(text, "t.txt", kind);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Mot, ReadsTheFilesThatPeopleHave) {
  // The text has frames out of order, a byte order mark, Windows line ends, blanks and tabs, integers as floats, a
  // comma at a line's end, an empty line, and no line end at the end.
  const auto boxes = parse_mot(
      "\xef\xbb\xbf"
      "3, 7, 10.5, 20, 30, 40, 0.5, -1, -1, -1\r\n"
      "1.0 2e+00 -1 +2 3 4\r\n"
      "\r\n"
      "1,1\t1,2,3,4,-1,\n"
      "1,5,0,0,0,0,1,-1,-1,-1",
      "t.txt", MotKind::result);
  ASSERT_EQ(boxes.size(), 4u);
  EXPECT_EQ(boxes[0].frame, 1);
  EXPECT_EQ(boxes[0].id, 2);
  EXPECT_EQ(boxes[0].box.x, -1);
  EXPECT_EQ(boxes[0].box.y, 2);
  EXPECT_EQ(boxes[0].score, 1);  // six columns: not given
  EXPECT_EQ(boxes[1].id, 1);     // the file's order within a frame
  EXPECT_EQ(boxes[1].score, -1);
  EXPECT_EQ(boxes[1].line, 4);
  EXPECT_EQ(boxes[2].id, 5);
  EXPECT_EQ(boxes[3].frame, 3);
  EXPECT_EQ(boxes[3].box.h, 40);
  EXPECT_TRUE(parse_mot("", "t.txt", MotKind::truth).empty());
  EXPECT_TRUE(parse_mot("\n \r\n", "t.txt", MotKind::truth).empty());
}

TEST(Mot, ClassesAreOnlyInGroundTruthOfNineColumns) {
  EXPECT_EQ(parse_mot("1,1,0,0,9,9,1,7,0.5", "t.txt", MotKind::truth)[0].category, 7);
  EXPECT_EQ(parse_mot("1,1,0,0,9,9,1,7.3,0.5,2", "t.txt", MotKind::truth)[0].category, -1);  // a coordinate
  EXPECT_EQ(parse_mot("1,1,0,0,9,9,1,7,0.5", "t.txt", MotKind::result)[0].category, -1);
}

TEST(Mot, DetectionsHaveNoIds) {
  const auto boxes = parse_mot("1,-1,0,0,9,9,.5\n1,-1,0,0,9,9,.5\n", "t.txt", MotKind::detections);
  EXPECT_EQ(boxes.size(), 2u);
  EXPECT_EQ(boxes[1].id, -1);
}

TEST(Mot, RefusesInOneLineWithThePlace) {
  const struct {
    const char *text, *where, *what;
  } cases[] = {
      {"1,1,0,0,9,9,1\n0,1,0,0,9,9,1\n", "t.txt:2: ", "frame 0"},
      {"1.5,1,0,0,9,9,1\n", "t.txt:1: ", "frame 1.5"},
      {"1e10,1,0,0,9,9,1\n", "t.txt:1: ", "frame 1"},
      {"1,1,0,0,9\n", "t.txt:1: ", "5 columns"},
      {"1,1,0,0,9,9,1,1,1,1,1\n", "t.txt:1: ", "more than 10"},
      {"1,1,0,0,9,nan,1\n", "t.txt:1: ", "column 6 (height)"},
      {"1,1,0,,9,9,1\n", "t.txt:1: ", "column 4 (top)"},
      {"1,1,0,0,9,9px,1\n", "t.txt:1: ", "\"9px\""},
      {"\n1,1,0,0,-9,9,1\n", "t.txt:2: ", "negative"},
      {"1,1,0,0,1e300,9,1\n", "t.txt:1: ", "1e+300"},
      {"1,-1,0,0,9,9,1\n", "t.txt:1: ", "id -1"},
      {"1,1,0,0,9,9,1\n2,4,0,0,9,9,1\n1,1,5,5,9,9,1\n", "t.txt:3: ", "id 1 is in frame 1 a second time"},
      {"{\"a\": 1}", "t.txt:1: ", "column 1 (frame)"},
  };
  for (const auto& c : cases) {
    const std::string said = refusal(c.text, MotKind::result);
    EXPECT_TRUE(said.starts_with(c.where)) << c.text << ": " << said;
    EXPECT_NE(said.find(c.what), std::string::npos) << c.text << ": " << said;
  }
}

TEST(Mot, WritesWhatItReads) {
  const std::vector<MotBox> boxes{{.frame = 1, .id = 3, .box = {-0.001, 2.5, 10, 20.126}, .score = 0.98765},
                                  {.frame = 2, .id = 1, .box = {1, 2, 3, 4}}};
  const std::string text = mot_text(boxes);
  EXPECT_EQ(text, "1,3,0,2.5,10,20.13,0.9877,-1,-1,-1\n2,1,1,2,3,4,1,-1,-1,-1\n");
  EXPECT_EQ(mot_text(parse_mot(text, "t.txt", MotKind::result)), text);
}

}  // namespace
}  // namespace hr

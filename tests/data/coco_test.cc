#include "data/formats/coco.h"

#include <gtest/gtest.h>

#include "tests/data/golden.h"

namespace hr {
namespace {

using test::contains;

// A file with two joints, one picture and one person, with unknown keys and a polygon around it all.
constexpr const char* good = R"({
  "info": {"a": [1, {"b": 2}]},
  "licenses": [{"id": 1}],
  "images": [{"id": 7, "file_name": "7.jpg", "width": 640, "height": 480, "flickr_url": "x"}],
  "annotations": [
    {"segmentation": [[1, 2, 3.5], [4]], "num_keypoints": 1, "area": 12.5, "iscrowd": 0, "keypoints": [10, 20, 2, 0, 0, 0],
     "image_id": 7, "bbox": [1.5, 2, 30, 40], "category_id": 1, "id": 91}
  ],
  "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}]
})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

CocoAnnotations read(const std::string& text, int joints = 2) {
  const auto path = test::temporary_folder() / "people.json";
  write_file(path, text);
  return read_coco(path, joints);
}

std::string why(const std::string& from, const std::string& to, int joints = 2) {
  std::string message = test::error_of([&] { read(replaced(good, from, to), joints); });
  EXPECT_TRUE(contains(message, "people.json")) << message;
  return message;
}

TEST(Coco, ReadsWhatItNeedsAndSkipsTheRest) {
  const CocoAnnotations file = read(good);
  ASSERT_EQ(file.images.size(), 1u);
  EXPECT_EQ(file.images[0].file_name, "7.jpg");
  EXPECT_EQ(file.images[0].width, 640);
  ASSERT_EQ(file.annotations.size(), 1u);
  const CocoAnnotation& a = file.annotations[0];
  EXPECT_EQ(a.id, 91);
  EXPECT_EQ(a.image_id, 7);
  EXPECT_EQ(a.box.x, 1.5);
  EXPECT_EQ(a.box.h, 40);
  EXPECT_EQ(a.area, 12.5);
  EXPECT_FALSE(a.iscrowd);
  EXPECT_EQ(a.num_keypoints, 1);
  EXPECT_EQ(a.keypoints, (std::vector<double>{10, 20, 2, 0, 0, 0}));
  ASSERT_EQ(file.categories.size(), 1u);
  EXPECT_EQ(file.categories[0].keypoints, (std::vector<std::string>{"nose", "tail"}));
  EXPECT_EQ(file.categories[0].skeleton, (std::vector<std::pair<int, int>>{{1, 2}}));
}

TEST(Coco, WrittenFilesComeBack) {
  CocoAnnotations file = read(good);
  file.images[0].file_name = "folder/\"quoted\" ü.jpg";
  file.images[0].id = (int64_t{1} << 52) + 1;
  file.annotations[0].image_id = file.images[0].id;
  file.annotations[0].keypoints[0] = 0.1 + 0.2;
  file.annotations[0].iscrowd = true;
  const auto path = test::temporary_folder() / "again.json";
  write_coco(path, file);
  EXPECT_TRUE(contains(read_file(path), ",20,2,0,0,0]")) << "whole numbers stay whole";
  const CocoAnnotations again = read_coco(path, 2);
  EXPECT_EQ(again.images[0].file_name, file.images[0].file_name);
  EXPECT_EQ(again.images[0].id, file.images[0].id);
  EXPECT_EQ(again.annotations[0].keypoints, file.annotations[0].keypoints);
  EXPECT_EQ(again.annotations[0].area, 12.5);
  EXPECT_TRUE(again.annotations[0].iscrowd);
  EXPECT_EQ(again.categories[0].skeleton, file.categories[0].skeleton);
}

TEST(Coco, MalformedJsonHasALineAndColumn) {
  EXPECT_TRUE(contains(why("\"image_id\": 7,", "\"image_id\": 7"), "people.json:7:20: not valid JSON"));
  EXPECT_TRUE(contains(why("}\n  ],", "}\n  "), "people.json:"));
  const std::string half = std::string(good).substr(0, 300);
  EXPECT_TRUE(contains(test::error_of([&] { read(half); }), "not valid JSON"));
  EXPECT_TRUE(contains(test::error_of([] { read(""); }), "people.json:1:1: not valid JSON"));
  EXPECT_TRUE(contains(test::error_of([] { read(std::string(2000000, '[')); }), "people.json"));  // without recursion
  EXPECT_TRUE(contains(test::error_of([] { read("{\"x\":" + std::string(2000000, '[')); }), "not valid JSON"));
}

TEST(Coco, EveryWrongFieldIsNamedWithItsEntry) {
  EXPECT_TRUE(contains(why("\"keypoints\": [10, 20, 2, 0, 0, 0],", ""), "annotations[0] (id 91): no keypoints"));
  EXPECT_TRUE(contains(why("2, 0, 0, 0]", "2, 0, 0]"),
                       "annotations[0] (id 91): keypoints: expected 6 numbers (2 joints x 3), got 5"));
  EXPECT_TRUE(contains(why("2, 0, 0, 0]", "2, 0, 0, 0]", 17), "expected 51 numbers (17 joints x 3), got 6"));
  EXPECT_TRUE(contains(why("2, 0, 0, 0]", "2, 0, 0]", 0), "x, y, v per joint"));
  EXPECT_TRUE(contains(why("\"image_id\": 7", "\"image_id\": 8"), "annotations[0] (id 91): image_id 8 is not among"));
  EXPECT_TRUE(
      contains(why("\"image_id\": 7", "\"image_id\": \"7\""), "image_id: expected a whole number, got a string"));
  EXPECT_TRUE(contains(why("\"image_id\": 7", "\"image_id\": 7.5"), "image_id: expected a whole number, got 7.5"));
  EXPECT_TRUE(contains(why("\"image_id\": 7,", ""), "annotations[0] (id 91): no \"image_id\""));
  EXPECT_TRUE(contains(why(", \"id\": 91", ""), "annotations[0]: no \"id\""));
  EXPECT_TRUE(contains(why("[1.5, 2, 30, 40]", "[1.5, 2, 30]"), "bbox: expected 4 numbers"));
  EXPECT_TRUE(contains(why("[1.5, 2, 30, 40]", "[1.5, 2, 30, NaN]"), "bbox: expected a number, got nan"));
  EXPECT_TRUE(contains(why("[1.5, 2, 30, 40]", "[1.5, 2, 30, null]"), "bbox: expected a number, got null"));
  EXPECT_TRUE(contains(why("[1.5, 2, 30, 40]", "[1.5, 2, 30, [4]]"),
                       "bbox: expected one list of numbers, got lists in a list"));
  EXPECT_TRUE(contains(why("[1.5, 2, 30, 40]", "5"), "bbox: expected a list of 4 numbers, got 5"));
  EXPECT_TRUE(contains(why("12.5", "{\"a\": 1}"), "area: expected a number, got an object"));
  EXPECT_TRUE(contains(why("12.5", "[1]"), "area: expected a number, got a list"));
  EXPECT_TRUE(contains(why("\"images\":", "\"pictures\":"), "no \"images\""));
  EXPECT_TRUE(contains(why("\"annotations\":", "\"people\":"), "no \"annotations\""));
  EXPECT_TRUE(contains(why("{\"id\": 7,", "3, {\"id\": 7,"), "images[0]: expected an object, got a number"));
  EXPECT_TRUE(contains(why("{\"id\": 7,", "{\"id\": null,"), "images[0]: id: expected a whole number, got null"));
  EXPECT_TRUE(contains(test::error_of([] { read("[]"); }), "expected an object with images"));
  EXPECT_TRUE(contains(test::error_of([] { read("3"); }), "expected an object with images"));
  EXPECT_TRUE(contains(test::error_of([] { read_coco("/no/such/people.json"); }), "/no/such/people.json"));
}

TEST(Coco, WithAListForThemBadAnnotationsAreNamedAndLeftOut) {
  const char* text = R"({
    "images": [{"id": 7, "file_name": "7.jpg", "width": 640, "height": 480}],
    "annotations": [
      {"id": 1, "image_id": 7, "bbox": [1, 2, 30, 40], "keypoints": [10, 20, 2, 0, 0, 0]},
      {"id": 2, "image_id": 7, "bbox": [1, NaN, 30, 40], "keypoints": [10, 20, 2, 0, 0, 0]},
      {"id": 3, "image_id": 7, "bbox": [1, 2, 30, 40], "keypoints": [10, 20, 2, 0, 0]},
      {"id": 4, "image_id": 7, "bbox": [1, 2, 30, 40], "keypoints": [10, 20, 2, 0, 0, 0, 1, 1, 1]},
      {"id": 5, "image_id": 7, "bbox": [1, 2, 30, 40], "keypoints": [10, -Infinity, 2, 0, 0, 0]},
      {"id": 6, "image_id": 7, "bbox": [1, 2, 30, 40]},
      {"id": 7, "image_id": 7, "bbox": [1, 2, 30, -40], "keypoints": [10, 20, 2, 0, 0, 0]}]})";
  const auto path = test::temporary_folder() / "people.json";
  write_file(path, text);
  BadSamples bad;
  const CocoAnnotations file = read_coco(path, 2, &bad);
  ASSERT_EQ(file.annotations.size(), 2u);  // a box with negative size is left to the recipe
  EXPECT_EQ(file.annotations[1].id, 7);
  const auto entries = bad.entries();
  ASSERT_EQ(entries.size(), 5u);
  const char* parts[] = {"bbox: expected a number, got nan", "expected 6 numbers (2 joints x 3), got 5",
                         "expected 6 numbers (2 joints x 3), got 9", "keypoints: expected a number, got -inf",
                         "no keypoints"};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(entries[i].id, static_cast<int64_t>(i + 2));
    EXPECT_TRUE(contains(entries[i].message, parts[i])) << entries[i].message;
    EXPECT_TRUE(contains(entries[i].message, fmt::format("annotations[{}] (id {})", i + 1, i + 2)));
  }
}

// Reads an annotation file with one person while entries may be left out, and keeps what the reader reports.
struct LeftOut {
  size_t kept = 0;
  std::vector<std::string> why;
};
LeftOut left_out(const std::string& annotation, const std::string& image = R"({"id": 7, "file_name": "7.jpg"})",
                 int joints = 2, const std::vector<int64_t>& categories = {1}) {
  const auto path = test::temporary_folder() / "people.json";
  write_file(path,
             R"({"annotations": [{"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2, 3, 4, 2]}, )" +
                 annotation + R"(], "images": [)" + image + "]}");
  BadSamples bad;
  LeftOut out;
  out.kept = read_coco(path, joints, &bad, categories).annotations.size();
  for (const auto& entry : bad.entries()) out.why.push_back(entry.message);
  return out;
}

TEST(Coco, WithAListForThemBadEntriesAreLeftOutWhateverIsWrongWithThem) {
  const std::string right = R"({"id": 2, "image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2, 3, 4, 2]})";
  EXPECT_EQ(left_out(right).kept, 2u);
  const std::tuple<std::string, std::string, std::string> changes[] = {
      {"[1, 2, 3, 4]", "null", "annotations[1] (id 2): bbox: expected a list of 4 numbers, got null"},
      {"[1, 2, 3, 4]", "\"1 2 3 4\"", "bbox: expected a list of 4 numbers, got a string"},
      {"[1, 2, 3, 4]", "{\"x\": [1, {}]}", "bbox: expected a list of 4 numbers, got an object"},
      {"[1, 2, 3, 4]", "[]", "bbox: expected 4 numbers (x, y, width, height), got 0"},
      {"[1, 2, 3, 4]", "[1, [2, 3], 4]", "bbox: expected one list of numbers, got lists in a list"},
      {"[1, 2, 3, 4]", "[1, 2, Infinity, 4]", "bbox: expected a number, got inf"},
      {"\"bbox\": [1, 2, 3, 4], ", "", "no \"bbox\""},
      {"[1, 2, 2, 3, 4, 2]", "null", "keypoints: expected a list of numbers, got null"},
      {"[1, 2, 2, 3, 4, 2]", "[[1, 2, 2], [3, 4, 2]]", "keypoints: expected one list of numbers, got lists in a list"},
      {"[1, 2, 2, 3, 4, 2]", "[1, 2, 2, 3, \"4\", 2]", "keypoints: expected a number, got a string"},
      {"[1, 2, 2, 3, 4, 2]", "[1, 2, 2, NaN, 4, 2]", "keypoints: expected a number, got nan"},
      {"[1, 2, 2, 3, 4, 2]", "[]", "no keypoints; expected 6"},
      {"\"id\": 2", "\"id\": \"two\"", "annotations[1]: id: expected a whole number, got a string"},
      {"\"id\": 2, ", "", "annotations[1]: no \"id\""},
      {"\"id\": 2", "\"id\": 1", "annotations[1] (id 1): the id is already used by annotations[0]"},
      {"\"image_id\": 7", "\"image_id\": null", "image_id: expected a whole number, got null"},
      {"\"image_id\": 7", "\"image_id\": 8", "annotations[1] (id 2): image_id 8 is not among the 1 images"},
      {"\"image_id\": 7", "\"image_id\": 7, \"category_id\": [1]", "category_id: expected a whole number, got a list"},
      {"\"image_id\": 7", "\"image_id\": 7, \"iscrowd\": \"no\"", "iscrowd: expected 0 or 1, got a string"},
      {"\"image_id\": 7", "\"image_id\": 7, \"area\": NaN", "area: expected a number, got nan"},
      {right, "null", "annotations[1]: expected an object, got null"},
      {right, "[[7], {}]", "annotations[1]: expected an object, got a list"},
  };
  for (const auto& [part, other, message] : changes) {
    const LeftOut result = left_out(replaced(right, part, other));
    EXPECT_EQ(result.kept, 1u) << other;
    ASSERT_EQ(result.why.size(), 1u) << other;
    EXPECT_TRUE(contains(result.why[0], message)) << result.why[0] << "\nexpected " << message;
  }
  // Errors in pictures, with all their people.
  const LeftOut twice = left_out(right, R"({"id": 7, "file_name": "7.jpg"}, {"id": 7, "file_name": "8.jpg"}, 3, {})");
  EXPECT_EQ(twice.kept, 2u);
  EXPECT_EQ(twice.why.size(), 3u);
  const LeftOut nowhere = left_out(right, R"({"id": "7", "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"})");
  EXPECT_EQ(nowhere.kept, 0u);
  EXPECT_EQ(nowhere.why.size(), 3u);
}

TEST(Coco, WhatIsNotNeededIsNotJudged) {
  const std::string right = R"({"id": 2, "image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2, 3, 4, 2]})";
  const auto with = [&](const std::string& more) { return replaced(right, "\"id\": 2", "\"id\": 2, " + more); };
  for (const std::string& line :
       {with(R"("num_keypoints": null)"), with(R"("num_keypoints": "two")"), with(R"("num_keypoints": -1)"),
        with(R"("area": null)"), with(R"("iscrowd": null)"), with(R"("segmentation": {"counts": [[NaN]]})"),
        replaced(right, "3, 4, 2]", "NaN, Infinity, 0]"),
        // Errors in other categories and in crowds.
        with(R"("category_id": 3, "keypoints": [1, 2], "bbox": null)"), with(R"("category_id": 3, "keypoints": [[1]])"),
        with(R"("iscrowd": 1, "keypoints": "none")")}) {
    const LeftOut result = left_out(line);
    EXPECT_EQ(result.kept, 2u) << line;
    EXPECT_TRUE(result.why.empty()) << line << "\n" << result.why[0];
  }
  for (const char* image : {R"({"id": 7, "file_name": "7.jpg", "width": 0, "height": 0})",
                            R"({"id": 7, "file_name": "7.jpg", "width": null, "height": "480"})",
                            R"({"id": 7, "file_name": "7.jpg", "width": -3, "height": 1e30})",
                            R"({"id": 7, "file_name": null})", R"({"id": 7})"}) {
    EXPECT_EQ(left_out(right, image).kept, 2u) << image;
  }
  const auto path = test::temporary_folder() / "people.json";
  write_file(path, R"({"images": [{"id": 7, "width": 0, "height": 480}], "annotations": [{"id": 2, "image_id": 7,
    "bbox": [1, 2, 3, 4], "num_keypoints": null, "keypoints": [1, 2, 2, NaN, NaN, 0]}], "categories": [
    {"id": 1, "name": "person", "keypoints": ["a", "b"], "skeleton": null}, {"id": 2, "name": null, "keypoints": null},
    {"id": 3, "keypoints": ["a", 5], "skeleton": [[1, 2], [1], 7, [1, "2"], [1, 2, 3]]}]})");
  const CocoAnnotations file = read_coco(path);
  EXPECT_EQ(file.images[0].width, 0);
  EXPECT_EQ(file.annotations[0].num_keypoints, 1);
  EXPECT_EQ(file.annotations[0].keypoints, (std::vector<double>{1, 2, 2, 0, 0, 0}));
  ASSERT_EQ(file.categories.size(), 3u);
  EXPECT_EQ(file.categories[0].keypoints.size(), 2u);
  EXPECT_TRUE(file.categories[0].skeleton.empty());
  EXPECT_EQ(file.categories[2].skeleton.size(), 5u);
  // An error is reported only when the entry is needed: here the joints of that category are requested.
  EXPECT_EQ(category_skeleton(file.categories, "people.json", 1).joints(), 2);
  EXPECT_TRUE(contains(test::error_of([&] { category_skeleton(file.categories, "people.json", 3); }),
                       "people.json: category 3: keypoints: expected names in the list, got 5"));
}

TEST(Coco, WholeBodyListsAreAppendedInOrder) {
  const std::string body = R"("keypoints": [1, 1, 2], "foot_kpts": [2, 2, 1], )",
                    face = R"("face_kpts": [3, 3, 0.4], )",
                    hands = R"("righthand_kpts": [5, 5, 2.0], "lefthand_kpts": [4, 4, 2])";
  const auto file = [](const std::string& lists) {
    auto path = test::temporary_folder() / "whole.json";
    write_file(
        path,
        R"({"images": [{"id": 7, "file_name": "7.jpg"}], "annotations": [{"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4], )" +
            lists + "}]}");
    return path;
  };
  const auto joints = [&](const std::string& lists, int count) {
    return read_coco(file(lists), count).annotations.at(0).keypoints;
  };
  EXPECT_EQ(joints(body + face + hands, 5), (std::vector<double>{1, 1, 2, 2, 2, 1, 3, 3, 1, 4, 4, 2, 5, 5, 2}));
  EXPECT_EQ(joints(hands + ", \"righthand_valid\": false, " + face + body + "\"face_valid\": true", 5),
            (std::vector<double>{1, 1, 2, 2, 2, 1, 3, 3, 1, 4, 4, 2, 5, 5, 0}));
  EXPECT_EQ(joints(body + face + hands, 1).size(), 3u);  // only the body
  EXPECT_TRUE(contains(test::error_of([&] { joints(body + face + hands, 4); }), "expected 12 numbers"));
  EXPECT_TRUE(contains(test::error_of([&] { joints(body + face + "\"lefthand_kpts\": 4", 5); }), "lefthand_kpts"));
}

TEST(BadSamples, NamesEverythingOnce) {
  BadSamples bad;
  EXPECT_EQ(bad.summary(), "");
  EXPECT_TRUE(bad.add({BadSamples::Kind::picture, 5, "5.jpg: empty\tfile\n", 3}));
  EXPECT_FALSE(bad.add({BadSamples::Kind::picture, 5, "again", 3}));
  EXPECT_TRUE(bad.add({BadSamples::Kind::annotation, 5, "no box"}));
  EXPECT_EQ(bad.summary(), "1 annotation and 1 picture (with 3 people)");
  const auto path = test::temporary_folder() / "bad.tsv";
  bad.write(path);
  EXPECT_EQ(read_file(path), "kind\tid\tpeople\twhy\nannotation\t5\t1\tno box\npicture\t5\t3\t5.jpg: empty file \n");
}

TEST(Coco, DuplicatesAreNamedWithBothPlaces) {
  const std::string image = R"({"id": 7, "file_name": "7.jpg", "width": 640, "height": 480, "flickr_url": "x"})";
  EXPECT_TRUE(contains(why(image, image + "," + image), "images[1] (id 7): the id is already used by images[0]"));
  const std::string person = R"({"id": 91, "image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2, 0, 0, 0]},)";
  EXPECT_TRUE(contains(why("\"annotations\": [", "\"annotations\": [" + person),
                       "annotations[1] (id 91): the id is already used by annotations[0]"));
}

TEST(Coco, LeavesOutWhatCrowdsAndOtherCategoriesMay) {
  EXPECT_TRUE(
      read(replaced(replaced(good, "\"keypoints\": [10, 20, 2, 0, 0, 0],", ""), "\"iscrowd\": 0", "\"iscrowd\": 1"))
          .annotations[0]
          .keypoints.empty());
  EXPECT_TRUE(read(replaced(replaced(good, "\"keypoints\": [10, 20, 2, 0, 0, 0],", ""), "\"category_id\": 1",
                            "\"category_id\": 3"))
                  .annotations[0]
                  .keypoints.empty());
  const CocoAnnotations plain = read(replaced(replaced(good, "\"area\": 12.5,", ""), "\"num_keypoints\": 1,", ""), 0);
  EXPECT_EQ(plain.annotations[0].area, 30 * 40) << "without area, the box's";
  EXPECT_EQ(plain.annotations[0].num_keypoints, 1);
}

TEST(Coco, ReadsDetections) {
  const auto path = test::temporary_folder() / "det.json";
  write_file(path, R"([{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4.5], "score": 0.25, "other": [[1]]},
                       {"image_id": 8, "category_id": 1, "keypoints": [1, 2, 0.5, 3, NaN, 0.25], "score": NaN}])");
  const auto detections = read_coco_detections(path);
  ASSERT_EQ(detections.size(), 2u);
  EXPECT_TRUE(detections[0].has_box);
  EXPECT_EQ(detections[0].box.h, 4.5);
  EXPECT_EQ(detections[0].score, 0.25);
  EXPECT_FALSE(detections[1].has_box);
  EXPECT_EQ(detections[1].keypoints.size(), 6u);
  EXPECT_TRUE(std::isnan(detections[1].keypoints[4]));
  EXPECT_TRUE(std::isnan(detections[1].score));
  write_file(path, "[]");
  EXPECT_TRUE(read_coco_detections(path).empty());
}

TEST(Coco, RefusesWrongDetections) {
  const auto path = test::temporary_folder() / "det.json";
  const auto refusal = [&](const std::string& text) {
    write_file(path, text);
    std::string message = test::error_of([&] { read_coco_detections(path); });
    EXPECT_TRUE(contains(message, "det.json")) << message;
    return message;
  };
  const std::string fine = R"({"image_id": 7, "bbox": [1, 2, 3, 4], "score": 1})";
  EXPECT_TRUE(contains(refusal("[" + fine + R"(, {"bbox": [1, 2, 3, 4], "score": 1}])"), "entry [1]: no \"image_id\""));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "bbox": [1, 2, 3, 4]}])"), "no \"score\""));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "bbox": [1, 2, 3, 4], "score": "1"}])"),
                       "score: expected a number, got a string"));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "score": 1}])"), "neither"));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "keypoints": [], "score": 1}])"), "keypoints: the list is empty"));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "keypoints": [1, 2], "score": 1}])"), "got 2 numbers"));
  EXPECT_TRUE(contains(refusal(R"([{"image_id": 7, "bbox": [1, 2, 3], "score": 1}])"), "bbox: expected 4"));
  EXPECT_TRUE(contains(refusal(R"({"annotations": []})"), "expected a list of results at the top, got an object"));
  EXPECT_TRUE(contains(refusal("[[1]]"), "expected an object, got a list"));
  EXPECT_TRUE(contains(refusal("[" + fine + "\n" + fine + "]"), "det.json:2:1: not valid JSON"));
}

TEST(Coco, GoldenSampleFiles) {
  HR_NEEDS_ORACLE("coco_sample/test_coco.json");
  const CocoAnnotations file = read_coco(test::oracle("coco_sample/test_coco.json"), 17);
  EXPECT_EQ(file.images.size(), 4u);
  EXPECT_EQ(file.annotations.size(), 14u);
  EXPECT_EQ(file.categories.at(0).keypoints, coco_skeleton().names);
  for (const auto& [a, b] : file.categories[0].skeleton) {
    EXPECT_EQ(std::count(coco_skeleton().limbs.begin(), coco_skeleton().limbs.end(), std::pair(a - 1, b - 1)), 1);
  }
  EXPECT_EQ(read_coco_detections(test::oracle("coco_sample/test_coco_det_AP_H_56.json")).size(), 118u);
}

TEST(Coco, GoldenResultFilesToRefuse) {
  HR_NEEDS_ORACLE("eval/reject_not_a_list.dt.json");
  for (const char* name : {"keypoints_empty", "keypoints_length_50", "missing_image_id", "missing_score", "not_a_list",
                           "score_is_a_string"}) {
    EXPECT_THROW(read_coco_detections(test::oracle(std::string("eval/reject_") + name + ".dt.json")), Error) << name;
  }
}

TEST(Coco, AByteOrderMarkIsPassedOver) {
  EXPECT_EQ(read(std::string("\xEF\xBB\xBF") + good).annotations.size(), 1u);
  const fs::path file = test::source_folder() / ".." / "shared" / "cases" / "truth" / "bom.json";
  if (!fs::exists(file)) GTEST_SKIP() << "no such file: " << file.string();
  EXPECT_FALSE(read_coco(file).annotations.empty());
}

}  // namespace
}  // namespace hr

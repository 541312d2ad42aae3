// The exports of labelling tools, read as annotations.
#include "data/formats/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

fs::path file(const std::string& name, const std::string& text) {
  const fs::path path = test::temporary_folder() / name;
  fs::create_directories(path.parent_path());
  write_file(path, text);
  return path;
}

std::string message(const fs::path& path, const LabelOptions& options = {}) {
  try {
    read_labels(path, options);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string page(const std::string& shapes) {
  return R"({"imagePath": "a\\b.jpg", "imageWidth": 100, "imageHeight": 50, "shapes": [)" + shapes + "]}";
}
std::string point(const std::string& label, const std::string& xy, const std::string& more) {
  return R"({"shape_type": "point", "label": ")" + label + R"(", "points": [[)" + xy + "]]" + more + "}";
}

TEST(Labels, LabelmePutsPeopleTogetherByGroup) {
  const fs::path path =
      file("labelme/1.json", page(point("head", "10, 20", R"(, "group_id": 1, "flags": {"hidden": true})") + "," +
                                  point("foot", "30, 40", R"(, "group_id": 1, "flags": {"hidden": false})") + "," +
                                  point("foot", "90, 49", R"(, "group_id": null)") + "," +
                                  R"({"shape_type": "rectangle", "label": "person", "group_id": 1,)" +
                                  R"( "points": [[40, 45], [5, 15]]}, {"shape_type": "circle", "label": "x"})"));
  file("labelme/2.json", R"({"other": 1})");
  file("labelme/notes.txt", "no JSON");
  const Labels labels = read_labels(path.parent_path(), {.joints = {"head", "foot", "hand"}, .category = "crab"});
  const CocoAnnotations& coco = labels.coco;
  ASSERT_EQ(coco.images.size(), 1);
  EXPECT_EQ(coco.images[0].file_name, "a/b.jpg");
  EXPECT_EQ(coco.images[0].width, 100);
  EXPECT_EQ(coco.categories.at(0).name, "crab");
  ASSERT_EQ(coco.annotations.size(), 2);
  const CocoAnnotation& first = coco.annotations[0];
  EXPECT_THAT(first.keypoints, ElementsAre(10, 20, 1, 30, 40, 2, 0, 0, 0));
  EXPECT_EQ(first.num_keypoints, 2);
  EXPECT_THAT((std::array{first.box.x, first.box.y, first.box.w, first.box.h, first.area}),
              ElementsAre(5, 15, 35, 30, 1050));
  // Without a rectangle the box has a margin of one pixel, which ends at the border of the picture.
  const Box& second = coco.annotations[1].box;
  EXPECT_THAT((std::array{second.x, second.y, second.w, second.h}), ElementsAre(89, 48, 2, 2));
  EXPECT_THAT(labels.unlabelled, ElementsAre("hand"));
  EXPECT_THAT(read_labels(path.parent_path(), {.joints = {"foot"}}).left_out, ElementsAre("head"));
}

TEST(Labels, LabelStudioGivesPointsToTheirRectangles) {
  const std::string size = R"("original_width": 200, "original_height": 100, )";
  const auto rectangle = [&](const std::string& id, double x, double w) {
    return fmt::format(R"({{"id": "{}", "type": "rectanglelabels", {}"value": {{"x": {}, "y": 0, "width": {},
                          "height": 100}}}})",
                       id, size, x, w);
  };
  const auto joint = [&](double x, const std::string& parent) {
    return R"({"type": "keypointlabels", )" + size + parent +
           fmt::format(R"("value": {{"x": {}, "y": 10, "keypointlabels": ["nose"]}}}})", x);
  };
  const fs::path path = file("tasks.json", R"([
    {"data": {"image": "/data/local-files/?t=1&d=some%20folder/caf%C3%A9.jpg"}, "annotations": [
      {"was_cancelled": true, "result": []},
      {"result": [)" + rectangle("wide", 0, 100) +
                                               "," + rectangle("narrow", 40, 20) + "," + joint(50, "") + "," +
                                               joint(45, R"("parentID": "wide", )") + R"(, {"type": "choices"}]}]},
    {"data": {"image": "https://host/upload/1/b.jpg?token=2#top"}, "annotations": [{"result": [)" +
                                               joint(25, "") + R"(]}]},
    {"data": {"image": "c.jpg"}, "annotations": [{"result": []}]}, {"data": {"image": "d.jpg"}}])");
  const CocoAnnotations coco = read_labels(path).coco;
  ASSERT_EQ(coco.images.size(), 2);
  EXPECT_EQ(coco.images[0].file_name, "caf\xc3\xa9.jpg");
  EXPECT_EQ(coco.images[1].file_name, "b.jpg");
  ASSERT_EQ(coco.annotations.size(), 3);
  EXPECT_THAT(coco.annotations[0].keypoints, ElementsAre(90, 10, 2));   // The parent is named.
  EXPECT_THAT(coco.annotations[1].keypoints, ElementsAre(100, 10, 2));  // Both rectangles are around this point.
  EXPECT_EQ(coco.annotations[1].box.w, 40);
  EXPECT_EQ(coco.annotations[2].image_id, coco.images[1].id);
  EXPECT_EQ(coco.annotations[2].box.w, 2);
}

TEST(Labels, CocoFilesKeepTheirJointsOrGetAnotherOrder) {
  const fs::path path = file("coco.json", R"({"images": [{"id": 4, "file_name": "a.jpg", "width": 9, "height": 9}],
    "categories": [{"id": 0, "name": "group"},
                   {"id": 7, "name": "cat", "keypoints": ["ear", "paw", "tail"], "skeleton": [[1, 2], [2, 3]]}],
    "annotations": [{"id": 1, "image_id": 4, "category_id": 7, "bbox": [1, 2, 3, 4],
                     "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0]},
                    {"id": 2, "image_id": 4, "category_id": 0, "bbox": [1, 2, 3, 4]}]})");
  const CocoAnnotations own = read_labels(path).coco;
  ASSERT_EQ(own.annotations.size(), 1);
  EXPECT_EQ(own.annotations[0].category_id, 1);
  EXPECT_EQ(own.categories.at(0).id, 1);
  EXPECT_EQ(own.annotations[0].area, 12);
  EXPECT_EQ(own.annotations[0].num_keypoints, 2);
  const Labels moved = read_labels(path, {.joints = {"tail", "paw", "nose"}});
  EXPECT_THAT(moved.coco.annotations.at(0).keypoints, ElementsAre(0, 0, 0, 3, 4, 1, 0, 0, 0));
  EXPECT_THAT(moved.coco.categories[0].skeleton, ElementsAre(std::pair(2, 1)));
  EXPECT_THAT(moved.left_out, ElementsAre("ear"));
  EXPECT_THAT(moved.unlabelled, ElementsAre("nose"));
  EXPECT_THAT(message(path, {.joints = {"tail"}}), HasSubstr("has joints named tail"));
}

TEST(Labels, EveryPictureIsInOnePart) {
  CocoAnnotations all;
  for (const char* name : {"c", "a", "d", "b", "e"}) {
    const auto id = static_cast<int64_t>(all.images.size()) + 10;
    all.images.push_back({id, name, 8, 8});
    all.annotations.push_back({.id = id, .image_id = id});
  }
  const LabelSplit split = split_labels(all, 2);
  const auto names = [](const CocoAnnotations& part) {
    std::string out;
    for (const CocoImage& image : part.images) out += image.file_name;
    return out;
  };
  EXPECT_EQ(names(split.train), "ace");
  EXPECT_EQ(names(split.val), "bd");
  EXPECT_EQ(split.train.annotations.size(), 3);
  for (const CocoAnnotation& a : split.val.annotations) EXPECT_TRUE(a.image_id == 12 || a.image_id == 13) << a.image_id;
  for (const int wrong : {1, 0, -3, 6}) EXPECT_THROW(split_labels(all, wrong), Error) << wrong;
  EXPECT_EQ(split_labels(all, 5).val.images.size(), 1);
}

TEST(Labels, MistakesAreNamedWithTheirPlace) {
  const auto labelme = [](const std::string& name, const std::string& text) {
    return message(file(name + "/x.json", text).parent_path());
  };
  EXPECT_THAT(labelme("twice", page(point("nose", "1, 2", "") + "," + point("nose", "3, 4", ""))),
              HasSubstr("x.json: shapes[1]: the joint \"nose\" occurs twice"));
  EXPECT_THAT(labelme("short", page(point("nose", "1", ""))),
              HasSubstr("x.json: shapes[0]: points[0]: expected a list"));
  EXPECT_THAT(labelme("text", page(point("nose", "1, \"2\"", ""))), HasSubstr("points[0][1]: expected a number"));
  EXPECT_THAT(labelme("size", R"({"imagePath": "a", "imageWidth": 0, "imageHeight": 1, "shapes": []})"),
              HasSubstr("imageWidth: expected a number of pixels"));
  EXPECT_THAT(labelme("path", R"({"shapes": []})"), HasSubstr("no \"imagePath\""));
  EXPECT_THAT(labelme("none", page("")), HasSubstr("no point is labelled"));
  EXPECT_THAT(labelme("other", "{}"), HasSubstr("no JSON file of labelme"));
  EXPECT_THAT(message(file("one.json", page(""))), HasSubstr("name the folder"));
  EXPECT_THAT(message(file("empty.json", "[]")), HasSubstr("nothing is labelled"));
  EXPECT_THAT(message(file("tasks.json", R"([{"annotations": [{"result": [{"original_width": 5}]}]}])")),
              HasSubstr("[0]: annotations[0]: result[0]: no \"original_height\""));
  EXPECT_THAT(
      message(file("boxes.json", R"({"images": [], "annotations": [], "categories": [{"id": 1, "name": "b"}]})")),
      HasSubstr("0 categories have keypoints, expected one; draw skeletons"));
  EXPECT_THAT(message("nowhere.json"), HasSubstr("nowhere.json"));
}

}  // namespace
}  // namespace hr

// Writes annotation files in COCO's format.
#include <array>
#include <cmath>
#include <ranges>

#include "core/error.h"
#include "core/io/json_write.h"
#include "data/formats/coco.h"

namespace hr {
namespace {

void write_image(JsonWriter& json, const CocoImage& image) {
  json.begin_object().member("id", image.id).member("file_name", image.file_name);
  if (image.width > 0 && image.height > 0) json.member("width", image.width).member("height", image.height);
  if (image.crowd_index >= 0) json.member("crowdIndex", image.crowd_index);
  json.end();
}

void write_annotation(JsonWriter& json, const CocoAnnotation& a) {
  json.begin_object().member("id", a.id).member("image_id", a.image_id).member("category_id", a.category_id);
  json.member("bbox", std::array{a.box.x, a.box.y, a.box.w, a.box.h});
  if (a.has_area) json.member("area", a.area);
  json.member("iscrowd", a.iscrowd ? 1 : 0);
  if (!a.keypoints.empty()) json.member("num_keypoints", a.num_keypoints).member("keypoints", a.keypoints);
  json.end();
}

void write_category(JsonWriter& json, const CocoCategory& category) {
  json.begin_object().member("supercategory", category.name).member("id", category.id).member("name", category.name);
  json.member("keypoints", category.keypoints).key("skeleton").begin_list();
  for (const auto& [a, b] : category.skeleton) json.value(std::array{a, b});
  json.end().end();
}

}  // namespace

void write_coco(const fs::path& path, const CocoAnnotations& annotations) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_object().key("images").begin_list();
  for (const CocoImage& image : annotations.images) write_image(json, image);
  json.end().key("annotations").begin_list();
  for (const CocoAnnotation& a : annotations.annotations) write_annotation(json, a);
  json.end().key("categories").begin_list();
  for (const CocoCategory& category : annotations.categories) write_category(json, category);
  json.end().end();
  write_file(path, text);
}

}  // namespace hr

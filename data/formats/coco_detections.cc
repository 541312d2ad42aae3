// Reads result files in COCO's format (declared in data/formats/coco.h).
#include "data/formats/strict_entries.h"

namespace hr {

std::vector<CocoDetection> read_coco_detections(const fs::path& path) {
  StrictEntries in(path);
  if (in.json.kind() != EntryFile::Kind::list) {
    fail("{}: expected a list of results at the top, got {}", in.path(), in.got());
  }
  std::vector<CocoDetection> out;
  CocoDetection d;
  bool image_id = false, score = false, keypoints = false;
  const auto begin = [&] {
    d = {};
    image_id = score = keypoints = false;
  };
  const auto field = [&](std::string_view name) {
    if (name == "keypoints") {
      in.keypoints(d.keypoints);  // May contain NaN (from a diverged network); the evaluator has rules for it.
      keypoints = true;
    } else if (name == "image_id") {
      d.image_id = in.whole();
      image_id = true;
    } else if (name == "category_id") {
      d.category_id = in.whole();
    } else if (name == "score") {
      d.score = in.number();
      score = true;
    } else if (name == "bbox") {
      d.box = in.box();
      d.has_box = true;
    } else {
      in.json.skip();
    }
  };
  in.entries("", begin, field, [&] {
    in.require(image_id, "image_id");
    in.require(score, "score");
    const size_t n = d.keypoints.size();
    if (n % 3 != 0) fail("{}: {}: keypoints: expected x, y, score per joint, got {} numbers", in.path(), in.place(), n);
    if (keypoints && n == 0) fail("{}: {}: keypoints: the list is empty", in.path(), in.place());
    if (!d.has_box && n == 0) fail("{}: {}: neither \"bbox\" nor \"keypoints\"", in.path(), in.place());
    out.push_back(std::move(d));
  });
  in.json.finish();
  return out;
}

}  // namespace hr

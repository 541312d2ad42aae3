#include "hrnet/validate/detected_boxes.h"

#include "eval/coco_files.h"

namespace hr {

DetectedBoxes read_detected_boxes(const DataOptions& data, const std::string& split, const std::string& file,
                                  double least_score) {
  DetectedBoxes boxes{.file = file, .boxes = {}, .least_score = least_score, .pictures = {}};
  if (file.empty() || reads_pack(data, split)) return boxes;
  const SplitFiles files = find_split(data, split);
  if (files.kind == SplitFiles::Kind::mpii) return boxes;
  boxes.boxes = read_coco_detections(file);
  if (!has_annotations(files.annotations)) boxes.pictures = read_image_list(files.annotations);
  return boxes;
}

}  // namespace hr

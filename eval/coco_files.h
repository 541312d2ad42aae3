// Reads truth and results for an evaluation: only fields that it needs are judged, and values that pycocotools'
// arithmetic accepts are accepted. Training and the selection of people read the same files with read_coco
// (data/formats/coco.h), which is stricter because it needs pictures, boxes and joints of every person.
#pragma once
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"

namespace hr {

// Reads a COCO person_keypoints file. Fields that an annotation lacks (absent, or of a wrong type) are recorded in its
// `lacks`; evaluate_coco decides whether that matters. Names and sizes of pictures may be absent (then "" and 0), and
// annotations may belong to images that are not in the list.
// Throws Error for malformed JSON, a text that is not an object with images and annotations, an id that is absent or
// not a whole number, two images or two annotations with the same id, and keypoints that are not triples.
CocoAnnotations read_truth(const fs::path& path);

// Returns whether the file has "annotations" at the top. Lists of images such as image_info_test-dev2017.json have
// none.
bool has_annotations(const fs::path& path);
CocoAnnotations read_image_list(const fs::path& path);

// Reads a list of results {image_id, category_id, keypoints, score, bbox}. A bbox needs at least 4 numbers (detectors
// often append the score) and may be an empty list, as in pycocotools. Other fields that an entry lacks are recorded in
// its `lacks`.
// Throws Error for malformed JSON and for anything but a list of objects. Throws Error that names the entry for a
// missing image_id, a bbox of 1 to 3 numbers, neither keypoints nor bbox, keypoints that are not triples, and a first
// entry from which pycocotools would take another area than that of bbox or keypoints.
std::vector<CocoDetection> read_results(const fs::path& path);

}  // namespace hr

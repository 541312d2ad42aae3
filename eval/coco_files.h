// The truth and the results as an evaluation reads them: only what it needs is judged, and what pycocotools' arithmetic
// takes is taken. Training and the choice of people read the same files with read_coco (data/formats/coco.h), which is
// stricter because it needs pictures, boxes and joints of everybody.
#pragma once
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"

namespace hr {

// A COCO person_keypoints file. What an annotation lacks (a field that is absent or not of its type) is noted in its
// `lacks`; evaluate_coco decides whether that matters. Names and sizes of pictures may be absent (then "" and 0), and
// annotations may be of images that are not in the list.
// Error: malformed JSON, not an object with images and annotations, an id that is absent or not a whole number, two
// images or two annotations with the same id, a list of keypoints that are not triples.
CocoAnnotations read_truth(const fs::path& path);

// Lists of images without annotations, such as image_info_test-dev2017.json, have no "annotations" at the top.
bool has_annotations(const fs::path& path);
CocoAnnotations read_image_list(const fs::path& path);

// A list of results {image_id, category_id, keypoints, score, bbox}. bbox counts with at least 4 numbers (detectors
// often append the score) and may be an empty list, as pycocotools has it. What else an entry lacks is in its `lacks`.
// Error: malformed JSON, not a list of objects; and naming the entry: no image_id, a bbox of 1 to 3 numbers,
// neither keypoints nor bbox, keypoints that are not triples; a first entry from which pycocotools would take another
// area than that of bbox or keypoints.
std::vector<CocoDetection> read_results(const fs::path& path);

}  // namespace hr

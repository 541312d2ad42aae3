// A detector's boxes, for a validation or a prediction in place of annotated ones.
#pragma once
#include "data/find_dataset.h"

namespace hr {

// Reads a COCO result list, and the pictures where the annotation file of the split is a list of images without
// annotations. An empty name gives no boxes. Packs and MPII, which cannot be used with detected boxes, are left to
// open_split to refuse. Throws Error if a file cannot be read.
DetectedBoxes read_detected_boxes(const DataOptions& data, const std::string& split, const std::string& file,
                                  double least_score = 0);

}  // namespace hr

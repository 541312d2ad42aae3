// Reads the boxes of a detector, which a validation or a prediction uses instead of annotated boxes.
#pragma once
#include "data/find_dataset.h"

namespace hr {

// Reads `file`, a COCO result list, and also the list of pictures if the annotation file of the split has images but no
// annotations. An empty `file` gives no boxes. Returns no boxes for packs and MPII, which cannot be used with detected
// boxes; open_split reports that. Throws Error if a file cannot be read.
DetectedBoxes read_detected_boxes(const DataOptions& data, const std::string& split, const std::string& file,
                                  double least_score = 0);

}  // namespace hr

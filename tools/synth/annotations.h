// Makes an annotation file of train2017's size and kind, without pictures, for measuring how fast one is read.
#pragma once
#include <cstdint>

#include "core/file.h"

namespace hr {

struct SynthAnnotationOptions {
  fs::path file;
  int images = 118287;  // as train2017; 2.2 people per image, four of seven with labelled joints
  uint64_t seed = 0;
};

struct SynthAnnotationCounts {
  int64_t images = 0, annotations = 0, labelled = 0, crowds = 0;
  uint64_t bytes = 0;
};

// Every field of COCO's files is written, also the segmentation polygons, which are most of the bytes. The file appears
// complete or not at all.
SynthAnnotationCounts synth_annotations(const SynthAnnotationOptions& options);

}  // namespace hr

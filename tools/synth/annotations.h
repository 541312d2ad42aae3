// An annotation file of train2017's size and kind without pictures: for measuring how fast one is read.
#pragma once
#include <cstdint>

#include "core/file.h"

namespace hr {

struct SynthAnnotationOptions {
  fs::path file;
  int images = 118287;  // train2017's; people follow: 2.2 an image, four of seven with labelled joints
  uint64_t seed = 0;
};

struct SynthAnnotationCounts {
  int64_t images = 0, annotations = 0, labelled = 0, crowds = 0;
  uint64_t bytes = 0;
};

// Every field of COCO's files is there, segmentation polygons included: they are most of the bytes. Atomic.
SynthAnnotationCounts synth_annotations(const SynthAnnotationOptions& options);

}  // namespace hr

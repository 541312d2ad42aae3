// How long evaluation takes on data of COCO val2017's size, against copying the files' bytes and against RapidJSON.
#pragma once

namespace hr {

struct EvalBenchOptions {
  int images = 5000, people = 11000, detections = 100000;
  int repeats = 7, warmup = 1;
  bool json = false;
};

// Makes an annotation file (COCO's layout, polygons included) and result files in three styles in the temporary folder,
// and measures, all on one core and from page cache: reading each file (MB/s; times as long as one memcpy of its bytes;
// times as fast as RapidJSON's SAX reader that throws every event away, full-precision numbers; all three take turns,
// medians of the turns), matching and accumulating, and the peak memory of the program coco_eval on these files. Then
// evaluates with 1, 2 and 8 threads and compares every byte of the arrays.
void bench_eval(const EvalBenchOptions& options);

}  // namespace hr

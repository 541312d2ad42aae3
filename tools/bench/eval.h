// Measures how long evaluation takes on data of COCO val2017's size, compared with copying the bytes of the files and
// with RapidJSON.
#pragma once

namespace hr {

struct EvalBenchOptions {
  int images = 5000, people = 11000, detections = 100000;
  int repeats = 7, warmup = 1;
  bool json = false;
};

// Makes an annotation file (COCO's layout, with polygons) and result files in three styles in the temporary folder, and
// measures, on one core and from page cache:
//   - reading each file: MB/s, the ratio to one memcpy of its bytes, and the ratio to RapidJSON's SAX reader that drops
//     every event (full-precision numbers). The three take turns; medians of the turns are reported.
//   - matching and accumulating.
//   - the peak memory of the program coco_eval on these files.
// Then it evaluates with 1, 2 and 8 threads and compares every byte of the arrays.
void bench_eval(const EvalBenchOptions& options);

}  // namespace hr

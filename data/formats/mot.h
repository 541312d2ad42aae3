// MOT text: the format of the MOTChallenge for detections, ground truth and results of trackers. One box a line:
//   frame, id, left, top, width, height, score, class, visibility [, unused]
// Frames count from 1; id is -1 in a file of detections; pixels, left and top as written (the challenge counts from 1).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"

namespace hr {

struct MotBox {
  int frame = 1;
  int64_t id = -1;
  Box box;
  double score = 1;   // of ground truth: 0 if the box is not to be considered
  int category = -1;  // 1 to 13 in ground truth of MOT16 and later (1 is a pedestrian), else -1
  int line = 0;       // of the file, for messages; 0: not from a file
};

enum class MotKind {
  detections,  // ids are not read
  truth,       // a file of exactly nine columns has classes in the eighth (in MOT15 that is a place in the world)
  result,
};

// Sorted by frame; within a frame in the file's order. Commas, blanks or tabs separate; Windows line ends, empty lines,
// a byte order mark and numbers such as 1.0 or 1e+00 for integers are read; six columns suffice (the score is 1 then).
// A score of -1 means "not given" and is kept. An empty file has no boxes.
// Throws Error "path:line: why" if a line has another number of columns or something that is no finite number, if a
// frame is below 1 or above 1e9, a size is negative, a pixel above 1e9, or (truth, result) an id is negative or twice
// in a frame.
std::vector<MotBox> read_mot(const fs::path& path, MotKind kind);
std::vector<MotBox> parse_mot(std::string_view text, std::string_view name, MotKind kind);

// The file's text: `frame,id,left,top,width,height,score,-1,-1,-1` a line, with at most two decimals of
// a pixel and four of a score.
std::string mot_text(std::span<const MotBox> boxes);

}  // namespace hr

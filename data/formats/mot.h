// MOT text, the format of the MOTChallenge for detections, ground truth and results of trackers. Each line is a box:
//   frame, id, left, top, width, height, score, class, visibility [, unused]
// Frames are counted from 1; id is -1 in a file of detections. Left and top are pixels as written (the challenge counts
// them from 1).
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
  double score = 1;   // In ground truth: 0 if the box must not be considered.
  int category = -1;  // 1 to 13 in ground truth of MOT16 and later (1 is a pedestrian), otherwise -1.
  int line = 0;       // The line of the file, for messages; 0 if the box does not come from a file.
};

enum class MotKind {
  detections,  // Ids are not read.
  truth,       // In a file of exactly nine columns the eighth is the class (in MOT15 it is a position in the world).
  result,
};

// Returns the boxes sorted by frame and, within a frame, in the order of the file. Commas, blanks or tabs separate
// fields. Windows line ends, empty lines, a byte order mark, and numbers such as 1.0 or 1e+00 for integers are
// accepted. Six columns suffice; the score is then 1. A score of -1 means "not given" and is kept. An empty file has no
// boxes.
// Throws Error "path:line: why" if a line has another number of columns or a value that is not a finite number, if a
// frame is below 1 or above 1e9, a size is negative, a pixel above 1e9, or (truth, result) if an id is negative or
// occurs twice in a frame.
std::vector<MotBox> read_mot(const fs::path& path, MotKind kind);
std::vector<MotBox> parse_mot(std::string_view text, std::string_view name, MotKind kind);

// Returns the text of the file: `frame,id,left,top,width,height,score,-1,-1,-1` per line, with at most two decimals for
// pixels and four for scores.
std::string mot_text(std::span<const MotBox> boxes);

}  // namespace hr

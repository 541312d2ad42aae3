// What predict has found, as numbers in the formats of other programs. Each takes every frame in order.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/io/json_write.h"
#include "data/formats/skeleton.h"
#include "tools/predict/frame.h"

namespace hr {

// One frame as OpenPose writes it: people with person_id and pose_keypoints_2d (x, y, score; 0, 0, 0 for a joint below
// the threshold). With COCO's 17 joints in OpenPose's order of 18, whose second one, the neck, is the middle of the
// shoulders; with any other skeleton in its own order.
std::string openpose_text(const Frame& frame, double threshold);
std::vector<float> openpose_joints(const Pose& pose, double threshold);

// The columns of the CSV file and a frame's lines, one for each person.
std::string csv_header(const Skeleton& skeleton);
std::string csv_lines(const Frame& frame, const std::string& source);

// A frame as one line of JSON, with a newline.
std::string json_line(const Frame& frame, const std::string& source);

// A frame's lines of MOT text.
std::string mot_lines(const Frame& frame);

// A list of results in COCO's format that grows with each frame and appears when it is finished.
class CocoResults {
 public:
  explicit CocoResults(const fs::path& path);
  void add(const Frame& frame, int64_t image_id, const std::string& file_name);
  void finish();

 private:
  AtomicFile file_;
  std::string text_;
  JsonWriter json_;
};

}  // namespace hr

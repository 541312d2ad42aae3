// Formats the results of predict as numbers for other programs. Every format takes all frames in order.
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

// Formats one frame as OpenPose does: people with person_id and pose_keypoints_2d (x and y in pixels, score), with 0,
// 0, 0 for a joint below the threshold. COCO's 17 joints are written in OpenPose's order of 18, whose second joint, the
// neck, is the middle of the shoulders. Any other skeleton keeps its own order.
std::string openpose_text(const Frame& frame, double threshold);
std::vector<float> openpose_joints(const Pose& pose, double threshold);

// Format the header of the CSV file and the lines of a frame, which has one for each person.
std::string csv_header(const Skeleton& skeleton);
std::string csv_lines(const Frame& frame, const std::string& source);

// Formats a frame as one line of JSON that ends with a newline.
std::string json_line(const Frame& frame, const std::string& source);

// Formats the lines of a frame in the text format of the MOT challenge.
std::string mot_lines(const Frame& frame);

// Writes a list of results in COCO's format, which grows with each frame. The file appears when finish() is called.
// Throws Error if the file cannot be written. Not thread-safe.
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

// The last stage: overlays, files of numbers, and the account of what could not be read.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/video/video_writer.h"
#include "tools/predict/number_files.h"
#include "tools/predict/output_names.h"
#include "tools/predict/picture_reader.h"
#include "tools/programs/predict.h"

namespace hr {

class Outputs {
 public:
  // All of these must outlive the outputs.
  Outputs(const PredictOptions& options, const std::vector<Input>& inputs, const Boxes& boxes,
          const Skeleton& skeleton);

  // Frames in order, already drawn on. Throws Error if a file cannot be written, or, where bad inputs are not passed
  // over, about the first of them.
  void take(Frame& frame);
  // Throws Error if there were inputs and none could be read.
  void check_any() const;
  // Everything appears that is not there yet.
  void finish();
  // Prints what was written and what could not be read; the exit status.
  int report() const;

  int64_t frames() const { return frames_; }  // of videos, and pictures
  int64_t people() const { return people_; }
  bool has_video_frames() const { return video_frames_ > 0; }

 private:
  void take_end(Frame& frame);
  void write_overlay(Frame& frame);
  void write_numbers(const Frame& frame);
  void refuse(const std::string& why);
  std::string written() const;

  const PredictOptions& o_;
  const std::vector<Input>& inputs_;
  const Boxes& boxes_;
  const std::vector<std::string> names_;
  const fs::path folder_;
  CocoResults coco_;
  std::unique_ptr<AtomicFile> csv_, mot_;  // of all inputs; of the video that runs
  std::unique_ptr<VideoWriter> overlay_;   // of the video that runs
  std::vector<std::string> bad_, damaged_, notes_;
  size_t pictures_taken_ = 0, pictures_done_ = 0, videos_done_ = 0;
  int64_t frames_ = 0, video_frames_ = 0, frames_of_input_ = 0, people_ = 0, next_image_id_ = 1;
};

}  // namespace hr

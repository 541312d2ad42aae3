// The last stage of predict writes overlays and files of numbers, and reports the inputs that could not be read.
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
  // All arguments must outlive the outputs. Throws Error if a file or folder cannot be created. Not thread-safe.
  Outputs(const PredictOptions& options, const std::vector<Input>& inputs, const Boxes& boxes,
          const Skeleton& skeleton);

  // Takes the frames in order, after people were drawn on them. Throws Error if a file cannot be written, or if an
  // input is bad and bad inputs are not to be skipped.
  void take(Frame& frame);
  // Throws Error if there were inputs and none of them could be read.
  void check_any() const;
  // Completes all files, so that those that are still temporary get their names.
  void finish();
  // Prints what was written and what could not be read. Returns the exit status of the program.
  int report() const;

  int64_t frames() const { return frames_; }  // Returns the number of pictures and video frames.
  int64_t people() const { return people_; }
  bool has_video_frames() const { return video_frames_ > 0; }
  bool last_is_picture() const { return last_is_picture_; }

 private:
  void take_end(Frame& frame);
  void write_overlay(Frame& frame);
  void finish_overlay(const std::string& source);
  void write_numbers(const Frame& frame);
  void refuse(const std::string& why);
  std::string written() const;

  const PredictOptions& o_;
  const std::vector<Input>& inputs_;
  const Boxes& boxes_;
  const std::vector<std::string> names_;
  const fs::path folder_;
  CocoResults coco_;
  // The CSV file has the people of all inputs, and the MOT file has those of the current video.
  std::unique_ptr<AtomicFile> csv_, mot_;
  std::unique_ptr<VideoWriter> overlay_;  // This is the overlay of the current video.
  std::vector<std::string> bad_, damaged_, notes_;
  size_t pictures_taken_ = 0, pictures_done_ = 0, videos_done_ = 0;
  bool last_is_picture_ = false;
  int64_t frames_ = 0, video_frames_ = 0, frames_of_input_ = 0, people_ = 0, next_image_id_ = 1;
};

}  // namespace hr

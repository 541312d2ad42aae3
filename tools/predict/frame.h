// A frame passes through the stages of predict. It is a picture or a frame of a video, with what is known about it so
// far.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/image.h"
#include "data/pose.h"
#include "data/video/video_reader.h"
#include "hrnet/infer/pose_estimator.h"

namespace hr {

struct Frame {
  // The estimator finds the joints of this person.
  struct Person {
    People::Person person;
    // The track number is set before the joints are found if the tracker has predicted the box; otherwise it is 0.
    int64_t track = 0;
  };

  size_t input = 0;    // This is the index into the list of inputs.
  bool video = false;  // This is false for a picture.
  // If this is true, there is no image: the video has ended, or it could not be opened, in which case `error` says why.
  bool end = false;
  bool live = false;   // If this is true, the frame does not wait for others to share a batch.
  int64_t index = 0;   // The index counts the frames of the video from 0.
  double seconds = 0;  // The time counts from the beginning of the video.
  double fps = 0;      // This is the video's frame rate, or 0 if it is unknown.
  PixelShape pixel;    // This is the shape of the video's pixels.
  // At the end of a live source, this is the number of frames that were dropped because they came too fast.
  int64_t dropped = 0;
  std::string error;  // If this is not empty, the input cannot be used.
  // If this is not empty, the frame was read, but some of its pixels may be wrong.
  std::string damage;

  Image image;
  // This is true if the detector has searched this frame. In a tracked video the other frames get the boxes that the
  // tracker predicts.
  bool detected = false;
  bool whole = false;  // If this is true, nobody was searched for, and the whole picture is one person.
  std::vector<Person> people;
  std::vector<Pose> poses;

  size_t bytes() const { return image.rgb.size(); }
};

}  // namespace hr

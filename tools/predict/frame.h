// What travels through the stages of predict: a picture, or a frame of a video, with what is known about it so far.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/image.h"
#include "data/pose.h"
#include "hrnet/infer/pose_estimator.h"

namespace hr {

struct Frame {
  // Somebody to find the joints of.
  struct Person {
    People::Person person;
    int64_t track = 0;  // known before the joints are: where a tracker carries boxes on
  };

  size_t input = 0;     // index into the list of inputs
  bool video = false;   // else a picture
  bool end = false;     // no frame: the video has ended, or it could not be opened (error)
  bool live = false;    // does not wait for others to share a batch
  int64_t index = 0;    // in the video, from 0
  double seconds = 0;   // in the video
  double fps = 0;       // of the video, 0: unknown
  int64_t dropped = 0;  // at the end: frames of a live source that came too fast
  std::string error;    // the input cannot be used
  std::string damage;   // it was read, but some of its pixels may be wrong

  Image image;
  bool detected = false;  // the detector has looked at it; false in a tracked video: boxes are carried on
  bool whole = false;     // nobody looked: all of the picture is one person
  std::vector<Person> people;
  std::vector<Pose> poses;

  size_t bytes() const { return image.rgb.size(); }
};

}  // namespace hr

// Reads pictures in order and prefetches them with threads.
#pragma once
#include <deque>
#include <future>
#include <string>
#include <vector>

#include "data/formats/image.h"
#include "tools/predict/boxes.h"

namespace hr {

struct ReadPicture {
  Image image;        // The picture is upright.
  std::string error;  // If this is not empty, the picture cannot be used.
  // If this is not empty, the picture was read, but some of its pixels may be wrong.
  std::string damage;
};

class PictureReader {
 public:
  // Reads up to `workers` pictures at a time. With 0 each picture is read when next() is called. Both lists must
  // outlive the reader. Not thread-safe.
  PictureReader(const std::vector<fs::path>& pictures, const Boxes& boxes, int workers);
  // Returns the next picture, or false if there are no more. A picture that cannot be read has an error message.
  bool next(ReadPicture& picture);

 private:
  const std::vector<fs::path>& pictures_;
  const Boxes& boxes_;
  const int workers_;
  size_t asked_ = 0;
  // This member is the last one, so that its threads have ended before the members that they use are destroyed.
  std::deque<std::future<ReadPicture>> ahead_;
};

}  // namespace hr

// Pictures in order, read ahead by threads.
#pragma once
#include <deque>
#include <future>
#include <string>
#include <vector>

#include "data/formats/image.h"
#include "tools/predict/boxes.h"

namespace hr {

struct ReadPicture {
  Image image;         // as it is seen
  std::string error;   // the picture cannot be used
  std::string damage;  // the picture was read, but some of its pixels may be wrong
};

class PictureReader {
 public:
  // Both lists must outlive the reader. workers: how many pictures are read at a time; 0: each when it is asked for.
  PictureReader(const std::vector<fs::path>& pictures, const Boxes& boxes, int workers);
  // False: there are no more.
  bool next(ReadPicture& picture);

 private:
  const std::vector<fs::path>& pictures_;
  const Boxes& boxes_;
  const int workers_;
  size_t asked_ = 0;
  std::deque<std::future<ReadPicture>> ahead_;  // last: its threads use the other members
};

}  // namespace hr

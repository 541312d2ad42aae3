// The parts of data/formats/labels.h: what the JSON files of labelme and Label Studio hold.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"

namespace hr::labels {

struct Point {
  double x = 0, y = 0;  // In pixels of the picture.
  int visibility = 0;   // As in COCO: 0 not labelled, 1 hidden, 2 visible.
};

// A labelled person or object: points by the name of the joint.
struct Thing {
  std::optional<Box> box;
  std::map<std::string, Point> points;
};

struct LabelledPicture {
  CocoImage image;  // Without an id.
  std::vector<Thing> things;
};

// Both throw Error with the file and the place in it for malformed content, and for a joint that stands twice in one
// thing. Pictures come in the order of the file (Label Studio) or of the file names (labelme). In a folder, JSON files
// of other kinds are passed over; if there are no others, this is an Error.
std::vector<LabelledPicture> read_labelme(const fs::path& folder);
std::vector<LabelledPicture> read_label_studio(const fs::path& file);

}  // namespace hr::labels

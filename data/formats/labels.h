// Reads what labelling tools export, as annotations in COCO's form.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"

namespace hr {

struct LabelOptions {
  // The names of the joints in their order. Labels with other names are left out. Empty: for a COCO file its own
  // joints, otherwise all names that occur, in alphabetical order.
  std::vector<std::string> joints;
  std::string category = "person";  // The name of what is labelled; COCO files bring their own.
};

struct Labels {
  CocoAnnotations coco;                 // One category, with id 1; each annotation has joints, a box and an area.
  std::vector<std::string> left_out;    // Joints of the export that are not among LabelOptions::joints.
  std::vector<std::string> unlabelled;  // Joints of LabelOptions::joints that nobody has.
};

// Reads one of three kinds of export:
// - A COCO keypoint file (CVAT, Roboflow). Exactly one of its categories must have keypoints. Annotations of other
//   categories and those without keypoints are left out. An absent area becomes that of the box.
// - Label Studio's JSON, a list of tasks. Of each task the first annotation that was not cancelled counts. A point
//   belongs to the rectangle that is its parent, or else to the smallest rectangle around it. Percent become pixels.
//   Label Studio gives the size of a picture only with a label, so that pictures without labels are left out.
// - A folder of labelme's JSON files. The shapes with the same group_id are one person: points, and possibly a
//   rectangle. A point with a flag that is set counts as hidden.
// A person without a rectangle gets the extent of the joints, with a tenth of it (at least one pixel) more on each
// side. Throws Error with the file and the place in it for malformed content, for a joint that one person has twice,
// for a COCO file that has no category with keypoints or several ones, and if nothing is labelled.
Labels read_labels(const fs::path& path, const LabelOptions& options = {});

struct LabelSplit {
  CocoAnnotations train, val;
};

// Puts every `val_every`-th picture in the order of the file names into `val` and the others into `train`, each with
// its annotations. Throws Error with the field `val_every` unless both parts get a picture.
LabelSplit split_labels(const CocoAnnotations& annotations, int val_every);

}  // namespace hr

// Training augmentation in two steps: draw the parameters (random), then place the person with them (not random,
// checked against golden data).
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "core/philox.h"
#include "data/geometry.h"
#include "data/skeleton.h"

namespace hr {

// official: HRNet's published recipe. seed: the seed project's, with its quirks (parity: whole-number joints, raw
// visibility as weight, flip after the crop, training boxes without the 1.25 padding).
enum class Recipe { official, seed };

struct AugmentOptions {
  double scale = 0.35;   // official: clip(N(1, scale), 1-scale, 1+scale); seed: U(1-scale, 1+scale)
  double rotation = 45;  // degrees; official: clip(N(0, r), -2r, 2r) for 60 % of people; seed: whole degrees in [-r, r]
  double half_body = 0.3;        // probability
  int half_body_min_joints = 8;  // official: only with more labelled joints than this
  bool flip = true;              // mirror half of the people
};

// What was drawn for one person. The defaults change nothing in the official recipe; the seed evaluates with
// scale 1.25.
struct Augmentation {
  bool half_body = false;
  bool upper_first = false;  // which half is tried first
  double scale = 1;
  double rotation = 0;  // degrees
  bool flip = false;
};

// Takes the same number of values from the stream whatever it draws. labelled_joints: those with v > 0.
Augmentation draw_augmentation(Recipe recipe, Philox& random, const AugmentOptions& options, int labelled_joints);

// joints: [K][x, y, v] in picture pixels. The place of one half of the body: upper joints if upper_first and more than
// 2 are labelled, else lower if more than 2, else upper; nothing when fewer than 2 joints are left, or all at one
// point.
std::optional<CenterScale> official_half_body(std::span<const double> joints, const Skeleton& skeleton,
                                              bool upper_first, double aspect);
// The seed's: the joints' box times 1.5; nothing with fewer than 3 joints or a box of at most 1 px.
std::optional<Box> seed_half_body(std::span<const double> joints, const Skeleton& skeleton, bool upper);

// A person placed in the crop.
struct Placement {
  CenterScale place;           // after half body, scale and flip; in the mirrored picture if `mirror_source`
  Affine image_to_crop;        // from the (mirrored, see below) picture
  Affine heatmap_to_image;     // from a quarter of the crop back to the (unmirrored) picture
  bool mirror_source = false;  // official flip: the picture is mirrored first
  bool mirror_crop = false;    // seed flip: the crop is mirrored last
  std::vector<double> joints;  // [K][x, y, v] in crop pixels; empty when the person has none
};

// place: from center_scale (with padding).
Placement place_official(const CenterScale& place, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h);
// box: raw, as annotated. Joints at x = 0 or y = 0 stay where they are; joints of a person annotated in whole numbers
// are truncated to whole numbers, as the seed's integer array does.
Placement place_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                     const Augmentation& augmentation, int w, int h);

// The crop of a placement: warp, and the seed's mirror. [h, w, 3]
Image crop_image(const Image& picture, const Placement& placement, int w, int h);

}  // namespace hr

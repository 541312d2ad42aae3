// Training augmentation in two steps: draw the parameters (random), then place the person with them (not random,
// checked against golden data).
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/philox.h"
#include "data/crops/geometry.h"
#include "data/formats/mpii.h"
#include "data/formats/skeleton.h"

namespace hr {

// official: HRNet's published recipe. seed: the seed project's, with its quirks (parity: whole-number joints, raw
// visibility as weight, flip after the crop, training boxes without the 1.25 padding).
enum class Recipe { official, seed };

// How joints become heatmaps, and which map from picture to crop goes with it. The name of the codec that decodes them.
// quarter: HRNet's, a Gaussian at the nearest whole pixel. dark: the Gaussian at the joint itself (Zhang et al. 2020).
// udp: pixel centres at the ends of box, crop and heatmap are mapped onto each other (Huang et al. 2020), a Gaussian at
// the joint itself.
enum class Encoding { quarter, dark, udp };
std::string_view encoding_name(Encoding encoding);
Encoding parse_encoding(std::string_view name);  // Error lists the names there are

struct AugmentOptions {
  double scale = 0.35;   // official: clip(N(1, scale), 1-scale, 1+scale); seed: U(1-scale, 1+scale)
  double rotation = 45;  // degrees; official: clip(N(0, r), -2r, 2r) for 60 % of people; seed: whole degrees in [-r, r]
  double half_body = 0.3;        // probability
  int half_body_min_joints = 8;  // official: only with more labelled joints than this
  bool flip = true;              // mirror half of the people

  // Not part of either recipe; drawn last, so that they change nothing else.
  double photometric = 0;  // 0..1: brightness by up to 32 s of 255, contrast and saturation by a factor 1 -+ s/2, hue
                           // by up to 18 s degrees, each for half of the people
  double dropout = 0;      // probability of 1 to 8 black rectangles, 5 to 20 % of the crop's width and height each
};

// What was drawn for one person. The defaults change nothing in the official recipe; the seed evaluates with
// scale 1.25.
struct Augmentation {
  bool half_body = false;
  bool upper_first = false;  // which half is tried first
  double scale = 1;
  double rotation = 0;  // degrees
  bool flip = false;
  double brightness = 0, contrast = 1, saturation = 1, hue = 0;  // added to 0..255; factors; degrees
  struct Hole {
    double x = 0, y = 0, w = 0, h = 0;  // parts of the crop's width and height
  };
  std::vector<Hole> holes;

  bool recolours() const { return brightness != 0 || contrast != 1 || saturation != 1 || hue != 0; }
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
                         const Augmentation& augmentation, int image_width, int w, int h,
                         Encoding encoding = Encoding::quarter);
// MPII: the same in double, as the reference has it there; without half body, which its MPII recipe leaves out.
Placement place_official(const MpiiPlace& place, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h,
                         Encoding encoding = Encoding::quarter);
// box: raw, as annotated. Joints at x = 0 or y = 0 stay where they are; joints of a person annotated in whole numbers
// are truncated to whole numbers, as the seed's integer array does.
Placement place_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                     const Augmentation& augmentation, int w, int h);

// The crop of a placement: warp, the seed's mirror, colours and holes. [h, w, 3]
Image crop_image(const ImageView& picture, const Placement& placement, int w, int h,
                 const Augmentation& augmentation = {});
// The same row by row: put(y, rgb) with rgb [w, 3], valid during the call.
void crop_image(const ImageView& picture, const Placement& placement, int w, int h, const Augmentation& augmentation,
                const std::function<void(int y, const uint8_t* rgb)>& put);

// The part of the picture that crops of these people can show, whatever is drawn: what has to be kept of a picture to
// make every one of them without it. Empty when all of them lie beside the picture. `augment` null: plain crops.
Region reach_official(const CenterScale& place, std::span<const double> joints, const Skeleton& skeleton,
                      const AugmentOptions* augment, int picture_width, int picture_height, int w, int h);
Region reach_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                  const AugmentOptions* augment, int picture_width, int picture_height, int w, int h);

}  // namespace hr

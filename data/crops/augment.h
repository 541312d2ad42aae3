// Training augmentation in two steps: draw the parameters (random), then place the person with them (deterministic,
// checked against golden data). All functions are thread-safe.
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

// official: HRNet's published recipe. seed: the recipe of the seed project with its habits (whole-number joints, raw
// visibility as weight, flip after the crop, training boxes without the padding of 1.25).
enum class Recipe { official, seed };

// Says how joints become heatmaps, and which map from picture to crop belongs to it. The name is that of the codec
// which decodes them. quarter: HRNet's, a Gaussian at the nearest whole pixel. dark: a Gaussian at the joint itself
// (Zhang et al. 2020). udp: the outer pixel centres of box, crop and heatmap are mapped onto each other (Huang et al.
// 2020), with a Gaussian at the joint itself.
enum class Encoding { quarter, dark, udp };
std::string_view encoding_name(Encoding encoding);
Encoding parse_encoding(std::string_view name);  // Throws Error that lists the known names.

struct AugmentOptions {
  double scale = 0.35;  // official: clip(N(1, scale), 1-scale, 1+scale); seed: U(1-scale, 1+scale).
  // In degrees. official: clip(N(0, r), -2r, 2r) for 60 % of people; seed: whole degrees in [-r, r].
  double rotation = 45;
  double half_body = 0.3;        // A probability.
  int half_body_min_joints = 8;  // official: half body only if more joints than this are labelled.
  bool flip = true;              // Mirrors half of the people.

  // These belong to neither recipe. They are drawn last, so that they change no other draw.
  // 0 to 1: brightness by up to 32 s of 255, contrast and saturation by a factor 1 -+ s/2, hue by up to 18 s degrees,
  // each for half of the people.
  double photometric = 0;
  double dropout = 0;  // The probability of 1 to 8 black rectangles, of 5 to 20 % of the crop's width and height each.
};

// The values drawn for one person. The defaults change nothing in the official recipe; the seed evaluates with scale
// 1.25.
struct Augmentation {
  bool half_body = false;
  bool upper_first = false;  // Selects the half that is tried first.
  double scale = 1;
  double rotation = 0;  // In degrees.
  bool flip = false;
  double brightness = 0, contrast = 1, saturation = 1, hue = 0;  // Added to values of 0 to 255; two factors; degrees.
  struct Hole {
    double x = 0, y = 0, w = 0, h = 0;  // As parts of the crop's width and height.
  };
  std::vector<Hole> holes;

  bool recolours() const { return brightness != 0 || contrast != 1 || saturation != 1 || hue != 0; }
};

// Takes the same number of values from the stream for all results. labelled_joints is the number with v > 0.
Augmentation draw_augmentation(Recipe recipe, Philox& random, const AugmentOptions& options, int labelled_joints);

// Returns the place of one half of the body. joints: [K][x, y, v] in picture pixels. It is the upper half if
// upper_first and more than 2 of its joints are labelled; otherwise the lower half if more than 2 are; otherwise the
// upper half. Empty if the half has fewer than 2 joints, or all of them at one point.
std::optional<CenterScale> official_half_body(std::span<const double> joints, const Skeleton& skeleton,
                                              bool upper_first, double aspect);
// The seed's half body: the box of the joints times 1.5. Empty with fewer than 3 joints or a box of at most 1 px.
std::optional<Box> seed_half_body(std::span<const double> joints, const Skeleton& skeleton, bool upper);

// How a person is placed in the crop.
struct Placement {
  CenterScale place;           // After half body, scale and flip; in the mirrored picture if `mirror_source`.
  Affine image_to_crop;        // From the picture, which is mirrored if `mirror_source`.
  Affine heatmap_to_image;     // From a quarter of the crop's coordinates to the picture, which is not mirrored.
  bool mirror_source = false;  // Official flip: the picture is mirrored before the warp.
  bool mirror_crop = false;    // Seed flip: the crop is mirrored after the warp.
  std::vector<double> joints;  // [K][x, y, v] in crop pixels; empty if the person has none.
};

// `place` is the result of center_scale, with padding.
Placement place_official(const CenterScale& place, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h,
                         Encoding encoding = Encoding::quarter);
// For MPII: the same in double, in which the reference computes it, and without half body, which its MPII recipe leaves
// out.
Placement place_official(const MpiiPlace& place, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h,
                         Encoding encoding = Encoding::quarter);
// `box` is as annotated. Joints at x = 0 or y = 0 are not moved. The joints of a person that is annotated in whole
// numbers are cut to whole numbers, as in the seed's integer array.
Placement place_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                     const Augmentation& augmentation, int w, int h);

// Makes the crop [h, w, 3] of a placement: the warp, the seed's mirror, colours and holes.
Image crop_image(const ImageView& picture, const Placement& placement, int w, int h,
                 const Augmentation& augmentation = {});
// Makes the same crop row by row: put(y, rgb) receives rgb [w, 3], which is valid during the call.
void crop_image(const ImageView& picture, const Placement& placement, int w, int h, const Augmentation& augmentation,
                const std::function<void(int y, const uint8_t* rgb)>& put);

// Returns the part of the picture that crops of these people can show for all possible draws. If this part is kept,
// every crop can be made without the picture. Empty if all crops lie beside the picture. If `augment` is null, only the
// plain crops count.
Region reach_official(const CenterScale& place, std::span<const double> joints, const Skeleton& skeleton,
                      const AugmentOptions* augment, int picture_width, int picture_height, int w, int h);
Region reach_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                  const AugmentOptions* augment, int picture_width, int picture_height, int w, int h);

}  // namespace hr

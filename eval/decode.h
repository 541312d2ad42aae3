// Converts heatmaps to keypoints, and keypoints to coordinates of the picture.
//   auto poses = decode(maps, {.codec = Codec::quarter});  // [n, joints, 3] in heatmap pixels
//   to_image(poses, maps.joints, places);                  // in place; one affine map per pose
// Coordinates are x before y; the centre of pixel (i, j) is at x = i, y = j. All functions are thread-safe.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "data/crops/augment.h"
#include "data/crops/geometry.h"

namespace hr {

// A view of float32 heatmaps [n, h, w, joints], where the joints vary fastest. The memory must outlive the view.
struct Heatmaps {
  const float* data = nullptr;
  int n = 0, h = 0, w = 0, joints = 0;
};

// Says how a peak becomes a coordinate. A network learns for one codec, so the name of the codec is stored with the
// weights.
enum class Codec {
  argmax,  // The pixel itself; (0, 0) if the maximum is <= 0.
  // Official HRNet and the seed: a quarter pixel towards the larger neighbour, if 1 < x < w-1 and 1 < y < h-1.
  quarter,
  msra,  // mmpose's MSRAHeatmap: x and y are tested separately; (-1, -1) if the maximum is <= 0.
  dark,  // Zhang et al. 2020, "Distribution-aware coordinate representation": blur, logarithm, one Newton step.
  udp,   // Huang et al. 2020, "The devil is in the details": DARK on the pixel-exact grid, at borders too.
};
std::string_view codec_name(Codec codec);
Codec parse_codec(std::string_view name);  // Throws Error that lists the known names.
// Returns the encoding with which a network must have learnt to be decoded by this codec: argmax, quarter and msra read
// the same heatmaps.
Encoding encoding_of(Codec codec);

struct DecodeOptions {
  Codec codec = Codec::quarter;
  int blur = 11;  // For dark and udp: an odd kernel size, 11 for a heatmap sigma of 2, 17 for 3.
};

// Returns [n, joints, 3]: x and y in heatmap pixels, and the maximum. The first maximum in row-major order wins. The
// coordinates of argmax and quarter are exact; those of dark and udp move by the float32 rounding of the blur (below
// 1e-5 pixels for maps with a clear peak). For dark and udp they are (-1, -1) if the maximum is <= 0. Throws Error if
// the sizes do not fit.
std::vector<float> decode(const Heatmaps& maps, const DecodeOptions& options = {});

// Returns the map from heatmap pixels to the picture for a crop without rotation. For argmax, quarter, msra and dark it
// is the inverse of the official crop (isotropic, by the width). For udp pixel centres lie at the borders of the box: x
// = x' 200 scale_x / (w-1) + left.
Affine image_from_heatmap(Codec codec, const CenterScale& place, int w, int h);

// Applies maps[i] to the joints of pose i, in place. poses: [n, joints, 3]; the third number does not change.
void to_image(std::span<float> poses, int joints, std::span<const Affine> maps);

}  // namespace hr

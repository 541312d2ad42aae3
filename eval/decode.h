// Heatmaps to keypoints, and back to the picture.
//   auto poses = decode(maps, {.codec = Codec::quarter});                 // [n, joints, 3] in heatmap pixels
//   to_image(poses, maps.joints, places);                  // in place; one affine map per pose
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "data/crops/augment.h"
#include "data/crops/geometry.h"

namespace hr {

// A view of float32 heatmaps [n, h, w, joints], joints fastest.
struct Heatmaps {
  const float* data = nullptr;
  int n = 0, h = 0, w = 0, joints = 0;
};

// How a peak becomes a coordinate. The network learns for one of them, so its name travels with the weights.
enum class Codec {
  argmax,   // the pixel itself; (0, 0) where the maximum is <= 0
  quarter,  // official HRNet and the seed: a quarter pixel towards the larger neighbour, if 1 < x < w-1 and 1 < y < h-1
  msra,     // mmpose's MSRAHeatmap: x and y tested apart; (-1, -1) where the maximum is <= 0
  dark,     // Zhang et al. 2020, "Distribution-aware coordinate representation": blur, log, one Newton step
  udp,      // Huang et al. 2020, "The devil is in the details": DARK on the pixel-exact grid, at borders too
};
std::string_view codec_name(Codec codec);
Codec parse_codec(std::string_view name);  // Error lists the names there are
// What a network must have learnt from to be decoded so: argmax, quarter and msra read the same heatmaps.
Encoding encoding_of(Codec codec);

struct DecodeOptions {
  Codec codec = Codec::quarter;
  int blur = 11;  // dark and udp: odd kernel size, 11 for heatmap sigma 2, 17 for sigma 3
};

// [n, joints, 3]: x and y in heatmap pixels, and the maximum. The first maximum in row-major order wins.
// The argmax and quarter coordinates are exact; dark and udp move by float32 rounding of the blur (below 1e-5 pixels
// for maps with a clear peak). (-1, -1) for dark and udp where the maximum is <= 0.
std::vector<float> decode(const Heatmaps& maps, const DecodeOptions& options = {});

// From heatmap pixels to the picture for a crop without rotation. argmax, quarter, msra, dark: the inverse of the
// official crop (isotropic, by the width); udp: pixel centres at the borders of the box, x = x' 200 scale_x / (w-1) +
// left.
Affine image_from_heatmap(Codec codec, const CenterScale& place, int w, int h);

// Applies maps[i] to the joints of pose i, in place. poses: [n, joints, 3]; the third number stays.
void to_image(std::span<float> poses, int joints, std::span<const Affine> maps);

}  // namespace hr

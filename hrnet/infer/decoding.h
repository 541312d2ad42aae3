// Chooses how heatmaps are decoded into poses, from the settings and from what the weights were trained for.
#pragma once
#include <optional>
#include <string>

#include "eval/decode.h"

namespace hr {

struct DecodingOptions {
  std::string codec;          // Empty: the codec of the weights, or else quarter.
  int blur = 0;               // Kernel size for dark and udp; 0: 11, or 17 for inputs of 384 rows and more.
  bool flip = true;           // Averages the heatmaps with those of the mirrored picture.
  std::optional<bool> shift;  // Shifts the mirrored heatmaps by one column before that; nullopt: yes, except for udp.
};
struct Decoding {
  DecodeOptions decode;
  bool flip = true, shift = true;
  std::string summary() const;  // "quarter offset; flip test with shift"
};

// Combines the settings with the codec that the weights were trained for (`trained`, from WeightInfo::codec). argmax,
// quarter and msra read the same kind of heatmap (a Gaussian at the nearest whole pixel), dark one with the Gaussian at
// the exact joint, and udp one on another grid. `weights` is the file name, for messages. Throws Error if the codec
// needs another kind of heatmap than the network was trained for, and if shift is asked for with udp, which has no
// column to shift.
Decoding choose_decoding(const DecodingOptions& options, const std::optional<std::string>& trained,
                         const std::string& weights, int input_h);

}  // namespace hr

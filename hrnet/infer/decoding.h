// How heatmaps become poses: what is asked for, and what becomes of it when the weights say what they were trained for.
#pragma once
#include <optional>
#include <string>

#include "eval/decode.h"

namespace hr {

struct DecodingOptions {
  std::string codec;          // empty: the weights', else quarter
  int blur = 0;               // dark and udp: kernel size; 0: 11, and 17 for inputs of 384 rows and more
  bool flip = true;           // average with the mirrored picture
  std::optional<bool> shift;  // move the mirrored heatmaps by a column first; empty: yes, but for udp
};
struct Decoding {
  DecodeOptions decode;
  bool flip = true, shift = true;
  std::string summary() const;  // "quarter offset; flip test with shift"
};

// argmax, quarter and msra read the same heatmaps (a Gaussian at the nearest whole pixel); dark wants one at the joint
// itself, udp another grid. trained: what the weights say (WeightInfo::codec); weights: the file, for messages. Error
// when a network is to be decoded as another kind than it learnt, and for shift with udp, which has no column to shift.
Decoding choose_decoding(const DecodingOptions& options, const std::optional<std::string>& trained,
                         const std::string& weights, int input_h);

}  // namespace hr

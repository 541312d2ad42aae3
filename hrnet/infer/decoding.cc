#include "hrnet/infer/decoding.h"

#include "core/error.h"

namespace hr {
namespace {

std::string_view peak_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::dark:
      return "peaks at the joints' exact places";
    case Encoding::udp:
      return "peaks at the joints' exact places on a grid from pixel centre to pixel centre";
    default:
      return "peaks at whole pixels";
  }
}

}  // namespace

std::string Decoding::summary() const {
  std::string text(codec_name(decode.codec));
  if (decode.codec == Codec::dark || decode.codec == Codec::udp) text += fmt::format(" (blur {})", decode.blur);
  return text + (flip ? fmt::format(", flip test {} shift", shift ? "with" : "without") : ", no flip test");
}

Decoding choose_decoding(const DecodingOptions& o, const std::optional<std::string>& trained,
                         const std::string& weights, int input_h) {
  Decoding out;
  out.decode.codec = parse_codec(o.codec.empty() ? trained.value_or("quarter") : o.codec);
  if (trained) {
    const Encoding learnt = encoding_of(parse_codec(*trained)), wanted = encoding_of(out.decode.codec);
    check(learnt == wanted,
          "{}: was trained for the codec '{}' ({}); `codec` {} is for {}, and every joint would be off by part of a "
          "pixel. Leave `codec` out, or train with `codec` {}",
          weights, *trained, peak_of(learnt), o.codec, peak_of(wanted), encoding_name(wanted));
  }
  out.decode.blur = o.blur != 0 ? o.blur : input_h >= 384 ? 17 : 11;
  check_field(out.decode.blur >= 3 && out.decode.blur % 2 == 1 && out.decode.blur < 1000, "blur",
              "{}: expected an odd number from 3 to 999", out.decode.blur);
  out.flip = o.flip;
  const bool udp = out.decode.codec == Codec::udp;
  check_field(
      !udp || !o.shift.value_or(false), "shift_heatmap",
      "cannot be combined with the codec udp, which maps the mirrored picture onto the same columns; leave it out");
  out.shift = o.shift.value_or(!udp);
  return out;
}

}  // namespace hr

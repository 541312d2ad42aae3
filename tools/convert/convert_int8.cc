#include "tools/convert/convert_int8.h"

#include <optional>

#include "core/counted.h"
#include "hrnet/int8/quantise.h"
#include "tools/convert/patient_progress.h"

namespace hr {

void convert_to_int8(const ConvertOptions& o, const WeightFile& file) {
  std::optional<PatientProgress> line(std::in_place, "calibrate");
  QuantiseOptions options{.calibrate = o.calibrate, .people = o.calibrate_people, .color = o.color};
  if (!o.ranges.empty()) options.method = parse_range_method(o.ranges);
  const QuantiseReport r = quantise_file(file, o.output, options, std::ref(*line));
  line.reset();
  fmt::print("{} -> {}: {}, {} of 8 bits, {:.1f} MiB\n", o.input, o.output, r.network,
             counted(static_cast<int64_t>(r.convolutions), "convolution"), static_cast<double>(r.bytes) / (1 << 20));
  const auto count = static_cast<int64_t>(r.people);
  fmt::print("  ranges  of {} by {}\n", r.detector ? counted(count, "picture") : counted(count, "person", "people"),
             name_of(r.method));
  fmt::print("  check   read back; the {} differ by {:.1f} % (root mean square)\n",
             r.detector ? "numbers of the last picture" : "heatmaps of the last people", 100 * r.difference);
}

}  // namespace hr

#include "tools/convert/convert_onnx.h"

#include <optional>

#include "core/counted.h"
#include "hrnet/export/onnx.h"
#include "tools/convert/patient_progress.h"

namespace hr {

void convert_to_onnx(const ConvertOptions& o, const WeightFile& file) {
  std::optional<PatientProgress> line;  // shows the writing only, because the check reports no progress
  const OnnxReport r = export_onnx(file, o.output,
                                   {.keep_bn = o.keep_bn,
                                    .decode = o.decode,
                                    .half = o.half,
                                    .fixed_size = o.fixed_size,
                                    .model = o.model,
                                    .color = o.color,
                                    .keypoints_path = o.keypoints_path,
                                    .codec = o.codec,
                                    .joints = o.joints},
                                   [&](int64_t done, int64_t total) {
                                     if (!line) line.emplace("write " + fs::path(o.output).filename().string());
                                     (*line)(done, total);
                                   });
  line.reset();
  fmt::print("{} -> {}: {}, {} nodes of opset 17, {:.1f} MiB\n", o.input, o.output, r.network, r.nodes,
             static_cast<double>(r.bytes) / (1 << 20));
  fmt::print("  {} -> {}\n", r.input, r.outputs);
  fmt::print(
      "  check  read back and run on {} random inputs; the largest difference to the network is {:.1e} of the "
      "largest number\n",
      r.batch, r.relative());
  if (r.int8) {
    fmt::print("  check  of {} bytes of activations {} differ, by at most {}\n", r.bytes_check.bytes,
               r.bytes_check.differing, counted(r.bytes_check.steps, "step"));
  }
  if (o.half) fmt::print("  check  with weights in float16 it is {:.1e}\n", r.rounding);
  if (o.decode)
    fmt::print("  check  decoded as by the other programs; the largest difference is {:.1e} pixels\n", r.pixels);
}

}  // namespace hr

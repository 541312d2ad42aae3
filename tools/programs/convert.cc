#include "tools/programs/convert.h"

#include <deque>
#include <functional>

#include "core/error.h"
#include "tools/convert/convert_int8.h"
#include "tools/convert/convert_onnx.h"
#include "tools/convert/patient_progress.h"

namespace hr {
namespace {

// Returns the metadata that is kept with the weights. Entries about a training run (position, history, seed) are left
// out.
std::map<std::string, std::string> metadata_for(const WeightFile& file, const std::string& color) {
  std::map<std::string, std::string> metadata{{"format", "pt"}};  // the convention for PyTorch's names and layouts
  const WeightInfo info = weight_info(file);
  if (info.model) metadata["model"] = *info.model;
  if (info.joints) metadata["joints"] = std::to_string(*info.joints);
  if (const std::string order = color_of(info, color); !order.empty()) metadata["color"] = order;
  for (const char* key : {"codec", "input_h", "input_w", "recipe", "skeleton"}) {
    const auto found = file.metadata().find(key);
    if (found != file.metadata().end()) metadata.insert(*found);
  }
  return metadata;
}

// Checks that no option is set that applies only to another kind of output. Throws Error that names the field.
void check_options(const ConvertOptions& o, bool onnx, bool safetensors) {
  for (const auto& [field, given] : {std::pair{"keep_bn", o.keep_bn},
                                     {"decode", o.decode},
                                     {"half", o.half},
                                     {"fixed_size", o.fixed_size.has_value()},
                                     {"keypoints_path", !o.keypoints_path.empty()},
                                     {"codec", !o.codec.empty()}}) {
    check_field(onnx || !given, field, "is for an output that ends in .onnx");
  }
  check_field(o.calibrate.empty() || safetensors, "calibrate", "is for an output that ends in .safetensors");
}

}  // namespace

void convert(const ConvertOptions& o) {
  if (o.info) {
    check(o.output.empty(), "--info writes nothing; leave out {}", o.output);
    const WeightFile file{fs::path(o.input)};
    file.verify();
    fmt::print("{}", report(file, o));
    return;
  }
  check(!o.output.empty(), "expected the name of a file to write after {}, or --info", o.input);
  const fs::path out = o.output;
  const std::string ending = out.extension().string();
  const bool pth = ending == ".pth" || ending == ".pt";
  const bool onnx = ending == ".onnx";
  const bool safetensors = ending == ".safetensors";
  check(pth || onnx || safetensors, "{}: expected a name that ends in .safetensors, .pth or .onnx", o.output);
  check_options(o, onnx, safetensors);
  const WeightFile file{fs::path(o.input)};
  std::error_code none;
  check(!fs::equivalent(o.input, out, none), "{} is the input itself; choose another name", o.output);
  check(!file.names().empty(), "{} has no tensors to write; `convert --info` lists what it contains", o.input);
  file.verify();
  if (onnx) return convert_to_onnx(o, file);
  if (!o.calibrate.empty()) return convert_to_int8(o, file);
  check(!is_int8(file), "{}: holds weights of 8 bits, which are not converted; convert the float32 weights", o.input);

  std::vector<NamedArray> arrays;
  std::deque<std::vector<std::byte>> dense;  // copies of views that have gaps or another order
  for (const std::string& name : file.names()) {
    const ArrayView& view = file.at(name);
    NamedArray& array = arrays.emplace_back(NamedArray{name, view.dtype, view.shape, view.bytes});
    if (view.dense()) continue;
    auto& bytes = dense.emplace_back(static_cast<size_t>(view.numel()) * size_of(view.dtype));
    view.copy_to(bytes);
    array.bytes = bytes;
  }
  const auto metadata = metadata_for(file, o.color);
  {
    PatientProgress progress("write " + out.filename().string());
    pth ? write_pth(out, arrays, std::ref(progress)) : write_safetensors(out, arrays, metadata, std::ref(progress));
  }

  fmt::print("{} -> {}: {} {}, {:.1f} MiB, {}\n", o.input, o.output, grouped(static_cast<int64_t>(arrays.size())),
             arrays.size() == 1 ? "tensor" : "tensors", static_cast<double>(fs::file_size(out)) / (1 << 20),
             guess_model(file).what);
  if (file.wrapper().writer != Wrapper::Writer::plain) fmt::print("  from  {}\n", file.wrapper().describe());
  if (optimizer_in_words(file) != "none") fmt::print("  left  optimiser state ({})\n", optimizer_in_words(file));
  for (const std::string& name : file.skipped()) fmt::print("  left  {}, which is no tensor\n", name);
  if (!pth) return;
  std::string lost;
  for (const auto& [key, value] : metadata) {
    const bool told_by_tensors = key == "format" || key == "model" || key == "joints";
    const bool by_default = key == "color" && value == color_of({.model = weight_info(file).model}, "");
    if (!told_by_tensors && !by_default)
      lost += fmt::format("{}{} = {}", lost.empty() ? "" : ", ", key, shortened(value));
  }
  if (!lost.empty()) fmt::print("  left  {}: a .pth has no place for it\n", lost);
}

}  // namespace hr

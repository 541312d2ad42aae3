#include "tools/programs/convert.h"

#include <deque>
#include <functional>
#include <optional>

#include "core/error.h"
#include "hrnet/export/onnx.h"
#include "tools/cli/cli.h"
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

// Options that only make sense for an output of another kind.
void check_options(const ConvertOptions& o, bool onnx) {
  for (const auto& [field, given] : {std::pair{"keep_bn", o.keep_bn},
                                     {"decode", o.decode},
                                     {"half", o.half},
                                     {"fixed_size", o.fixed_size.has_value()},
                                     {"keypoints_path", !o.keypoints_path.empty()},
                                     {"codec", !o.codec.empty()}}) {
    check_field(onnx || !given, field, "is for an output that ends in .onnx");
  }
}

void convert_to_onnx(const ConvertOptions& o, const WeightFile& file) {
  std::optional<PatientProgress> line;  // for the writing alone; the check has no end that could be foretold
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
  if (o.half) fmt::print("  check  with weights in float16 it is {:.1e}\n", r.rounding);
  if (o.decode)
    fmt::print("  check  decoded as by the other programs; the largest difference is {:.1e} pixels\n", r.pixels);
}

}  // namespace

void add_convert_options(CLI::App& app, ConvertOptions& o) {
  describe(
      app,
      "Converts a weight file, .pth of any kind, safetensors or ONNX, to safetensors or to a .pth that "
      "torch.load(weights_only=True) opens. Tensors keep their bits, type and order; wrappers and optimiser state "
      "are left out. An output that ends in .onnx gets the whole network, for other programs to run; it is run and "
      "compared with the network before it gets its name. With --info it only describes a file.",
      "convert pose_hrnet_w32_256x192.pth w32.safetensors\n"
      "convert runs/w32/best.safetensors best.pth\n"
      "convert runs/w32/best.safetensors w32.onnx\n"
      "convert pose_hrnet_w48_384x288.pth w48.onnx --fixed-size 384 288 --decode\n"
      "convert yolox_s.pth yolox_s.onnx\n"
      "convert --info hrnet_w32-36af842e.pth");
  app.add_option("input", o.input, "weight file to read")->required()->type_name("IN");
  app.add_option("output", o.output, "file to write: .safetensors, .pth or .onnx")->type_name("OUT");
  app.add_flag("--info", o.info, "describe IN and write nothing");
  app.add_flag("--all", o.all, "with --info: print every row of long tables");
  app.add_option("--model", o.model,
                 "with --info: list how IN differs from this network; for an .onnx OUT: the network [default: the "
                 "weights']")
      ->type_name("NAME");
  app.add_option("--num-joints", o.joints, "number of joints of the network that --model names [default: the weights']")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--color", o.color,
                 "record this order of the input's channels in a safetensors or .onnx OUT: rgb or bgr")
      ->type_name("ORDER")
      ->check(CLI::IsMember({"rgb", "bgr"}));
  app.add_flag("--keep-bn", o.keep_bn, "for .onnx: batch norms stay nodes of their own, for tools that train further");
  app.add_flag("--decode", o.decode,
               "for .onnx: the graph gives joints [batch, joints, 2], in pixels of its input, and scores [batch, "
               "joints]; of a detector: boxes in pixels");
  app.add_flag("--half", o.half, "for .onnx: store filters as float16; the graph computes in float32");
  add_fixed_size(app, o.fixed_size);
  app.add_option("--keypoints-path", o.keypoints_path,
                 "for .onnx: skeleton to note, a built-in name or a file [default: the one that IN carries, else coco]")
      ->type_name("FILE");
  app.add_option("--codec", o.codec,
                 "for .onnx: how a peak becomes a coordinate with --decode: argmax, quarter or msra [default: the "
                 "weights', else quarter]")
      ->type_name("NAME");
}

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
  check(pth || onnx || ending == ".safetensors", "{}: expected a name that ends in .safetensors, .pth or .onnx",
        o.output);
  check_options(o, onnx);
  const WeightFile file{fs::path(o.input)};
  std::error_code none;
  check(!fs::equivalent(o.input, out, none), "{} is the input itself; choose another name", o.output);
  check(!file.names().empty(), "{} has no tensors to write; `convert --info` lists what it contains", o.input);
  file.verify();
  if (onnx) return convert_to_onnx(o, file);

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

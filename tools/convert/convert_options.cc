#include "tools/cli/cli.h"
#include "tools/programs/convert.h"

namespace hr {

void add_convert_options(CLI::App& app, ConvertOptions& o) {
  describe(app,
           "Converts a weight file, .pth of any kind, safetensors or ONNX, to safetensors or to a .pth that "
           "torch.load(weights_only=True) opens. Tensors keep their bits, type and order; wrappers and optimiser state "
           "are left out. With --calibrate it writes weights of 8 bits for fast inference on a CPU. An output that "
           "ends in .onnx gets the whole network, for other programs to run; it is run and "
           "compared with the network before it gets its name. With --info it only describes a file.",
           "convert pose_hrnet_w32_256x192.pth w32.safetensors\n"
           "convert runs/w32/best.safetensors best.pth\n"
           "convert runs/w32/best.safetensors w32.onnx\n"
           "convert pose_hrnet_w48_384x288.pth w48.onnx --fixed-size 384 288 --decode\n"
           "convert yolox_s.pth yolox_s.onnx\n"
           "convert runs/w32/best.safetensors w32.int8.safetensors --calibrate data/coco2017\n"
           "convert w32.int8.safetensors w32_qdq.onnx\n"
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
  app.add_option(
         "--calibrate", o.calibrate,
         "write weights of 8 bits, with the ranges of activations that these people give: a dataset folder, a "
         "file that `pack` made, or a folder of pictures of one person each; for a detector, a folder of pictures")
      ->type_name("DATA");
  app.add_option("--calibrate-people", o.calibrate_people,
                 "with --calibrate: number of people (for a detector: pictures), spread over DATA; 0 takes all")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ranges", o.ranges,
                 "with --calibrate: how a range follows from the values: mse (least mean squared error), percentile "
                 "(all but a hundred-thousandth) or max [default: mse; for a detector max]")
      ->type_name("METHOD")
      ->check(CLI::IsMember({"mse", "percentile", "max"}));
}

}  // namespace hr

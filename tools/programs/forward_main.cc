// The program forward runs weights on given tensors, without pictures, so that the heatmaps can be compared with those
// of another implementation.
#include <cstring>

#include "core/error.h"
#include "hrnet/int8/file.h"
#include "hrnet/model/yolox.h"
#include "hrnet/train/precision.h"
#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"

namespace {

struct Options : hr::ModelOptions {
  std::string input, output;
};

void add_options(CLI::App& app, Options& o) {
  hr::describe(app,
               "Runs a model on a given tensor, to compare its output with another implementation. Reads `input` [N, "
               "3, H, W] and writes `heatmaps` [N, joints, H/4, W/4], both float32. A detector (yolox_nano, "
               "yolox_tiny, yolox_s, yolox_m, yolox_l, yolox_x) writes `output` [N, anchors, 5 + classes].",
               "forward --weights pose_hrnet_w32_256x192.pth --input in.safetensors --output out.safetensors");
  hr::add_weights(app, o);
  app.add_option("--input", o.input, "safetensors file with the tensor `input`")->required()->type_name("FILE");
  app.add_option("--output", o.output, "safetensors file to write")->required()->type_name("FILE");
  hr::add_network_options(app, o);
}

void forward(const Options& options) {
  Options o = options;
  hr::settle_precision(o, {}, hr::print_remark);
  hr::Context cx = hr::make_context(hr::context_options(o));
  const hr::SafetensorsFile file(o.input);
  const hr::ArrayView& input = file.at("input");
  hr::check(input.shape.size() == 4 && input.shape[1] == 3 && input.shape[0] > 0,
            "{}: `input` must be [N, 3, H, W], but it is {}", o.input, hr::to_string(input.shape));
  const int64_t n = input.shape[0], h = input.shape[2], w = input.shape[3];
  const hr::WeightFile weights(o.weights);
  const std::vector<float> nchw = input.to_f32();
  std::vector<float> nhwc(nchw.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t p = 0; p < h * w; ++p) nhwc[(i * h * w + p) * 3 + c] = nchw[(i * 3 + c) * h * w + p];
    }
  }
  const hr::Tensor x = cx.empty({n, h, w, 3}, hr::DType::f32);
  cx.upload(x, std::as_bytes(std::span(nhwc)));
  if (hr::yolox_info(weights) || hr::yolox_shape(o.model)) {
    const hr::Tensor y = hr::is_int8(weights) ? hr::load_int8_detector(cx, weights)->run(cx, x)
                                              : hr::load_yolox(cx, weights, o.model)->forward(cx, x);
    const std::vector<float> out = hr::to_host(cx, y);
    const hr::NamedArray output{"output", hr::DType::f32, y.shape(), std::as_bytes(std::span(out))};
    return hr::write_safetensors(o.output, std::span(&output, 1));
  }
  const auto model = hr::load_model(cx, weights, o.model, o.joints);
  const hr::Tensor y = model->forward(cx, x);
  const std::vector<float> maps = hr::to_host(cx, y);
  const int64_t pixels = y.dim(1) * y.dim(2), joints = y.dim(3);
  std::vector<float> out(y.numel());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t k = 0; k < joints; ++k) out[(i * joints + k) * pixels + p] = maps[(i * pixels + p) * joints + k];
    }
  }
  const hr::NamedArray heatmaps{
      "heatmaps", hr::DType::f32, {n, joints, y.dim(1), y.dim(2)}, std::as_bytes(std::span(out))};
  hr::write_safetensors(o.output, std::span(&heatmaps, 1));
}

}  // namespace

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<Options>("forward", argc, argv, add_options, forward);
}

#include "hrnet/export/onnx.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "hrnet/export/int8_check.h"
#include "hrnet/export/int8_writer.h"
#include "hrnet/export/onnx_decode.h"
#include "hrnet/export/onnx_network.h"
#include "hrnet/export/onnx_run.h"
#include "hrnet/version.h"

namespace hr {
namespace {

constexpr int kStride = 4;  // One pixel of a heatmap covers this many pixels of the input.
constexpr int kBatch = 3;   // The check runs on a batch of this size.

// Fills a batch with random numbers in the range of the network's inputs; they are the same in every run.
Tensor random_images(const Context& cx, const OnnxNetwork& net, int n) {
  std::vector<float> numbers(static_cast<size_t>(n) * net.h * net.w * 3);
  Philox rng(18, 0x6f6e6e78, 0);  // The key is the text "onnx".
  for (float& v : numbers) v = static_cast<float>(rng.uniform(net.low, net.high));
  Tensor images = cx.empty({n, net.h, net.w, 3}, DType::f32);
  cx.upload(images, std::as_bytes(std::span(numbers)));
  return images;
}

// Converts [N, H, W, C] to [N, C, H, W] or back.
std::vector<float> turned(const std::vector<float>& from, int64_t n, int64_t outer, int64_t inner) {
  std::vector<float> to(from.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t a = 0; a < outer; ++a) {
      for (int64_t b = 0; b < inner; ++b) to[(i * inner + b) * outer + a] = from[(i * outer + a) * inner + b];
    }
  }
  return to;
}

struct Difference {
  double largest_difference = 0, largest = 0;
};
Difference compare_numbers(const std::vector<float>& got, const std::vector<float>& expected) {
  check(got.size() == expected.size(), "onnx: the graph gives {} numbers, the network {}", got.size(), expected.size());
  Difference d;
  for (size_t i = 0; i < got.size(); ++i) {
    const double off = std::abs(static_cast<double>(got[i]) - expected[i]);
    // A NaN counts as an infinite difference; std::max alone would ignore it.
    d.largest_difference = std::isfinite(off) ? std::max(d.largest_difference, off) : HUGE_VAL;
    d.largest = std::max(d.largest, std::abs(static_cast<double>(expected[i])));
  }
  return d;
}

std::string in_words(const OnnxValue& v) {
  std::string text;
  for (const auto& d : v.dims)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", d.symbol.empty() ? std::to_string(d.size) : d.symbol);
  return fmt::format("{} [{}]", v.name, text);
}

class Exporter {
 public:
  Exporter(OnnxNetwork network, const OnnxOptions& options) : net_(std::move(network)), options_(options) {}

  // Builds the graph from one run of the network.
  void write(Context& cx, OnnxBuilder& b) const {
    Context traced = cx;
    NetworkTrace trace;
    if (!net_.int8) traced.trace = &trace;
    const Tensor images = random_images(cx, net_, 1);
    const Tensor result = net_.forward(traced, images);
    OnnxModel& m = b.model;
    m.producer = "hrnet.cpp";
    m.producer_version = HRNET_VERSION;
    m.graph = net_.name;
    m.metadata = net_.metadata;
    const OnnxValue::Dim batch{.symbol = "batch"};
    m.inputs.push_back({net_.input, DType::f32, {batch, {3}, {net_.h}, {net_.w}}});
    const std::string value = net_.int8
                                  ? write_int8_network(b, net_.int8->graph(), *net_.int8_file, net_.input)
                                  : write_network(b, trace, net_.layers, images, net_.input, result, options_.keep_bn);
    if (!net_.codec) {
      b.rename(value, options_.decode ? kRaw : net_.output);
      if (options_.decode) b.rename(add_boxes(b, kRaw, net_.h, net_.w), net_.output);
      m.outputs.push_back({net_.output, DType::f32, {batch, {result.dim(1)}, {result.dim(2)}}});
      return;
    }
    b.rename(value, net_.output);
    const int64_t joints = result.dim(3);
    if (!options_.decode) {
      m.outputs.push_back({net_.output, DType::f32, {batch, {joints}, {result.dim(1)}, {result.dim(2)}}});
      return;
    }
    add_joints(b, net_.output, net_.h / kStride, net_.w / kStride, kStride, *net_.codec);
    m.outputs.push_back({"joints", DType::f32, {batch, {joints}, {2}}});
    m.outputs.push_back({"scores", DType::f32, {batch, {joints}}});
  }

  // Computes the network's own result for the check's inputs, with the dimensions in the graph's order.
  void run_network(Context& cx) {
    images_ = random_images(cx, net_, kBatch);
    const Tensor y = net_.forward(cx, images_);
    expected_ = to_host(cx, y);
    if (net_.codec) expected_ = turned(expected_, y.dim(0), y.dim(1) * y.dim(2), y.dim(3));
  }

  Difference check_graph(Context& cx, const OnnxModel& model, double& pixels, Int8Check& bytes) const {
    OnnxArray in{.dtype = DType::f32, .shape = {kBatch, 3, net_.h, net_.w}, .reals = {}, .integers = {}};
    in.reals = turned(to_host(cx, images_), kBatch, int64_t{net_.h} * net_.w, 3);
    const std::string raw = options_.decode && !net_.codec ? kRaw : net_.output;
    std::vector<std::string> wanted{raw};
    for (const OnnxValue& v : model.outputs) wanted.push_back(v.name);
    const OnnxArrays got = net_.int8
                               ? run_onnx_beside(cx, model, *net_.int8, images_, {{net_.input, in}}, wanted, bytes)
                               : run_onnx(cx, model, {{net_.input, in}}, wanted);
    if (options_.decode) pixels = net_.codec ? joints_difference(got) : boxes_difference(got);
    return compare_numbers(got.at(raw).reals, expected_);
  }

  const OnnxNetwork& network() const { return net_; }

 private:
  // Returns the largest difference to the result of eval/decode.h on the same heatmaps.
  double joints_difference(const OnnxArrays& got) const {
    const OnnxArray &maps = got.at(net_.output), &joints = got.at("joints"), &scores = got.at("scores");
    const auto n = static_cast<int>(maps.shape[0]), k = static_cast<int>(maps.shape[1]),
               h = static_cast<int>(maps.shape[2]), w = static_cast<int>(maps.shape[3]);
    const std::vector<float> last = turned(maps.reals, n, k, int64_t{h} * w);
    const std::vector<float> poses = decode({last.data(), n, h, w, k}, {.codec = *net_.codec});
    std::vector<float> places, maxima;
    for (size_t i = 0; i < poses.size(); i += 3) {
      places.insert(places.end(), {poses[i] * kStride, poses[i + 1] * kStride});
      maxima.push_back(poses[i + 2]);
    }
    return std::max(compare_numbers(joints.reals, places).largest_difference,
                    compare_numbers(scores.reals, maxima).largest_difference);
  }

  // Returns the largest difference to the formula of hrnet/infer/person_detector.cc on the same table.
  double boxes_difference(const OnnxArrays& got) const {
    const OnnxArray &table = got.at(kRaw), &boxes = got.at(net_.output);
    std::vector<float> expected = table.reals;
    const auto columns = static_cast<size_t>(table.shape[2]);
    float* row = expected.data();
    for (int64_t i = 0; i < table.shape[0]; ++i) {
      for (const int stride : {8, 16, 32}) {
        for (int y = 0; y < net_.h / stride; ++y) {
          for (int x = 0; x < net_.w / stride; ++x, row += columns) {
            const auto s = static_cast<float>(stride);
            row[0] = (row[0] + static_cast<float>(x)) * s;
            row[1] = (row[1] + static_cast<float>(y)) * s;
            row[2] = std::exp(row[2]) * s;
            row[3] = std::exp(row[3]) * s;
          }
        }
      }
    }
    const Difference d = compare_numbers(boxes.reals, expected);
    return d.largest_difference / std::max(1.0, d.largest / std::max(net_.h, net_.w));
  }

  // This is the name of a detector's table before its boxes are decoded.
  static constexpr const char* kRaw = "raw_output";
  OnnxNetwork net_;
  const OnnxOptions& options_;
  Tensor images_;
  std::vector<float> expected_;
};

// Names the file that is written until the check has passed. The destructor removes it; the constructor removes the one
// that an export left behind which was killed.
struct Unchecked {
  fs::path path;
  explicit Unchecked(const fs::path& out) : path(out.string() + ".unchecked") { remove(); }
  ~Unchecked() { remove(); }
  void remove() const {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
  Unchecked(const Unchecked&) = delete;
  Unchecked& operator=(const Unchecked&) = delete;
};

void require_small(const fs::path& out, double relative, double tolerance, const char* what) {
  check(
      relative <= tolerance,
      "{}: the graph {} gives other numbers than the network: the largest difference is {:.2g} of the largest number, "
      "and at most {:.0e} is rounding. No file was written; this is an error of the program",
      out.string(), what, relative, tolerance);
}

}  // namespace

OnnxReport export_onnx(const WeightFile& weights, const fs::path& out, const OnnxOptions& options,
                       const WriteProgress& progress) {
  const Unchecked unchecked(out);
  Context cx;
  Exporter exporter(onnx_network(cx, weights, options), options);
  exporter.run_network(cx);
  OnnxReport report{.network = exporter.network().name, .batch = kBatch};
  report.int8 = exporter.network().int8 != nullptr;
  const auto note = [&](const Difference& d) {
    report.difference = d.largest_difference;
    report.largest = d.largest;
    require_small(out, report.relative(), kOnnxTolerance, report.int8 ? "of bytes" : "with weights in float32");
  };
  if (options.half) {
    OnnxBuilder full(false);
    exporter.write(cx, full);
    note(exporter.check_graph(cx, full.model, report.pixels, report.bytes_check));
  }
  OnnxBuilder builder(options.half);
  exporter.write(cx, builder);
  write_onnx(unchecked.path, builder.model, progress);
  {
    const OnnxFile file(unchecked.path);
    const Difference d = exporter.check_graph(cx, file.model(), report.pixels, report.bytes_check);
    if (options.half) {
      report.rounding = d.largest > 0 ? d.largest_difference / d.largest : d.largest_difference;
      require_small(out, report.rounding, kOnnxHalfTolerance, "with weights in float16");
    } else {
      note(d);
    }
    const Int8Check& b = report.bytes_check;
    check(
        b.steps <= 1 && static_cast<double>(b.differing) <= kOnnxDifferingBytes * static_cast<double>(b.bytes),
        "{}: {} of {} bytes differ from the network's, by up to {} steps; a few by one step are rounding. No file was "
        "written; this is an error of the program",
        out.string(), b.differing, b.bytes, b.steps);
    constexpr double most_pixels = 1e-3;
    check(
        report.pixels <= most_pixels,
        "{}: the graph decodes its output differently from this library, by up to {:.2g} pixels. No file was written; "
        "this is an error of the program",
        out.string(), report.pixels);
    report.nodes = file.model().nodes.size();
    report.input = in_words(file.model().inputs.at(0));
    for (const OnnxValue& v : file.model().outputs)
      report.outputs += (report.outputs.empty() ? "" : ", ") + in_words(v);
  }
  report.bytes = static_cast<int64_t>(fs::file_size(unchecked.path));
  std::error_code code;
  fs::rename(unchecked.path, out, code);
  check(!code, "{}: cannot be written: {}", out.string(), code.message());
  return report;
}

}  // namespace hr

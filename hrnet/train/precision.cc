#include "hrnet/train/precision.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "hrnet/infer/person_detector.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/train/pose_step.h"
#include "ops/conv/choice.h"
#include "ops/conv/cpu_conv.h"

namespace hr {
namespace {

using Clock = std::chrono::steady_clock;

// A network with everything that a step or a forward pass needs.
class Trial {
 public:
  // `detector` is the file of a detector's weights, or empty.
  Trial(bool bf16_on, const std::string& name, const PrecisionWork& work, const std::string& detector)
      : n_(!detector.empty() ? 1
           : work.training   ? 2
                             : 4) {
    constexpr int kJoints = 17;
    cx_.precision = bf16_on ? DType::bf16 : DType::f32;
    h_ = work.h;
    w_ = work.w;
    if (!detector.empty()) {
      detector_ = load_yolox(cx_, WeightFile(detector));
    } else {
      model_ = make_model(cx_, name, kJoints, 1, Init::torch);
    }
    images_.assign(static_cast<size_t>(n_) * static_cast<size_t>(h_ * w_ * 3), 0.5F);
    if (!work.training) return;
    targets_.assign(static_cast<size_t>(n_) * static_cast<size_t>(h_ / 4 * (w_ / 4) * kJoints), 0.5F);
    weights_.assign(static_cast<size_t>(n_) * kJoints, 1.0F);
    optimizer_ = std::make_unique<Optimizer>(cx_, model_->parameters(), AdamStep{});
    step_ = std::make_unique<PoseTrainStep>(cx_, *model_, *optimizer_, JointsLoss::official);
  }

  double seconds() {
    const auto start = Clock::now();
    if (step_) {
      (*step_)({images_, targets_, weights_, n_, h_, w_}, 1e-5);
    } else {
      const Tensor x = cx_.empty({n_, h_, w_, 3}, DType::f32);
      cx_.upload(x, std::as_bytes(std::span(images_)));
      detector_ ? detector_->forward(cx_, x) : model_->forward(cx_, x);
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Images per second of the fastest of several steps is n / seconds.
  int images() const { return n_; }

 private:
  int n_ = 0, h_ = 0, w_ = 0;
  Context cx_;
  std::unique_ptr<PoseModel> model_;
  std::unique_ptr<Yolox> detector_;  // Exactly one of the two is set.
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<PoseTrainStep> step_;
  std::vector<float> images_, targets_, weights_;
};

// Returns whether bf16 is faster on this processor, and tells the measured speeds.
bool bf16_is_faster(const std::string& name, const PrecisionWork& work, const std::string& detector,
                    const std::function<void(const std::string&)>& remark) {
  const char* what = work.training ? "training" : "inference";
  if (!dnnl_has_bf16()) {
    remark("`precision` auto: float32, since this processor has no fast bf16");
    return false;
  }
  ConvPlanMemory memory(conv_plan_file("cpu_precision.txt"),
                        fmt::format("hrnet.cpp precision 1; {}; {}", processor_name(), DnnlConv().description()));
  const std::string problem = fmt::format("{} {} {}x{}, {} threads", what, name, work.h, work.w, compute_threads());
  if (const std::string* known = memory.find(problem)) {
    remark(fmt::format("`precision` auto: {}, which was faster in {} when it was measured on this processor",
                       *known == "bf16" ? "bf16" : "float32", what));
    return *known == "bf16";
  }
  Trial plain(false, name, work, detector), rounded(true, name, work, detector);
  constexpr int kRounds = 3;
  double best_plain = 0, best_rounded = 0;
  for (int round = 0; round <= kRounds; ++round) {
    const double a = plain.seconds(), b = rounded.seconds();
    // The first round is a warm-up, in which oneDNN also compiles its kernels.
    best_plain = round <= 1 ? a : std::min(best_plain, a);
    best_rounded = round <= 1 ? b : std::min(best_rounded, b);
  }
  const bool faster = memory.put(problem, best_rounded < best_plain ? "bf16" : "f32") == "bf16";
  remark(
      fmt::format("`precision` auto: {}; measured on this processor: {:.1f} images per second in {} with float32, "
                  "{:.1f} with bf16",
                  faster ? "bf16" : "float32", plain.images() / best_plain, what, rounded.images() / best_rounded));
  return faster;
}

}  // namespace

void settle_precision(ModelOptions& o, const PrecisionWork& asked_work,
                      const std::function<void(const std::string& text)>& remark) {
  const std::string asked = std::exchange(o.precision, {});
  if (asked.empty()) return;
  PrecisionWork work = asked_work;
  const bool known = asked == "auto" || asked == "f32" || asked == "bf16" || asked == "int8";
  check_field(known, "precision", "{}: expected auto, f32, bf16 or int8", asked);
  check_field(!o.amp || asked == "bf16" || asked == "auto", "precision", "{} contradicts `amp`; leave one of them out",
              asked);
  check_field(asked != "int8" || !work.training, "precision",
              "int8 is for inference; train in float32 or bf16, and convert the weights afterwards");
  std::string name = o.model.empty() ? work.model : o.model;
  bool eight_bits = false;
  std::string detector;
  if (!o.weights.empty() && (asked != "bf16" || !work.training)) {
    const WeightFile file(o.weights);
    eight_bits = is_int8(file);
    if (const std::optional<YoloxInfo> info = yolox_info(file)) {
      detector = o.weights;
      name = yolox_name(info->shape);
      work.h = detector_input(*info)[0];
      work.w = detector_input(*info)[1];
    } else if (o.model.empty()) {
      name = weight_info(file, false).model.value_or(name);
    }
  }
  check_field(asked != "int8" || eight_bits, "precision",
              "int8: {} has no weights of 8 bits; make some with convert and `calibrate`", o.weights);
  check_field(!eight_bits || asked == "int8" || asked == "auto", "precision",
              "{}: {} holds weights of 8 bits, which always compute with 8-bit integers", asked, o.weights);
  if (asked == "bf16") o.amp = true;
  if (asked != "auto" || eight_bits) return;
  if (const Device device = parse_device(o.device); device.is_cuda()) {
    o.amp = cuda::device_info(device.index).major >= 8;
    remark(fmt::format("`precision` auto: {}",
                       o.amp ? "bf16, which this GPU multiplies fastest" : "float32, since this GPU has no bf16"));
    return;
  }
  check_field(work.ranks == 1, "precision", "auto: several ranks on CPUs might choose differently; name f32 or bf16");
  if (o.threads > 0) set_compute_threads(o.threads);
  o.amp = bf16_is_faster(name, work, detector, remark);
}

}  // namespace hr

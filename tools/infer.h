// Running a model for its heatmaps: weights in, flip test, decoding. Used by validate, predict, train and forward.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/io/safetensors.h"
#include "data/loader.h"
#include "eval/decode.h"
#include "hrnet/model.h"

namespace hr {

// First line of a main that computes. GNU OpenMP's threads spin for milliseconds at every barrier; with loader threads
// or another program on the same cores a step then takes 3 to 10 times as long. The spin limit is read when the library
// is loaded, so the program starts itself once more with GOMP_SPINCOUNT set, unless the caller chose a policy.
void limit_openmp_spinning(char** argv);

// A context as the flags ask for it. threads = 0: every core. amp: bf16 activations.
Context make_context(const std::string& device, bool amp, int threads);

// What a weight file says about itself; our checkpoints do, others may not.
struct WeightInfo {
  std::optional<std::string> model, codec;
  std::optional<int> joints, input_h, input_w;
};
WeightInfo weight_info(const SafetensorsFile& file);

// Builds the model and loads the weights. `name` empty: what the file says, else Error with the next step. Error when
// the file says another model or joint count than the flags.
std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name, int joints);

// Heatmaps of images, with the flip test as one doubled batch.
class HeatmapRunner {
 public:
  struct Options {
    bool flip = true;
    bool shift = true;  // move the flipped-back heatmaps by a column, as the published weights expect
  };
  // The model must outlive the runner. cx: precision, device and threads; training and tape are ignored.
  HeatmapRunner(const Context& cx, const PoseModel& model, std::vector<int> mirror, Options options);

  // images [n, h, w, 3] normalised -> heatmaps [n, h/4, w/4, joints]; valid until the next call.
  Heatmaps operator()(std::span<const float> images, int n, int h, int w);

  Context& context() { return cx_; }

 private:
  Context cx_;
  const PoseModel& model_;
  std::vector<int> mirror_;
  Options options_;
  std::map<std::array<int, 3>, std::shared_ptr<Arena>> arenas_;  // by (n, h, w): a replayed plan fits one shape
  std::map<std::array<int, 3>, Tensor> inputs_;
  std::vector<float> heatmaps_;
};

}  // namespace hr

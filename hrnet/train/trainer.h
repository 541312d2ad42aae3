// Trains a pose network: epochs over a dataset, validation, checkpoints.
//
//   hr::TrainRecipe recipe;
//   recipe.data_path = "/data/coco2017";
//   recipe.model = "hrnet_w32";
//   hr::TrainObserver silent;
//   const hr::TrainEnd end = hr::train(recipe, silent);
//
// Nothing is printed; the observer receives all reports. For other losses and models see hrnet/train/train_step.h.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "data/loader.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/train/observer.h"
#include "hrnet/train/pose_step.h"
#include "hrnet/train/recipe.h"
#include "hrnet/train/run_folder.h"
#include "hrnet/train/run_log.h"
#include "hrnet/train/run_state.h"
#include "hrnet/train/stop.h"
#include "hrnet/train/training_data.h"
#include "nn/weights.h"

namespace hr {

struct TrainEnd {
  int stop_reason = 0;  // Reason of the StopRequest; 0 if all epochs are done.
  int epoch = 0;        // The run can be continued from this epoch and step.
  int64_t step = 0;
  double best_score = -1;  // AP, or PCKh's Mean as a fraction; -1 if the run was never validated
  bool pckh = false;       // Whether the score is PCKh's Mean.
  bool early = false;      // Whether the run ended before its last epoch because of `patience`.
  bool stopped() const { return stop_reason != 0; }
};

class Trainer {
 public:
  // Opens all files and builds everything, so that errors in the user's input are found before training begins. Weights
  // are loaded first, because that takes little time, while reading annotations takes seconds. With several ranks each
  // constructs a trainer, and only rank 0 writes files and calls its observer. World and observer must outlive the
  // trainer. Throws Error, which names the field if a setting is wrong. Not thread-safe.
  Trainer(TrainRecipe recipe, World& world, TrainObserver& observer, Context::Listener listener = {});
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Trains until all epochs are done or a stop is requested; last.safetensors then continues the run exactly. Throws
  // Error if a loss is not finite or a file cannot be written; checkpoints that were saved before stay valid.
  TrainEnd run(const StopRequest& stop);
  // Validates the model as it is, or with the average of its weights if the recipe has one, and writes
  // key_results.json. Ranks other than rank 0 return an empty result.
  ValidationRun test();

  const PoseModel& model() const { return *model_; }
  const TrainRecipe& recipe() const { return recipe_; }  // With all open settings decided.
  const RunFolder& folder() const { return *folder_; }
  const RunState& state() const { return state_; }
  const PoseDataset& val() const { return data_->val(); }  // The people of the validation.

 private:
  void start();        // Sets the initial weights, or loads `weights` or `resume`.
  void share_start();  // Copies rank 0's start to all ranks.
  void make_loader();
  int64_t updates_per_epoch() const;
  bool validation_is_due() const;
  bool validate(EpochRecord& record);  // Returns whether it is the best one so far.
  // Tells whether the score has not risen for `patience` validations, of which `newest` is the last if it is given.
  // Only rank 0 knows the scores.
  bool out_of_patience(const EpochRecord* newest = nullptr) const;
  bool agreed_to_end_early() const;  // The same on all ranks.
  void finish_epoch();
  void save(const std::string& name, bool with_optimizer) const;
  int agreed_reason(const StopRequest& stop) const;  // The same on all ranks; 0 if no stop is requested.
  PredictPeopleOptions prediction() const;

  World& world_;
  RunLog log_;  // Passes every call on to the observer of the caller.
  TrainObserver silent_;
  TrainObserver& observer_;         // log_ on rank 0, silent_ on the others.
  std::optional<WeightFile> file_;  // `weights` or `resume`, on rank 0 until they are loaded.
  const TrainRecipe recipe_;
  Context cx_;
  const Skeleton skeleton_;
  std::unique_ptr<PoseModel> model_;
  std::optional<Optimizer> optimizer_;
  std::optional<DataParallel> parallel_;  // With several ranks.
  std::optional<PoseTrainStep> step_;
  std::optional<HeatmapRunner> runner_;
  std::optional<RunFolder> folder_;
  std::optional<TrainingData> data_;
  std::optional<Loader> loader_;
  RunState state_;
  int batch_size_;    // People per step on this rank.
  std::string told_;  // The remarks of the last validation, which are reported only when they change.
};

// Trains in a single process, without other ranks.
TrainEnd train(const TrainRecipe& recipe, TrainObserver& observer, const StopRequest& stop = {});

}  // namespace hr

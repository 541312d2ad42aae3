// Training a pose network: epochs over a data set, validation, checkpoints.
//
//   hr::TrainRecipe recipe;
//   recipe.data_path = "/data/coco2017";
//   recipe.model = "hrnet_w32";
//   hr::TrainObserver silent;
//   const hr::TrainEnd end = hr::train(recipe, silent);
//
// Prints nothing; what it tells goes to the observer. Own losses and models: hrnet/train/train_step.h.
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
  int stop_reason = 0;     // of the StopRequest; 0: all epochs are done
  int epoch = 0;           // the run goes on there
  int64_t step = 0;        //
  double best_score = -1;  // AP, or PCKh's Mean as a fraction; -1: never validated
  bool pckh = false;       // what the score is
  bool early = false;      // all `patience` is used up
  bool stopped() const { return stop_reason != 0; }
};

class Trainer {
 public:
  // Does everything that can fail because of the user's input: weights first, since those that do not fit are known at
  // once while annotations take seconds. Of several ranks all construct one, and only rank 0 writes and calls its
  // observer. World and observer must outlive the trainer. Throws Error, with the field where a setting is at fault.
  Trainer(TrainRecipe recipe, World& world, TrainObserver& observer, Context::Listener listener = {});
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Trains until all epochs are done or somebody asks for an end; last.safetensors then continues the run exactly.
  // Throws Error if a loss is not finite or a file cannot be written; what was saved before stays.
  TrainEnd run(const StopRequest& stop);
  // Validates the model as it is, or the average of its weights if the recipe has one, and writes key_results.json.
  // Ranks other than the first get nothing.
  ValidationRun test();

  const PoseModel& model() const { return *model_; }
  const TrainRecipe& recipe() const { return recipe_; }  // decided
  const RunFolder& folder() const { return *folder_; }
  const RunState& state() const { return state_; }

 private:
  void start();        // initial weights, or those of `weights` or `resume`
  void share_start();  // rank 0's with all ranks
  void make_loader();
  bool validation_is_due() const;
  bool validate(EpochRecord& record);                               // the best one so far
  bool out_of_patience(const EpochRecord* newest = nullptr) const;  // rank 0's history says so
  bool agreed_to_end_early() const;                                 // the same on all ranks
  void finish_epoch();
  void save(const std::string& name, bool with_optimizer) const;
  int agreed_reason(const StopRequest& stop) const;  // 0: nobody wants to stop; the same on all ranks
  PredictPeopleOptions prediction() const;

  World& world_;
  RunLog log_;  // passes on to the caller's observer
  TrainObserver silent_;
  TrainObserver& observer_;         // log_ on rank 0, silent_ on the others
  std::optional<WeightFile> file_;  // `weights` or `resume`; rank 0 only, until they are loaded
  const TrainRecipe recipe_;
  Context cx_;
  const Skeleton skeleton_;
  std::unique_ptr<PoseModel> model_;
  std::optional<Optimizer> optimizer_;
  std::optional<DataParallel> parallel_;  // of several ranks
  std::optional<PoseTrainStep> step_;
  std::optional<HeatmapRunner> runner_;
  std::optional<RunFolder> folder_;
  std::optional<TrainingData> data_;
  std::optional<Loader> loader_;
  RunState state_;
  int batch_size_;    // of this rank
  std::string told_;  // remarks of the last validation
};

// One process, alone.
TrainEnd train(const TrainRecipe& recipe, TrainObserver& observer, const StopRequest& stop = {});

}  // namespace hr

// The people that a run trains on and validates with, and the bad samples among them.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/comm/world.h"
#include "hrnet/train/observer.h"
#include "hrnet/train/recipe.h"
#include "hrnet/train/run_folder.h"

namespace hr {

class TrainingData {
 public:
  // Opens both splits and checks every picture. All ranks must call this. Throws Error if files are missing or
  // malformed, if samples are bad and the recipe does not skip them, or if the data of the ranks differ.
  TrainingData(const TrainRecipe& recipe, const Skeleton& skeleton, bool bgr, const World& world,
               const RunFolder& folder, TrainObserver& observer);
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;

  const PoseDataset& train() const { return train_; }
  const PoseDataset& val() const { return val_; }
  const MpiiTruth* truth() const { return truth_ ? &*truth_ : nullptr; }  // Null unless the validation set is MPII's.

  // Tells the observer about new remarks of the datasets and about pictures that have turned out to be bad on any rank,
  // and lists these in the folder. All ranks must call this.
  void report(const World& world, const RunFolder& folder, TrainObserver& observer);

 private:
  PoseDataset train_, val_;
  std::optional<MpiiTruth> truth_;
  size_t bad_known_ = 0;                 // Bad samples that were reported.
  std::set<std::string> remarks_known_;  // Remarks that were reported, without their counts.
};

}  // namespace hr

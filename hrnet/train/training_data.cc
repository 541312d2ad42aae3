#include "hrnet/train/training_data.h"

#include "core/error.h"
#include "data/pack/pack.h"
#include "hrnet/validate/detected_boxes.h"

namespace hr {
namespace {

// Collects the bad samples of both splits from all ranks. The result is the same on all ranks.
void gather_bad(const World& world, const PoseDataset& train, const PoseDataset& val, BadSamples (&bad)[2]) {
  Packer mine;
  for (const PoseDataset* set : {&train, &val}) {
    const auto entries = set->bad().entries();
    mine.u32(static_cast<uint32_t>(entries.size()));
    for (const auto& e : entries) {
      mine.u32(static_cast<uint32_t>(e.kind)).u64(static_cast<uint64_t>(e.id)).u64(e.people).text(e.message);
    }
  }
  const std::vector<std::string> all =
      world.size() > 1 ? world.control->all_gather(mine.str()) : std::vector<std::string>{mine.str()};
  for (const std::string& text : all) {
    Unpack in(text);
    for (BadSamples& split : bad) {
      for (uint32_t left = in.u32(); left > 0; --left) {
        const auto kind = static_cast<BadSamples::Kind>(in.u32());
        const auto id = static_cast<int64_t>(in.u64());
        const uint64_t people = in.u64();
        split.add({kind, id, in.text(), people});
      }
    }
  }
}

std::string without_count(const std::string& remark) { return remark.substr(0, remark.find(" (one of ")); }

}  // namespace

TrainingData::TrainingData(const TrainRecipe& r, const Skeleton& skeleton, bool bgr, const World& world,
                           const RunFolder& folder, TrainObserver& observer)
    : train_(open_split(r, "train", skeleton, r.dataset_options(true, bgr))),
      val_(open_split(r, "val", skeleton, r.dataset_options(false, bgr), read_detected_boxes(r, "val", r.person_det))) {
  const bool mpii = !is_pack(r.data_path) && is_mpii(val_.annotations().path);
  if (mpii || !r.mpii_truth.empty()) truth_ = open_mpii_truth(r.mpii_truth, val_);
  for (const auto& [set, split] : {std::pair{&train_, "train"}, {&val_, "val"}}) {
    const std::string left_out = check_samples(
        *set, r, split, folder.writes() ? folder.path() : fs::path(), 0,
        [&](size_t done, size_t all) { observer.checked_pictures(split, done, all); },
        [&](const std::string& text) { observer.fact("note", text); });
    if (!left_out.empty()) observer.fact("left out", left_out);
    // The check has reported these.
    for (const std::string& line : set->remarks()) remarks_known_.insert(without_count(line));
  }
  check(!truth_ || val_.size() == static_cast<size_t>(truth_->people),
        "{}: PCKh is measured on all {} people, but pictures of {} of them are bad ({}); repair these pictures",
        val_.annotations().path, truth_ ? truth_->people : 0, val_.counts().bad_picture,
        bad_samples_file(folder.path(), "val").string());
  bad_known_ = train_.bad().size() + val_.bad().size();
  observer.fact("train", fmt::format("{} ({})", train_.size(), train_.counts().summary()));
  observer.fact("val", fmt::format("{} ({}; boxes: {})", val_.size(), val_.counts().summary(),
                                   r.person_det.empty() ? "ground truth" : r.person_det));
  if (world.size() == 1) return;
  require_agreement(world, {{"the training annotations", hash_of_file(train_.annotations().path)},
                            {"the validation annotations", hash_of_file(val_.annotations().path)},
                            {"`person_det`", hash_of_file(r.person_det)},
                            {"the pack", is_pack(r.data_path) ? Pack(r.data_path).fingerprint() : "(none)"},
                            {"people to train on", std::to_string(train_.size())},
                            {"people to validate on", std::to_string(val_.size())}});
}

void TrainingData::report(const World& world, const RunFolder& folder, TrainObserver& observer) {
  // Some damage in the data is only found when training reads the pictures.
  for (const PoseDataset* set : {&train_, &val_}) {
    for (const std::string& line : set->remarks()) {
      if (remarks_known_.insert(without_count(line)).second) observer.remark(line);
    }
  }
  BadSamples bad[2];
  gather_bad(world, train_, val_, bad);
  const size_t count = bad[0].size() + bad[1].size();
  if (count == bad_known_) return;
  for (const auto& [split, name] : {std::pair{&bad[0], "train"}, {&bad[1], "val"}}) {
    if (split->size() > 0 && folder.writes()) split->write(bad_samples_file(folder.path(), name));
  }
  observer.more_bad_samples(count - bad_known_, (folder.path() / "bad_samples_*.tsv").string());
  bad_known_ = count;
}

}  // namespace hr

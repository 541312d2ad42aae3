// A training run of a few seconds, which several tests change in one setting each.
#pragma once
#include "tools/programs/train.h"
#include "tools/synth/synth.h"

namespace hr::test {

// Writes a sample data set of 160 x 120 pictures and returns its folder.
inline fs::path tiny_data(const fs::path& folder, int train_images, int val_images) {
  synth({.output = folder.string(),
         .train_images = train_images,
         .val_images = val_images,
         .seed = 5,
         .sizes = {{160, 120}},
         .threads = 1});
  return folder;
}

inline TrainOptions tiny_run(const fs::path& data, const fs::path& output, int epochs) {
  TrainOptions o;
  o.data_path = data.string();
  o.output_dir = output.string();
  o.model = "hrnet_w2";
  o.fixed_size = {64, 64};
  o.batch_size = 6;
  o.epochs = epochs;
  o.workers = 1;
  o.flip = false;
  return o;
}

}  // namespace hr::test

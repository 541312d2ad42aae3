// Batches, prepared ahead by threads. The order of an epoch is a permutation drawn from (seed, epoch); neither the
// number of workers, nor their timing, the cache, or how people are grouped changes a byte of any batch.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/allocator.h"
#include "data/dataset.h"
#include "data/host_buffer.h"
#include "data/sampler.h"

namespace hr {

struct Batch {
  int size = 0, h = 0, w = 0, joints = 0;  // h, w of the input
  HostBuffer<float> images;                // [N, H, W, 3], normalised
  HostBuffer<float> targets;               // [N, H/4, W/4, K]
  HostBuffer<float> weights;               // [N, K]
  HostBuffer<uint8_t> sources;             // [N] slots: what a device makes images from (core/crop_slot.h)
  HostBuffer<double> profiles;             // [N, W/4 + H/4, K]: what it makes targets from (data/crops/targets.h)
  std::vector<SampleMeta> meta;            // [N]
};

struct LoaderOptions {
  int batch_size = 32;
  int workers = 2;  // 0: in the calling thread
  bool shuffle = false;
  bool drop_last = false;  // leave out a last batch that is not full
  int prefetch = 4;        // batches ready or in work at most, beside the one that the caller has
  uint64_t seed = 0;
  // What is made; the rest of a batch stays empty. A device that warps, normalises and draws by itself wants sources
  // and profiles: the workers then copy pixels instead of warping them, and COCO's targets at 256 x 192 are 15 kB
  // instead of 209.
  bool images = true, targets = true, sources = false, profiles = false;
  // Where batches live: pinned memory of a device, say. Null: the heap.
  std::shared_ptr<Allocator> allocator = nullptr;
  Shard shard;  // of several ranks: every rank gets its own part of each epoch
};

class Loader {
 public:
  // The dataset must outlive the loader.
  Loader(const PoseDataset& dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Starts (or starts over) an epoch, at a batch other than the first when a run resumes within one.
  void start_epoch(uint64_t epoch, size_t first_batch = 0);
  // False at the end of the epoch. A sample's Error is thrown when its batch is due, and ends the epoch. Hand in the
  // batch of the step before: its memory is used again.
  bool next(Batch& out);

  size_t batches() const;                    // per epoch, the same on all ranks
  const std::vector<size_t>& order() const;  // of the current epoch and this rank: index of each sample
  double wait_seconds() const;               // the caller's time inside next() since start_epoch
  SampleClock clock() const;                 // of all workers since start_epoch

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr

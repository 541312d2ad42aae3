// Batches that threads prepare in advance. The order of an epoch is a permutation drawn from (seed, epoch). Neither the
// number of workers, nor their timing, nor the cache, nor the grouping of people changes a byte of any batch.
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
  int size = 0, h = 0, w = 0, joints = 0;  // The number of samples; h, w are the size of the input.
  HostBuffer<float> images;                // [N, H, W, 3], normalised.
  HostBuffer<float> targets;               // [N, H/4, W/4, K].
  HostBuffer<float> weights;               // [N, K].
  HostBuffer<uint8_t> sources;             // [N] slots from which a device makes images (core/crop_slot.h).
  HostBuffer<double> profiles;   // [N, W/4 + H/4, K], from which a device makes targets (data/crops/targets.h).
  std::vector<SampleMeta> meta;  // [N].
};

struct LoaderOptions {
  int batch_size = 32;
  int workers = 2;  // 0 makes samples in the calling thread.
  bool shuffle = false;
  bool drop_last = false;  // Leaves out a last batch that is not full.
  int prefetch = 4;  // The largest number of batches that are ready or in progress, beside the one that the caller has.
  uint64_t seed = 0;
  // Select the parts of a batch that are made; the others stay empty. A device that warps, normalises and draws by
  // itself needs sources and profiles. The workers then copy pixels and do not warp them, and COCO's targets at 256 x
  // 192 are 15 kB in place of 209 kB.
  bool images = true, targets = true, sources = false, profiles = false;
  // The memory of batches, for example the pinned memory of a device. Null: the heap.
  std::shared_ptr<Allocator> allocator = nullptr;
  Shard shard;  // With several ranks, each rank gets its own part of each epoch.
};

class Loader {
 public:
  // The dataset must outlive the loader. A loader is used by one thread.
  Loader(const PoseDataset& dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Starts (or restarts) an epoch. A run that resumes within an epoch starts at another batch than the first.
  void start_epoch(uint64_t epoch, size_t first_batch = 0);
  // Returns false at the end of the epoch. If a sample throws Error, it is thrown when its batch is due, and ends the
  // epoch. Pass the batch of the previous step, whose memory is reused.
  bool next(Batch& out);

  size_t batches() const;                    // Per epoch; the same on all ranks.
  const std::vector<size_t>& order() const;  // The index of each sample of the current epoch, for this rank.
  double wait_seconds() const;               // The time that the caller spent inside next() since start_epoch.
  SampleClock clock() const;                 // The time of all workers since start_epoch.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr

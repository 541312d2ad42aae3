// A dataset in one memory-mapped file: the parts of its pictures that crops can show, decoded, with their annotations
// and the skeleton. Training from it costs neither decoding nor opening files; batches have the bytes that training
// from the pictures gives, as long as no more augmentation is asked for than the file has margin for (PackLimits).
//
// The file, little-endian:
//   64 bytes   "HRPACK\r\n", u32 version (1), u32 0, u64 offset, size and checksum of the index, u64 checksum of these
//              40 bytes, zeros
//   blocks     R, G, B rows without gaps; each starts at a multiple of 64 and is followed by at least 16 zero bytes
//   index      skeleton, splits: limits, images, annotations, categories, people, and of every block its picture, its
//              place in the picture, offset and checksum
// Checksums: the index's on opening, a block's when it is first used.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hr {

// What a split was packed for. Crops of the same recipe and aspect ratio, at any resolution, with at most this much
// augmentation, are in the file.
struct PackLimits {
  Recipe recipe = Recipe::official;
  int input_h = 256, input_w = 192;  // the ratio counts
  bool augment = false;
  double scale = 0, rotation = 0;  // AugmentOptions
  bool half_body = false;
  std::vector<int64_t> categories;
};

// Splits to write: a name ("train", "val") and its people. All have one skeleton.
struct PackInput {
  std::string name;
  const PoseDataset* dataset = nullptr;
};

struct PackSize {
  uint64_t bytes = 0;     // of pixels
  uint64_t blocks = 0;    // parts of pictures
  uint64_t pictures = 0;  // that have blocks
  uint64_t people = 0;
};
// How large a pack of this dataset is, before it is written.
PackSize pack_size(const PoseDataset& dataset);

// Atomic. The bytes do not depend on `threads` (0: every core). Pictures that cannot be read are Errors, or with
// options().substitute_bad noted in the dataset's bad() and left out. progress: bytes of pixels written.
void write_pack(const fs::path& path, std::span<const PackInput> splits, int threads = 0,
                const std::function<void(uint64_t bytes)>& progress = {});

class Pack {
 public:
  // Error: not a pack, of another version, cut off or damaged.
  explicit Pack(const fs::path& path);

  std::vector<std::string> splits() const;
  const Skeleton& skeleton() const;
  const PackLimits& limits(const std::string& split) const;
  PackSize size(const std::string& split) const;
  std::string fingerprint() const;  // the index's checksum, which covers the checksums of all pixels
  // The people of a split. Error when the options ask for more than was packed, with both sides.
  PoseDataset dataset(const std::string& split, const DatasetOptions& options) const;
  // The checksum of every block; Error names the first damaged one.
  void verify(const std::function<void(uint64_t bytes)>& progress = {}) const;

 private:
  struct Contents;
  std::shared_ptr<const Contents> contents_;
};

bool is_pack(const fs::path& path);  // a file that starts like one, or is named *.pack

}  // namespace hr

// A dataset in one memory-mapped file: the parts of its pictures that crops can show, decoded, with their annotations
// and the skeleton. Training from it needs neither decoding nor opening files. Batches have the same bytes as when
// training from the pictures, as long as no more augmentation is requested than the file has margin for (PackLimits).
//
// The file is little-endian:
//   64 bytes   "HRPACK\r\n", u32 version (1), u32 0, u64 offset, size and checksum of the index, u64 checksum of these
//              40 bytes, zeros
//   blocks     R, G, B rows without gaps; each starts at a multiple of 64 and is followed by at least 16 zero bytes
//   index      skeleton, splits: limits, images, annotations, categories, people, and of every block its picture, its
//              place in the picture, offset and checksum
// The checksum of the index is compared when the file is opened, that of a block when it is first used.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hr {

// The crops for which a split was packed. The file contains all crops of the same recipe and aspect ratio, at any
// resolution, with at most this much augmentation.
struct PackLimits {
  Recipe recipe = Recipe::official;
  int input_h = 256, input_w = 192;  // Only the ratio matters.
  bool augment = false;
  double scale = 0, rotation = 0;  // As in AugmentOptions.
  bool half_body = false;
  std::vector<int64_t> categories;
};

// A split to write: a name ("train", "val") and its people. All splits have the same skeleton.
struct PackInput {
  std::string name;
  const PoseDataset* dataset = nullptr;
};

struct PackSize {
  uint64_t bytes = 0;     // Bytes of pixels.
  uint64_t blocks = 0;    // Parts of pictures.
  uint64_t pictures = 0;  // Pictures that have blocks.
  uint64_t people = 0;
};
// Returns how large a pack of this dataset would be.
PackSize pack_size(const PoseDataset& dataset);

// Writes the file, which appears in one step. The bytes do not depend on `threads` (0: every core). Pictures that
// cannot be read throw Error, or, with options().substitute_bad, are reported in the dataset's bad() and left out.
// `progress` receives the bytes of pixels written so far.
void write_pack(const fs::path& path, std::span<const PackInput> splits, int threads = 0,
                const std::function<void(uint64_t bytes)>& progress = {});

class Pack {
 public:
  // Throws Error if the file is not a pack, has another version, or is cut off or damaged.
  explicit Pack(const fs::path& path);

  std::vector<std::string> splits() const;
  const Skeleton& skeleton() const;
  const PackLimits& limits(const std::string& split) const;
  PackSize size(const std::string& split) const;
  std::string fingerprint() const;  // The checksum of the index, which covers the checksums of all pixels.
  // Returns the people of a split. Throws Error with both sides if the options need more than was packed.
  PoseDataset dataset(const std::string& split, const DatasetOptions& options) const;
  // Compares the checksum of every block. Throws Error that names the first damaged one.
  void verify(const std::function<void(uint64_t bytes)>& progress = {}) const;

 private:
  struct Contents;
  std::shared_ptr<const Contents> contents_;
};

bool is_pack(const fs::path& path);  // True for a file that starts like a pack or is named *.pack.

}  // namespace hr

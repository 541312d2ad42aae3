// Declarations that the source files of PoseDataset share: the cache of decoded pictures, and the checks of a picture.
// This header is not part of the public interface.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"

namespace hr {

// A cache of decoded pictures by image index. An entry is the part of the picture that crops of its people can show.
// Entries are never replaced: each epoch visits every picture in a new random order, so a fixed set of entries gives
// more hits than keeping the most recently used entries. Thread-safe.
class PoseDataset::Cache {
 public:
  struct Part {
    ImageView view;
    std::vector<uint8_t> rgb;
  };

  explicit Cache(size_t budget) : left_(budget) {}

  std::shared_ptr<const Part> find(int index) const {
    const std::lock_guard lock(mutex_);
    const auto found = parts_.find(index);
    return found == parts_.end() ? nullptr : found->second;
  }
  // Reserves part of the budget. Call it before decoding, so that all threads together stay within the budget. Returns
  // false if too little is left.
  bool reserve(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void give_back(size_t bytes) {
    const std::lock_guard lock(mutex_);
    left_ += bytes;
  }
  // Returns false if another thread inserted the entry first.
  bool insert(int index, std::shared_ptr<const Part> part) {
    const std::lock_guard lock(mutex_);
    return parts_.emplace(index, std::move(part)).second;
  }

 private:
  mutable std::mutex mutex_;
  size_t left_;
  std::unordered_map<int, std::shared_ptr<const Part>> parts_;
};

// The seed recipe rotates pictures according to their EXIF orientation. The official recipe uses them as stored.
inline Orientation orientation_of(Recipe recipe) {
  return recipe == Recipe::seed ? Orientation::apply : Orientation::ignore;
}

// Checks that the picture has the size that the annotations state; otherwise joints and boxes would not fit. The sizes
// can differ because the annotations refer to the rotated picture and the recipe uses it as stored, or the other way
// round. Sets `cause` and throws Error if the sizes differ.
void check_size(const PictureInfo& info, const CocoImage& entry, const std::string& place, const std::string& file,
                Recipe recipe, BadSamples::Cause& cause);

}  // namespace hr

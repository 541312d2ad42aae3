// The sources of PoseDataset share this: the cache of decoded pictures, and how a picture is read and checked. It is no
// part of the library's interface.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"

namespace hr {

// Decoded parts of pictures by image index: everything that a crop of any person in the picture can show. Entries are
// never replaced. Each epoch visits every picture once in random order, so that a fixed set of entries is found more
// often than the most recent entries would be.
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
  // Reserves memory before anything is decoded, so that all threads together stay within the budget.
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

// The seed's recipe turns pictures as their EXIF orientation says; the official one takes them as they are stored.
inline Orientation orientation_of(Recipe recipe) {
  return recipe == Recipe::seed ? Orientation::apply : Orientation::ignore;
}

// Checks that the picture has the size in the annotations; otherwise joints and boxes would not fit. The seed recipe
// reads pictures as they are shown and the official one as they are stored, and the annotations may refer to the other
// form.
// Sets `cause` and throws Error if the sizes differ.
void check_size(const PictureInfo& info, const CocoImage& entry, const std::string& place, const std::string& file,
                Recipe recipe, BadSamples::Cause& cause);

}  // namespace hr

#include <atomic>

#include "core/error.h"
#include "data/pack/pack_format.h"
#include "data/pack/pack_request.h"

namespace hr {

struct Pack::Contents {
  MappedFile file;
  PackIndex index;
  uint64_t index_sum = 0;

  const PackSplit& split(const std::string& name) const {
    std::string names;
    for (const PackSplit& s : index.splits) {
      if (s.name == name) return s;
      names += (names.empty() ? "" : ", ") + s.name;
    }
    fail("{}: has no split \"{}\"; there are: {}", file.path().string(), name, names);
  }
  std::span<const std::byte> pixels(const PackBlock& block) const {
    return file.bytes().subspan(block.offset, block.bytes());
  }
  [[noreturn]] void damaged(const PackSplit& split, const PackBlock& block) const {
    fail("{}: the pixels of {} at byte {} are damaged (their checksum differs); copy or pack the file again",
         file.path().string(), split.annotations.images[block.image].file_name, block.offset);
  }
};

namespace {

// The pixels of one split.
class PackedPictures final : public PictureSource {
 public:
  template <class Contents>
  PackedPictures(std::shared_ptr<const Contents> contents, const PackSplit& split)
      : path_(contents->file.path().string()),
        file_(contents->file.bytes()),
        split_(split),
        first_(split.annotations.images.size() + 1),
        checked_(split.blocks.size()),
        keep_(contents) {
    size_t block = 0;
    for (size_t i = 0; i < first_.size(); ++i) {
      while (block < split.blocks.size() && split.blocks[block].image < i) ++block;
      first_[i] = block;
    }
  }

  std::string place(const std::string& file_name) const override { return path_ + ": " + file_name; }
  bool has_files() const override { return false; }
  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>&) const override {
    fail("{}: {}: a pack has no files, only the parts that it was made for", path_, file_name);
  }
  void glance(const std::string&, const std::function<void(std::span<const std::byte>)>&) const override {}

  std::optional<ImageView> pixels(size_t image_index, const Region& region) const override {
    const CocoImage& image = split_.annotations.images.at(image_index);
    for (size_t i = first_[image_index]; i < first_[image_index + 1]; ++i) {
      const PackBlock& block = split_.blocks[i];
      if (!block.region.contains(region)) continue;
      const auto bytes = file_.subspan(block.offset, block.bytes() + kPackSlack);
      if (!checked_[i].load(std::memory_order_relaxed)) {
        if (pack_checksum(bytes.first(block.bytes())) != block.sum) {
          fail("{}: the pixels at byte {} are damaged (their checksum differs); copy or pack the file again",
               place(image.file_name), block.offset);
        }
        checked_[i].store(true, std::memory_order_relaxed);
      }
      ImageView view;
      view.width = image.width;
      view.height = image.height;
      view.region = block.region;
      view.pixels = reinterpret_cast<const uint8_t*>(bytes.data());
      view.stride = static_cast<size_t>(block.region.w) * 3;
      view.readable = bytes.size();
      return view;
    }
    fail("{}: no block has {} x {} pixels at {}, {}; was the file packed for other people or less augmentation?",
         place(image.file_name), region.w, region.h, region.x, region.y);
  }

 private:
  std::string path_;
  std::span<const std::byte> file_;
  const PackSplit& split_;
  std::vector<size_t> first_;  // The first block of each image, and one more at the end.
  mutable std::vector<std::atomic<bool>> checked_;
  std::shared_ptr<const void> keep_;  // Keeps the map and the split alive.
};

}  // namespace

bool is_pack(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  if (path.extension() == ".pack") return true;
  return MappedFile(path).text().starts_with(kPackMagic);
}

Pack::Pack(const fs::path& path) {
  auto contents = std::make_shared<Contents>();
  contents->file = MappedFile(path);
  const auto bytes = contents->file.bytes();
  const PackHeader header = read_pack_header(bytes, path.string());
  contents->index = read_pack_index(bytes.subspan(header.offset), path.string(), header.offset);
  contents->index_sum = header.sum;
  contents_ = std::move(contents);
}

std::vector<std::string> Pack::splits() const {
  std::vector<std::string> names;
  for (const PackSplit& split : contents_->index.splits) names.push_back(split.name);
  return names;
}

const Skeleton& Pack::skeleton() const { return contents_->index.skeleton; }
const PackLimits& Pack::limits(const std::string& split) const { return contents_->split(split).limits; }

std::string Pack::fingerprint() const { return fmt::format("{:016x}", contents_->index_sum); }

PackSize Pack::size(const std::string& name) const {
  const PackSplit& split = contents_->split(name);
  PackSize size{.blocks = split.blocks.size(), .people = split.people.size()};
  for (size_t i = 0; i < split.blocks.size(); ++i) {
    size.bytes += pack_padded(split.blocks[i].bytes());
    size.pictures += static_cast<uint64_t>(i == 0 || split.blocks[i].image != split.blocks[i - 1].image);
  }
  return size;
}

PoseDataset Pack::dataset(const std::string& name, const DatasetOptions& options) const {
  const PackSplit& split = contents_->split(name);
  check_pack_request(split.limits, options, fmt::format("{}: split {}", contents_->file.path().string(), name));
  return PoseDataset::from_people(split.annotations, split.people, split.counts,
                                  std::make_shared<PackedPictures>(contents_, split), contents_->index.skeleton,
                                  options);
}

void Pack::verify(const std::function<void(uint64_t bytes)>& progress) const {
  uint64_t done = 0;
  for (const PackSplit& split : contents_->index.splits) {
    for (const PackBlock& block : split.blocks) {
      if (pack_checksum(contents_->pixels(block)) != block.sum) contents_->damaged(split, block);
      done += pack_padded(block.bytes());
      contents_->file.release(contents_->pixels(block));
      if (progress) progress(done);
    }
  }
}

}  // namespace hr

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/threads.h"
#include "data/pack/pack_format.h"

namespace hr {
namespace {

// Returns what to keep of a picture: the parts that the crops of its people can reach, merged if the merged part is not
// larger than the separate ones.
std::vector<Region> regions_to_keep(const PoseDataset& dataset, std::span<const uint32_t> people) {
  std::vector<Region> out;
  for (const uint32_t person : people) {
    const Region reach = dataset.reach(person);
    if (!reach.empty()) out.push_back(reach);
  }
  for (bool merged = true; merged;) {
    merged = false;
    for (size_t i = 0; i < out.size() && !merged; ++i) {
      for (size_t j = i + 1; j < out.size() && !merged; ++j) {
        const Region both = united(out[i], out[j]);
        if (both.area() > out[i].area() + out[j].area()) continue;
        out[i] = both;
        out.erase(out.begin() + static_cast<ptrdiff_t>(j));
        merged = true;
      }
    }
  }
  std::sort(out.begin(), out.end(),
            [](const Region& a, const Region& b) { return std::pair(a.y, a.x) < std::pair(b.y, b.x); });
  return out;
}

std::vector<std::vector<uint32_t>> people_by_image(const PoseDataset& dataset) {
  std::vector<std::vector<uint32_t>> out(dataset.annotations().images.size());
  for (size_t i = 0; i < dataset.size(); ++i) out[dataset.people()[i].image_index].push_back(static_cast<uint32_t>(i));
  return out;
}

struct Decoded {
  std::vector<Region> regions;
  std::vector<std::string> pixels;
  std::string trouble;
};

Decoded decode_blocks(const PoseDataset& dataset, size_t image, std::span<const uint32_t> people,
                      SampleWorkspace& workspace) {
  Decoded out;
  out.regions = regions_to_keep(dataset, people);
  Region all;
  for (const Region& r : out.regions) all = united(all, r);
  try {
    const ImageView view = dataset.decode(static_cast<int>(image), all, workspace);
    for (const Region& r : out.regions) {
      std::string& pixels = out.pixels.emplace_back(static_cast<size_t>(r.area()) * 3, '\0');
      const size_t row = static_cast<size_t>(r.w) * 3;
      for (int y = 0; y < r.h; ++y) std::memcpy(pixels.data() + y * row, view.at(r.x, r.y + y), row);
    }
  } catch (const Error& error) {
    out = {};
    out.trouble = error.what();
  }
  return out;
}

// The state of write_pack().
struct PackWriter {
  AtomicFile file;
  int threads;
  const std::function<void(uint64_t bytes)>& progress;
  uint64_t at = kPackHeaderBytes, written = 0;

  void add_block(PackSplit& split, size_t image, const Region& region, std::string pixels) {
    const uint64_t sum = pack_checksum(std::as_bytes(std::span(pixels)));
    split.blocks.push_back({static_cast<uint32_t>(image), region, at, sum});
    pixels.resize(pack_padded(pixels.size()), '\0');
    file.write(pixels);
    at += pixels.size();
    written += pixels.size();
  }

  // Writes the blocks of a split; pictures that cannot be read are marked in `left_out`.
  void add_blocks(PackSplit& split, const PoseDataset& dataset, std::vector<bool>& left_out) {
    const auto people = people_by_image(dataset);
    const std::vector<size_t> pictures = pictures_of(dataset, people);
    // Processes some pictures at a time: they are decoded by all threads and written in order.
    const size_t step = static_cast<size_t>(threads) * 8;
    for (size_t first = 0; first < pictures.size(); first += step) {
      const size_t n = std::min(step, pictures.size() - first);
      std::vector<Decoded> decoded(n);
      for_each_on_threads(n, threads, [&] {
        return [&, workspace = std::make_unique<SampleWorkspace>()](size_t i) {
          const size_t image = pictures[first + i];
          decoded[i] = decode_blocks(dataset, image, people[image], *workspace);
        };
      });
      for (size_t i = 0; i < n; ++i) {
        const size_t image = pictures[first + i];
        if (!decoded[i].trouble.empty()) {
          check(dataset.options().substitute_bad, "{}", decoded[i].trouble);
          dataset.bad().add({BadSamples::Kind::picture, dataset.annotations().images[image].id, decoded[i].trouble,
                             people[image].size()});
          left_out[image] = true;
          split.counts.bad_picture += people[image].size();
          split.counts.kept -= people[image].size();
          continue;
        }
        for (size_t k = 0; k < decoded[i].regions.size(); ++k) {
          add_block(split, image, decoded[i].regions[k], std::move(decoded[i].pixels[k]));
        }
      }
      if (progress) progress(written);
    }
  }

  // The pictures that show people.
  static std::vector<size_t> pictures_of(const PoseDataset& dataset, const std::vector<std::vector<uint32_t>>& people) {
    std::vector<size_t> pictures;
    for (size_t i = 0; i < people.size(); ++i) {
      if (people[i].empty()) continue;
      const CocoImage& image = dataset.annotations().images[i];
      check(image.width > 0 && image.height > 0, "{}: images[{}] (id {}): no \"width\" and \"height\"",
            dataset.annotations().path, i, image.id);
      pictures.push_back(i);
    }
    return pictures;
  }
};

PackLimits limits_of(const DatasetOptions& o) {
  return {.recipe = o.recipe,
          .input_h = o.input_h,
          .input_w = o.input_w,
          .augment = o.augment,
          .scale = o.augment ? o.augmentation.scale : 0,
          .rotation = o.augment ? o.augmentation.rotation : 0,
          .half_body = o.augment && o.augmentation.half_body > 0,
          .categories = o.categories};
}

}  // namespace

PackSize pack_size(const PoseDataset& dataset) {
  PackSize size;
  size.people = dataset.size();
  for (const auto& people : people_by_image(dataset)) {
    const auto regions = regions_to_keep(dataset, people);
    size.pictures += static_cast<uint64_t>(!regions.empty());
    size.blocks += regions.size();
    for (const Region& r : regions) size.bytes += pack_padded(static_cast<uint64_t>(r.area()) * 3);
  }
  return size;
}

void write_pack(const fs::path& path, std::span<const PackInput> splits, int threads,
                const std::function<void(uint64_t bytes)>& progress) {
  check(!splits.empty(), "{}: nothing to pack", path.string());
  PackIndex index{.skeleton = splits[0].dataset->skeleton()};
  PackWriter out{.file = AtomicFile(path), .threads = threads_or_all(threads), .progress = progress};
  out.file.write(std::string(kPackHeaderBytes, '\0'));
  for (const PackInput& input : splits) {
    const PoseDataset& dataset = *input.dataset;
    check(dataset.skeleton().names == index.skeleton.names, "{}: splits {} and {} have different joints", path.string(),
          splits[0].name, input.name);
    PackSplit& split = index.splits.emplace_back();
    split.name = input.name;
    split.limits = limits_of(dataset.options());
    split.annotations = dataset.annotations();
    split.counts = dataset.counts();
    std::vector<bool> left_out(dataset.annotations().images.size());
    out.add_blocks(split, dataset, left_out);
    for (const Person& person : dataset.people()) {
      if (!left_out[person.image_index]) split.people.push_back(person);
    }
    check(!split.people.empty(), "{}: split {}: every picture is bad: {}", path.string(), input.name,
          split.counts.summary());
  }
  const std::string text = pack_index_text(index);
  out.file.write(text);
  const std::string header =
      pack_header_text({.offset = out.at, .size = text.size(), .sum = pack_checksum(std::as_bytes(std::span(text)))});
  out.file.write_at(0, std::as_bytes(std::span(header)));
  out.file.commit();
}

}  // namespace hr

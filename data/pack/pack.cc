#include "data/pack/pack.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/threads.h"

namespace hr {
namespace {

constexpr std::string_view magic = "HRPACK\r\n";
constexpr uint32_t version = 1;
constexpr uint64_t header_bytes = 64, alignment = 64, slack = 16;
static_assert(std::endian::native == std::endian::little, "packs are read as they lie in memory");

// A checksum of four lanes that multiply and rotate. Every step is reversible, so that a single changed word always
// changes the sum. It is as fast as reading memory.
uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr uint64_t odd = 0x9E3779B97F4A7C15U;
  uint64_t lane[4] = {1, 2, 3, 4};
  const auto mix = [](uint64_t h, uint64_t word) { return std::rotl((h ^ word) * odd, 29); };
  size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    uint64_t word[4];
    std::memcpy(word, bytes.data() + at, 32);
    for (int i = 0; i < 4; ++i) lane[i] = mix(lane[i], word[i]);
  }
  uint64_t rest[4] = {0, 0, 0, 0};
  std::memcpy(rest, bytes.data() + at, bytes.size() - at);
  for (int i = 0; i < 4; ++i) lane[i] = mix(lane[i], rest[i]);
  uint64_t sum = bytes.size();
  for (const uint64_t h : lane) sum = mix(sum, h);
  return sum;
}

// ---- the index ------------------------------------------------------------------------------------------------------

class IndexWriter {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void put(T value) { text_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void put(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    text_ += text;
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put(static_cast<uint32_t>(values.size()));
    if constexpr (std::is_arithmetic_v<T>) {
      text_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    } else {
      for (const T& value : values) put(value);
    }
  }
  void put(const std::pair<int, int>& pair) {
    put(pair.first);
    put(pair.second);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class IndexReader {
 public:
  IndexReader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  template <class T>
  requires std::is_arithmetic_v<T>
  void get(T& value) { std::memcpy(&value, take(sizeof value), sizeof value); }
  void get(bool& value) {
    uint8_t byte = 0;
    get(byte);
    value = byte != 0;
  }
  void get(std::string& text) {
    const size_t n = count(1);
    text.assign(reinterpret_cast<const char*>(take(n)), n);
  }
  template <class T>
  void get(std::vector<T>& values) {
    if constexpr (std::is_arithmetic_v<T>) {
      values.resize(count(sizeof(T)));
      if (values.empty()) return;  // The data() of an empty vector may be null, which memcpy does not accept.
      std::memcpy(values.data(), take(values.size() * sizeof(T)), values.size() * sizeof(T));
    } else {
      values.resize(count(4));  // Every element takes at least this much in the file.
      for (T& value : values) get(value);
    }
  }
  void get(std::pair<int, int>& pair) {
    get(pair.first);
    get(pair.second);
  }
  template <class T>
  T next() {
    T value{};
    get(value);
    return value;
  }
  // Reads a number of elements, which must fit into the rest of the file.
  size_t count(size_t least_bytes) {
    const auto n = next<uint32_t>();
    check(n <= (bytes_.size() - at_) / least_bytes, "{}: damaged index: {} elements announced, {} bytes left", where_,
          n, bytes_.size() - at_);
    return n;
  }
  bool at_end() const { return at_ == bytes_.size(); }

 private:
  const std::byte* take(size_t n) {
    check(n <= bytes_.size() - at_, "{}: damaged index: it ends early", where_);
    const std::byte* p = bytes_.data() + at_;
    at_ += n;
    return p;
  }
  std::span<const std::byte> bytes_;
  std::string where_;
  size_t at_ = 0;
};

struct Block {
  uint32_t image = 0;  // An index.
  Region region;
  uint64_t offset = 0, sum = 0;
  uint64_t bytes() const { return static_cast<uint64_t>(region.area()) * 3; }
};

struct Split {
  std::string name;
  PackLimits limits;
  CocoAnnotations annotations;
  DatasetCounts counts;
  std::vector<Person> people;
  std::vector<Block> blocks;
};

void put_skeleton(IndexWriter& out, const Skeleton& s) {
  out.put(s.name);
  out.put(s.names);
  out.put(s.limbs);
  out.put(s.flip_pairs);
  out.put(s.joint_weights);
  out.put(s.sigmas);
  out.put(s.upper_ids);
  out.put(s.lower_ids);
  out.put(static_cast<uint8_t>(s.sigmas_assumed));
}

Skeleton get_skeleton(IndexReader& in, const std::string& where) {
  Skeleton s;
  in.get(s.name);
  in.get(s.names);
  in.get(s.limbs);
  in.get(s.flip_pairs);
  in.get(s.joint_weights);
  in.get(s.sigmas);
  in.get(s.upper_ids);
  in.get(s.lower_ids);
  in.get(s.sigmas_assumed);
  const auto joint = [&](int k) {
    check(k >= 0 && k < s.joints(), "{}: damaged index: joint {} of {}", where, k, s.joints());
  };
  for (const auto* pairs : {&s.limbs, &s.flip_pairs}) {
    for (const auto& [a, b] : *pairs) joint(a), joint(b);
  }
  for (const auto* ids : {&s.upper_ids, &s.lower_ids}) std::for_each(ids->begin(), ids->end(), joint);
  check(!s.names.empty() && s.joint_weights.size() == s.names.size() && s.sigmas.size() == s.names.size(),
        "{}: damaged index: {} joints, {} weights, {} sigmas", where, s.names.size(), s.joint_weights.size(),
        s.sigmas.size());
  return s;
}

void put_counts(IndexWriter& out, const DatasetCounts& c) {
  out.put(c.noun);
  for (const size_t n : {c.entries, c.kept, c.crowd, c.other_category, c.without_joints, c.bad_box, c.low_score,
                         c.unknown_image, c.bad_picture}) {
    out.put(static_cast<uint64_t>(n));
  }
}

DatasetCounts get_counts(IndexReader& in) {
  DatasetCounts c;
  in.get(c.noun);
  for (size_t* n : {&c.entries, &c.kept, &c.crowd, &c.other_category, &c.without_joints, &c.bad_box, &c.low_score,
                    &c.unknown_image, &c.bad_picture}) {
    *n = in.next<uint64_t>();
  }
  return c;
}

void put_split(IndexWriter& out, const Split& s) {
  out.put(s.name);
  out.put(static_cast<uint8_t>(s.limits.recipe == Recipe::seed));
  out.put(s.limits.input_h);
  out.put(s.limits.input_w);
  out.put(static_cast<uint8_t>(s.limits.augment));
  out.put(s.limits.scale);
  out.put(s.limits.rotation);
  out.put(static_cast<uint8_t>(s.limits.half_body));
  out.put(s.limits.categories);
  out.put(s.annotations.path);
  out.put(static_cast<uint32_t>(s.annotations.images.size()));
  for (const CocoImage& image : s.annotations.images) {
    out.put(image.id);
    out.put(image.file_name);
    out.put(image.width);
    out.put(image.height);
    out.put(image.crowd_index);
  }
  out.put(static_cast<uint32_t>(s.annotations.annotations.size()));
  for (const CocoAnnotation& a : s.annotations.annotations) {
    out.put(a.id);
    out.put(a.image_id);
    out.put(a.category_id);
    for (const double v : {a.box.x, a.box.y, a.box.w, a.box.h, a.area}) out.put(v);
    out.put(static_cast<uint8_t>(a.iscrowd));
    out.put(static_cast<uint8_t>(a.has_area));
    out.put(a.num_keypoints);
    out.put(a.keypoints);
  }
  out.put(static_cast<uint32_t>(s.annotations.categories.size()));
  for (const CocoCategory& c : s.annotations.categories) {
    out.put(c.id);
    out.put(c.name);
    out.put(c.keypoints);
    out.put(c.skeleton);
  }
  put_counts(out, s.counts);
  out.put(static_cast<uint32_t>(s.people.size()));
  for (const Person& p : s.people) {
    out.put(p.image_id);
    out.put(p.annotation_id);
    out.put(p.image_index);
    for (const double v : {p.box.x, p.box.y, p.box.w, p.box.h}) out.put(v);
    out.put(p.box_score);
    out.put(p.joints);
    const MpiiPlace place = p.place.value_or(MpiiPlace{});
    out.put(static_cast<uint8_t>(p.place.has_value()));
    for (const double v : {place.center[0], place.center[1], place.scale}) out.put(v);
  }
  out.put(static_cast<uint32_t>(s.blocks.size()));
  for (const Block& b : s.blocks) {
    out.put(b.image);
    for (const int v : {b.region.x, b.region.y, b.region.w, b.region.h}) out.put(v);
    out.put(b.offset);
    out.put(b.sum);
  }
}

Split get_split(IndexReader& in, const std::string& where, uint64_t pixels_end, size_t joints) {
  Split s;
  in.get(s.name);
  s.limits.recipe = in.next<bool>() ? Recipe::seed : Recipe::official;
  in.get(s.limits.input_h);
  in.get(s.limits.input_w);
  in.get(s.limits.augment);
  in.get(s.limits.scale);
  in.get(s.limits.rotation);
  in.get(s.limits.half_body);
  in.get(s.limits.categories);
  in.get(s.annotations.path);
  s.annotations.images.resize(in.count(28));
  for (CocoImage& image : s.annotations.images) {
    in.get(image.id);
    in.get(image.file_name);
    in.get(image.width);
    in.get(image.height);
    in.get(image.crowd_index);
  }
  s.annotations.annotations.resize(in.count(74));
  for (CocoAnnotation& a : s.annotations.annotations) {
    in.get(a.id);
    in.get(a.image_id);
    in.get(a.category_id);
    for (double* v : {&a.box.x, &a.box.y, &a.box.w, &a.box.h, &a.area}) in.get(*v);
    in.get(a.iscrowd);
    in.get(a.has_area);
    in.get(a.num_keypoints);
    in.get(a.keypoints);
  }
  s.annotations.categories.resize(in.count(20));
  for (CocoCategory& c : s.annotations.categories) {
    in.get(c.id);
    in.get(c.name);
    in.get(c.keypoints);
    in.get(c.skeleton);
  }
  s.counts = get_counts(in);
  s.people.resize(in.count(85));
  for (Person& p : s.people) {
    in.get(p.image_id);
    in.get(p.annotation_id);
    in.get(p.image_index);
    for (double* v : {&p.box.x, &p.box.y, &p.box.w, &p.box.h}) in.get(*v);
    in.get(p.box_score);
    in.get(p.joints);
    const bool has_place = in.next<bool>();
    MpiiPlace place;
    for (double* v : {&place.center[0], &place.center[1], &place.scale}) in.get(*v);
    if (has_place) p.place = place;
    check(p.image_index >= 0 && static_cast<size_t>(p.image_index) < s.annotations.images.size() &&
              (p.joints.empty() || p.joints.size() == 3 * joints),
          "{}: damaged index: a person of picture {} with {} joint numbers", where, p.image_index, p.joints.size());
  }
  s.blocks.resize(in.count(36));
  uint32_t last = 0;
  for (Block& b : s.blocks) {
    in.get(b.image);
    for (int* v : {&b.region.x, &b.region.y, &b.region.w, &b.region.h}) in.get(*v);
    in.get(b.offset);
    in.get(b.sum);
    const Region& r = b.region;
    const bool known = b.image >= last && b.image < s.annotations.images.size();
    const CocoImage picture = known ? s.annotations.images[b.image] : CocoImage{};
    check(known && r.x >= 0 && r.y >= 0 && r.x < picture.width && r.y < picture.height && r.w > 0 && r.h > 0 &&
              r.w <= picture.width - r.x && r.h <= picture.height - r.y && b.offset >= header_bytes &&
              b.offset <= pixels_end && b.bytes() + slack <= pixels_end - b.offset,
          "{}: damaged index: a block of {} x {} pixels at {}, {} of picture {}, at byte {}", where, r.w, r.h, r.x, r.y,
          b.image, b.offset);
    last = b.image;
  }
  return s;
}

// ---- writing --------------------------------------------------------------------------------------------------------

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

uint64_t padded(uint64_t bytes) { return (bytes + slack + alignment - 1) / alignment * alignment; }

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

}  // namespace

PackSize pack_size(const PoseDataset& dataset) {
  PackSize size;
  size.people = dataset.size();
  for (const auto& people : people_by_image(dataset)) {
    const auto regions = regions_to_keep(dataset, people);
    size.pictures += static_cast<uint64_t>(!regions.empty());
    size.blocks += regions.size();
    for (const Region& r : regions) size.bytes += padded(static_cast<uint64_t>(r.area()) * 3);
  }
  return size;
}

void write_pack(const fs::path& path, std::span<const PackInput> splits, int threads,
                const std::function<void(uint64_t bytes)>& progress) {
  check(!splits.empty(), "{}: nothing to pack", path.string());
  threads = threads_or_all(threads);
  const Skeleton& skeleton = splits[0].dataset->skeleton();
  AtomicFile file(path);
  uint64_t at = header_bytes;
  file.write(std::string(header_bytes, '\0'));

  std::vector<Split> done;
  uint64_t written = 0;
  for (const PackInput& input : splits) {
    const PoseDataset& dataset = *input.dataset;
    check(dataset.skeleton().names == skeleton.names, "{}: splits {} and {} have different joints", path.string(),
          splits[0].name, input.name);
    const DatasetOptions& o = dataset.options();
    Split& split = done.emplace_back();
    split.name = input.name;
    split.limits = {.recipe = o.recipe,
                    .input_h = o.input_h,
                    .input_w = o.input_w,
                    .augment = o.augment,
                    .scale = o.augment ? o.augmentation.scale : 0,
                    .rotation = o.augment ? o.augmentation.rotation : 0,
                    .half_body = o.augment && o.augmentation.half_body > 0,
                    .categories = o.categories};
    split.annotations = dataset.annotations();
    split.counts = dataset.counts();
    const auto people = people_by_image(dataset);
    std::vector<size_t> pictures;
    for (size_t i = 0; i < people.size(); ++i) {
      if (!people[i].empty()) {
        const CocoImage& image = dataset.annotations().images[i];
        check(image.width > 0 && image.height > 0, "{}: images[{}] (id {}): no \"width\" and \"height\"",
              dataset.annotations().path, i, image.id);
        pictures.push_back(i);
      }
    }
    std::vector<bool> left_out(people.size());
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
          check(o.substitute_bad, "{}", decoded[i].trouble);
          dataset.bad().add({BadSamples::Kind::picture, dataset.annotations().images[image].id, decoded[i].trouble,
                             people[image].size()});
          left_out[image] = true;
          split.counts.bad_picture += people[image].size();
          split.counts.kept -= people[image].size();
          continue;
        }
        for (size_t k = 0; k < decoded[i].regions.size(); ++k) {
          std::string& pixels = decoded[i].pixels[k];
          const uint64_t sum = checksum(std::as_bytes(std::span(pixels)));
          split.blocks.push_back({static_cast<uint32_t>(image), decoded[i].regions[k], at, sum});
          pixels.resize(padded(pixels.size()), '\0');
          file.write(pixels);
          at += pixels.size();
          written += pixels.size();
        }
      }
      if (progress) progress(written);
    }
    for (const Person& person : dataset.people()) {
      if (!left_out[person.image_index]) split.people.push_back(person);
    }
    check(!split.people.empty(), "{}: split {}: every picture is bad: {}", path.string(), input.name,
          split.counts.summary());
  }

  IndexWriter index;
  put_skeleton(index, skeleton);
  index.put(static_cast<uint32_t>(done.size()));
  for (const Split& split : done) put_split(index, split);
  file.write(index.text());
  IndexWriter header;
  header.put(version);
  header.put(uint32_t{0});
  header.put(at);
  header.put(static_cast<uint64_t>(index.text().size()));
  header.put(checksum(std::as_bytes(std::span(index.text()))));
  const std::string start = std::string(magic) + header.text();
  header.put(checksum(std::as_bytes(std::span(start))));
  const std::string whole = std::string(magic) + header.text();
  file.write_at(0, std::as_bytes(std::span(whole)));
  file.commit();
}

// ---- reading --------------------------------------------------------------------------------------------------------

struct Pack::Contents {
  MappedFile file;
  Skeleton skeleton;
  std::vector<Split> splits;
  uint64_t index_sum = 0;

  const Split& split(const std::string& name) const {
    std::string names;
    for (const Split& s : splits) {
      if (s.name == name) return s;
      names += (names.empty() ? "" : ", ") + s.name;
    }
    fail("{}: has no split \"{}\"; there are: {}", file.path().string(), name, names);
  }
  std::span<const std::byte> pixels(const Block& block) const {
    return file.bytes().subspan(block.offset, block.bytes());
  }
  [[noreturn]] void damaged(const Split& split, const Block& block) const {
    fail("{}: the pixels of {} at byte {} are damaged (their checksum differs); copy or pack the file again",
         file.path().string(), split.annotations.images[block.image].file_name, block.offset);
  }
};

namespace {

// The pixels of one split.
class PackedPictures final : public PictureSource {
 public:
  template <class Contents>
  PackedPictures(std::shared_ptr<const Contents> contents, const Split& split)
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
      const Block& block = split_.blocks[i];
      if (!block.region.contains(region)) continue;
      const auto bytes = file_.subspan(block.offset, block.bytes() + slack);
      if (!checked_[i].load(std::memory_order_relaxed)) {
        if (checksum(bytes.first(block.bytes())) != block.sum) {
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
  const Split& split_;
  std::vector<size_t> first_;  // The first block of each image, and one more at the end.
  mutable std::vector<std::atomic<bool>> checked_;
  std::shared_ptr<const void> keep_;  // Keeps the map and the split alive.
};

}  // namespace

bool is_pack(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  if (path.extension() == ".pack") return true;
  return MappedFile(path).text().starts_with(magic);
}

Pack::Pack(const fs::path& path) {
  auto contents = std::make_shared<Contents>();
  contents->file = MappedFile(path);
  const std::string where = path.string();
  const auto bytes = contents->file.bytes();
  check(contents->file.text().starts_with(magic),
        "{}: not a pack (it does not start with HRPACK); make one with `pack`", where);
  check(bytes.size() >= header_bytes, "{}: cut off: {} bytes", where, bytes.size());
  IndexReader header(bytes.subspan(magic.size(), header_bytes - magic.size()), where);
  const auto found = header.next<uint32_t>();
  header.next<uint32_t>();
  const auto offset = header.next<uint64_t>(), size = header.next<uint64_t>(), sum = header.next<uint64_t>(),
             header_sum = header.next<uint64_t>();
  check(found == version, "{}: a pack of version {}; this program reads version {}; pack the dataset again", where,
        found, version);
  check(header_sum == checksum(bytes.first(40)), "{}: damaged header", where);
  check(offset >= header_bytes && offset <= bytes.size() && size == bytes.size() - offset,
        "{}: cut off: the index of {} bytes should start at byte {}, the file has {}; copy it again", where, size,
        offset, bytes.size());
  check(sum == checksum(bytes.subspan(offset)), "{}: damaged index (its checksum differs); copy the file again", where);
  contents->index_sum = sum;
  IndexReader in(bytes.subspan(offset), where);
  contents->skeleton = get_skeleton(in, where);
  contents->splits.resize(in.count(1));
  for (Split& split : contents->splits) split = get_split(in, where, offset, contents->skeleton.names.size());
  check(in.at_end(), "{}: damaged index: more than expected", where);
  contents_ = std::move(contents);
}

std::vector<std::string> Pack::splits() const {
  std::vector<std::string> names;
  for (const Split& split : contents_->splits) names.push_back(split.name);
  return names;
}

const Skeleton& Pack::skeleton() const { return contents_->skeleton; }
const PackLimits& Pack::limits(const std::string& split) const { return contents_->split(split).limits; }

std::string Pack::fingerprint() const { return fmt::format("{:016x}", contents_->index_sum); }

PackSize Pack::size(const std::string& name) const {
  const Split& split = contents_->split(name);
  PackSize size{.blocks = split.blocks.size(), .people = split.people.size()};
  for (size_t i = 0; i < split.blocks.size(); ++i) {
    size.bytes += padded(split.blocks[i].bytes());
    size.pictures += static_cast<uint64_t>(i == 0 || split.blocks[i].image != split.blocks[i - 1].image);
  }
  return size;
}

PoseDataset Pack::dataset(const std::string& name, const DatasetOptions& o) const {
  const Split& split = contents_->split(name);
  const PackLimits& limits = split.limits;
  const std::string where = fmt::format("{}: split {}", contents_->file.path().string(), name);
  const auto recipe = [](Recipe r) { return r == Recipe::seed ? "seed" : "official"; };
  check(limits.recipe == o.recipe,
        "{}: packed for the {} recipe, asked is {}; their crops differ: pack it again with "
        "--recipe {}",
        where, recipe(limits.recipe), recipe(o.recipe), recipe(o.recipe));
  check(int64_t{limits.input_h} * o.input_w == int64_t{o.input_h} * limits.input_w,
        "{}: packed for inputs of {} x {}, asked is {} x {}, which has another aspect ratio; pack it again with "
        "--fixed-size {} {}",
        where, limits.input_h, limits.input_w, o.input_h, o.input_w, o.input_h, o.input_w);
  if (o.augment) {
    check(limits.augment, "{}: packed without margin for augmentation; train with --no-augment, or pack it again",
          where);
    const AugmentOptions& a = o.augmentation;
    check(a.scale <= limits.scale,
          "{}: packed for scales of 1 -+ {}, asked is {}; pack it again with --scale-factor {}", where, limits.scale,
          a.scale, a.scale);
    check(a.rotation <= limits.rotation,
          "{}: packed for a rotation of {} degrees, asked is {}; pack it again with --rot-factor {}", where,
          limits.rotation, a.rotation, a.rotation);
    check(a.half_body <= 0 || limits.half_body,
          "{}: packed without half bodies; train with --prob-half-body 0, or pack it again", where);
  } else if (o.recipe == Recipe::seed) {
    check(!limits.augment || limits.scale >= 0.25,
          "{}: packed for scales up to {}, the seed's plain crops have 1.25; pack it again with --scale-factor 0.25",
          where, 1 + limits.scale);
  }
  check(limits.categories == o.categories, "{}: packed for categories [{}], asked are [{}]; pack it again", where,
        fmt::join(limits.categories, ", "), fmt::join(o.categories, ", "));
  return PoseDataset::from_people(split.annotations, split.people, split.counts,
                                  std::make_shared<PackedPictures>(contents_, split), contents_->skeleton, o);
}

void Pack::verify(const std::function<void(uint64_t bytes)>& progress) const {
  uint64_t done = 0;
  for (const Split& split : contents_->splits) {
    for (const Block& block : split.blocks) {
      if (checksum(contents_->pixels(block)) != block.sum) contents_->damaged(split, block);
      done += padded(block.bytes());
      contents_->file.release(contents_->pixels(block));
      if (progress) progress(done);
    }
  }
}

}  // namespace hr

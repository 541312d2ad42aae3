#include "data/pack/pack_format.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "core/error.h"

namespace hr {
namespace {

constexpr uint32_t kVersion = 1;
static_assert(std::endian::native == std::endian::little, "packs are read as they lie in memory");
static_assert(sizeof(size_t) == 8, "numbers of entries have 8 bytes in a pack");

// The writer and the reader have the same interface, so that each struct is described once, by a function fields(), for
// both: io(a, b, ...) writes or reads numbers, strings, pairs and lists of these in this order.
class IndexWriter {
 public:
  static constexpr bool kReads = false;

  template <class... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }
  // Writes a list of structs. `least_bytes` is used by the reader alone.
  template <class T>
  void list(const std::vector<T>& values, size_t /*least_bytes*/) {
    put(static_cast<uint32_t>(values.size()));
    for (const T& value : values) fields(*this, value);
  }
  const std::string& text() const { return text_; }

 private:
  template <class T>
  requires std::is_arithmetic_v<T>
  void put(T value) {
    static_assert(sizeof(bool) == 1);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
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

  std::string text_;
};

class IndexReader {
 public:
  static constexpr bool kReads = true;

  IndexReader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  // Reads a list of structs, each of which takes at least `least_bytes` in the file. This limits the memory that a
  // damaged file can ask for.
  template <class T>
  void list(std::vector<T>& values, size_t least_bytes) {
    values.resize(count(least_bytes));
    for (T& value : values) fields(*this, value);
  }
  template <class T>
  T next() {
    T value{};
    get(value);
    return value;
  }
  bool at_end() const { return at_ == bytes_.size(); }

 private:
  template <class T>
  requires std::is_arithmetic_v<T>
  void get(T& value) { std::memcpy(&value, take(sizeof value), sizeof value); }
  void get(bool& value) { value = next<uint8_t>() != 0; }
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
  // Reads a number of elements, which must fit into the rest of the file.
  size_t count(size_t least_bytes) {
    const auto n = next<uint32_t>();
    check(n <= (bytes_.size() - at_) / least_bytes, "{}: damaged index: {} elements announced, {} bytes left", where_,
          n, bytes_.size() - at_);
    return n;
  }
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

// ---- the structs, each described once -------------------------------------------------------------------------------

template <class T, class Struct>
concept Is = std::same_as<std::remove_const_t<T>, Struct>;

template <class IO, Is<Skeleton> T>
void fields(IO& io, T& s) {
  io(s.name, s.names, s.limbs, s.flip_pairs, s.joint_weights, s.sigmas, s.upper_ids, s.lower_ids, s.sigmas_assumed);
}

template <class IO, Is<PackLimits> T>
void fields(IO& io, T& l) {
  bool seed = l.recipe == Recipe::seed;
  io(seed);
  if constexpr (IO::kReads) l.recipe = seed ? Recipe::seed : Recipe::official;
  io(l.input_h, l.input_w, l.augment, l.scale, l.rotation, l.half_body, l.categories);
}

template <class IO, Is<CocoImage> T>
void fields(IO& io, T& image) {
  io(image.id, image.file_name, image.width, image.height, image.crowd_index);
}

template <class IO, Is<Box> T>
void fields(IO& io, T& box) {
  io(box.x, box.y, box.w, box.h);
}

template <class IO, Is<CocoAnnotation> T>
void fields(IO& io, T& a) {
  io(a.id, a.image_id, a.category_id);
  fields(io, a.box);
  io(a.area, a.iscrowd, a.has_area, a.num_keypoints, a.keypoints);
}

template <class IO, Is<CocoCategory> T>
void fields(IO& io, T& c) {
  io(c.id, c.name, c.keypoints, c.skeleton);
}

template <class IO, Is<DatasetCounts> T>
void fields(IO& io, T& c) {
  io(c.noun, c.entries, c.kept, c.crowd, c.other_category, c.without_joints, c.bad_box, c.low_score, c.unknown_image,
     c.bad_picture);
}

template <class IO, Is<Person> T>
void fields(IO& io, T& p) {
  io(p.image_id, p.annotation_id, p.image_index);
  fields(io, p.box);
  io(p.box_score, p.joints);
  bool has_place = p.place.has_value();
  MpiiPlace place = p.place.value_or(MpiiPlace{});
  io(has_place, place.center[0], place.center[1], place.scale);
  if constexpr (IO::kReads) {
    if (has_place) p.place = place;
  }
}

template <class IO, Is<PackBlock> T>
void fields(IO& io, T& b) {
  io(b.image, b.region.x, b.region.y, b.region.w, b.region.h, b.offset, b.sum);
}

template <class IO, Is<PackSplit> T>
void fields(IO& io, T& s) {
  io(s.name);
  fields(io, s.limits);
  io(s.annotations.path);
  io.list(s.annotations.images, 28);
  io.list(s.annotations.annotations, 74);
  io.list(s.annotations.categories, 20);
  fields(io, s.counts);
  io.list(s.people, 85);
  io.list(s.blocks, 36);
}

template <class IO, Is<PackIndex> T>
void fields(IO& io, T& index) {
  fields(io, index.skeleton);
  io.list(index.splits, 1);
}

template <class IO, Is<PackHeader> T>
void fields(IO& io, T& h) {
  io(h.offset, h.size, h.sum);
}

// ---- checks of what was read ----------------------------------------------------------------------------------------

void check_skeleton(const Skeleton& s, const std::string& where) {
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
}

void check_split(const PackSplit& s, const std::string& where, uint64_t pixels_end, size_t joints) {
  const std::vector<CocoImage>& images = s.annotations.images;
  for (const Person& p : s.people) {
    check(p.image_index >= 0 && static_cast<size_t>(p.image_index) < images.size() &&
              (p.joints.empty() || p.joints.size() == 3 * joints),
          "{}: damaged index: a person of picture {} with {} joint numbers", where, p.image_index, p.joints.size());
  }
  uint32_t last = 0;
  for (const PackBlock& b : s.blocks) {
    const Region& r = b.region;
    const bool known = b.image >= last && b.image < images.size();
    const CocoImage picture = known ? images[b.image] : CocoImage{};
    check(known && r.x >= 0 && r.y >= 0 && r.x < picture.width && r.y < picture.height && r.w > 0 && r.h > 0 &&
              r.w <= picture.width - r.x && r.h <= picture.height - r.y && b.offset >= kPackHeaderBytes &&
              b.offset <= pixels_end && b.bytes() + kPackSlack <= pixels_end - b.offset,
          "{}: damaged index: a block of {} x {} pixels at {}, {} of picture {}, at byte {}", where, r.w, r.h, r.x, r.y,
          b.image, b.offset);
    last = b.image;
  }
}

}  // namespace

uint64_t pack_checksum(std::span<const std::byte> bytes) {
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

std::string pack_index_text(const PackIndex& index) {
  IndexWriter out;
  fields(out, index);
  return out.text();
}

PackIndex read_pack_index(std::span<const std::byte> bytes, const std::string& where, uint64_t pixels_end) {
  IndexReader in(bytes, where);
  PackIndex index;
  fields(in, index);
  check(in.at_end(), "{}: damaged index: more than expected", where);
  check_skeleton(index.skeleton, where);
  for (const PackSplit& split : index.splits) check_split(split, where, pixels_end, index.skeleton.names.size());
  return index;
}

std::string pack_header_text(const PackHeader& header) {
  IndexWriter out;
  out(kVersion, uint32_t{0});
  fields(out, header);
  const std::string start = std::string(kPackMagic) + out.text();
  out(pack_checksum(std::as_bytes(std::span(start))));
  return std::string(kPackMagic) + out.text();
}

PackHeader read_pack_header(std::span<const std::byte> file, const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  check(text.starts_with(kPackMagic), "{}: not a pack (it does not start with HRPACK); make one with `pack`", where);
  check(file.size() >= kPackHeaderBytes, "{}: cut off: {} bytes", where, file.size());
  IndexReader in(file.subspan(kPackMagic.size(), kPackHeaderBytes - kPackMagic.size()), where);
  const auto found = in.next<uint32_t>();
  in.next<uint32_t>();
  PackHeader header;
  fields(in, header);
  const auto header_sum = in.next<uint64_t>();
  check(found == kVersion, "{}: a pack of version {}; this program reads version {}; pack the dataset again", where,
        found, kVersion);
  check(header_sum == pack_checksum(file.first(40)), "{}: damaged header", where);
  check(header.offset >= kPackHeaderBytes && header.offset <= file.size() && header.size == file.size() - header.offset,
        "{}: cut off: the index of {} bytes should start at byte {}, the file has {}; copy it again", where,
        header.size, header.offset, file.size());
  check(header.sum == pack_checksum(file.subspan(header.offset)),
        "{}: damaged index (its checksum differs); copy the file again", where);
  return header;
}

}  // namespace hr

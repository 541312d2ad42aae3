#include "core/io/safetensors.h"

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>
#include <array>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include "core/error.h"
#include "core/io/budget.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "core/io/text.h"

namespace hr {
namespace {

static_assert(std::endian::native == std::endian::little, "the raw data is little-endian");

constexpr struct {
  DType dtype;
  std::string_view name;
} kNames[] = {{DType::f32, "F32"}, {DType::bf16, "BF16"},   {DType::f64, "F64"}, {DType::f16, "F16"},
              {DType::i64, "I64"}, {DType::i32, "I32"},     {DType::i16, "I16"}, {DType::i8, "I8"},
              {DType::u8, "U8"},   {DType::boolean, "BOOL"}};

constexpr uint64_t kMaxHeader = 100u << 20;  // This limit is part of the format.
constexpr size_t kMaxString = 1 << 20;       // In bytes, for one name or metadata value.
constexpr size_t kMaxRank = 64;              // torch has the same limit.

// One entry of the header as it stands in the file, not yet checked.
struct Entry {
  std::string name, dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// A SAX reader is used because a DOM would silently keep the first of two equal keys.
class HeaderReader : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, HeaderReader> {
 public:
  explicit HeaderReader(Budget& budget) : budget_(budget) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool Default() { return refuse("unexpected value"); }
  bool StartObject() {
    if (depth_ == 0) return ++depth_ != 0;
    if (depth_ == 1 && !key_.empty()) {
      in_metadata_ = key_ == "__metadata__";
      if (in_metadata_) {
        if (seen_metadata_) return refuse("__metadata__ occurs twice");
        seen_metadata_ = true;
      } else {
        // Covers everything that will be made of the entry.
        budget_.take(sizeof(Entry) + sizeof(ArrayView) + 4 * key_.size() + 512);
        entries.push_back({.name = key_});
      }
      return ++depth_ != 0;
    }
    return refuse("unexpected object");
  }
  bool EndObject(rapidjson::SizeType) {
    if (depth_ == 2 && !in_metadata_) {
      const Entry& e = entries.back();
      if (!e.has_dtype || !e.has_shape || !e.has_offsets) {
        return refuse(fmt::format("tensor {}: needs dtype, shape and data_offsets", shown(e.name)));
      }
    }
    --depth_;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    key_.assign(text, length);
    if (depth_ == 1 && key_.empty()) return refuse("a tensor has an empty name");
    return true;
  }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    if (depth_ == 2 && in_metadata_) {
      budget_.take(2 * (key_.size() + length) + 128);
      if (!metadata.emplace(key_, std::string(text, length)).second) return refuse("__metadata__ has a key twice");
      return true;
    }
    if (depth_ == 2 && key_ == "dtype" && !entries.back().has_dtype) {
      entries.back().dtype.assign(text, length);
      return entries.back().has_dtype = true;
    }
    return refuse(fmt::format("unexpected string at key {}", shown(key_)));
  }
  bool StartArray() {
    if (depth_ != 2 || in_metadata_ || list_ != nullptr) return refuse("unexpected list");
    Entry& e = entries.back();
    bool& seen = key_ == "shape" ? e.has_shape : e.has_offsets;
    if ((key_ != "shape" && key_ != "data_offsets") || seen) {
      return refuse(fmt::format("tensor {}: unexpected or repeated field {}", shown(e.name), shown(key_)));
    }
    seen = true;
    list_ = key_ == "shape" ? &e.shape : &e.offsets;
    return true;
  }
  bool EndArray(rapidjson::SizeType) {
    list_ = nullptr;
    return true;
  }
  bool Uint(unsigned v) { return Uint64(v); }
  bool Uint64(uint64_t v) {
    if (list_ == nullptr) return refuse("unexpected number");
    if (list_->size() >= kMaxRank) return refuse(fmt::format("a list of more than {} numbers", kMaxRank));
    list_->push_back(v);
    return true;
  }

 private:
  bool refuse(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }
  Budget& budget_;
  int depth_ = 0;
  bool in_metadata_ = false, seen_metadata_ = false;
  std::string key_;
  std::vector<uint64_t>* list_ = nullptr;
};

// The reader collects a string before it passes it on, so that a long one must be found before.
bool has_long_string(std::string_view json) {
  bool inside = false;
  size_t begin = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') {
      inside = !inside;
      begin = i;
    } else if (inside && json[i] == '\\') {
      ++i;
    }
    if (inside && i - begin > kMaxString) return true;
  }
  return false;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path), path_(path) { load(file_.bytes()); }
SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, const fs::path& name) : path_(name) { load(bytes); }

void SafetensorsFile::load(std::span<const std::byte> bytes) {
  const std::string where = path_.string();
  check(bytes.size() >= 8, "{}: not a safetensors file: {} bytes, the header length alone needs 8", where,
        bytes.size());
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  check(header_size <= kMaxHeader && header_size <= bytes.size() - 8,
        "{}: not a safetensors file: it announces a header of {} bytes, {} follow", where, header_size,
        bytes.size() - 8);
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  check(!header.empty() && header.front() == '{', "{}: not a safetensors file: the header does not start with '{{'",
        where);

  check(!has_long_string(header), "{}: a name or value in the header is longer than {} bytes", where, kMaxString);

  Budget budget(where);
  HeaderReader handler(budget);
  rapidjson::Reader reader;
  rapidjson::MemoryStream stream(header.data(), header.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
  const auto result =
      reader.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(input, handler);
  if (!result) {
    fail("{}: broken safetensors header at byte {}: {}", where, 8 + result.Offset(),
         handler.problem.empty() ? rapidjson::GetParseError_En(result.Code()) : handler.problem.c_str());
  }

  const auto data = bytes.subspan(8 + header_size);
  auto& entries = handler.entries;
  std::vector<std::pair<uint64_t, std::string>> order;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const Entry& e : entries) {
    const auto* type = std::find_if(std::begin(kNames), std::end(kNames), [&](auto& n) { return n.name == e.dtype; });
    if (type == std::end(kNames)) fail("{}: tensor {}: unknown dtype {}", where, shown(e.name), shown(e.dtype));
    if (e.offsets.size() != 2 || e.offsets[0] > e.offsets[1] || e.offsets[1] > data.size()) {
      fail("{}: tensor {}: data_offsets [{}] do not lie in the {} bytes of data", where, shown(e.name),
           fmt::join(e.offsets, ", "), data.size());
    }
    // The product of the other dimensions must fit too. A dimension of 0 hides it here, but strides are computed from
    // it elsewhere.
    uint64_t expected = size_of(type->dtype), without_zeros = expected;
    bool fits = true;
    for (const uint64_t d : e.shape) {
      expected *= d;
      fits = fits && !__builtin_mul_overflow(without_zeros, std::max<uint64_t>(d, 1), &without_zeros);
    }
    if (!fits || without_zeros > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      fail("{}: tensor {}: shape [{}] of {} is too large: its size in bytes does not fit into 63 bits", where,
           shown(e.name), fmt::join(e.shape, ", "), e.dtype);
    }
    if (expected != e.offsets[1] - e.offsets[0]) {
      fail("{}: tensor {}: shape [{}] of {} does not fill its {} bytes", where, shown(e.name), fmt::join(e.shape, ", "),
           e.dtype, e.offsets[1] - e.offsets[0]);
    }
    ArrayView view{.dtype = type->dtype,
                   .shape = {e.shape.begin(), e.shape.end()},
                   .bytes = data.subspan(e.offsets[0], e.offsets[1] - e.offsets[0])};
    if (!arrays_.emplace(e.name, std::move(view)).second) fail("{}: tensor {} occurs twice", where, shown(e.name));
    order.emplace_back(e.offsets[0], e.name);
    ranges.emplace_back(e.offsets[0], e.offsets[1]);
  }
  // The format demands that tensors cover the data exactly, without holes or overlaps.
  std::sort(ranges.begin(), ranges.end());
  uint64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    check(begin == covered, "{}: tensor data has a hole or overlap at byte {}", where, std::min(begin, covered));
    covered = end;
  }
  check(covered == data.size(), "{}: {} bytes after the last tensor; is the file damaged?", where,
        data.size() - covered);
  std::stable_sort(order.begin(), order.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (auto& [offset, name] : order) names_.push_back(std::move(name));
  metadata_ = std::move(handler.metadata);
}

const ArrayView& SafetensorsFile::at(const std::string& name) const {
  const auto it = arrays_.find(name);
  if (it == arrays_.end()) {
    fail("{}: has no tensor '{}'; it has {} tensors, the first is '{}'", path_.string(), name, names_.size(),
         names_.empty() ? "" : names_.front());
  }
  return it->second;
}

void write_safetensors(const fs::path& path, std::span<const NamedArray> arrays,
                       const std::map<std::string, std::string>& metadata, const WriteProgress& progress) {
  std::string header;
  JsonWriter json(header, kJsonCompact);
  json.begin_object();
  if (!metadata.empty()) {
    json.key("__metadata__").begin_object();
    for (const auto& [key, value] : metadata) json.member(key, value);
    json.end();
  }
  uint64_t offset = 0;
  for (const NamedArray& a : arrays) {
    const auto* type = std::find_if(std::begin(kNames), std::end(kNames), [&](auto& n) { return n.dtype == a.dtype; });
    uint64_t expected = size_of(a.dtype);
    for (const int64_t d : a.shape) expected *= static_cast<uint64_t>(d);
    check(expected == a.bytes.size(), "{}: tensor {}: shape [{}] needs {} bytes, got {}", path.string(), a.name,
          fmt::join(a.shape, ", "), expected, a.bytes.size());
    json.key(a.name).begin_object().member("dtype", type->name).member("shape", a.shape);
    json.member("data_offsets", std::array{offset, offset + a.bytes.size()}).end();
    offset += a.bytes.size();
  }
  json.end();
  header.append((8 - header.size() % 8) % 8, ' ');  // The data start aligned.

  AtomicFile file(path);
  const uint64_t header_size = header.size();
  file.write(std::as_bytes(std::span(&header_size, 1)));
  file.write(header);
  int64_t done = 0;
  for (const NamedArray& a : arrays) {
    file.write(a.bytes);
    done += static_cast<int64_t>(a.bytes.size());
    if (progress) progress(done, static_cast<int64_t>(offset));
  }
  file.commit();
}

}  // namespace hr

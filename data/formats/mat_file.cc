#include "data/formats/mat_file.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "core/error.h"

namespace hr {
namespace {

static_assert(std::endian::native == std::endian::little, "MAT files are read as little-endian");

constexpr size_t kHeader = 128, kMaxDimensions = 64;
constexpr int kMaxDepth = 8;  // Cells within cells.

// zlib packs a run of equal bytes a thousand to one, and every number becomes a double here, so that a small file could
// ask for gigabytes. Files of measurements unpack to a few times their size; 32 MiB hold MPII's annotations many times.
size_t memory_limit(size_t file_bytes) { return std::clamp(64 * file_bytes, size_t{32} << 20, size_t{1} << 30); }

enum Type : uint32_t {
  kInt8 = 1,
  kUint8 = 2,
  kInt16 = 3,
  kUint16 = 4,
  kInt32 = 5,
  kUint32 = 6,
  kSingle = 7,
  kDouble = 9,
  kInt64 = 12,
  kUint64 = 13,
  kMatrix = 14,
  kCompressed = 15,
  kUtf8 = 16,
  kUtf16 = 17
};
enum Class : uint32_t { kCell = 1, kChar = 4, kFirstNumber = 6, kLastNumber = 15, kDoubleClass = 6, kSingleClass = 7 };
constexpr uint32_t kComplex = 0x800;

using Bytes = std::span<const std::byte>;

// A part of the file and its position, for messages.
struct Place {
  const std::string& path;
  Bytes all;
  std::string inside;  // For example ", in the compressed element at byte 128".
  size_t limit;        // The bytes to which the file may unpack, and that its arrays may take.
  size_t& taken;       // The bytes that arrays have taken so far.

  template <class... Args>
  [[noreturn]] void wrong(const std::byte* at, fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: byte {}{}: {}", path, at - all.data(), inside, fmt::format(format, std::forward<Args>(args)...));
  }
  // Counts memory before it is allocated. Throws Error beyond the limit.
  void take_memory(const std::byte* at, size_t bytes) const {
    if (bytes > limit - taken) wrong(at, "the arrays up to here need more than {} MiB of memory", limit >> 20);
    taken += bytes;
  }
};

struct Element {
  uint32_t type = 0;
  Bytes data;
};

// Takes the element at the beginning of `rest` with its padding.
Element take(const Place& place, Bytes& rest) {
  const std::byte* const at = rest.data();
  if (rest.size() < 8) place.wrong(at, "{} bytes left, expected an element of at least 8", rest.size());
  uint32_t words[2];
  std::memcpy(words, at, 8);
  Element element;
  if (words[0] >> 16 != 0) {  // A small element: type, size and up to four bytes of data in eight bytes.
    const uint32_t bytes = words[0] >> 16;
    element.type = words[0] & 0xFFFF;
    if (bytes > 4) place.wrong(at, "a small element of {} bytes, expected at most 4", bytes);
    element.data = rest.subspan(4, bytes);
    rest = rest.subspan(8);
    return element;
  }
  element.type = words[0];
  const size_t bytes = words[1];
  if (bytes > rest.size() - 8) place.wrong(at, "an element of {} bytes, but only {} are left", bytes, rest.size() - 8);
  element.data = rest.subspan(8, bytes);
  const size_t padded = element.type == kCompressed ? bytes : (bytes + 7) / 8 * 8;
  rest = rest.subspan(8 + std::min(padded, rest.size() - 8));
  return element;
}

size_t type_size(uint32_t type) {
  switch (type) {
    case kInt8:
    case kUint8:
    case kUtf8:
      return 1;
    case kInt16:
    case kUint16:
    case kUtf16:
      return 2;
    case kInt32:
    case kUint32:
    case kSingle:
      return 4;
    case kDouble:
    case kInt64:
    case kUint64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
void append(Bytes data, std::vector<double>& out) {
  for (size_t i = 0; i < data.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, data.data() + i, sizeof(T));
    out.push_back(static_cast<double>(value));
  }
}

std::vector<double> numbers(const Place& place, const Element& e) {
  const size_t size = type_size(e.type);
  if (size == 0) place.wrong(e.data.data(), "data type {}, expected numbers", e.type);
  if (e.data.size() % size != 0) place.wrong(e.data.data(), "{} bytes of {}-byte numbers", e.data.size(), size);
  place.take_memory(e.data.data(), e.data.size() / size * sizeof(double));
  std::vector<double> out;
  out.reserve(e.data.size() / size);
  switch (e.type) {
    case kInt8:
      append<int8_t>(e.data, out);
      break;
    case kUint8:
    case kUtf8:
      append<uint8_t>(e.data, out);
      break;
    case kInt16:
      append<int16_t>(e.data, out);
      break;
    case kUint16:
    case kUtf16:
      append<uint16_t>(e.data, out);
      break;
    case kInt32:
      append<int32_t>(e.data, out);
      break;
    case kUint32:
      append<uint32_t>(e.data, out);
      break;
    case kSingle:
      append<float>(e.data, out);
      break;
    case kDouble:
      append<double>(e.data, out);
      break;
    case kInt64:
      append<int64_t>(e.data, out);
      break;
    default:
      append<uint64_t>(e.data, out);
  }
  return out;
}

// Reads the array of a matrix element and its name; empty for kinds that are skipped.
std::optional<MatArray> matrix(const Place& place, Bytes rest, std::string& name, int depth) {
  if (rest.empty()) return MatArray{{0, 0}, {}, {}};  // An empty cell is written as zero bytes.
  const std::byte* const at = rest.data();
  const Element flag_words = take(place, rest);
  if (flag_words.type != kUint32) place.wrong(at, "array flags of type {}, expected {}", flag_words.type, +kUint32);
  const std::vector<double> flags = numbers(place, flag_words);
  if (flags.size() != 2) place.wrong(at, "array flags of {} numbers, expected 2", flags.size());
  const auto word = static_cast<uint32_t>(flags[0]);
  const uint32_t kind = word & 0xFF;

  MatArray array;
  size_t count = 1;
  const Element dimensions = take(place, rest);
  if (dimensions.type != kInt32) place.wrong(at, "dimensions of type {}, expected {}", dimensions.type, +kInt32);
  const size_t sides_there = dimensions.data.size() / sizeof(int32_t);
  if (sides_there < 2 || sides_there > kMaxDimensions)
    place.wrong(at, "{} dimensions, expected 2 to {}", sides_there, kMaxDimensions);
  const std::vector<double> sides = numbers(place, dimensions);
  for (const double side : sides) {
    if (side < 0) place.wrong(at, "a dimension of {}", side);
    array.shape.push_back(static_cast<int64_t>(side));
    if (side > 0 && count > (size_t{1} << 40) / static_cast<size_t>(side)) place.wrong(at, "dimensions too large");
    count *= static_cast<size_t>(side);
  }
  const Element label = take(place, rest);
  name.assign(reinterpret_cast<const char*>(label.data.data()), label.data.size());
  if ((word & kComplex) != 0) return std::nullopt;

  if (kind == kCell) {
    if (depth >= kMaxDepth) place.wrong(at, "cells nested deeper than {}", kMaxDepth);
    for (size_t i = 0; i < count; ++i) {
      const Element cell = take(place, rest);
      if (cell.type != kMatrix) place.wrong(cell.data.data(), "a cell of type {}, expected an array", cell.type);
      std::string no_name;
      const std::optional<MatArray> inner = matrix(place, cell.data, no_name, depth + 1);
      if (!inner || inner->text.size() != 1) return std::nullopt;  // Only cells of text are needed.
      array.text.push_back(inner->text[0]);
    }
    return array;
  }
  if (kind != kChar && (kind < kFirstNumber || kind > kLastNumber)) return std::nullopt;
  const Element data = take(place, rest);
  array.values = numbers(place, data);
  if (array.values.size() != count) {
    place.wrong(data.data.data(), "'{}' has {} numbers, expected {}", name, array.values.size(),
                fmt::join(array.shape, " x "));
  }
  if (kind == kChar) {
    std::string& text = array.text.emplace_back();
    for (const double c : array.values) text += c >= 0 && c < 128 ? static_cast<char>(c) : '?';
    place.taken -= array.values.size() * sizeof(double);
    place.take_memory(data.data.data(), text.size());
    array.values = {};
  }
  return array;
}

std::vector<std::byte> unpacked(const Place& place, Bytes packed) {
  std::vector<std::byte> out;
  z_stream stream{};
  check(inflateInit(&stream) == Z_OK, "{}: zlib cannot start", place.path);
  struct End {
    z_stream& s;
    ~End() { inflateEnd(&s); }
  } end{stream};
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());  // Below 4 GiB, because the size is written in 32 bits.
  out.resize(size_t{1} << 16);
  size_t have = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    if (have >= place.limit) place.wrong(packed.data(), "unpacks to more than {} MiB", place.limit >> 20);
    if (have == out.size()) out.resize(std::min(2 * have, place.limit));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + have);
    stream.avail_out = static_cast<uInt>(out.size() - have);
    status = inflate(&stream, Z_NO_FLUSH);
    const size_t now = out.size() - stream.avail_out;
    if (status == Z_OK && now == have) break;  // There was no progress, so the data end too early.
    have = now;
  }
  if (status != Z_STREAM_END) {
    place.wrong(packed.data(), "damaged compressed data ({})",
                stream.msg != nullptr ? stream.msg : "it ends too early");
  }
  out.erase(out.begin() + static_cast<ptrdiff_t>(have), out.end());
  return out;
}

void read_element(const Place& place, const Element& e, std::map<std::string, MatArray>& out, bool packed) {
  if (e.type == kCompressed && !packed) {
    const std::vector<std::byte> bytes = unpacked(place, e.data);
    const Place inner{place.path, bytes,
                      fmt::format(" of the compressed element at byte {}", e.data.data() - place.all.data() - 8),
                      place.limit, place.taken};
    Bytes rest = bytes;
    read_element(inner, take(inner, rest), out, true);
    return;
  }
  if (e.type != kMatrix) return;
  std::string name;
  std::optional<MatArray> array = matrix(place, e.data, name, 0);
  if (array && !name.empty()) out.insert_or_assign(name, std::move(*array));
}

}  // namespace

double MatArray::at(std::initializer_list<int64_t> index) const {
  size_t offset = 0, stride = 1, d = 0;
  for (const int64_t i : index) {
    const int64_t side = d < shape.size() ? shape[d] : 1;
    check(i >= 0 && i < side, "mat array: index {} in a dimension of {}", i, side);
    offset += static_cast<size_t>(i) * stride;
    stride *= static_cast<size_t>(side);
    ++d;
  }
  return values.at(offset);
}

std::map<std::string, MatArray> read_mat(const fs::path& path) {
  const MappedFile file(path);
  return parse_mat(file.bytes(), path.string());
}

std::map<std::string, MatArray> parse_mat(std::span<const std::byte> all, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(all.data()), all.size());
  check(!text.starts_with("\x89HDF") && !text.starts_with("MATLAB 7.3"),
        "{}: a MATLAB 7.3 file (HDF5); save it with '-v7' or scipy.io.savemat", name);
  check(all.size() >= kHeader, "{}: {} bytes; a MATLAB file has a header of {}", name, all.size(), kHeader);
  check(text.substr(126, 2) != "MI", "{}: a big-endian MATLAB file; expected little-endian", name);
  check(text.substr(126, 2) == "IM", "{}: not a MATLAB file of level 5 (no \"IM\" at byte 126)", name);
  size_t taken = 0;
  const Place place{name, all, {}, memory_limit(all.size()), taken};
  std::map<std::string, MatArray> out;
  for (Bytes rest = all.subspan(kHeader); !rest.empty();) read_element(place, take(place, rest), out, false);
  return out;
}

namespace {

class Writer {
 public:
  explicit Writer(std::string path) : path_(std::move(path)) {
    out_ = "MATLAB 5.0 MAT-file, written by hrnet.cpp";
    out_.resize(kHeader - 4, ' ');
    out_.append("\x00\x01IM", 4);
  }

  void array(const std::string& name, const MatArray& a, bool single) {
    size_t count = 1;
    for (const int64_t side : a.shape) count *= static_cast<size_t>(std::max<int64_t>(side, 0));
    const bool cell = !a.text.empty();
    check(a.shape.size() >= 2 && count == (cell ? a.text.size() : a.values.size()), "{}: '{}' has {} entries for {}",
          path_, name, cell ? a.text.size() : a.values.size(), fmt::join(a.shape, " x "));
    const size_t start = begin(cell ? +kCell : single ? +kSingleClass : +kDoubleClass, a.shape, name);
    if (cell) {
      for (const std::string& text : a.text) {
        const size_t inner = begin(kChar, {1, static_cast<int64_t>(text.size())}, "");
        element(kUtf8, text.data(), text.size());
        end(inner);
      }
    } else if (single) {
      const std::vector<float> values(a.values.begin(), a.values.end());
      element(kSingle, values.data(), values.size() * sizeof(float));
    } else {
      element(kDouble, a.values.data(), a.values.size() * sizeof(double));
    }
    end(start);
  }

  const std::string& bytes() const { return out_; }

 private:
  void word(uint32_t v) { out_.append(reinterpret_cast<const char*>(&v), 4); }
  void element(uint32_t type, const void* data, size_t bytes) {
    check(bytes < (size_t{1} << 31), "{}: {} bytes are too many for a MATLAB file of level 5", path_, bytes);
    word(type);
    word(static_cast<uint32_t>(bytes));
    out_.append(static_cast<const char*>(data), bytes);
    out_.resize((out_.size() + 7) / 8 * 8, '\0');
  }
  // Writes the head of a matrix element. end(), which receives the result of begin(), fills in its size.
  size_t begin(uint32_t kind, const std::vector<int64_t>& shape, const std::string& name) {
    const size_t start = out_.size();
    word(kMatrix);
    word(0);
    const uint32_t flags[2] = {kind, 0};
    element(kUint32, flags, sizeof flags);
    const std::vector<int32_t> sides(shape.begin(), shape.end());
    element(kInt32, sides.data(), sides.size() * 4);
    element(kInt8, name.data(), name.size());
    return start;
  }
  void end(size_t start) {
    const auto bytes = static_cast<uint32_t>(out_.size() - start - 8);
    std::memcpy(out_.data() + start + 4, &bytes, 4);
  }

  std::string path_, out_;
};

}  // namespace

void write_mat(const fs::path& path, const std::map<std::string, MatArray>& arrays, bool single) {
  Writer writer(path.string());
  for (const auto& [name, array] : arrays) writer.array(name, array, single);
  write_file(path, writer.bytes());
}

}  // namespace hr

#include "core/io/pth.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/io/pickle.h"
#include "core/io/text.h"
#include "core/io/zip.h"

namespace hr {
namespace {

using Bytes = std::span<const std::byte>;

// Floats hardly compress, while a decompression bomb reaches 1000 : 1.
constexpr uint64_t kInflatedPerByte = 2, kInflatedAnyway = 16 << 20;

struct Checksum {
  std::string member;
  Bytes bytes;
  uint32_t crc;
};

// The result of reading either container.
struct Loaded {
  ValuePtr root;
  std::deque<std::unique_ptr<std::byte[]>> inflated;  // Memory that the tensors of deflated members view.
  std::vector<Checksum> checksums;
};

// ---- zip: archive/data.pkl, archive/data/0, archive/data/1, …, archive/byteorder, archive/version ----

class ZipArchive {
 public:
  ZipArchive(Bytes bytes, const std::string& where, Budget& budget, const MappedFile* map, Loaded& loaded)
      : where_(where), zip_(bytes, where, budget, map), loaded_(loaded) {
    allowance_ = kInflatedPerByte * bytes.size() + kInflatedAnyway;
  }

  // The folder that holds data.pkl, with a slash at its end.
  std::string folder() const {
    constexpr std::string_view pickle = "data.pkl";
    std::string found;
    int count = 0;
    for (const auto& [name, member] : zip_.members()) {
      if (!name.ends_with(pickle)) continue;
      const std::string front = name.substr(0, name.size() - pickle.size());
      if (front.find('/') + 1 != front.size()) continue;  // Only a folder at the top level, or no folder, is accepted.
      found = front;
      ++count;
    }
    check(count != 0, "{}: a zip file without data.pkl, so not one of PyTorch's", where_);
    check(count == 1, "{}: a zip file with {} members named data.pkl; expected one", where_, count);
    return found;
  }

  // Returns a member's bytes, which lie in the map or are inflated and kept.
  Bytes bytes(const std::string& name) {
    const ZipReader::Member* member = zip_.find(name);
    if (member == nullptr) fail("{}: has no member {}, which data.pkl refers to", where_, shown(name));
    if (!member->deflated) {
      const Bytes stored = zip_.stored(name);
      loaded_.checksums.push_back({name, stored, member->crc});
      return stored;
    }
    if (member->size > allowance_) {
      fail("{}: member {} inflates to {} bytes, {} are accepted for this file; store it uncompressed (zip -0)", where_,
           shown(name), member->size, allowance_);
    }
    allowance_ -= member->size;
    auto& memory = loaded_.inflated.emplace_back(new std::byte[member->size]);
    const std::span<std::byte> out(memory.get(), member->size);
    zip_.inflate(name, out);  // This also compares the CRC.
    return out;
  }

  bool has(const std::string& name) const { return zip_.find(name) != nullptr; }

 private:
  const std::string& where_;
  ZipReader zip_;
  Loaded& loaded_;
  uint64_t allowance_;
};

void check_crc(const std::string& where, const Checksum& sum) {
  if (zip_crc(sum.bytes) != sum.crc) {
    fail("{}: member {} is damaged: its CRC differs from the one in the directory; download the file again", where,
         shown(sum.member));
  }
}

void load_zip(Bytes bytes, const std::string& where, const MappedFile* map, Loaded& loaded) {
  Budget budget(where);
  ZipArchive archive(bytes, where, budget, map, loaded);
  const std::string folder = archive.folder();
  if (archive.has(folder + "byteorder")) {
    const Bytes order = archive.bytes(folder + "byteorder");
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    check(text == "little", "{}: byte order {}, expected \"little\"; save it again on a little-endian machine", where,
          shown(text));
  }
  const Bytes program = archive.bytes(folder + "data.pkl");
  if (!loaded.checksums.empty() && loaded.checksums.back().bytes.data() == program.data()) {
    check_crc(where, loaded.checksums.back());
  }
  Pickle pickle(program, where + ": data.pkl", bytes.size(), budget);
  std::vector<Bytes> data;
  for (const PickledStorage& storage : pickle.storages()) {
    if (storage.key.find_first_of("/\\") != std::string::npos) {
      fail("{}: a storage has the key {}, which is a path", where, shown(storage.key));
    }
    const Bytes stored = archive.bytes(folder + "data/" + storage.key);
    if (stored.size() < storage.bytes()) {
      fail("{}: storage {} has {} bytes, expected {} of {}: {}", where, shown(storage.key), stored.size(),
           storage.count, storage.type, storage.bytes());
    }
    data.push_back(stored.first(storage.bytes()));
  }
  loaded.root = pickle.value(data);
}

// ---- legacy: five pickles (magic number, version, system, object, keys), then each storage ----

constexpr std::string_view kMagic = "0x1950a86a20f9469cfc6c";
constexpr int64_t kVersion = 1001;

// Recognises files that are often mistaken for weights.
std::string_view guess(std::string_view text) {
  if (text.empty()) return "it is empty";
  if (text.starts_with("version https://git-lfs")) return "it is a git-lfs pointer, run `git lfs pull`";
  if (text.starts_with("\x89PNG") || text.starts_with("\xff\xd8\xff")) return "it is a picture";
  if (text.starts_with("<")) return "it is a web page or XML";
  if (text.starts_with("\x1f\x8b")) return "it is compressed with gzip";
  if (text.starts_with("\x89HDF")) return "it is an HDF5 file";
  if (text.size() > 9 && text[8] == '{') return "it looks like safetensors";
  return "expected a zip file or a pickle of PyTorch's magic number at its start";
}

class LegacyStream {
 public:
  LegacyStream(Bytes bytes, const std::string& where) : bytes_(bytes), where_(where), budget_(where) {}

  Pickle pickle(const char* what) {
    Pickle next(bytes_.subspan(at_), fmt::format("{}: the {} at byte {}", where_, what, at_), bytes_.size(), budget_);
    at_ += next.size();
    return next;
  }
  // Reads a pickle without tensors.
  ValuePtr value(const char* what) {
    Pickle next = pickle(what);
    if (!next.storages().empty()) fail("{}: the {} refers to a storage", where_, what);
    return next.value({});
  }
  bool starts_with_magic() {
    try {
      const ValuePtr magic = value("magic number");
      const auto* number = magic->as<Value::Object>();
      return number != nullptr && number->name == "int" && *number->arguments.at(0)->as<std::string>() == kMagic;
    } catch (const Error&) {
      return false;
    }
  }

  // Reads 8 bytes with the number of elements, then the elements.
  Bytes storage(const PickledStorage& storage) {
    int64_t count = 0;
    if (bytes_.size() - at_ < sizeof count) {
      fail("{}: ends at byte {}, before storage {}; is the download complete?", where_, bytes_.size(),
           shown(storage.key));
    }
    std::memcpy(&count, bytes_.data() + at_, sizeof count);
    at_ += sizeof count;
    if (count < 0 || static_cast<uint64_t>(count) != storage.count) {
      fail("{}: byte {}: storage {} announces {} elements, expected {}", where_, at_ - sizeof count, shown(storage.key),
           count, storage.count);
    }
    if (storage.bytes() > bytes_.size() - at_) {
      fail("{}: storage {} takes {} bytes from byte {} on, the file has {}; is the download complete?", where_,
           shown(storage.key), storage.bytes(), at_, bytes_.size());
    }
    const Bytes data = bytes_.subspan(at_, storage.bytes());
    at_ += storage.bytes();
    return data;
  }

 private:
  Bytes bytes_;
  const std::string& where_;
  Budget budget_;
  size_t at_ = 0;
};

void load_legacy(Bytes bytes, const std::string& where, Loaded& loaded) {
  LegacyStream stream(bytes, where);
  if (!stream.starts_with_magic()) {
    fail("{}: not a .pth file: {}", where,
         guess({reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 64)}));
  }
  const ValuePtr version = stream.value("protocol version");
  const auto* number = version->as<int64_t>();
  check(number != nullptr && *number == kVersion, "{}: protocol version is {}, expected {}", where,
        number != nullptr ? std::to_string(*number) : describe(*version), kVersion);
  const ValuePtr system = stream.value("description of the system");
  const Value* little_endian = system->find("little_endian");
  const bool* little = little_endian != nullptr ? little_endian->as<bool>() : nullptr;
  check(little == nullptr || *little, "{}: written on a big-endian machine; save it again on a little-endian one",
        where);

  Pickle object = stream.pickle("object");
  const auto& storages = object.storages();
  const ValuePtr keys = stream.value("list of storages");
  const auto* list = keys->as<Value::List>();
  if (list == nullptr || list->items.size() != storages.size()) {
    fail("{}: the list of storages is {} of {}, expected a list of {}", where, describe(*keys),
         list == nullptr ? 0 : list->items.size(), storages.size());
  }
  std::unordered_map<std::string_view, size_t> number_of;
  for (size_t i = 0; i < storages.size(); ++i) number_of.emplace(storages[i].key, i);
  std::vector<Bytes> data(storages.size());
  std::vector<bool> seen(storages.size());
  for (const ValuePtr& key : list->items) {
    const auto* name = key->as<std::string>();
    const auto it = name == nullptr ? number_of.end() : number_of.find(*name);
    if (it == number_of.end()) {
      fail("{}: the list of storages has {}, which no tensor uses", where,
           name == nullptr ? describe(*key) : shown(*name));
    }
    if (seen[it->second]) fail("{}: the list of storages has {} twice", where, shown(*name));
    seen[it->second] = true;
    data[it->second] = stream.storage(storages[it->second]);
  }
  loaded.root = object.value(data);
}

// ---- writing ----

// Makes the pickle of an OrderedDict of tensors, protocol 2. Globals are named once and then taken from the memo.
class StateDictPickle {
 public:
  StateDictPickle() {
    bytes_ = "\x80\x02";
    empty_ordered_dict();
    bytes_ += '(';
  }

  // Describes a row-major tensor that fills the storage `key`.
  void tensor(const NamedArray& a, const std::string& key) {
    const int64_t count = static_cast<int64_t>(a.bytes.size() / size_of(a.dtype));
    text(a.name);
    global("torch._utils", "_rebuild_tensor_v2");
    bytes_ += "((";
    text("storage");
    global("torch", storage_type(a.dtype));
    text(key);
    text("cpu");
    integer(count);
    bytes_ += "tQ";
    integer(0);  // The offset.
    std::vector<int64_t> stride(a.shape.size());
    int64_t step = 1;
    for (size_t i = stride.size(); i-- > 0;) {
      stride[i] = step;
      step *= std::max<int64_t>(a.shape[i], 1);
    }
    tuple(a.shape);
    tuple(stride);
    bytes_ += '\x89';      // requires_grad: False
    empty_ordered_dict();  // backward hooks
    bytes_ += "tR";
  }

  std::string finish() { return std::move(bytes_) + "u."; }

 private:
  static const char* storage_type(DType t) {
    switch (t) {
      case DType::f32:
        return "FloatStorage";
      case DType::bf16:
        return "BFloat16Storage";
      case DType::f64:
        return "DoubleStorage";
      case DType::f16:
        return "HalfStorage";
      case DType::i64:
        return "LongStorage";
      case DType::i32:
        return "IntStorage";
      case DType::i16:
        return "ShortStorage";
      case DType::i8:
        return "CharStorage";
      case DType::u8:
        return "ByteStorage";
      case DType::boolean:
        return "BoolStorage";
    }
    fail("write_pth: a dtype without a storage type");
  }
  void little(uint64_t v, int n) {
    for (int i = 0; i < n; ++i) bytes_ += static_cast<char>(v >> (8 * i));
  }
  void text(std::string_view s) {
    bytes_ += 'X';
    little(s.size(), 4);
    bytes_ += s;
  }
  void integer(int64_t v) {
    if (v < 256) {
      bytes_ += 'K';
      little(static_cast<uint64_t>(v), 1);
    } else if (v <= INT32_MAX) {
      bytes_ += 'J';
      little(static_cast<uint64_t>(v), 4);
    } else {
      bytes_ += "\x8a\x08";  // LONG1 of 8 bytes
      little(static_cast<uint64_t>(v), 8);
    }
  }
  void tuple(const std::vector<int64_t>& items) {
    bytes_ += '(';
    for (const int64_t v : items) integer(v);
    bytes_ += 't';
  }
  void global(std::string_view module, std::string_view name) {
    const auto [it, fresh] = memo_.emplace(fmt::format("c{}\n{}\n", module, name), memo_.size());
    if (fresh) {
      bytes_ += it->first;
      bytes_ += 'q';
    } else {
      bytes_ += 'h';
    }
    little(it->second, 1);
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    bytes_ += ")R";
  }

  std::string bytes_;
  std::unordered_map<std::string, size_t> memo_;
};

}  // namespace

struct PthFile::Contents {
  MappedFile file;
  fs::path path;
  std::string container;
  Loaded loaded;

  void load(Bytes bytes) {
    const std::string where = path.string();
    const bool zip = bytes.size() >= 2 && static_cast<char>(bytes[0]) == 'P' && static_cast<char>(bytes[1]) == 'K';
    container = zip ? "zip" : "legacy";
    if (zip) {
      load_zip(bytes, where, file.bytes().empty() ? nullptr : &file, loaded);
    } else {
      load_legacy(bytes, where, loaded);
    }
    if (loaded.root->as<Value::Dict>() == nullptr) {
      fail("{}: expected a dict of weights at the top, found {}; save model.state_dict()", where,
           describe(*loaded.root));
    }
  }
};

PthFile::PthFile(const fs::path& path) : contents_(std::make_unique<Contents>()) {
  contents_->file = MappedFile(path);
  contents_->path = path;
  contents_->load(contents_->file.bytes());
}

PthFile::PthFile(std::span<const std::byte> bytes, const fs::path& name) : contents_(std::make_unique<Contents>()) {
  contents_->path = name;
  contents_->load(bytes);
}

PthFile::~PthFile() = default;
PthFile::PthFile(PthFile&&) noexcept = default;
PthFile& PthFile::operator=(PthFile&&) noexcept = default;

const Value& PthFile::root() const { return *contents_->loaded.root; }
const std::string& PthFile::container() const { return contents_->container; }
const fs::path& PthFile::path() const { return contents_->path; }
void PthFile::release(const ArrayView& tensor) const { contents_->file.release(tensor.bytes); }

void PthFile::verify() const {
  for (const Checksum& sum : contents_->loaded.checksums) check_crc(contents_->path.string(), sum);
}

void write_pth(const fs::path& path, std::span<const NamedArray> arrays, const WriteProgress& progress) {
  StateDictPickle pickle;
  std::unordered_set<std::string_view> names;
  int64_t done = 0, total = 0;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const NamedArray& a = arrays[i];
    total += static_cast<int64_t>(a.bytes.size());
    uint64_t expected = size_of(a.dtype);
    for (const int64_t d : a.shape) expected *= static_cast<uint64_t>(d);
    if (expected != a.bytes.size()) {
      fail("{}: tensor {}: shape [{}] needs {} bytes, got {}", path.string(), shown(a.name), fmt::join(a.shape, ", "),
           expected, a.bytes.size());
    }
    if (!valid_utf8(a.name)) fail("{}: tensor {}: the name is not UTF-8", path.string(), shown(a.name));
    if (!names.insert(a.name).second) fail("{}: tensor {} is given twice", path.string(), shown(a.name));
    pickle.tensor(a, std::to_string(i));
  }

  const auto bytes_of = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  AtomicFile file(path);
  ZipWriter zip(file);
  zip.add("archive/data.pkl", bytes_of(pickle.finish()));
  zip.add("archive/byteorder", bytes_of("little"));
  for (size_t i = 0; i < arrays.size(); ++i) {
    zip.add(fmt::format("archive/data/{}", i), arrays[i].bytes);
    done += static_cast<int64_t>(arrays[i].bytes.size());
    if (progress) progress(done, total);
  }
  zip.add("archive/version", bytes_of("3\n"));
  zip.finish();
  file.commit();
}

}  // namespace hr

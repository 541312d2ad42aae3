// PyTorch files, written by hand: state dicts and training checkpoints of small models, in either container.
#pragma once
#include <deque>

#include "core/file.h"
#include "tests/support/pth_builder.h"

namespace hr::test {

// Collects storages while the pickle is being written.
class PthBuilder {
 public:
  std::string tensor(const std::vector<int64_t>& shape, const std::vector<float>& numbers) {
    std::vector<int64_t> stride(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) stride[i - 1] = stride[i] * shape[i];
    const std::string key = std::to_string(storages_.size());
    const auto count = static_cast<int64_t>(numbers.size());
    storages_.push_back({key, {reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4}, count});
    return pickled::tensor(pickled::storage("FloatStorage", key, count), 0, shape, stride);
  }

  void write_zip(const fs::path& path, const std::string& value) const {
    std::map<std::string, std::string> storages;
    for (const LegacyStorage& s : storages_) storages[s.key] = s.bytes;
    write_file(path, zip_pth(value, storages));
  }
  void write_legacy(const fs::path& path, const std::string& value) const {
    write_file(path, legacy_pth(value, {storages_.begin(), storages_.end()}));
  }

 private:
  std::deque<LegacyStorage> storages_;
};

namespace pickled {
// {5: value, ...}
inline std::string dict_by_number(const std::vector<std::pair<int64_t, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += "\x8a\x08" + little(static_cast<uint64_t>(key), 8) + value;
  return out + "u";
}
inline std::string list(const std::vector<std::string>& items) {
  std::string out = "](";
  for (const std::string& item : items) out += item;
  return out + "e";
}
inline std::string big_integer(int64_t v) { return "\x8a\x08" + little(static_cast<uint64_t>(v), 8); }
inline std::string yes() { return "\x88"; }
inline std::string no() { return "\x89"; }
}  // namespace pickled

}  // namespace hr::test

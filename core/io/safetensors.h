// The safetensors format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, raw
// little-endian data. Reading is memory-mapped and checks every size before it is used; writing is atomic.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/io/array.h"

namespace hr {

class SafetensorsFile {
 public:
  // Error: where the header is broken, or which tensor does not fit the data. Every byte of the data belongs to exactly
  // one tensor. At most 40 MiB are spent on names and metadata.
  explicit SafetensorsFile(const fs::path& path);
  // The same for a file in memory, which has to outlive this object; `name` is for messages.
  SafetensorsFile(std::span<const std::byte> bytes, const fs::path& name);

  const std::vector<std::string>& names() const { return names_; }  // in order of their data
  bool contains(const std::string& name) const { return arrays_.count(name) != 0; }
  const ArrayView& at(const std::string& name) const;  // Error names the file and what it does have
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const fs::path& path() const { return path_; }

 private:
  void load(std::span<const std::byte> bytes);
  MappedFile file_;
  fs::path path_;
  std::vector<std::string> names_;
  std::map<std::string, ArrayView> arrays_;
  std::map<std::string, std::string> metadata_;
};

// What to write: views onto the caller's memory.
struct NamedArray {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Called while a file is written: bytes of tensors so far and in all.
using WriteProgress = std::function<void(int64_t done, int64_t total)>;

void write_safetensors(const fs::path& path, std::span<const NamedArray> arrays,
                       const std::map<std::string, std::string>& metadata = {}, const WriteProgress& progress = {});

}  // namespace hr

// The safetensors format: the length of the header (8 bytes, little-endian), a JSON header {name: {dtype, shape,
// data_offsets}}, and raw little-endian data. Reading is memory-mapped and checks every size before it is used; writing
// is atomic.
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
  // Throws Error that says where the header is malformed or which tensor does not fit the data. Every byte of the data
  // must belong to exactly one tensor. At most 40 MiB of memory are used for names and metadata.
  explicit SafetensorsFile(const fs::path& path);
  // Reads a file in memory. `bytes` must outlive this object; `name` is used in messages.
  SafetensorsFile(std::span<const std::byte> bytes, const fs::path& name);

  const std::vector<std::string>& names() const { return names_; }  // In the order of their data.
  bool contains(const std::string& name) const { return arrays_.count(name) != 0; }
  const ArrayView& at(const std::string& name) const;  // Throws Error that names the file and the tensors that it has.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const fs::path& path() const { return path_; }
  // Declares that a tensor is not needed for now (MappedFile::release).
  void release(const ArrayView& tensor) const { file_.release(tensor.bytes); }

 private:
  void load(std::span<const std::byte> bytes);
  MappedFile file_;
  fs::path path_;
  std::vector<std::string> names_;
  std::map<std::string, ArrayView> arrays_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to write: a view of the caller's memory.
struct NamedArray {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Called while a file is written, with the bytes of tensors written so far and in total.
using WriteProgress = std::function<void(int64_t done, int64_t total)>;

void write_safetensors(const fs::path& path, std::span<const NamedArray> arrays,
                       const std::map<std::string, std::string>& metadata = {}, const WriteProgress& progress = {});

}  // namespace hr

// PyTorch's .pth files: the zip container of torch >= 1.6 (stored or deflated members) and the legacy stream of five
// pickles before it. Reading is memory-mapped and executes nothing; every size is checked before it is used. Files may
// be larger than 4 GiB.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "core/file.h"
#include "core/io/safetensors.h"
#include "core/io/value.h"

namespace hr {

class PthFile {
 public:
  // Tensors are views of the map; only deflated members are copied. At most 40 MiB of memory are used for names and
  // values, and at most 16 MiB + 2 x the file's size for inflated members. Throws Error that says where in the file,
  // what was found and what was expected; also if the top object is not a dict (a whole pickled model, a list), because
  // it then has no weights with names. The caller judges the entries: WeightFile (nn/weights.h) throws Error if an
  // Object stands where a tensor is expected.
  explicit PthFile(const fs::path& path);
  // Reads a file in memory. `bytes` must outlive this object; `name` is used in messages.
  PthFile(std::span<const std::byte> bytes, const fs::path& name);
  ~PthFile();
  PthFile(PthFile&&) noexcept;
  PthFile& operator=(PthFile&&) noexcept;

  const Value& root() const;  // The value that torch.load would return, always a Dict; tensors are ArrayViews.
  const std::string& container() const;  // Either "zip" or "legacy".
  const fs::path& path() const;
  // Declares that a tensor is not needed for now (MappedFile::release). Nothing happens to an inflated one.
  void release(const ArrayView& tensor) const;

  // Compares the CRCs of a zip container with the data of the tensors, which takes longer than loading them. Throws
  // Error that names the damaged member. A legacy file has no CRCs.
  void verify() const;

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

// Writes a zip container with an OrderedDict of tensors in the given order, which torch.load(weights_only=True) opens
// (torch >= 1.6; also memory-mapped, because storages start at multiples of 64 bytes). The file appears in one step,
// and the tensors are streamed. Equal arrays make equal files. Throws Error for a size that does not fit its shape, a
// name that occurs twice, and a name that is not UTF-8.
void write_pth(const fs::path& path, std::span<const NamedArray> arrays, const WriteProgress& progress = {});

}  // namespace hr

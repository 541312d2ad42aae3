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
  // Tensors stay views of the map; only deflated members are copied. Beside them at most 40 MiB are used, and at most
  // 16 MiB + 2 x the file's size for what is inflated. Error: where in the file, what was found, what was expected. A
  // file whose top object is no dict (a whole pickled model, a list) is one: there are no weights by name in it. What
  // its entries are is for the caller to judge: an Object where a tensor belongs (named_tensors) is an error there.
  explicit PthFile(const fs::path& path);
  // The same for a file in memory, which has to outlive this object; `name` is for messages.
  PthFile(std::span<const std::byte> bytes, const fs::path& name);
  ~PthFile();
  PthFile(PthFile&&) noexcept;
  PthFile& operator=(PthFile&&) noexcept;

  const Value& root() const;             // what torch.load would return, always a Dict; tensors are ArrayViews
  const std::string& container() const;  // "zip" or "legacy"
  const fs::path& path() const;

  // Compares the zip container's CRCs with the data of the tensors, which takes longer than loading them; Error names
  // the damaged member. A legacy file has none.
  void verify() const;

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

// A zip container holding an OrderedDict of tensors, in the given order, that torch.load(weights_only=True) opens
// (torch >= 1.6; memory-mapped too, storages start at multiples of 64 bytes). Atomic; the tensors are streamed. Equal
// arrays make equal files. Error: a size that does not fit its shape, a name twice or not UTF-8.
void write_pth(const fs::path& path, std::span<const NamedArray> arrays, const WriteProgress& progress = {});

}  // namespace hr

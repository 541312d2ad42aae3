// PyTorch's .pth files: the zip container of torch >= 1.6 (stored or deflated members) and the legacy stream of five
// pickles before it. Reading is memory-mapped and executes nothing; every size is checked before it is used.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/io/safetensors.h"
#include "core/io/value.h"

namespace hr {

class PthFile {
 public:
  explicit PthFile(const fs::path& path);  // Error: where in the file, what was found, what was expected
  ~PthFile();
  PthFile(PthFile&&) noexcept;

  const Value& root() const;             // what torch.load would return; tensors are ArrayViews
  const std::string& container() const;  // "zip" or "legacy"
  const fs::path& path() const;

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

// A zip container holding an OrderedDict of tensors, in the given order, that torch.load(weights_only=True) opens.
// Atomic.
void write_pth(const fs::path& path, std::span<const NamedArray> arrays);

}  // namespace hr

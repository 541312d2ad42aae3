// Python's pickle format, protocols 0 to 5, as data. A pickle is a program for a small stack machine; the machine here
// knows the opcodes that make values and a short list of constructors (dicts, tensors, sizes, numpy scalars). Whatever
// else a pickle calls is written down as a Value::Object, never looked up and never run. Buffers outside the pickle and
// the extension registry are refused.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/io/budget.h"
#include "core/io/value.h"

namespace hr {

// A storage that a pickle names by a persistent id; its bytes lie elsewhere in the file.
struct PickledStorage {
  std::string key;             // "0", "94356993539840"
  std::string type;            // "torch.FloatStorage"
  std::optional<DType> dtype;  // none: untyped, or a type that DType lacks
  uint64_t count = 0;          // elements
  uint64_t element_size = 1;   // bytes; count * element_size does not overflow
  uint64_t bytes() const { return count * element_size; }
};

class Pickle {
 public:
  // Runs the machine over the pickle at the front of `bytes`, which have to outlive this object. `file_size` bounds
  // what tensors with repeated elements (stride 0) may amount to. Error "where: byte N: …": an unknown opcode, a size
  // past the end, an empty stack, text that is not UTF-8, a tensor that leaves its storage.
  Pickle(std::span<const std::byte> bytes, std::string where, uint64_t file_size, Budget& budget);
  ~Pickle();
  Pickle(Pickle&&) noexcept;

  size_t size() const;                                  // bytes up to and including STOP
  const std::vector<PickledStorage>& storages() const;  // each key once, in order of first mention
  // The result. data[i] are the bytes of storages()[i], as many as it announces. Call once. Error: nested too deep, or
  // shared so often that walking it would never end.
  ValuePtr value(std::span<const std::span<const std::byte>> data);

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace hr

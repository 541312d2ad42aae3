// Python's pickle format, protocols 0 to 5, as data. A pickle is a program for a small stack machine. The machine here
// knows the opcodes that make values, and a short list of constructors (dicts, tensors, sizes, numpy scalars). Any
// other class or function that a pickle calls is recorded as a Value::Object; it is never looked up and never run.
// Buffers outside of the pickle and the extension registry are refused.
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

// A storage that a pickle names by a persistent id. Its bytes lie elsewhere in the file.
struct PickledStorage {
  std::string key;             // For example "0" or "94356993539840".
  std::string type;            // For example "torch.FloatStorage".
  std::optional<DType> dtype;  // Empty if the storage is untyped or of a type that DType lacks.
  uint64_t count = 0;          // In elements.
  uint64_t element_size = 1;   // In bytes; count * element_size does not overflow.
  uint64_t bytes() const { return count * element_size; }
};

class Pickle {
 public:
  // Runs the machine over the pickle at the beginning of `bytes`, which must outlive this object. `file_size` limits
  // the size of tensors with repeated elements (stride 0). Throws Error "where: byte N: …" for an unknown opcode, a
  // size beyond the end, an empty stack, text that is not UTF-8, and a tensor that reaches outside of its storage.
  Pickle(std::span<const std::byte> bytes, std::string where, uint64_t file_size, Budget& budget);
  ~Pickle();
  Pickle(Pickle&&) noexcept;

  size_t size() const;                                  // The number of bytes up to and including STOP.
  const std::vector<PickledStorage>& storages() const;  // Each key occurs once, in the order of its first mention.
  // Returns the result; call it once. data[i] are the bytes of storages()[i], as many as that announces. Throws Error
  // if values are nested too deep, or shared so often that a walk over them would not end.
  ValuePtr value(std::span<const std::span<const std::byte>> data);

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace hr

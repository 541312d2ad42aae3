// A weight file of any origin: safetensors, PyTorch's .pth in its zip or legacy container, or ONNX with PyTorch's names
// (nn/onnx_weights.h), recognised by the first bytes. The state dict is found inside the structures that tools put
// around it, and its entries are listed under the plain names of the official model:
//
//   the file is the state dict                  published weights, model_best.pth, safetensors
//   {"model": {...}, ...}                       training checkpoints of the seed and of simple-HRNet
//   {"state_dict": {"module....": ...}, ...}    the official training checkpoint
//   {"state_dict": {"backbone....": ...}, ...}  mmpose (the rest has the prefix "keypoint_head." or "head.")
//   {"best_state_dict": {...}, ...}
//   {"model_state_dict"|"net"|"weights"|"ema"|...: {...}, ...}, also nested
//   names that all begin with "module.", "_orig_mod.", "model.", "net.", ..., also several of them
//
// The tensors are not copied: the arrays are views of the mapped file.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/io/pth.h"
#include "core/io/safetensors.h"
#include "nn/onnx_weights.h"

namespace hr {

// The structure around the state dict.
struct Wrapper {
  enum class Writer { plain, ours, seed, official, simple_hrnet, mmpose, other };
  Writer writer = Writer::plain;
  std::string entry;   // "model", "state_dict", "ema.module", ...; empty if the file itself is the state dict
  std::string prefix;  // The prefixes that were removed from the names, as text; empty if there were none.
  std::string describe() const;
};

// Reading a WeightFile from several threads at once is safe. Its arrays and names are valid as long as it lives.
class WeightFile {
 public:
  // Throws Error if the file holds no weights, is damaged, or has something else where a tensor is expected.
  explicit WeightFile(const fs::path& path);
  // For callers that have already opened the file.
  WeightFile(const SafetensorsFile& file) : WeightFile(file.path()) {}  // NOLINT(google-explicit-constructor)

  const fs::path& path() const { return path_; }
  const std::string& container() const { return container_; }  // "safetensors", "zip", "legacy" or "onnx"
  const Wrapper& wrapper() const { return wrapper_; }

  // The names of the state dict, in the file's order. The slabs of our own optimiser are not among the names, but at()
  // finds them.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const ArrayView* find(std::string_view name) const;  // Null if there is no such tensor.
  const ArrayView& at(std::string_view name) const;    // Throws Error that names the file if there is none.
  // Declares that a tensor has been copied and is not needed for now. Its part of the file leaves our memory, and would
  // be read again. So a large file and what is made of it are not in memory at the same time.
  void release(const ArrayView& tensor) const;

  // The metadata of a safetensors or ONNX file. Files of ours have model, joints, color, codec, input_h and input_w.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Reads a whole number from the metadata; nullopt if the field is absent. Throws Error with the file, the field, its
  // value and the allowed range if it is no number from `least` to `most` or no multiple of `step`. The limits matter,
  // since memory is allocated by these numbers.
  std::optional<int64_t> metadata_number(const std::string& field, int64_t least, int64_t most, int64_t step = 1) const;
  // torch's optimizer.state_dict() of a training checkpoint; null if there is none.
  const Value* optimizer() const { return optimizer_; }
  // Returns the first epoch that a PyTorch training checkpoint has not finished. Throws Error if the number in the file
  // is negative or larger than any training reaches.
  std::optional<int64_t> next_epoch() const;

  // Entries of the state dict that are not tensors but plain values (numbers, text, lists). They are not loaded.
  const std::vector<std::string>& skipped() const { return skipped_; }

  // Compares the data with the checksums inside the file, which only the zip container has. Throws Error that names the
  // damaged entry.
  void verify() const;
  // SHA-256 of the whole file, as 64 hexadecimal digits. Reads every byte; progress(done, total) counts bytes.
  std::string sha256(const std::function<void(int64_t, int64_t)>& progress = {}) const;

 private:
  void open_safetensors();
  void open_pth();
  void open_onnx();
  bool add(std::string name, const ArrayView& array);  // Replaces the array and returns false if the name exists.
  void rename(std::initializer_list<std::string_view> prefixes);

  fs::path path_;
  std::optional<SafetensorsFile> safetensors_;
  std::optional<PthFile> pth_;
  std::optional<OnnxFile> onnx_;
  std::optional<OnnxWeights> onnx_weights_;
  std::string container_;
  Wrapper wrapper_;
  std::vector<std::string> names_, skipped_;
  std::deque<std::string> all_names_;
  // The keys are views of all_names_; the arrays lie in the files.
  std::unordered_map<std::string_view, const ArrayView*> arrays_;
  std::map<std::string, std::string> metadata_;
  const Value* optimizer_ = nullptr;
  std::optional<int64_t> epoch_;  // The number in the file, which next_epoch() checks.
};

}  // namespace hr

// A weight file, whoever wrote it: safetensors, PyTorch's .pth in both containers, or ONNX with PyTorch's names
// (nn/onnx_weights.h), told apart by the first bytes.
// The state dict is found inside whatever wraps it, and its entries are listed under the official model's plain names:
//
//   the file is the state dict                  published weights, model_best.pth, safetensors
//   {"model": {...}, ...}                       the seed's and simple-HRNet's training checkpoints
//   {"state_dict": {"module....": ...}, ...}    the official training checkpoint
//   {"state_dict": {"backbone....": ...}, ...}  mmpose ("keypoint_head." or "head." holds the rest)
//   {"best_state_dict": {...}, ...}
//   {"model_state_dict"|"net"|"weights"|"ema"|...: {...}, ...}, also one inside the other
//   names that all begin with "module.", "_orig_mod.", "model.", "net.", ..., also several of them
//
// Nothing is copied: the arrays are views onto the file.
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

// What was around the state dict.
struct Wrapper {
  enum class Writer { plain, ours, seed, official, simple_hrnet, mmpose, other };
  Writer writer = Writer::plain;
  std::string entry;   // "model", "state_dict", "ema.module", ...; empty: the file itself is the state dict
  std::string prefix;  // taken off the names, in words; empty: none
  std::string describe() const;
};

class WeightFile {
 public:
  // Error: no weights at all, a damaged file, or something that is no tensor where one was expected.
  explicit WeightFile(const fs::path& path);
  // For callers that opened the file already.
  WeightFile(const SafetensorsFile& file) : WeightFile(file.path()) {}  // NOLINT(google-explicit-constructor)

  const fs::path& path() const { return path_; }
  const std::string& container() const { return container_; }  // "safetensors", "zip", "legacy" or "onnx"
  const Wrapper& wrapper() const { return wrapper_; }

  // The state dict, in the file's order. Our own optimiser slabs are not among the names, but at() finds them.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const ArrayView* find(std::string_view name) const;  // null if there is none
  const ArrayView& at(std::string_view name) const;    // Error names the file

  // Of safetensors and ONNX files; ours say model, joints, color, codec, input_h, input_w.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // A whole number of the metadata; nullopt if the field is not there. Throws Error, with the file, the field, its
  // value and the range, if it is no number from `least` to `most` or no multiple of `step`: sizes of memory are made
  // of it.
  std::optional<int64_t> metadata_number(const std::string& field, int64_t least, int64_t most, int64_t step = 1) const;
  // torch's optimizer.state_dict() of a training checkpoint; null if there is none.
  const Value* optimizer() const { return optimizer_; }
  // The first epoch that a PyTorch training checkpoint has not done yet. Throws Error if the file says a number that no
  // training reaches.
  std::optional<int64_t> next_epoch() const;

  // Entries of the state dict that are no tensors but plain values (numbers, text, lists): not loaded.
  const std::vector<std::string>& skipped() const { return skipped_; }

  // Compares the checksums inside the file (only the zip container has them) with its data; Error names what is
  // damaged.
  void verify() const;
  // Of the whole file, 64 hexadecimal digits. Reads every byte of it; progress(done, total) in bytes.
  std::string sha256(const std::function<void(int64_t, int64_t)>& progress = {}) const;

 private:
  void open_safetensors();
  void open_pth();
  void open_onnx();
  bool add(std::string name, const ArrayView& array);  // false if the name was there; the array is replaced
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
  std::unordered_map<std::string_view, const ArrayView*> arrays_;  // names are in all_names_, arrays in the files
  std::map<std::string, std::string> metadata_;
  const Value* optimizer_ = nullptr;
  std::optional<int64_t> epoch_;  // as the file says it, not yet believed
};

}  // namespace hr

#include "nn/weights.h"

#include <algorithm>
#include <charconv>

#include "core/digest/sha256.h"
#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

enum class Container { safetensors, pth, onnx };

// Decides by the first bytes, since file names and extensions may be wrong.
Container sniff(const fs::path& path) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  if (looks_like_onnx(text)) return Container::onnx;
  // This must be tested before .pth: the length at the beginning of a safetensors file may look like the start of a
  // pickle or of a zip file, but neither of those has a brace as its ninth byte.
  if (text.size() > 8 && (text[8] == '{' || text[8] == ' ')) return Container::safetensors;
  if (text.starts_with("PK") || text.starts_with("\x80")) return Container::pth;
  const char* looks = text.empty()                                                  ? "it is empty"
                      : text.size() < 9                                             ? "it is too short to be one"
                      : text.starts_with("version https://git-lfs")                 ? "it is a Git LFS pointer"
                      : text.starts_with("<")                                       ? "it is a web page"
                      : text.starts_with("\x89PNG") || text.starts_with("\xff\xd8") ? "it is a picture"
                      : text.starts_with("{")                                       ? "it is JSON"
                      : text.starts_with("\x1f\x8b")                                ? "it is a gzip archive"
                                                     : "its first bytes are those of none of them";
  fail("{}: expected weights as safetensors, PyTorch's .pth or ONNX; {}", path.string(), looks);
}

const Value::Dict* dict_at(const Value& root, std::string_view key) {
  const Value* value = root.find(key);
  return value == nullptr ? nullptr : value->as<Value::Dict>();
}

size_t tensors_in(const Value::Dict& dict) {
  return static_cast<size_t>(std::count_if(dict.items.begin(), dict.items.end(),
                                           [](const auto& item) { return item.second->template as<ArrayView>(); }));
}

// The keys of a dict for an error message: "a", "b", ...
std::string keys_of(const Value::Dict& dict) {
  constexpr size_t shown = 8;
  std::string text;
  for (size_t i = 0; i < dict.items.size() && i < shown; ++i) {
    const auto* name = dict.items[i].first->as<std::string>();
    text += fmt::format("{}{}", i > 0 ? ", " : "", name != nullptr ? '"' + name->substr(0, 40) + '"' : "(no name)");
  }
  return dict.items.size() > shown ? text + fmt::format(", ... ({} in all)", dict.items.size()) : text;
}

// The entries under which tools keep a state dict, the most likely first. The trained weights come before their moving
// average.
constexpr const char* kEntries[] = {
    "model",  "state_dict",     "best_state_dict", "model_state_dict", "net",       "network", "weights",
    "module", "state_dict_ema", "ema_state_dict",  "model_ema",        "ema_model", "ema"};

// Finds the state dict inside `dict`, nested in at most `depth` entries. Sets `path` to the names of these entries,
// joined with dots. Returns null if there is none.
const Value::Dict* state_dict_in(const Value& dict, int depth, std::string& path) {
  for (const char* entry : kEntries) {
    const Value::Dict* inner = dict_at(dict, entry);
    if (inner == nullptr) continue;
    std::string deeper;
    if (tensors_in(*inner) == 0) {
      inner = depth > 1 ? state_dict_in(*dict.find(entry), depth - 1, deeper) : nullptr;
      if (inner == nullptr) continue;
    }
    path = deeper.empty() ? entry : fmt::format("{}.{}", entry, deeper);
    return inner;
  }
  return nullptr;
}

// Prefixes that wrappers put before every name: DataParallel, torch.compile, Lightning modules, and classes around the
// network.
constexpr std::string_view kPrefixes[] = {"module.", "_orig_mod.", "model.", "net.", "network.", "ema_model.", "ema."};
constexpr int kMostPrefixes = 8;  // Names in a hostile file could repeat a prefix a million times.

bool all_start_with(const std::vector<std::string>& names, std::string_view prefix) {
  return !names.empty() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    return name.starts_with(prefix) && name.size() > prefix.size();
  });
}

// mmpose's names begin with "backbone.". So do those of the official YOLOX project, whose backbone contains another
// one.
bool is_mmpose(const std::vector<std::string>& names) {
  const bool yolox = std::any_of(names.begin(), names.end(),
                                 [](const std::string& name) { return name.starts_with("backbone.backbone."); });
  return !yolox &&
         std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("backbone."); });
}

std::string without_prefix(const std::string& name, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

}  // namespace

std::string Wrapper::describe() const {
  std::string text;
  switch (writer) {
    case Writer::plain:
      text = "state dict";
      break;
    case Writer::ours:
      text = "hrnet.cpp weights";
      break;
    case Writer::seed:
      text = "training checkpoint of the seed project";
      break;
    case Writer::official:
      text = "training checkpoint of the official project";
      break;
    case Writer::simple_hrnet:
      text = "training checkpoint of simple-HRNet";
      break;
    case Writer::mmpose:
      text = "mmpose checkpoint";
      break;
    case Writer::other:
      text = "checkpoint";
      break;
  }
  if (!entry.empty()) text += fmt::format(", entry \"{}\"", entry);
  if (!prefix.empty()) text += fmt::format(", names without {}", prefix);
  return text;
}

WeightFile::WeightFile(const fs::path& path) : path_(path) {
  switch (sniff(path)) {
    case Container::pth:
      open_pth();
      break;
    case Container::onnx:
      open_onnx();
      break;
    case Container::safetensors:
      open_safetensors();
  }
  // torch's AveragedModel stores its counter beside the module. Without this the counter would keep the common prefix
  // of all other names from being found.
  if (const auto counter = std::find(names_.begin(), names_.end(), "n_averaged"); counter != names_.end()) {
    skipped_.push_back(*counter);
    names_.erase(counter);
  }
  for (int i = 0; i < kMostPrefixes; ++i) {
    const auto* prefix = std::find_if(std::begin(kPrefixes), std::end(kPrefixes),
                                      [&](std::string_view p) { return all_start_with(names_, p); });
    if (prefix == std::end(kPrefixes)) break;
    rename({*prefix});
    wrapper_.prefix += fmt::format("{}\"{}\"", wrapper_.prefix.empty() ? "" : ", ", *prefix);
  }
  if (is_mmpose(names_)) {
    rename({"backbone.", "keypoint_head.", "head."});
    wrapper_.prefix += std::string(wrapper_.prefix.empty() ? "" : ", ") + "\"backbone.\" and \"head.\"";
    wrapper_.writer = Wrapper::Writer::mmpose;
  }
}

bool WeightFile::add(std::string name, const ArrayView& array) {
  const auto found = arrays_.find(name);
  if (found != arrays_.end()) {
    found->second = &array;
    return false;
  }
  arrays_.emplace(all_names_.emplace_back(std::move(name)), &array);
  return true;
}

void WeightFile::rename(std::initializer_list<std::string_view> prefixes) {
  const auto before = std::move(arrays_);
  arrays_.clear();
  for (std::string& name : names_) {
    const ArrayView* array = before.at(name);
    name = without_prefix(name, prefixes);
    check(add(name, *array), "{}: two of its entries have the name {} when their prefixes are removed", path_.string(),
          name);
  }
}

void WeightFile::open_safetensors() {
  safetensors_.emplace(path_);
  container_ = "safetensors";
  metadata_ = safetensors_->metadata();
  const auto format = metadata_.find("format");
  const bool ours = format != metadata_.end() && format->second.starts_with("hrnet.cpp");
  if (ours) wrapper_.writer = Wrapper::Writer::ours;
  for (const std::string& name : safetensors_->names()) {
    add(name, safetensors_->at(name));
    if (!name.starts_with("optimizer.")) names_.push_back(name);
  }
}

void WeightFile::open_onnx() {
  onnx_.emplace(path_);
  onnx_weights_.emplace(*onnx_);
  container_ = "onnx";
  metadata_ = onnx_->model().metadata;
  for (const auto& [name, array] : onnx_weights_->entries) {
    add(name, array);
    names_.push_back(name);
  }
}

void WeightFile::open_pth() {
  pth_.emplace(path_);
  container_ = pth_->container();
  const Value& root = pth_->root();
  const auto* dict = root.as<Value::Dict>();  // PthFile has checked that it is a dict.
  const Value::Dict* weights = nullptr;
  if (tensors_in(*dict) < dict->items.size()) {
    constexpr int kMostEntries = 4;  // The largest number of entries that are nested in each other.
    weights = state_dict_in(root, kMostEntries, wrapper_.entry);
    check(weights != nullptr || tensors_in(*dict) > 0,
          "{}: holds no weights; expected tensors, or a dict of tensors under one of {}; its keys are {}",
          path_.string(), fmt::join(kEntries, ", "), keys_of(*dict));
  }
  if (weights != nullptr) {
    using Writer = Wrapper::Writer;
    const bool model = wrapper_.entry == "model";
    wrapper_.writer = model && root.find("lr_scheduler") != nullptr ? Writer::seed
                      : model && root.find("params") != nullptr     ? Writer::simple_hrnet
                      : root.find("perf") != nullptr                ? Writer::official
                                                                    : Writer::other;
    const Value* optimizer = root.find("optimizer");
    if (optimizer == nullptr) optimizer = root.find("optimizer_state_dict");
    if (optimizer != nullptr && optimizer->as<Value::Dict>() != nullptr) optimizer_ = optimizer;
    const Value* epoch = root.find("epoch");
    const Value* meta = root.find("meta");  // mmpose stores the epoch there.
    if (epoch == nullptr && meta != nullptr) epoch = meta->find("epoch");
    if (const auto* number = epoch != nullptr ? epoch->as<int64_t>() : nullptr) epoch_ = *number;
  }
  for (const auto& [key, value] : (weights != nullptr ? weights : dict)->items) {
    const auto* name = key->as<std::string>();
    if (name == nullptr) fail("{}: a name in its state dict is {}; expected text", path_.string(), hr::describe(*key));
    if (value->as<Value::Object>() != nullptr)
      fail("{}: {}: expected a tensor, found {}; no code of the file was run", path_.string(), name->substr(0, 100),
           hr::describe(*value));
    const auto* array = value->as<ArrayView>();
    if (array == nullptr) {
      skipped_.push_back(*name);
      continue;
    }
    // Of two equal keys the last one counts, as in Python.
    if (add(*name, *array)) names_.push_back(*name);
  }
}

std::optional<int64_t> WeightFile::metadata_number(const std::string& field, int64_t least, int64_t most,
                                                   int64_t step) const {
  const auto found = metadata_.find(field);
  if (found == metadata_.end()) return std::nullopt;
  const std::string& text = found->second;
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc() || stop != end || number < least || number > most || number % step != 0) {
    fail("{}: its metadata has {} = {}; expected a whole number from {} to {}{}", path_.string(), field, shown(text),
         least, most, step == 1 ? "" : fmt::format(", a multiple of {}", step));
  }
  return number;
}

std::optional<int64_t> WeightFile::next_epoch() const {
  constexpr int64_t kMost = 1'000'000'000;
  if (!epoch_) return std::nullopt;
  if (*epoch_ < 0 || *epoch_ > kMost)
    fail("{}: has epoch = {}; expected a whole number from 0 to {}", path_.string(), *epoch_, kMost);
  // The seed writes the epoch that it has finished, the other projects the epoch to begin with.
  return *epoch_ + (wrapper_.writer == Wrapper::Writer::seed ? 1 : 0);
}

const ArrayView* WeightFile::find(std::string_view name) const {
  const auto it = arrays_.find(name);
  return it == arrays_.end() ? nullptr : it->second;
}

const ArrayView& WeightFile::at(std::string_view name) const {
  const ArrayView* array = find(name);
  check(array != nullptr, "{}: has no tensor {}", path_.string(), name);
  return *array;
}

void WeightFile::release(const ArrayView& tensor) const {
  if (safetensors_) safetensors_->release(tensor);
  if (pth_) pth_->release(tensor);
  if (onnx_) onnx_->release(tensor);
}

void WeightFile::verify() const {
  if (pth_) pth_->verify();
}

std::string WeightFile::sha256(const std::function<void(int64_t, int64_t)>& progress) const {
  const MappedFile file(path_);
  const auto bytes = file.bytes();
  constexpr size_t kChunk = 16 << 20;
  Sha256 sha;
  for (size_t at = 0; at < bytes.size(); at += kChunk) {
    sha.update(bytes.subspan(at, std::min(kChunk, bytes.size() - at)));
    if (progress)
      progress(static_cast<int64_t>(std::min(at + kChunk, bytes.size())), static_cast<int64_t>(bytes.size()));
  }
  return sha.hex();
}

}  // namespace hr

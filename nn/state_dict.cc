#include "nn/state_dict.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/host_image.h"
#include "nn/permute.h"

namespace hr {
namespace {

constexpr const char *kAverageValues = "optimizer.average.values", *kAverageBuffers = "optimizer.average.buffers";

bool is_floating(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f64 || t == DType::f16; }

bool same_shape(const ParameterStore::Entry& entry, const ArrayView& array) {
  return array.shape == entry.torch_shape() || (entry.counter != nullptr && array.numel() == 1);
}

bool same_type(const ParameterStore::Entry& entry, const ArrayView& array) {
  return is_floating(array.dtype) == (entry.counter == nullptr) && array.dtype != DType::boolean;
}

// Sorts names as torch reports them: torch walks over the modules, and each module reports the names that it does not
// know.
class ModuleOrder {
 public:
  explicit ModuleOrder(const ParameterStore& store) {
    for (const auto& entry : store.entries()) {
      const std::string_view name = entry.name();
      for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
        modules_.try_emplace(name.substr(0, dot), modules_.size() + 1);
    }
  }
  size_t of(std::string_view name) const {
    for (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0; dot = name.rfind('.', dot - 1)) {
      const auto found = modules_.find(name.substr(0, dot));
      if (found != modules_.end()) return found->second;
    }
    return 0;  // The name belongs to the model itself.
  }

 private:
  std::unordered_map<std::string_view, size_t> modules_;  // A module comes before the modules inside it.
};

// Formats the first names and the number of all: "a, b, c, ... (120 in all)".
template <class Items, class Text>
std::string first_few(const Items& items, const Text& text) {
  constexpr size_t shown = 4;
  std::string list;
  for (size_t i = 0; i < items.size() && i < shown; ++i) list += (i > 0 ? ", " : "") + text(items[i]);
  return items.size() > shown ? list + fmt::format(", ... ({} in all)", items.size()) : list;
}

// Collects arrays that are copied or permuted, and copies them on all threads. Arrays of other types or with gaps are
// converted first, on one thread, since they are rare and small.
class Loading {
 public:
  explicit Loading(const WeightFile& file) : file_(file) {}

  // Adds a copy of `array`, which has the parameter's shape, to `target`, which has the parameter's layout.
  void add(const std::string& name, const Parameter& p, const ArrayView& array, float* target) {
    const bool plain = array.dtype == DType::f32 && array.dense();
    arrays_.push_back({plain ? array.bytes.data() : nullptr, target, &array});
    if (!plain) {
      try {
        arrays_.back().floats = array.to_f32();
      } catch (const Error& e) {
        fail("{}: {}: {}", file_.path().string(), name, e.what());
      }
      arrays_.back().from = std::as_bytes(std::span(arrays_.back().floats)).data();
    }
    cut(p, arrays_.size() - 1, pieces_);
  }

  void run() const {
    const auto n = static_cast<int64_t>(pieces_.size());
    std::vector<std::atomic<int>> left(arrays_.size());  // The pieces of each array that have not been copied.
    for (const Piece& piece : pieces_) ++left[piece.array];
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t i = 0; i < n; ++i) {
      const Array& array = arrays_[pieces_[i].array];
      copy_to_ours(pieces_[i], array.from, array.to);
      if (--left[pieces_[i].array] == 0) file_.release(*array.in_file);
    }
  }

 private:
  struct Array {
    const std::byte* from = nullptr;
    float* to = nullptr;
    const ArrayView* in_file = nullptr;
    std::vector<float> floats = {};  // The converted numbers, if the file's are not float32 or have gaps.
  };
  const WeightFile& file_;
  std::vector<Array> arrays_;
  std::vector<Piece> pieces_;
};

}  // namespace

std::string Fit::summary() const {
  std::vector<std::string> groups;
  const auto plain = [](const std::string& name) { return name; };
  const auto both = [](const Mismatch& m) { return fmt::format("{}: file {}, model {}", m.name, m.file, m.model); };
  if (!missing.empty()) groups.push_back("missing: " + first_few(missing, plain));
  if (!unexpected.empty()) groups.push_back("unexpected: " + first_few(unexpected, plain));
  if (!misshaped.empty()) groups.push_back("of another shape: " + first_few(misshaped, both));
  if (!mistyped.empty()) groups.push_back("of another type: " + first_few(mistyped, both));
  return fmt::format("{}", fmt::join(groups, "; "));
}

Fit compare(const WeightFile& file, const ParameterStore& store) {
  Fit fit;
  std::unordered_set<std::string_view> known;
  for (const auto& entry : store.entries()) {
    const std::string& name = entry.name();
    known.insert(name);
    const ArrayView* array = file.find(name);
    if (array == nullptr) {
      if (entry.counter == nullptr) fit.missing.push_back(name);
    } else if (!same_shape(entry, *array)) {
      fit.misshaped.push_back({name, to_string(array->shape), to_string(entry.torch_shape())});
    } else if (!same_type(entry, *array)) {
      fit.mistyped.push_back({name, std::string(name_of(array->dtype)),
                              std::string(name_of(entry.counter != nullptr ? DType::i64 : DType::f32))});
    } else {
      ++fit.matched;
    }
  }
  for (const std::string& name : file.names()) {
    if (known.count(name) == 0) fit.unexpected.push_back(name);
  }
  if (!fit.unexpected.empty()) {
    const ModuleOrder order(store);
    std::stable_sort(fit.unexpected.begin(), fit.unexpected.end(),
                     [&](const std::string& a, const std::string& b) { return order.of(a) < order.of(b); });
  }
  return fit;
}

void load_matching(const WeightFile& file, ParameterStore& store, const std::vector<std::string>& except) {
  const std::unordered_set<std::string_view> left_out(except.begin(), except.end());
  Loading loading(file);
  HostImage values(store.home(), store.values), statistics(store.home(), store.buffers);
  std::vector<std::pair<Counter*, int64_t>> counters;
  std::deque<Parameter> buffers;  // Buffers as plain parameters, since Loading takes parameters.
  for (const auto& entry : store.entries()) {
    const ArrayView* array = left_out.count(entry.name()) != 0 ? nullptr : file.find(entry.name());
    if (array == nullptr || !same_shape(entry, *array) || !same_type(entry, *array)) continue;
    if (entry.counter != nullptr) {
      counters.emplace_back(entry.counter, array->to_i64().at(0));
    } else if (entry.buffer != nullptr) {
      buffers.push_back({.torch_shape = {entry.buffer->channels}});
      loading.add(entry.name(), buffers.back(), *array, statistics.at(entry.buffer->value));
    } else {
      loading.add(entry.name(), *entry.parameter, *array, values.at(entry.parameter->value));
    }
  }
  loading.run();  // Nothing can fail from here on, so the store changes completely or not at all.
  values.commit();
  statistics.commit();
  for (const auto& [counter, value] : counters) counter->value = value;
  ++store.version;
}

void save_state_dict(const fs::path& path, const ParameterStore& store,
                     const std::map<std::string, std::string>& metadata, const Optimizer* optimizer) {
  std::vector<std::vector<float>> permutations;
  permutations.reserve(store.entries().size());
  std::vector<NamedArray> arrays;
  std::vector<Piece> pieces;
  std::vector<std::pair<const float*, std::byte*>> ends;
  HostImage values(store.home(), store.values), statistics(store.home(), store.buffers);
  const auto floats = [](std::span<const float> v) { return std::as_bytes(v); };
  for (const auto& entry : store.entries()) {
    NamedArray array{.name = entry.name(), .dtype = DType::f32, .shape = entry.torch_shape()};
    if (entry.counter != nullptr) {
      array.dtype = DType::i64;
      array.bytes = std::as_bytes(std::span(&entry.counter->value, 1));
    } else if (entry.buffer != nullptr) {
      array.bytes = floats({statistics.at(entry.buffer->value), static_cast<size_t>(entry.buffer->value.numel())});
    } else if (entry.parameter->layout == ParameterLayout::plain) {
      array.bytes = floats({values.at(entry.parameter->value), static_cast<size_t>(entry.parameter->value.numel())});
    } else {
      auto& permuted = permutations.emplace_back(static_cast<size_t>(entry.parameter->value.numel()));
      ends.emplace_back(values.at(entry.parameter->value), std::as_writable_bytes(std::span(permuted)).data());
      cut(*entry.parameter, ends.size() - 1, pieces);
      array.bytes = floats(permuted);
    }
    arrays.push_back(array);
  }
  const auto n = static_cast<int64_t>(pieces.size());
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t i = 0; i < n; ++i) {
    const auto [from, to] = ends[pieces[i].array];
    copy_to_torch(pieces[i], from, to);
  }
  int64_t steps = 0;
  std::optional<HostImage> exp_avg, exp_avg_sq, average_values, average_buffers;
  if (optimizer != nullptr) {
    exp_avg.emplace(store.home(), optimizer->exp_avg);
    exp_avg_sq.emplace(store.home(), optimizer->exp_avg_sq);
    // The moments stay in our layout: flat slabs with the order and the padding of the parameters.
    steps = optimizer->steps();
    const auto size = static_cast<size_t>(optimizer->exp_avg.numel());
    const Shape shape{optimizer->exp_avg.numel()};
    arrays.push_back({"optimizer.exp_avg", DType::f32, shape, floats({exp_avg->data(), size})});
    arrays.push_back({"optimizer.exp_avg_sq", DType::f32, shape, floats({exp_avg_sq->data(), size})});
    arrays.push_back({"optimizer.step", DType::i64, {}, std::as_bytes(std::span(&steps, 1))});
  }
  if (optimizer != nullptr && optimizer->averages()) {
    const auto add = [&](const char* name, std::optional<HostImage>& image, const Tensor& slab) {
      image.emplace(store.home(), slab);
      arrays.push_back({name, DType::f32, {slab.numel()}, floats({image->data(), static_cast<size_t>(slab.numel())})});
    };
    add(kAverageValues, average_values, optimizer->average_values);
    add(kAverageBuffers, average_buffers, optimizer->average_buffers);
  }
  write_safetensors(path, arrays, metadata);
}

void save_weights(const fs::path& path, const Model& model, const std::map<std::string, std::string>& metadata) {
  save_state_dict(path, model.parameters(), metadata);
}

void load_weights(const fs::path& path, Model& model) {
  const WeightFile file(path);
  const Fit fit = compare(file, model.parameters());
  if (!fit.exact()) {
    const auto saved = file.metadata().find("model");
    fail("{}: these weights do not fit the model: {}; {}", path.string(), fit.summary(),
         saved != file.metadata().end()
             ? fmt::format("the file was saved from {}, so try `model` {}", saved->second, saved->second)
             : "check `model` and `joints`");
  }
  load_matching(file, model.parameters());
}

namespace {

constexpr int64_t kMostSteps = 1'000'000'000'000'000;  // A double represents all whole numbers up to here exactly.

void load_slabs(const WeightFile& file, Optimizer& optimizer) {
  std::vector<std::pair<const char*, Tensor>> slabs = {{"optimizer.exp_avg", optimizer.exp_avg},
                                                       {"optimizer.exp_avg_sq", optimizer.exp_avg_sq}};
  if (optimizer.averages() && file.find(kAverageValues) != nullptr) {
    slabs.emplace_back(kAverageValues, optimizer.average_values);
    slabs.emplace_back(kAverageBuffers, optimizer.average_buffers);
  }
  for (const auto& [name, target] : slabs) {
    const ArrayView& array = file.at(name);
    check(array.dtype == DType::f32 && array.dense() && array.numel() == target.numel(),
          "{}: {} has {} elements; this model needs {}, as float32", file.path().string(), name, array.numel(),
          target.numel());
  }
  const ArrayView& counted = file.at("optimizer.step");
  const bool whole = !is_floating(counted.dtype) && counted.dtype != DType::boolean && counted.numel() == 1;
  const int64_t steps = whole ? counted.to_i64().at(0) : -1;
  check(steps >= 0 && steps < kMostSteps, "{}: optimizer.step is {}; expected one whole number from 0 to {}",
        file.path().string(),
        whole ? std::to_string(steps) : fmt::format("{} of {}", to_string(counted.shape), name_of(counted.dtype)),
        kMostSteps);
  for (const auto& [name, target] : slabs) optimizer.store().home().upload(target, file.at(name).bytes);
  optimizer.set_steps(steps);
}

// Reads Adam's `step`, which is an int up to torch 1.11 and a float tensor since then.
int64_t step_count(const Value* value, const std::string& where) {
  double steps = -1;
  if (value != nullptr) {
    if (const auto* i = value->as<int64_t>()) steps = static_cast<double>(*i);
    if (const auto* d = value->as<double>()) steps = *d;
    if (const auto* array = value->as<ArrayView>(); array != nullptr && array->numel() == 1)
      steps = is_floating(array->dtype) ? array->to_f64().at(0) : static_cast<double>(array->to_i64().at(0));
  }
  check(steps >= 0 && steps == std::floor(steps) && steps < static_cast<double>(kMostSteps),
        "{}: its `step` is missing or is not a whole number", where);
  return static_cast<int64_t>(steps);
}

// Returns a number of a parameter group; nullopt if the value is absent or no number.
std::optional<double> number_of(const Value* value) {
  if (value == nullptr) return std::nullopt;
  if (const auto* d = value->as<double>()) return *d;
  if (const auto* i = value->as<int64_t>()) return static_cast<double>(*i);
  return std::nullopt;
}

// Throws Error if our Adam would not continue the optimiser that wrote this parameter group.
void check_group(const Value& group, const AdamStep& ours, const std::string& where) {
  const auto on = [&](const char* name) {
    const Value* value = group.find(name);
    const bool* flag = value != nullptr ? value->as<bool>() : nullptr;
    return flag != nullptr && *flag;
  };
  constexpr std::pair<const char*, const char*> others[] = {
      // The field that only this optimiser has.
      {"momentum_decay", "NAdam"}, {"nesterov", "SGD"}, {"alpha", "RMSprop or ASGD"}, {"rho", "Adadelta"},
      {"lr_decay", "Adagrad"},     {"etas", "Rprop"},   {"history_size", "LBFGS"}};
  for (const auto& [field, name] : others) {
    check(group.find(field) == nullptr,
          "{}: its state is that of {}; only Adam and AdamW can be resumed, so start a new run from it with `weights`",
          where, name);
  }
  // RAdam's moments look like Adam's, and its groups have all fields of AdamW's except one.
  check(group.find("decoupled_weight_decay") == nullptr || group.find("amsgrad") != nullptr,
        "{}: its state is that of RAdam; only Adam and AdamW can be resumed, so start a new run from it with `weights`",
        where);
  check(!on("amsgrad"),
        "{}: was trained with amsgrad, which is not supported here; start a new run from it with `weights`", where);
  check(!on("maximize"),
        "{}: was trained with maximize, which is not supported here; start a new run from it with `weights`", where);
  const auto same = [&](const char* name, const std::optional<double>& value, double our_value) {
    check(!value || std::abs(*value - our_value) <= 1e-6 * our_value,
          "{}: was trained with {} = {}, but training here uses {}; start a new run from it with `weights`", where,
          name, value.value_or(0), our_value);
  };
  const Value* betas = group.find("betas");
  if (betas != nullptr) {
    const auto* tuple = betas->as<Value::Tuple>();
    const auto* list = betas->as<Value::List>();
    const auto* items = tuple != nullptr ? &tuple->items : list != nullptr ? &list->items : nullptr;
    check(items != nullptr && items->size() == 2, "{}: its betas are not a pair of numbers", where);
    same("betas[0]", number_of((*items)[0].get()), ours.beta1);
    same("betas[1]", number_of((*items)[1].get()), ours.beta2);
  }
  same("eps", number_of(group.find("eps")), ours.eps);
}

// Reads torch's optimizer.state_dict(): {"state": {key: {"step", "exp_avg", "exp_avg_sq"}}, "param_groups": [{"params":
// [key, ...]}]}. The k-th key of all groups together belongs to the k-th parameter. Keys are 0, 1, ... or, in old
// files, object ids.
void load_torch_optimizer(const WeightFile& file, Optimizer& optimizer) {
  const std::string where = file.path().string() + ": optimizer";
  const Value& root = *file.optimizer();
  const Value* groups = root.find("param_groups");
  const Value* state = root.find("state");
  const auto* group_list = groups != nullptr ? groups->as<Value::List>() : nullptr;
  const auto* state_dict = state != nullptr ? state->as<Value::Dict>() : nullptr;
  check(group_list != nullptr && state_dict != nullptr, "{}: expected a dict with `state` and `param_groups`", where);
  std::vector<int64_t> keys;
  int groups_with_parameters = 0;
  for (const ValuePtr& group : group_list->items) {
    const Value* params = group->find("params");
    const auto* list = params != nullptr ? params->as<Value::List>() : nullptr;
    check(list != nullptr, "{}: one of its parameter groups has no list `params`", where);
    check_group(*group, optimizer.options(), where);
    groups_with_parameters += list->items.empty() ? 0 : 1;
    for (const ValuePtr& key : list->items) {
      const auto* number = key->as<int64_t>();
      check(number != nullptr, "{}: the key of a parameter is not a whole number", where);
      keys.push_back(*number);
    }
  }
  const std::deque<Parameter>& parameters = optimizer.store().parameters();
  // Only the position assigns a state to a parameter. With several groups the position depends on how the writer has
  // sorted the parameters into groups, which the file does not tell.
  check(groups_with_parameters <= 1,
        "{}: has {} parameter groups and does not tell in which order the model's parameters lie in them; start a new "
        "run from it with `weights`",
        where, groups_with_parameters);
  check(keys.size() == parameters.size(), "{}: has states for {} parameters, but the model has {}", where, keys.size(),
        parameters.size());
  std::unordered_map<int64_t, const Value*> by_key;
  for (const auto& [key, value] : state_dict->items) {
    if (const auto* number = key->as<int64_t>()) by_key[*number] = value.get();
  }
  if (by_key.empty()) {  // The checkpoint was saved before the first step.
    optimizer.store().home().zero(optimizer.exp_avg);
    optimizer.store().home().zero(optimizer.exp_avg_sq);
    optimizer.set_steps(0);
    return;
  }
  int64_t steps = -1;
  Loading loading(file);
  const Context& home = optimizer.store().home();
  HostImage exp_avg(home, optimizer.exp_avg), exp_avg_sq(home, optimizer.exp_avg_sq);
  for (size_t k = 0; k < keys.size(); ++k) {
    const Parameter& p = parameters[k];
    const std::string place = fmt::format("{}: state {} ({})", where, k, p.name);
    const auto found = by_key.find(keys[k]);
    check(found != by_key.end(),
          "{}: is missing, as for a parameter that was frozen; start a new run from it with `weights`", place);
    check(found->second->find("max_exp_avg_sq") == nullptr,
          "{}: was trained with AMSGrad (max_exp_avg_sq), which is not supported here; start a new run from it with "
          "`weights`",
          place);
    const int64_t own = step_count(found->second->find("step"), place);
    check(steps < 0 || own == steps,
          "{}: has taken {} steps, but the parameters before it have taken {}; a run can only be resumed if all have "
          "taken as many",
          place, own, steps);
    steps = own;
    const auto offset = p.value.data<float>() - optimizer.store().values.data<float>();
    const std::pair<const char*, float*> moments[] = {{"exp_avg", exp_avg.data()}, {"exp_avg_sq", exp_avg_sq.data()}};
    for (const auto& [name, slab] : moments) {
      const Value* value = found->second->find(name);
      const auto* array = value != nullptr ? value->as<ArrayView>() : nullptr;
      check(array != nullptr,
            "{}: has no `{}`; only Adam and AdamW can be resumed, so start a new run from it with `weights`", place,
            name);
      check(array->shape == p.torch_shape && is_floating(array->dtype),
            "{}: {} is {} of {}; expected {} of a floating-point type", place, name, to_string(array->shape),
            name_of(array->dtype), to_string(p.torch_shape));
      loading.add(place, p, *array, slab + offset);
    }
  }
  loading.run();
  exp_avg.commit();
  exp_avg_sq.commit();
  optimizer.set_steps(steps);
}

}  // namespace

void load_optimizer(const WeightFile& file, Optimizer& optimizer) {
  optimizer.restart_average();
  if (file.optimizer() != nullptr) return load_torch_optimizer(file, optimizer);
  check(file.contains("optimizer.exp_avg"),
        "{}: holds weights but no optimiser state, so it cannot be resumed; start a new run from it with `weights`",
        file.path().string());
  load_slabs(file, optimizer);
}

}  // namespace hr

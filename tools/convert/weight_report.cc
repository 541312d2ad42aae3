#include "tools/convert/weight_report.h"

#include <algorithm>
#include <functional>

#include "core/counted.h"
#include "core/error.h"
#include "tools/cli/flag_names.h"
#include "tools/convert/patient_progress.h"

namespace hr {
namespace {

bool is_parameter(std::string_view name) {
  return !name.ends_with(".running_mean") && !name.ends_with(".running_var") && !name.ends_with(".num_batches_tracked");
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

std::string container_in_words(const std::string& container) {
  return container == "zip"      ? ".pth, zip (torch 1.6 and later)"
         : container == "legacy" ? ".pth, legacy stream (before torch 1.6)"
                                 : container;
}

std::string types_in_words(const WeightFile& file) {
  std::map<DType, int> counts;
  for (const std::string& name : file.names()) ++counts[file.at(name).dtype];
  std::string text;
  for (const auto& [type, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name_of(type));
  return text;
}

std::string table(const WeightFile& file, bool all) {
  constexpr size_t kHead = 12, kTail = 4;
  const auto& names = file.names();
  const bool abridged = !all && names.size() > kHead + kTail + 4;
  size_t width = 4;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!abridged || i < kHead || i >= names.size() - kTail) width = std::max(width, names[i].size());
  }
  std::string text = fmt::format("\n{:{}}  type  shape\n", "name", width);
  for (size_t i = 0; i < names.size(); ++i) {
    if (abridged && i == kHead) {
      text += fmt::format("... {} more; --all lists them\n", names.size() - kHead - kTail);
      i = names.size() - kTail;
    }
    const ArrayView& array = file.at(names[i]);
    text += fmt::format("{:{}}  {:4}  {}\n", names[i], width, name_of(array.dtype), to_string(array.shape));
  }
  return text;
}

// Lists every difference of a fit that is not exact.
std::string differences(const Fit& fit) {
  std::string text;
  const auto list = [&](const char* title, const std::vector<std::string>& names) {
    if (!names.empty()) text += fmt::format("  {} ({}):\n", title, names.size());
    for (const std::string& name : names) text += fmt::format("    {}\n", name);
  };
  const auto pairs = [&](const char* title, const std::vector<Fit::Mismatch>& mismatches) {
    if (!mismatches.empty()) text += fmt::format("  {} ({}):\n", title, mismatches.size());
    for (const Fit::Mismatch& m : mismatches)
      text += fmt::format("    {}: file {}, model {}\n", m.name, m.file, m.model);
  };
  list("missing", fit.missing);
  list("unexpected", fit.unexpected);
  pairs("of another shape", fit.misshaped);
  pairs("of another type", fit.mistyped);
  return text;
}

}  // namespace

std::string grouped(int64_t n) {
  std::string digits = std::to_string(n);
  for (auto at = static_cast<ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string optimizer_in_words(const WeightFile& file) {
  if (file.contains("optimizer.exp_avg")) return "Adam moments, ours";
  if (file.optimizer() == nullptr) return "none";
  const Value* state = file.optimizer()->find("state");
  const auto* dict = state != nullptr ? state->as<Value::Dict>() : nullptr;
  return fmt::format("torch's, state of {}", counted(dict != nullptr ? dict->items.size() : 0, "parameter"));
}

std::string color_of(const WeightInfo& info, const std::string& asked) {
  if (!asked.empty()) return asked;
  if (info.color) return *info.color;
  return info.model && info.model->starts_with("pose_resnet") ? "bgr" : info.model ? "rgb" : "";
}

std::string shortened(const std::string& text) { return text.size() > 60 ? text.substr(0, 57) + "..." : text; }

std::string hash_in_name(const fs::path& path) {
  const std::string stem = path.stem().string();
  for (size_t at = stem.rfind('-'); at != std::string::npos;
       at = at == 0 ? std::string::npos : stem.rfind('-', at - 1)) {
    size_t end = at + 1;
    while (end < stem.size() && is_hex(stem[end])) ++end;
    if (end - at - 1 >= 8 && (end == stem.size() || stem[end] == '_' || stem[end] == '.'))
      return stem.substr(at + 1, end - at - 1);
  }
  return "";
}

std::string report(const WeightFile& file, const WeightReportOptions& o) {
  const ModelGuess guess = guess_model(file);
  const WeightInfo info = weight_info(file);
  int64_t parameters = 0, others = 0;
  for (const std::string& name : file.names()) (is_parameter(name) ? parameters : others) += file.at(name).numel();

  std::string text;
  const auto line = [&](const char* key, const std::string& value) { text += fmt::format("{:<13}{}\n", key, value); };
  line("file", fmt::format("{}, {:.1f} MiB", file.path().string(),
                           static_cast<double>(fs::file_size(file.path())) / (1 << 20)));
  line("container", container_in_words(file.container()));
  line("wrapper", file.wrapper().describe());
  line("model", guess.what);
  if (info.joints) line("joints", std::to_string(*info.joints));
  if (const std::string color = color_of(info, ""); !color.empty())
    line("color", fmt::format("{}{}", color, info.color ? "" : " (the architecture's; the file does not say)"));
  line("tensors", fmt::format("{}{}{}", grouped(static_cast<int64_t>(file.names().size())),
                              file.names().empty() ? "" : ": ", types_in_words(file)));
  line("parameters", fmt::format("{}, and {} {} in buffers", grouped(parameters), grouped(others),
                                 others == 1 ? "number" : "numbers"));
  line("optimizer", optimizer_in_words(file));
  if (file.next_epoch()) line("next epoch", std::to_string(*file.next_epoch()));
  for (const std::string& name : file.skipped()) line("not a tensor", name);
  for (const auto& [key, value] : file.metadata()) line("metadata", fmt::format("{} = {}", key, shortened(value)));

  PatientProgress progress("SHA-256");
  const std::string sha = file.sha256(std::ref(progress));
  line("SHA-256", sha);
  const std::string in_name = hash_in_name(file.path());
  const bool matches = sha.starts_with(in_name);
  const bool date = in_name.find_first_not_of("0123456789") == std::string::npos;  // probably a date, such as -20200708
  if (!in_name.empty() && (matches || !date))
    line("name suffix",
         matches ? fmt::format("-{} matches", in_name)
                 : fmt::format("-{} DOES NOT MATCH: the file was changed or damaged after it was named", in_name));

  const std::string name = o.model.empty() ? guess.model : o.model;
  if (!name.empty()) {
    const auto model = declare_model(name, o.joints.value_or(info.joints.value_or(17)));
    const Fit fit = compare(file, model->parameters());
    const std::string reason = fit.exact() ? "" : likely_reason(file, *model);
    line("fit", fmt::format("{} of {} entries of {} with {} match{}{}", grouped(static_cast<int64_t>(fit.matched)),
                            grouped(static_cast<int64_t>(model->parameters().entries().size())), model->name(),
                            counted(model->joints(), "joint"), reason.empty() ? "" : "; ", with_flags(reason)));
    if (!fit.exact() && (o.all || !o.model.empty())) {
      text += differences(fit);
    } else if (!fit.exact()) {
      text += fmt::format("  {}\n  --model {} lists all\n", fit.summary(), name);
    }
  }
  return text + table(file, o.all);
}

}  // namespace hr

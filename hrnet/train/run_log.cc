#include "hrnet/train/run_log.h"

#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "data/formats/encode_jpeg.h"

namespace hr {
namespace {

// Returns one line of JSON with the members that body(json) writes.
template <class Body>
std::string line_of(std::string_view kind, const Body& body) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  json.begin_object();
  json.member("kind", kind);
  json.member("time", JsonFixed{std::chrono::duration<double>(since_1970).count(), 3});
  body(json);
  json.end();
  return text + "\n";
}

// Returns the lines that an earlier part of the run wrote up to a position. A line that was cut off by a crash is left
// out.
std::string kept_lines(const fs::path& path, const RunState& position) {
  if (!fs::exists(path)) return {};
  const auto number = [](const rapidjson::Document& json, const char* name) -> std::optional<int64_t> {
    const auto member = json.FindMember(name);
    if (member == json.MemberEnd() || !member->value.IsInt64()) return std::nullopt;
    return member->value.GetInt64();
  };
  std::string kept;
  const std::string text = read_file(path);
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    rapidjson::Document json;
    json.Parse(text.data() + at, end - at);
    if (json.HasParseError() || !json.IsObject()) continue;
    const std::optional<int64_t> epoch = number(json, "epoch"), step = number(json, "step");  // Epochs count from 1.
    const bool finished = !epoch || *epoch <= position.epoch;
    const bool reached = finished || (step && *epoch == position.epoch + 1 && *step <= position.step);
    if (reached) kept.append(text, at, end + 1 - at);
  }
  return kept;
}

}  // namespace

void RunLog::open(const fs::path& folder, const std::optional<RunState>& position) {
  const fs::path path = folder / "metrics.jsonl";
  write_file(path, position ? kept_lines(path, *position) : "");
  lines_.emplace(path);
  lines_->write(std::exchange(early_, {}));
  events_.emplace(folder);
}

void RunLog::write(const std::string& line) {
  if (lines_) return lines_->write(line);
  early_ += line;
}

void RunLog::scalar(std::string_view tag, double value) {
  if (events_) events_->scalar(tag, step_, value);
}

void RunLog::numbers(std::string_view kind, const EpochStatus& s) {
  write(line_of(kind, [&](JsonWriter& json) {
    json.member("epoch", s.epoch + 1);
    json.member("epochs", s.epochs);
    json.member("step", s.step);
    json.member("steps", s.steps);
    json.member("loss", if_finite(s.loss));
    json.member("accuracy", if_finite(s.accuracy));
    json.member("lr", s.lr);
    json.member("samples_per_second", JsonFixed{s.samples_per_second, 2});
    json.member("data_wait", JsonFixed{s.wait_share, 4});
  }));
  scalar("train_loss", s.loss);
  if (!std::isnan(s.accuracy)) scalar("train_acc", s.accuracy);
  scalar("lr", s.lr);
  scalar("speed/samples_per_second", s.samples_per_second);
  scalar("speed/data_wait", s.wait_share);
}

void RunLog::fact(std::string_view label, const std::string& text) {
  next_.fact(label, text);
  write(line_of("fact", [&](JsonWriter& json) { json.member("label", label).member("text", text); }));
}

void RunLog::epoch_begins(const EpochStatus& s) {
  next_.epoch_begins(s);
  step_ = s.epoch * s.steps + s.step;
}

void RunLog::stepped(const EpochStatus& s) {
  next_.stepped(s);
  step_ = s.epoch * s.steps + s.step;
  if (print_freq_ > 0 && s.step % print_freq_ == 0 && s.step < s.steps) numbers("step", s);
}

void RunLog::epoch_trained(const EpochStatus& s) {
  next_.epoch_trained(s);
  step_ = s.epoch * s.steps + s.step;
  numbers("step", s);
}

void RunLog::samples(const EpochStatus& s, const Image& picture) {
  next_.samples(s, picture);
  // At this quality a heatmap's edge looks as in a PNG, which would be five times as large and slow to make.
  if (events_)
    events_->image("train/samples", s.epoch * s.steps + s.step, encode_jpeg(picture, 90), picture.height,
                   picture.width);
}

void RunLog::validating(const PeopleProgress& p) {
  next_.validating(p);
  people_per_second_ = p.per_second;
}

void RunLog::validated(const Validated& v) {
  next_.validated(v);
  const std::vector<double>& stats = v.record.stats;
  std::vector<std::string> names;
  if (v.record.pckh) {
    for (const char* name : pckh_columns()) names.emplace_back(name);
  } else {
    names.assign(kOfficialStatNames.begin(), kOfficialStatNames.end());
  }
  write(line_of("validation", [&](JsonWriter& json) {
    json.member("epoch", v.record.epoch + 1);
    json.member("measure", v.record.pckh ? "PCKh" : "OKS AP");
    for (size_t i = 0; i < names.size(); ++i) json.member(names[i], if_finite(stats[i]));
    json.member("best", v.best);
    json.member("people_per_second", JsonFixed{people_per_second_, 2});
    json.member("remarks", v.remarks);
  }));
  for (size_t i = 0; i < names.size(); ++i) scalar("valid/" + names[i], stats[i]);
}

void RunLog::remark(const std::string& text) {
  next_.remark(text);
  write(line_of("remark", [&](JsonWriter& json) { json.member("text", text); }));
}

void RunLog::more_bad_samples(size_t count, const std::string& list) {
  next_.more_bad_samples(count, list);
  write(line_of("bad_samples", [&](JsonWriter& json) { json.member("count", count).member("list", list); }));
}

void RunLog::epoch_finished(const fs::path& folder, const std::vector<EpochRecord>& history) {
  next_.epoch_finished(folder, history);
  const EpochRecord& r = history.back();
  write(line_of("epoch", [&](JsonWriter& json) {
    json.member("epoch", r.epoch + 1);
    json.member("loss", if_finite(r.loss));
    json.member("lr", r.lr);
  }));
}

}  // namespace hr

#include "tools/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "core/counted.h"
#include "core/digest/sha256.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/parallel.h"
#include "tools/cli/flag_names.h"
#include "tools/plot/history_plot.h"
#include "tools/report/worst_pictures.h"

namespace hr {
namespace {

constexpr const char* kOksRule =
    "The worst picture is the one with the smallest mean, over its people, of the best OKS of any pose.";
constexpr const char* kDistanceRule =
    "The worst picture is the one with the largest mean error of labelled joints, relative to the size of the person.";

std::string sha256_of(const fs::path& path) {
  const MappedFile file(path);
  Sha256 digest;
  digest.update(file.bytes());
  return digest.hex();
}

std::string local_time() {
  const std::time_t t = std::time(nullptr);
  std::tm local{};
  localtime_r(&t, &local);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &local);
  return text;
}

ReportPairs origin() {
  return {{"folder", fs::current_path().string()},
          {"program", "hrnet.cpp " HR_VERSION},
          {"threads", std::to_string(compute_threads())},
          {"written", local_time()}};
}

// Adds the error analysis, the accuracy of each joint and the worst pictures.
void add_measured(const PoseDataset& data, const std::vector<PersonResult>& results, bool pckh,
                  const std::vector<double>& joints, CocoRules rules, ReportData& page) {
  page.worst_rule = pckh ? kDistanceRule : kOksRule;
  if (pckh) {
    page.joints.clear();
    for (size_t k = 0; k < std::min(joints.size(), data.skeleton().names.size()); ++k) {
      page.joints.emplace_back(data.skeleton().names[k], joints[k]);
    }
    page.worst = worst_pictures(data, results, distance_scores(data, results));
    return;
  }
  const bool seed = data.options().recipe == Recipe::seed;
  const auto detections = to_detections(results, seed ? Rounding::two_decimals : Rounding::none);
  const CocoEvalOptions options{.sigmas = data.skeleton().sigmas,
                                .categories = evaluated_categories(data),
                                .rules = rules,
                                .strict = false,
                                .detections_name = "the network's poses"};
  page.worst = worst_pictures(data, results, oks_scores(data.annotations(), detections, options));
  page.analysis.reset();
  page.analysis = analyse_poses(data.annotations(), detections, data.skeleton(), options);
}

struct Network {
  std::string name, set;
  int height = 0, width = 0;
  bool detected_boxes = false;
};

// Adds the published results of the network, preceded by the result of this page.
void add_published(const Network& network, double percent, ReportData& page) {
  const std::string measure = page.pckh ? "PCKh@0.5" : "AP";
  page.published = published_results(network.name, measure, network.height, network.width);
  if (page.published.empty()) {
    page.published_remark = fmt::format("This program knows no published {} of {}.", measure, network.name);
    return;
  }
  const std::string boxes = page.pckh                ? "annotated centre and scale"
                            : network.detected_boxes ? "detected"
                                                     : "ground truth";
  page.published_remark =
      "Numbers can be compared only if set, boxes and input are the same. Ground-truth boxes alone give an AP that is "
      "about 2 points higher than with detected boxes.";
  if (percent >= 0 || std::isnan(percent)) {
    page.published.insert(page.published.begin(), {.network = network.name,
                                                   .height = network.height,
                                                   .width = network.width,
                                                   .set = network.set,
                                                   .boxes = boxes,
                                                   .measure = measure,
                                                   .percent = percent,
                                                   .source = ""});
  }
}

std::string shown(const Json& value) {
  if (value.IsString()) return value.GetStringLength() == 0 ? "-" : value.GetString();
  if (value.IsBool()) return value.GetBool() ? "yes" : "no";
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsNumber()) return fmt::format("{}", value.GetDouble());
  if (!value.IsArray()) return "-";
  std::string text;
  for (const Json& entry : value.GetArray()) text += (text.empty() ? "" : " ") + shown(entry);
  return text.empty() ? "-" : text;
}

std::string text_of(const ReportPairs& pairs, std::string_view name) {
  for (const auto& [key, value] : pairs) {
    if (key == name) return value == "-" ? "" : value;
  }
  return "";
}

// Formats an accuracy: AP from 0 to 1, or PCKh in percent.
std::string score_text(double score, bool pckh) {
  if (std::isnan(score)) return "not a number";
  return score < 0 ? "nothing to find" : fmt::format("{:.{}f}", score, pckh ? 2 : 4);
}

std::string loss_text(double loss) { return std::isfinite(loss) ? fmt::format("{:.6f}", loss) : "not a number"; }

ReportTable epoch_table(const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds, bool pckh) {
  ReportTable t;
  t.columns = {"epoch", "loss", "learning rate", pckh ? "PCKh@0.5" : "AP", "img/s", "data wait"};
  std::map<int, EpochSpeed> by_epoch;
  for (const EpochSpeed& speed : speeds) by_epoch[speed.epoch] = speed;
  for (const EpochRecord& r : history) {
    std::vector<std::string>& row = t.rows.emplace_back();
    row = {std::to_string(r.epoch + 1), loss_text(r.loss), fmt::format("{:.3g}", r.lr), "", "", ""};
    if (!r.stats.empty()) row[3] = score_text(r.pckh ? r.stats[7] : r.stats[0], r.pckh);
    const auto speed = by_epoch.find(r.epoch);
    if (speed == by_epoch.end()) continue;
    row[4] = fmt::format("{:.1f}", speed->second.samples_per_second);
    row[5] = fmt::format("{:.0f}%", 100 * speed->second.wait_share);
  }
  return t;
}

// Adds the numbers of the best epoch and of the last one that was validated. Returns the record of the best epoch, or
// null if no epoch was validated.
const EpochRecord* add_numbers(const std::vector<EpochRecord>& history, ReportData& page) {
  const EpochRecord *best = nullptr, *last = nullptr;
  for (const EpochRecord& r : history) {
    if (r.stats.empty()) continue;
    last = &r;
    // As the trainer chooses it: the later one of equals, and never one that is not a number.
    if (best == nullptr || r.score() >= best->score() || std::isnan(best->score())) best = &r;
  }
  if (last == nullptr) return nullptr;
  page.pckh = last->pckh;
  if (page.pckh) {
    for (const char* name : pckh_columns()) page.measures.emplace_back(name);
  } else {
    page.measures.assign(kOfficialStatNames.begin(), kOfficialStatNames.end());
  }
  const std::string best_name = fmt::format("epoch {}, the best", best->epoch + 1);
  page.numbers.push_back({best == last ? best_name + " and last" : best_name, best->stats});
  if (best != last) page.numbers.push_back({fmt::format("epoch {}, the last", last->epoch + 1), last->stats});
  return best;
}

void add_headline(const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds,
                  const EpochRecord* best, ReportData& page) {
  if (best != nullptr) {
    page.headline.emplace_back(best->pckh ? "best PCKh@0.5" : "best AP",
                               score_text(best->pckh ? best->stats[7] : best->stats[0], best->pckh));
  }
  if (history.empty()) return;
  page.headline.emplace_back("last loss", loss_text(history.back().loss));
  if (!speeds.empty()) {
    page.headline.emplace_back("img/s", fmt::format("{:.1f}", speeds.back().samples_per_second));
    page.headline.emplace_back("data wait", fmt::format("{:.0f}%", 100 * speeds.back().wait_share));
  }
  std::vector<std::string> bad;
  for (const EpochRecord& r : history) {
    if (!std::isfinite(r.loss)) bad.push_back(std::to_string(r.epoch + 1));
  }
  if (!bad.empty()) {
    page.remarks.push_back(
        fmt::format("The loss is not a number in epoch {}: the curve has a gap there.", fmt::join(bad, ", ")));
  }
}

// Returns the remarks that the earlier parts of a resumed run have written to metrics.jsonl.
std::vector<std::string> earlier_remarks(const fs::path& folder) {
  std::vector<std::string> remarks;
  const fs::path path = folder / "metrics.jsonl";
  if (!fs::exists(path)) return remarks;
  const std::string text = read_file(path);
  const auto add = [&](const Json& value) {
    if (value.IsString() && std::ranges::find(remarks, value.GetString()) == remarks.end()) {
      remarks.emplace_back(value.GetString());
    }
  };
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    rapidjson::Document line;
    line.Parse(text.data() + at, end - at);
    if (line.HasParseError() || !line.IsObject()) continue;
    const auto kind = line.FindMember("kind");
    if (kind == line.MemberEnd() || !kind->value.IsString()) continue;
    const auto said = line.FindMember("text"), list = line.FindMember("remarks");
    if (kind->value == "remark" && said != line.MemberEnd()) add(said->value);
    if (kind->value == "validation" && list != line.MemberEnd() && list->value.IsArray()) {
      for (const Json& entry : list->value.GetArray()) add(entry);
    }
  }
  return remarks;
}

}  // namespace

void RunReport::remark(const std::string& text) {
  if (std::ranges::find(remarks_, text) == remarks_.end()) remarks_.push_back(text);
}

void RunReport::validated(const TrainObserver::Validated& v) {
  if (v.best) best_sha256_.clear();
  for (const std::string& text : v.remarks) remark(text);
  if (v.data == nullptr) return;
  add_measured(*v.data, v.run.results, v.record.pckh, v.run.pckh ? v.run.pckh->joints : std::vector<double>{},
               CocoRules::pycocotools, measured_);
}

void RunReport::add_configuration(const fs::path& folder, ReportData& page) const {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) return;
  const rapidjson::Document config = parse_json_file(path);
  if (!config.IsObject()) return;
  for (const auto& member : config.GetObject()) {
    page.configuration.emplace_back(member.name.GetString(), shown(member.value));
  }
}

void RunReport::add_files(const fs::path& folder, bool ended, ReportData& page) {
  const fs::path best = folder / "best.safetensors", last = folder / "last.safetensors";
  if (fs::exists(best)) {
    if (best_sha256_.empty()) best_sha256_ = sha256_of(best);
    page.files.push_back({"best.safetensors", fs::file_size(best), best_sha256_});
  }
  if (fs::exists(last)) {
    page.files.push_back({"last.safetensors", fs::file_size(last),
                          ended ? sha256_of(last) : "changes with every epoch; shown here when the run has ended"});
  }
}

ReportData RunReport::data(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending) {
  ReportData page = measured_;
  page.training = true;
  add_configuration(folder, page);
  const std::string model = text_of(page.configuration, "model");
  const std::string set = set_name_of(text_of(page.configuration, "val_annotations"));
  page.title = model.empty() ? "Training run" : set.empty() ? model : fmt::format("{} on {}", model, set);
  const std::string epochs = text_of(page.configuration, "epochs");
  const int done = history.empty() ? 0 : history.back().epoch + 1;
  page.subtitle = fmt::format("Training run in {}: {} of {} epochs, {}", folder.string(), done, epochs,
                              ending.empty() ? "going on when this page was written" : ending);
  for (const std::string& text : earlier_remarks(folder)) page.remarks.push_back(with_flags(text));
  for (const std::string& text : remarks_) {
    if (std::ranges::find(page.remarks, with_flags(text)) == page.remarks.end())
      page.remarks.push_back(with_flags(text));
  }
  const std::vector<EpochSpeed> speeds = read_epoch_speeds(folder);
  const EpochRecord* best = add_numbers(history, page);
  add_headline(history, speeds, best, page);
  page.curves = history_panels(history, speeds);
  page.epochs = epoch_table(history, speeds, page.pckh);
  Network network{.name = model, .set = set, .detected_boxes = !text_of(page.configuration, "person_det").empty()};
  const std::string size = text_of(page.configuration, "fixed_size");
  if (std::sscanf(size.c_str(), "%d %d", &network.height, &network.width) != 2) network.height = network.width = 0;
  double percent = -1;
  if (best != nullptr) percent = best->pckh ? best->stats[7] : 100 * best->stats[0];
  add_published(network, percent, page);
  for (const auto& [label, text] : facts_) page.conditions.emplace_back(label, with_flags(text));
  add_files(folder, !ending.empty(), page);
  page.command = command_line();
  page.origin = origin();
  return page;
}

void RunReport::write(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending) {
  write_file(folder / "report.html", report_html(data(folder, history, ending)));
}

ReportData validation_report(const ReportPairs& description, const ValidationReport& report, const PoseDataset& data,
                             bool detected_boxes, const fs::path& weights) {
  ReportData page;
  page.title = fmt::format("{} on {}", report.model, report.set);
  page.subtitle = "Validation of " + weights.string();
  page.conditions = description;
  for (const std::string& text : report.remarks) page.remarks.push_back(with_flags(text));
  page.pckh = report.pckh;
  if (!report.stats.empty()) {
    page.measures = report.stat_names;
    page.numbers.push_back({"value", report.stats});
    add_measured(data, report.results, report.pckh, report.joints, report.rules, page);
    const double score = report.stats.at(report.pckh ? 7 : 0);
    page.headline.emplace_back(report.pckh ? "PCKh@0.5" : "AP", score_text(score, report.pckh));
    page.headline.emplace_back("people", std::to_string(data.size()));
    const Network network{.name = report.model,
                          .set = report.set,
                          .height = report.input_h,
                          .width = report.input_w,
                          .detected_boxes = detected_boxes};
    add_published(network, report.pckh ? score : 100 * score, page);
  } else {
    page.published_remark = "There is nothing to compare.";
  }
  page.files.push_back({weights.filename().string(), fs::file_size(weights), sha256_of(weights)});
  page.command = command_line();
  page.origin = origin();
  return page;
}

std::string set_name_of(const std::string& annotations) {
  std::string stem = fs::path(annotations).stem().string();
  if (stem.starts_with("person_keypoints_")) stem.erase(0, std::string_view("person_keypoints_").size());
  return stem;
}

std::string command_line() {
  std::string text;
  const fs::path path = "/proc/self/cmdline";
  if (!fs::exists(path)) return text;
  const std::string words = read_file(path);
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find('\0', at), words.size());
    const std::string word = words.substr(at, end - at);
    static constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./=:,+@%";
    std::string quoted = word;
    if (word.empty() || word.find_first_not_of(plain) != std::string::npos) {
      quoted = "'";
      for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
      quoted += '\'';
    }
    text += (text.empty() ? "" : " ") + quoted;
    at = end + 1;
  }
  return text;
}

}  // namespace hr

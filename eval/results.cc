#include "eval/results.h"

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <ranges>

#include "core/error.h"

namespace hr {
namespace {

// The form of Python's json.dump with indent=4. A network that diverged gives NaN, which Python's module writes and
// reads, and for which the evaluators have rules.
constexpr JsonStyle kPythonIndent4{.lines = 99, .indent = 4, .python_reals = true, .non_finite = true};

double as_it_is(float v) { return v; }
double two_decimals(float v) { return python_round2(v); }

}  // namespace

std::vector<PersonResult> postprocess_official(std::span<const PersonResult> people,
                                               const OfficialPostprocess& options) {
  std::vector<std::vector<PersonResult>> images;
  std::map<std::pair<int64_t, int64_t>, size_t> image_at;  // People of different categories do not suppress each other.
  for (const PersonResult& person : people) {
    const auto [at, fresh] = image_at.try_emplace({person.image_id, person.category_id}, images.size());
    if (fresh) images.emplace_back();
    PersonResult& added = images[at->second].emplace_back(person);
    added.score = rescore_official(person.keypoints, person.score, options.in_vis_thre);
  }
  std::vector<PersonResult> kept;
  const OksNms nms{.threshold = options.oks_thre, .sigmas = options.sigmas};
  for (std::vector<PersonResult>& image : images) {
    std::vector<ScoredPose<float>> poses;
    poses.reserve(image.size());
    for (const PersonResult& person : image) poses.push_back({person.keypoints, person.score, person.area});
    std::vector<int> keep(image.size());
    std::iota(keep.begin(), keep.end(), 0);
    if (options.nms == NmsKind::hard) keep = oks_nms<float>(poses, nms);
    if (options.nms == NmsKind::soft) keep = soft_oks_nms<float>(poses, nms);
    for (const int i : keep) kept.push_back(std::move(image[i]));
  }
  return kept;
}

std::vector<PersonResult> postprocess_seed(std::span<const PersonResult> people) {
  std::vector<PersonResult> rescored(people.begin(), people.end());
  for (PersonResult& person : rescored) person.score = rescore_seed(person.keypoints, person.score, 0.2);
  return rescored;
}

std::vector<CocoDetection> to_detections(std::span<const PersonResult> people, Rounding rounding) {
  std::vector<CocoDetection> detections;
  detections.reserve(people.size());
  for (const PersonResult& person : people) {
    CocoDetection& d = detections.emplace_back();
    d.image_id = person.image_id;
    d.category_id = person.category_id;
    d.score = person.score;
    d.keypoints.reserve(person.keypoints.size());
    for (const float v : person.keypoints) {
      d.keypoints.push_back(rounding == Rounding::two_decimals ? two_decimals(v) : as_it_is(v));
    }
  }
  return detections;
}

std::string seed_results_json(std::span<const PersonResult> people) {
  std::string text;
  JsonWriter json(text, kPythonIndent4);
  json.begin_list();
  for (const PersonResult& person : people) {
    json.begin_object().member("image_id", person.image_id).member("category_id", person.category_id);
    json.member("keypoints", person.keypoints | std::views::transform(two_decimals));
    json.member("score", person.score).end();
  }
  json.end();
  return text;
}

std::string official_results_json(std::span<const PersonResult> people) {
  std::string text;
  JsonWriter json(text, kPythonIndent4);
  json.begin_list();
  for (const PersonResult& person : people) {
    json.begin_object().member("category_id", person.category_id);
    json.member("center", person.center | std::views::transform(as_it_is)).member("image_id", person.image_id);
    json.member("keypoints", person.keypoints | std::views::transform(as_it_is));
    json.member("scale", person.scale | std::views::transform(as_it_is)).member("score", person.score).end();
  }
  json.end();
  return text;
}

void write_seed_results(const fs::path& path, std::span<const PersonResult> people) {
  write_file(path, seed_results_json(people));
}

void write_official_results(const fs::path& path, std::span<const PersonResult> people) {
  write_file(path, official_results_json(people));
}

void write_record_map(const fs::path& path, const std::string& summary) {
  write_file(path, "COCO results:\n" + summary);
}

std::string markdown_table(const std::string& architecture, std::span<const char* const> names,
                           std::span<const double> values) {
  std::string header = "| Arch";
  std::string rule = "|---";
  std::string row = "| " + (architecture.size() > 15 ? architecture.substr(0, 8) + "..." : architecture);
  for (size_t i = 0; i < names.size(); ++i) {
    header += fmt::format(" | {}", names[i]);
    rule += "|---";
    row += std::isnan(values[i]) ? " | nan" : fmt::format(" | {:.3f}", values[i]);  // Never prints "-nan".
  }
  return header + " |\n" + rule + "|\n" + row + " |";
}

double python_round2(double v) {
  if (!std::isfinite(v) || std::abs(v) >= 0x1p52) return v;
  char buffer[64];  // Rounds the exact decimal value, ties to even, as Python's round() does.
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::fixed, 2);
  double rounded = 0;
  std::from_chars(buffer, result.ptr, rounded);
  return rounded;
}

}  // namespace hr

#include "eval/results.h"

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "core/error.h"

namespace hr {
namespace {

// Writes lists of objects in the form of Python's json module with indent=4.
class JsonList {
 public:
  void begin_object() { text_ += objects_++ == 0 ? "[\n    {" : ",\n    {"; }
  void end_object() {
    text_ += "\n    }";
    members_ = 0;
  }
  void member(std::string_view key, const std::string& value) {
    text_ += members_++ == 0 ? "\n        \"" : ",\n        \"";
    text_ += key;
    text_ += "\": ";
    text_ += value;
  }
  template <class Numbers, class Round>
  void member(std::string_view key, const Numbers& numbers, const Round& round) {
    std::string list;
    for (const float v : numbers) {
      list += list.empty() ? "[\n            " : ",\n            ";
      list += python_repr(round(v));
    }
    member(key, list.empty() ? "[]" : list + "\n        ]");
  }
  std::string finish() && { return objects_ == 0 ? "[]" : std::move(text_) + "\n]"; }

 private:
  std::string text_;
  size_t objects_ = 0, members_ = 0;
};

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
  JsonList list;
  for (const PersonResult& person : people) {
    list.begin_object();
    list.member("image_id", fmt::format("{}", person.image_id));
    list.member("category_id", fmt::format("{}", person.category_id));
    list.member("keypoints", person.keypoints, two_decimals);
    list.member("score", python_repr(person.score));
    list.end_object();
  }
  return std::move(list).finish();
}

std::string official_results_json(std::span<const PersonResult> people) {
  JsonList list;
  for (const PersonResult& person : people) {
    list.begin_object();
    list.member("category_id", fmt::format("{}", person.category_id));
    list.member("center", person.center, as_it_is);
    list.member("image_id", fmt::format("{}", person.image_id));
    list.member("keypoints", person.keypoints, as_it_is);
    list.member("scale", person.scale, as_it_is);
    list.member("score", python_repr(person.score));
    list.end_object();
  }
  return std::move(list).finish();
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

std::string official_markdown(const std::string& architecture, const CocoEvalResult& result) {
  constexpr std::array<const char*, 10> names = {"AP", "Ap .5", "AP .75", "AP (M)", "AP (L)",
                                                 "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
  return markdown_table(architecture, names, result.stats);
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

std::string python_repr(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific);
  std::string_view text(buffer, result.ptr - buffer);  // The form is -d.ddde+XX.
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  int exponent = 0;
  const char* digits_of_exponent = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(digits_of_exponent, text.data() + text.size(), exponent);
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  // Python writes positional digits for 1e-4 <= |v| < 1e16, otherwise an exponent of at least two digits.
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(-exponent - 1, '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
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

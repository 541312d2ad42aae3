#include "eval/analysis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"

namespace hr {
namespace {

constexpr double kMatched = 0.1, kNear = 0.5, kGood = 0.85;  // The first is an OKS, the others are ks.
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr std::array<double, 5> kSizes = {32, 64, 96, 192, 384};  // Borders in pixels; COCO's medium is 32 to 96.

// The result for one labelled joint of a person to whom a detection belongs.
struct Finding {
  int detection = 0, person = 0, joint = 0;  // Indices into dt and gt.annotations.
  PoseError kind = PoseError::good;
  double similarity = 0;  // With the own joint.
  double nearest = 0;     // With the joint to which it is nearest.
  double error = 0;       // d / sqrt(area).
};

struct Analyser {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const std::vector<double>& sigmas;
  std::vector<int> mirror;
  CocoRules rules;

  double area(int person) const { return coco_person_area(gt.annotations[person], rules); }
  double similarity(int detection, int i, int person, int j) const {
    const CocoAnnotation& q = gt.annotations[person];
    const std::vector<double>& found = dt[detection].keypoints;
    if (q.keypoints.empty() || !(q.keypoints[3 * j + 2] > 0)) return -1;
    const double dx = found[3 * i] - q.keypoints[3 * j], dy = found[3 * i + 1] - q.keypoints[3 * j + 1];
    const double spread = 2 * sigmas[i];
    return std::exp(-(dx * dx + dy * dy) / (spread * spread) / (area(person) + kEpsilon) / 2);
  }

  void joints_of(int detection, int person, const std::vector<int>& people, std::vector<Finding>& findings) const {
    const CocoAnnotation& own = gt.annotations[person];
    for (int i = 0; i < static_cast<int>(sigmas.size()); ++i) {
      if (!(own.keypoints[3 * i + 2] > 0)) continue;
      Finding f{detection, person, i};
      f.similarity = f.nearest = similarity(detection, i, person, i);
      PoseError near = PoseError::jitter;
      const auto consider = [&](int q, int j, PoseError kind) {
        const double ks = similarity(detection, i, q, j);
        if (ks > f.nearest) {
          f.nearest = ks;
          near = kind;
        }
      };
      for (const int q : people) {
        if (q != person) consider(q, i, PoseError::swap);
      }
      consider(person, mirror[i], PoseError::inversion);
      for (const int q : people) {
        if (q != person) consider(q, mirror[i], PoseError::swap);
      }
      f.kind = f.nearest < kNear                                 ? PoseError::miss
               : near == PoseError::jitter && f.nearest >= kGood ? PoseError::good
                                                                 : near;
      const double dx = dt[detection].keypoints[3 * i] - own.keypoints[3 * i];
      const double dy = dt[detection].keypoints[3 * i + 1] - own.keypoints[3 * i + 1];
      f.error = std::sqrt((dx * dx + dy * dy) / (area(person) + kEpsilon));
      findings.push_back(f);
    }
  }
};

void add(ErrorRow& row, std::vector<double>& errors, const Finding& f) {
  ++row.count.at(static_cast<size_t>(f.kind));
  row.similarity += f.similarity;
  errors.push_back(f.error);
}

void close(ErrorRow& row, std::vector<double>& errors) {
  if (errors.empty()) return;
  row.similarity /= static_cast<double>(errors.size());
  const auto middle = errors.begin() + static_cast<ptrdiff_t>(errors.size() / 2);
  std::nth_element(errors.begin(), middle, errors.end());
  row.error = *middle;
}

size_t size_bin(double area) {
  const double side = std::sqrt(std::max(0.0, area));
  return std::upper_bound(kSizes.begin(), kSizes.end(), side) - kSizes.begin();
}

std::string size_name(size_t bin) {
  if (bin == 0) return fmt::format("below {} px", kSizes.front());
  if (bin == kSizes.size()) return fmt::format("{} px and more", kSizes.back());
  return fmt::format("{} to {} px", kSizes.at(bin - 1), kSizes.at(bin));
}

// Returns the detections with the joints of one kind (or of all kinds) corrected.
std::vector<CocoDetection> corrected(const Analyser& a, const std::vector<Finding>& findings,
                                     std::optional<PoseError> only) {
  std::vector<CocoDetection> moved = a.dt;
  for (const Finding& f : findings) {
    if (f.kind == PoseError::good || (only && f.kind != *only)) continue;
    const double ks = f.kind == PoseError::jitter ? kGood : f.kind == PoseError::miss ? kNear : f.nearest;
    const CocoAnnotation& own = a.gt.annotations[f.person];
    const double distance = 2 * a.sigmas[f.joint] * std::sqrt(-2 * std::log(ks) * a.area(f.person));
    moved[f.detection].keypoints[3 * f.joint] = own.keypoints[3 * f.joint] + distance;
    moved[f.detection].keypoints[3 * f.joint + 1] = own.keypoints[3 * f.joint + 1];
  }
  return moved;
}

}  // namespace

std::string pose_error_name(PoseError kind) {
  constexpr std::array<const char*, kPoseErrors> names = {"good", "jitter", "inversion", "swap", "miss"};
  return names.at(static_cast<size_t>(kind));
}

int64_t ErrorRow::joints() const {
  int64_t n = 0;
  for (const int64_t c : count) n += c;
  return n;
}

double ErrorRow::share(PoseError kind) const {
  const int64_t n = joints();
  return n == 0 ? 0.0 : static_cast<double>(count.at(static_cast<size_t>(kind))) / static_cast<double>(n);
}

namespace {

// Fills in the rows of joints and sizes, and that of all.
void sum_up(const std::vector<Finding>& findings, const Analyser& analyser, const Skeleton& skeleton,
            PoseAnalysis& out) {
  const auto joints = static_cast<size_t>(skeleton.joints());
  out.joints.resize(joints);
  out.sizes.resize(kSizes.size() + 1);
  std::vector<std::vector<double>> joint_errors(joints), size_errors(out.sizes.size());
  std::vector<double> errors;
  for (size_t i = 0; i < joints; ++i) out.joints[i].name = skeleton.names[i];
  for (size_t i = 0; i < out.sizes.size(); ++i) out.sizes[i].name = size_name(i);
  out.all.name = "all";
  for (const Finding& f : findings) {
    const size_t bin = size_bin(analyser.area(f.person));
    add(out.joints[f.joint], joint_errors[f.joint], f);
    add(out.sizes[bin], size_errors[bin], f);
    add(out.all, errors, f);
  }
  for (size_t i = 0; i < joints; ++i) close(out.joints[i], joint_errors[i]);
  for (size_t i = 0; i < out.sizes.size(); ++i) close(out.sizes[i], size_errors[i]);
  close(out.all, errors);
}

}  // namespace

PoseAnalysis analyse_poses(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Skeleton& skeleton,
                           CocoEvalOptions options) {
  if (options.sigmas.empty()) options.sigmas = skeleton.sigmas;
  const auto joints = static_cast<size_t>(skeleton.joints());
  check(options.sigmas.size() == joints, "analysis: {} sigmas, but the skeleton {} has {} joints",
        options.sigmas.size(), skeleton.name, joints);
  options.keep_matches = true;
  const CocoEvalResult evaluated = evaluate_coco(gt, dt, options);
  options.keep_matches = false;

  PoseAnalysis out;
  out.stats = evaluated.stats;
  const Analyser analyser{gt, dt, options.sigmas, skeleton.mirror(), options.rules};
  const auto counts = [&](int person) {
    const CocoAnnotation& g = gt.annotations[person];
    if (coco_person_ignored(g, options.rules)) return false;
    for (size_t i = 2; i < g.keypoints.size(); i += 3) {
      if (g.keypoints[i] > 0) return true;
    }
    return false;
  };
  std::vector<Finding> findings;
  for (const CocoImageMatches& image : evaluated.matches) {
    const size_t G = image.people.size();
    std::vector<uint8_t> real(G), taken(G);
    for (size_t g = 0; g < G; ++g) {
      real[g] = counts(image.people[g]) ? 1 : 0;
      out.people += real[g];
    }
    for (size_t d = 0; d < image.detections.size(); ++d) {
      ++out.detections;
      int best = -1, ignored = -1;
      bool near_taken = false;
      for (size_t g = 0; g < G; ++g) {
        const double oks = image.oks[d * G + g];
        if (!(oks >= kMatched)) continue;
        if (real[g] == 0) {
          ignored = static_cast<int>(g);
        } else if (taken[g] != 0) {
          near_taken = true;
        } else if (best < 0 || oks >= image.oks[d * G + best]) {  // Among equal ones the later, as in the evaluation.
          best = static_cast<int>(g);
        }
      }
      if (best >= 0) {
        taken[best] = 1;
        ++out.detections_matched;
        ++out.people_found;
        analyser.joints_of(image.detections[d], image.people[best], image.people, findings);
      } else if (ignored >= 0) {
        ++out.detections_ignored;
      } else {
        ++(near_taken ? out.duplicates : out.background);
      }
    }
  }

  sum_up(findings, analyser, skeleton, out);
  for (size_t k = 0; k < out.corrected.size(); ++k) {
    out.corrected.at(k) =
        evaluate_coco(gt, corrected(analyser, findings, static_cast<PoseError>(k + 1)), options).stats;
  }
  out.corrected_all = evaluate_coco(gt, corrected(analyser, findings, std::nullopt), options).stats;
  return out;
}

std::string analysis_table(const PoseAnalysis& a) {
  size_t width = 14;
  for (const ErrorRow& row : a.joints) width = std::max(width, row.name.size());
  std::string text;
  const auto header = [&](const std::string& what) {
    text += fmt::format("{:<{}} {:>8}", what, width, "joints");
    for (int k = 0; k < kPoseErrors; ++k) text += fmt::format(" {:>9}", pose_error_name(static_cast<PoseError>(k)));
    text += fmt::format(" {:>10} {:>8}\n", "similarity", "error");
  };
  const auto line = [&](const ErrorRow& row) {
    text += fmt::format("{:<{}} {:>8}", row.name, width, row.joints());
    for (int k = 0; k < kPoseErrors; ++k) text += fmt::format(" {:>8.1f}%", 100 * row.share(static_cast<PoseError>(k)));
    text += fmt::format(" {:>10.3f} {:>7.1f}%\n", row.similarity, 100 * row.error);
  };
  header("by joint");
  for (const ErrorRow& row : a.joints) line(row);
  line(a.all);
  text += "\n";
  header("by size");
  for (const ErrorRow& row : a.sizes) {
    if (row.joints() > 0) line(row);
  }
  text += fmt::format("\n{:<{}} {:>8} {:>8} {:>8}\n", "if corrected", width, "AP", "AP .5", "AP .75");
  const auto numbers = [&](const std::string& name, const std::array<double, 10>& s) {
    text += fmt::format("{:<{}} {:>8.3f} {:>8.3f} {:>8.3f}\n", name, width, s[0], s[1], s[2]);
  };
  numbers("nothing", a.stats);
  for (size_t k = 0; k < a.corrected.size(); ++k) {
    numbers(pose_error_name(static_cast<PoseError>(k + 1)), a.corrected.at(k));
  }
  numbers("all of them", a.corrected_all);
  text += fmt::format("\npeople      {}: {} found (OKS >= {}), {} not\n", a.people, a.people_found, kMatched,
                      a.people - a.people_found);
  text += fmt::format("detections  {}: {} belong to a person, {} to an ignored one, {}, {} background", a.detections,
                      a.detections_matched, a.detections_ignored, counted(a.duplicates, "duplicate"), a.background);
  return text;
}

namespace {

void write_row(JsonWriter& json, const ErrorRow& row) {
  json.begin_object().member("name", row.name).member("joints", row.joints());
  for (int k = 0; k < kPoseErrors; ++k) json.member(pose_error_name(static_cast<PoseError>(k)), row.count.at(k));
  json.member("similarity", row.similarity).member("error", row.error).end();
}

void write_rows(JsonWriter& json, const std::vector<ErrorRow>& rows) {
  json.begin_list();
  for (const ErrorRow& row : rows) write_row(json, row);
  json.end();
}

}  // namespace

std::string analysis_json(const PoseAnalysis& a) {
  std::string text;
  JsonWriter json(text);
  write_rows(json.begin_object().key("by_joint"), a.joints);
  write_rows(json.key("by_size"), a.sizes);
  write_row(json.key("all"), a.all);
  json.member("stats", a.stats).key("corrected").begin_object();
  for (size_t k = 0; k < a.corrected.size(); ++k) {
    json.member(pose_error_name(static_cast<PoseError>(k + 1)), a.corrected.at(k));
  }
  json.member("all", a.corrected_all).end();
  json.member("people", a.people).member("people_found", a.people_found);
  json.member("detections", a.detections).member("matched", a.detections_matched);
  json.member("ignored", a.detections_ignored).member("duplicates", a.duplicates).member("background", a.background);
  json.end();
  return text;
}

}  // namespace hr

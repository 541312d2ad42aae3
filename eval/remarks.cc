#include "eval/remarks.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "core/counted.h"
#include "core/error.h"

namespace hr {
namespace {

// Returns "1", "1 and 2", "1, 2 and 3" or "1, 2, 3, ...".
std::string listed(const std::set<int64_t>& ids) {
  std::string text;
  size_t n = 0;
  for (const int64_t id : ids) {
    if (n == 3 && ids.size() > 4) return text + ", ...";
    text += n == 0 ? "" : n + 1 == ids.size() ? " and " : ", ";
    text += std::to_string(id);
    ++n;
  }
  return text;
}

bool share(double v) { return v >= 0 && v <= 1; }

// Tells whether all coordinates (of the joints with a third value, or of all joints) lie between 0 and 1, and some are
// not whole numbers.
struct Shares {
  bool all = true, broken = false;
  void add(std::span<const double> joints, bool labelled_only) {
    for (size_t i = 0; i + 2 < joints.size(); i += 3) {
      if (labelled_only && !(joints[i + 2] > 0)) continue;
      all = all && share(joints[i]) && share(joints[i + 1]);
      broken = broken || std::floor(joints[i]) != joints[i] || std::floor(joints[i + 1]) != joints[i + 1];
    }
  }
  bool found() const { return all && broken; }
};

// The middle of the joints' extent; returns false if there are no joints.
bool middle(std::span<const double> joints, double& x, double& y) {
  bool any = false;
  double x0 = 0, x1 = 0, y0 = 0, y1 = 0;
  for (size_t i = 0; i + 2 < joints.size(); i += 3) {
    if (!(joints[i + 2] > 0) || !std::isfinite(joints[i]) || !std::isfinite(joints[i + 1])) continue;
    x0 = any ? std::min(x0, joints[i]) : joints[i];
    x1 = any ? std::max(x1, joints[i]) : joints[i];
    y0 = any ? std::min(y0, joints[i + 1]) : joints[i + 1];
    y1 = any ? std::max(y1, joints[i + 1]) : joints[i + 1];
    any = true;
  }
  x = (x0 + x1) / 2;
  y = (y0 + y1) / 2;
  return any;
}

bool look_like_corners(std::span<const PlacedBox> boxes) {
  double near_corners = 0, near_sizes = 0, offset = 0, size = 0;
  size_t with_joints = 0, with_picture = 0, out_of_picture = 0;
  for (const PlacedBox& p : boxes) {
    const Box& b = p.box;
    if (!(b.x >= 0 && b.y >= 0 && b.w > b.x && b.h > b.y)) return false;
    offset += b.x + b.y;
    size += b.w + b.h;
    double x = 0, y = 0;
    if (middle(p.joints, x, y)) {
      ++with_joints;
      near_corners += std::hypot(x - (b.x + b.w) / 2, y - (b.y + b.h) / 2);
      near_sizes += std::hypot(x - (b.x + b.w / 2), y - (b.y + b.h / 2));
    }
    if (p.width > 0 && p.height > 0) {
      ++with_picture;
      if (b.w > 1.02 * p.width + 1 || b.h > 1.02 * p.height + 1) return false;
      out_of_picture += b.x + b.w > 1.02 * p.width || b.y + b.h > 1.02 * p.height ? 1 : 0;
    }
  }
  // Boxes at the corner of the picture are the same in both readings.
  if (boxes.empty() || offset < 0.1 * size) return false;
  if (2 * with_joints >= boxes.size()) return near_corners < 0.5 * near_sizes;
  return with_picture >= 3 && 2 * out_of_picture >= with_picture;
}

}  // namespace

std::string boxes_look_like(std::span<const PlacedBox> boxes) {
  if (boxes.empty()) return {};
  const auto in_shares = [](const PlacedBox& p) {
    const Box& b = p.box;
    return share(b.x) && share(b.y) && share(b.w) && share(b.h);
  };
  if (std::ranges::all_of(boxes, in_shares) &&
      std::ranges::any_of(boxes, [](const PlacedBox& p) { return p.box.w > 0 && p.box.h > 0; })) {
    return "look like fractions of the picture's width and height (all numbers are 0 to 1)";
  }
  return look_like_corners(boxes) ? "look like two corners (x1, y1, x2, y2)" : "";
}

std::string detector_doubt(const std::vector<CocoDetection>& detections, const CocoAnnotations& pictures,
                           const std::string& name) {
  std::unordered_map<int64_t, const CocoImage*> picture_of;
  for (const CocoImage& image : pictures.images) picture_of[image.id] = &image;
  std::vector<PlacedBox> boxes;
  for (const CocoDetection& d : detections) {
    if (!d.has_box) continue;
    const auto at = picture_of.find(d.image_id);
    const CocoImage* image = at == picture_of.end() ? nullptr : at->second;
    boxes.push_back({d.box, d.keypoints, image != nullptr ? image->width : 0, image != nullptr ? image->height : 0});
  }
  const std::string look = boxes_look_like(boxes);
  if (look.empty()) return {};
  return fmt::format("{}: the boxes {}; they are read as x, y, width, height in pixels", name, look);
}

std::string sigmas_doubt(const Skeleton& skeleton) {
  if (!skeleton.sigmas_assumed) return {};
  const bool as_coco = skeleton.sigmas == coco_skeleton().sigmas;
  return fmt::format(
      "the OKS sigmas of these {} ({}) are not known: {}, so that the numbers cannot be compared with others; a "
      "skeleton file with \"sigmas\" (`skeleton`) gives them",
      counted(skeleton.joints(), "joint"),
      skeleton.joints() > 3 ? fmt::format("{}, {}, {}, ...", skeleton.names[0], skeleton.names[1], skeleton.names[2])
                            : fmt::format("{}", fmt::join(skeleton.names, ", ")),
      as_coco ? "those of COCO's 17 joints were taken, as pycocotools does with any 17"
              : fmt::format("{} was taken for each", skeleton.sigmas.empty() ? 0.0 : skeleton.sigmas[0]));
}

namespace {

// ---- one finder per kind of doubt ----

void nobody_to_find(const EvaluationFacts& f, std::vector<std::string>& out) {
  const auto& c = f.counts;
  int64_t real = 0, in_range = 0;
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    if (f.person_image[i] < 0 || f.person_ignored[i] != 0) continue;
    ++real;
    in_range += f.person_area[i] >= 0 && f.person_area[i] <= 1e10 ? 1 : 0;
  }
  if (in_range > 0) return;
  const std::string nothing = "so every number is -1";
  if (real > 0) {
    out.push_back(fmt::format("there are no people to find: {} an area below 0, {}",
                              real == 1 ? "the only person has" : fmt::format("all {} people have", real), nothing));
  } else if (c.people > 0) {
    std::vector<std::string> why;
    if (c.people_crowd > 0) why.push_back(counted(c.people_crowd, "crowd"));
    if (c.people_without_joints > 0) why.push_back(fmt::format("{} without labelled joints", c.people_without_joints));
    out.push_back(fmt::format("there are no people to find: {} ({}), {}",
                              c.people == 1 ? "the only person of the truth is ignored"
                                            : fmt::format("all {} people of the truth are ignored", c.people),
                              fmt::join(why, ", "), nothing));
  } else if (c.people_other_category > 0) {
    std::set<int64_t> theirs;
    for (const CocoAnnotation& person : f.gt.annotations) theirs.insert(person.category_id);
    out.push_back(
        fmt::format("there are no people to find: the truth's people have category_id {}, evaluated is {}, {}",
                    listed(theirs), fmt::join(f.categories, ", "), nothing));
  } else {
    out.push_back(fmt::format("there are no people to find: the truth has no people{}, {}",
                              c.people_unknown_image > 0 ? " in the pictures that it lists" : "", nothing));
  }
}

void areas(const EvaluationFacts& f, std::vector<std::string>& out) {
  int64_t real = 0, zero = 0, tiny = 0;
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    if (f.person_image[i] < 0 || f.person_ignored[i] != 0) continue;
    ++real;
    zero += f.person_area[i] == 0 ? 1 : 0;
    tiny += f.person_area[i] >= 0 && f.person_area[i] <= 1 ? 1 : 0;
  }
  const std::string effect =
      "their OKS can only be 0 or 1 because distances are divided by the area, and they are neither medium nor large";
  if (zero == real && real > 0) {
    out.push_back(real == 1 ? "the area of the only person is 0: OKS can only be 0 or 1 because distances are divided "
                              "by the area, and there are no people for AP(M) and AP(L)"
                            : fmt::format("the areas of all {} people are 0: OKS can only be 0 or 1 because distances "
                                          "are divided by the area, and there are no people for AP(M) and AP(L)",
                                          real));
  } else if (zero == 1) {
    out.push_back(
        fmt::format("the area of 1 of the {} people is 0: the OKS with it can only be 0 or 1 because "
                    "distances are divided by the area, and it is neither medium nor large",
                    real));
  } else if (zero > 0) {
    out.push_back(fmt::format("the areas of {} of the {} people are 0: {}", zero, real, effect));
  } else if (tiny == real && real > 0) {
    out.push_back(
        "no area in the truth is above 1 square pixel: they look like fractions of the picture, and hardly any "
        "detection can reach the OKS that counts");
  }
}

void id_zero(const EvaluationFacts& f, std::vector<std::string>& out) {
  if (f.options.rules != CocoRules::pycocotools) return;
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    if (f.person_image[i] < 0 || f.person_ignored[i] != 0 || f.gt.annotations[i].id != 0) continue;
    out.push_back(
        fmt::format("annotations[{}] of the truth has id 0: pycocotools never counts it as found, and these are its "
                    "numbers; count the ids from 1 to avoid it, or choose `rules` xtcocotools",
                    i));
    return;
  }
}

// Adds a remark if people and detections never occur in the same category and picture, so that nothing can match.
void never_meet(const EvaluationFacts& f, std::vector<std::string>& out) {
  std::set<int64_t> people_categories, found_categories;
  std::set<std::pair<int, int64_t>> people_at;
  std::set<int> people_pictures;
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    if (f.person_image[i] < 0 || f.person_ignored[i] != 0) continue;
    people_categories.insert(f.gt.annotations[i].category_id);
    people_at.emplace(f.person_image[i], f.gt.annotations[i].category_id);
    people_pictures.insert(f.person_image[i]);
  }
  bool together = false, in_one_picture = false;
  for (size_t i = 0; i < f.dt.size(); ++i) {
    if (f.detection_image[i] >= 0) {
      together = together || people_at.contains({f.detection_image[i], f.dt[i].category_id});
      in_one_picture = in_one_picture || people_pictures.contains(f.detection_image[i]);
    }
    found_categories.insert(f.dt[i].category_id);
  }
  if (together || people_categories.empty() || f.dt.empty() || f.counts.detections_unseen > 0) return;
  const bool same_category =
      std::ranges::any_of(found_categories, [&](int64_t category) { return people_categories.contains(category); });
  if (!same_category) {
    out.push_back(
        fmt::format("the people of the truth that are evaluated have category_id {}, the detections have {}: they "
                    "never match, so no person can be found",
                    listed(people_categories), listed(found_categories)));
  } else if (!in_one_picture && f.counts.detections > 0) {
    out.push_back(
        "no detection is of a picture that has people in the truth: the image ids never match, so no person can be "
        "found");
  } else if (f.counts.detections > 0) {
    out.push_back(
        "no picture has people and detections of the same category: they never match, so no person can be found");
  }
}

void places(const EvaluationFacts& f, std::vector<std::string>& out) {
  std::unordered_map<int64_t, const CocoImage*> picture_of;
  for (const CocoImage& image : f.gt.images) picture_of[image.id] = &image;
  const auto placed = [&](const Box& box, std::span<const double> joints, int64_t image_id) {
    const auto at = picture_of.find(image_id);
    const CocoImage* image = at == picture_of.end() ? nullptr : at->second;
    return PlacedBox{box, joints, image != nullptr ? image->width : 0, image != nullptr ? image->height : 0};
  };
  std::vector<PlacedBox> truth, found;
  Shares truth_shares, found_shares;
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    const CocoAnnotation& person = f.gt.annotations[i];
    if (f.person_image[i] < 0 || f.person_ignored[i] != 0) continue;
    truth_shares.add(person.keypoints, true);
    if ((person.lacks & coco_field::box) == 0) truth.push_back(placed(person.box, person.keypoints, person.image_id));
  }
  for (size_t i = 0; i < f.dt.size(); ++i) {
    if (f.detection_image[i] < 0) continue;
    found_shares.add(f.dt[i].keypoints, false);
    if (f.dt[i].has_box) found.push_back(placed(f.dt[i].box, f.dt[i].keypoints, f.dt[i].image_id));
  }
  for (const auto& [shares, whose] : {std::pair{truth_shares, "truth"}, std::pair{found_shares, "detections"}}) {
    if (!shares.found()) continue;
    out.push_back(
        fmt::format("all joints of the {} lie between 0 and 1: they look like fractions of the picture's width and "
                    "height; joints are compared in pixels",
                    whose));
  }
  if (const std::string look = boxes_look_like(truth); !look.empty()) {
    out.push_back(fmt::format("the boxes of the truth {}; they are read as x, y, width, height in pixels", look));
  }
  if (const std::string look = boxes_look_like(found); !look.empty()) {
    out.push_back(fmt::format(
        "the boxes of the detections {}; they are read as x, y, width, height in pixels and decide which detections "
        "AP(M) and AP(L) count",
        look));
  }
}

void filled_in(const EvaluationFacts& f, std::vector<std::string>& out) {
  struct Default {
    uint8_t field;
    const char *name, *taken;
    int64_t people = 0;
  };
  std::vector<Default> defaults = {{coco_field::iscrowd, "iscrowd", "0"},
                                   {coco_field::num_keypoints, "num_keypoints", "the number of joints with v > 0"},
                                   {coco_field::area, "area", "width x height of the bbox"},
                                   {coco_field::category, "category_id", "1"}};
  if (f.options.rules != CocoRules::pycocotools) return;  // xtcocotools has its own defaults.
  for (size_t i = 0; i < f.person_image.size(); ++i) {
    if (f.person_image[i] < 0 || f.gt.annotations[i].lacks == 0) continue;
    for (Default& d : defaults) d.people += (f.gt.annotations[i].lacks & d.field) != 0 ? 1 : 0;
  }
  std::vector<std::string> texts;
  for (const Default& d : defaults) {
    if (d.people > 0) {
      texts.push_back(fmt::format("\"{}\" of {} is taken as {}", d.name, counted_people(d.people), d.taken));
    }
  }
  if (texts.empty()) return;
  out.push_back(fmt::format("the truth lacks fields without which pycocotools ends: {}", fmt::join(texts, ", ")));
}

}  // namespace

std::vector<std::string> find_doubts(const EvaluationFacts& facts) {
  std::vector<std::string> out;
  nobody_to_find(facts, out);
  never_meet(facts, out);
  areas(facts, out);
  places(facts, out);
  id_zero(facts, out);
  if (!facts.options.sigmas_remark.empty()) out.push_back(facts.options.sigmas_remark);
  filled_in(facts, out);
  return out;
}

}  // namespace hr

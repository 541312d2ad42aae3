#include "data/skeleton.h"

#include <rapidjson/document.h>

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/json.h"

namespace hr {
namespace {

// Quotients, as the reference computes them: .26 / 10 and .026 differ in their last bit.
constexpr double coco_sigmas[17] = {.26 / 10,  .25 / 10, .25 / 10, .35 / 10, .35 / 10, .79 / 10,
                                    .79 / 10,  .72 / 10, .72 / 10, .62 / 10, .62 / 10, 1.07 / 10,
                                    1.07 / 10, .87 / 10, .87 / 10, .89 / 10, .89 / 10};

void fill_sigmas(Skeleton& skeleton) {
  if (skeleton.joints() == 17) {
    skeleton.sigmas.assign(std::begin(coco_sigmas), std::end(coco_sigmas));
  } else {
    skeleton.sigmas.assign(skeleton.names.size(), 0.05);
  }
}

// One field of the file, with the place for messages.
struct Field {
  std::string where;  // "path: field"
  const Json* value = nullptr;

  Field(const Json& document, const std::string& path, const char* name) : where(path + ": " + name) {
    const auto found = document.FindMember(name);
    if (found == document.MemberEnd()) return;
    check(found->value.IsArray(), "{}: expected a list", where);
    value = &found->value;
  }
  unsigned size() const { return value->Size(); }
  const Json& operator[](unsigned i) const { return (*value)[i]; }

  // An index between lowest and lowest + joints - 1, made 0-based.
  int index(const Json& number, unsigned entry, int lowest, int joints) const {
    check(number.IsInt(), "{}[{}]: expected a whole number", where, entry);
    const int i = number.GetInt();
    check(i >= lowest && i < lowest + joints, "{}[{}]: joint {} does not exist, expected {}..{} ({} joints)", where,
          entry, i, lowest, lowest + joints - 1, joints);
    return i - lowest;
  }
  std::vector<std::pair<int, int>> pairs(int lowest, int joints) const {
    std::vector<std::pair<int, int>> out;
    for (unsigned i = 0; value != nullptr && i < size(); ++i) {
      const Json& pair = (*value)[i];
      check(pair.IsArray() && pair.Size() == 2, "{}[{}]: expected a pair of joints", where, i);
      out.emplace_back(index(pair[0], i, lowest, joints), index(pair[1], i, lowest, joints));
      check(out.back().first != out.back().second, "{}[{}]: both ends are joint {}", where, i,
            out.back().first + lowest);
    }
    return out;
  }
  std::vector<int> indices(int joints) const {
    std::vector<int> out;
    for (unsigned i = 0; value != nullptr && i < size(); ++i) out.push_back(index((*value)[i], i, 0, joints));
    return out;
  }
  // Positive finite numbers, one per joint.
  std::vector<double> numbers(int joints) const {
    check(static_cast<int>(size()) == joints, "{}: expected {} numbers, one per joint, got {}", where, joints, size());
    std::vector<double> out;
    for (unsigned i = 0; i < size(); ++i) {
      check((*value)[i].IsNumber(), "{}[{}]: expected a number", where, i);
      out.push_back((*value)[i].GetDouble());
      check(std::isfinite(out.back()) && out.back() > 0, "{}[{}]: expected a number above 0, got {}", where, i,
            out.back());
    }
    return out;
  }
};

}  // namespace

std::vector<int> Skeleton::mirror() const {
  std::vector<int> to(names.size());
  std::iota(to.begin(), to.end(), 0);
  for (const auto& [a, b] : flip_pairs) std::swap(to[a], to[b]);
  return to;
}

const Skeleton& coco_skeleton() {
  static const Skeleton skeleton = [] {
    Skeleton s;
    s.names = {"nose",           "left_eye",   "right_eye",   "left_ear",   "right_ear",   "left_shoulder",
               "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
               "right_hip",      "left_knee",  "right_knee",  "left_ankle", "right_ankle"};
    s.limbs = {{15, 13}, {13, 11}, {16, 14}, {14, 12}, {11, 12}, {5, 11}, {6, 12}, {5, 6}, {5, 7}, {6, 8},
               {7, 9},   {8, 10},  {1, 2},   {0, 1},   {0, 2},   {1, 3},  {2, 4},  {3, 5}, {4, 6}};
    for (int left = 1; left < 17; left += 2) s.flip_pairs.emplace_back(left, left + 1);
    s.joint_weights = {1, 1, 1, 1, 1, 1, 1, 1.2F, 1.2F, 1.5F, 1.5F, 1, 1, 1.2F, 1.2F, 1.5F, 1.5F};
    s.upper_ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    s.lower_ids = {11, 12, 13, 14, 15, 16};
    fill_sigmas(s);
    return s;
  }();
  return skeleton;
}

Skeleton read_skeleton(const fs::path& path) {
  const rapidjson::Document document = parse_json_file(path);
  const std::string file = path.string();
  check(document.IsObject(), "{}: expected an object with keypoints, skeleton, flip_pairs, ...", file);
  Skeleton s;

  const Field names(document, file, "keypoints");
  check(names.value != nullptr && names.size() > 0,
        "{}: keypoints: expected the list of joint names; is this the seed's person_keypoints.json?", file);
  check(names.size() <= 1000, "{}: keypoints: {} joints, at most 1000 are supported", file, names.size());
  for (unsigned i = 0; i < names.size(); ++i) {
    check(names[i].IsString(), "{}[{}]: expected a name", names.where, i);
    s.names.emplace_back(names[i].GetString(), names[i].GetStringLength());
  }
  const int joints = s.joints();

  s.limbs = Field(document, file, "skeleton").pairs(1, joints);
  const Field flips(document, file, "flip_pairs");
  s.flip_pairs = flips.pairs(0, joints);
  std::vector<bool> paired(joints);
  for (const auto& [a, b] : s.flip_pairs) {
    check(!paired[a] && !paired[b], "{}: joint {} is in two pairs", flips.where, paired[a] ? a : b);
    paired[a] = paired[b] = true;
  }
  const Field weights(document, file, "kps_weights");
  if (weights.value != nullptr) {
    for (const double weight : weights.numbers(joints)) s.joint_weights.push_back(static_cast<float>(weight));
  } else {
    s.joint_weights.assign(joints, 1.0F);
  }
  s.upper_ids = Field(document, file, "upper_body_ids").indices(joints);
  const Field lower(document, file, "lower_body_ids");
  s.lower_ids = lower.indices(joints);
  std::vector<int> half(joints);
  for (const int i : s.upper_ids) ++half[i];
  for (const int i : s.lower_ids) ++half[i];
  for (int i = 0; i < joints; ++i) {
    check(half[i] <= 1, "{}: joint {} is listed twice among upper_body_ids and lower_body_ids", file, i);
  }
  const Field sigmas(document, file, "sigmas");
  if (sigmas.value != nullptr) {
    s.sigmas = sigmas.numbers(joints);
  } else {
    fill_sigmas(s);
  }
  return s;
}

}  // namespace hr

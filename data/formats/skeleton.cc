#include "data/formats/skeleton.h"

#include <rapidjson/document.h>
#include <array>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "data/formats/skeleton_files.h"

namespace hr {
namespace {

constexpr size_t max_joints = 1000;
constexpr size_t max_joint_name = 200, max_name = 300;  // In bytes.
constexpr size_t max_limbs = 10'000;
constexpr size_t max_text = 1 << 20;  // In bytes.
constexpr double assumed_sigma = 0.05;

// Turns "COCO-17" and "coco_17" into "coco17".
std::string plain(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') {
      out += static_cast<char>(c - 'A' + 'a');
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      out += c;
    }
  }
  return out;
}

// The name of a joint without its side: {"eye", -1} for left_eye, L_Eye or eye_left. The side is +1 for the right one
// and 0 for none.
struct Sided {
  std::string rest;
  int side = 0;
};
Sided sided(std::string_view name) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool upper = c >= 'A' && c <= 'Z';
    const bool after_lower = i > 0 && name[i - 1] >= 'a' && name[i - 1] <= 'z';
    if (c == '_' || c == '-' || c == ' ' || c == '.') {
      words.emplace_back();
    } else if (upper && after_lower) {  // For names such as leftEye.
      words.emplace_back(1, static_cast<char>(c - 'A' + 'a'));
    } else {
      words.back() += upper ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  Sided out;
  for (const std::string& word : words) {
    const int side = word == "left" || word == "l" ? -1 : word == "right" || word == "r" ? 1 : 0;
    if (side != 0 && out.side == 0) {
      out.side = side;
    } else if (!word.empty()) {
      out.rest += (out.rest.empty() ? "" : "_") + word;
    }
  }
  return out;
}

// Returns whether these are the same joints in the same order. Joints in the middle have too many spellings to be
// compared (head, top_head, Root of tail); the others do not.
bool same_joints(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a.size() != b.size()) return false;
  bool any = false;
  for (size_t k = 0; k < a.size(); ++k) {
    const Sided x = sided(a[k]), y = sided(b[k]);
    if (x.side != y.side || (x.side != 0 && x.rest != y.rest)) return false;
    any = any || x.side != 0;
  }
  return any;
}

struct BuiltIn {
  Skeleton skeleton;
  std::vector<std::string> aliases;  // In the form of plain().
};
const std::vector<BuiltIn>& built_in();

void find_sigmas(Skeleton& skeleton) {
  for (const BuiltIn& known : built_in()) {
    if (!same_joints(known.skeleton.names, skeleton.names)) continue;
    skeleton.sigmas = known.skeleton.sigmas;
    return;
  }
  skeleton.sigmas.assign(skeleton.names.size(), assumed_sigma);
  // pycocotools measures any 17 joints with COCO's sigmas.
  for (const BuiltIn& known : built_in()) {
    if (known.skeleton.name == "coco" && known.skeleton.joints() == skeleton.joints()) {
      skeleton.sigmas = known.skeleton.sigmas;
    }
  }
  skeleton.sigmas_assumed = true;
}

// One field of the file, with its place for messages.
struct Field {
  std::string where;  // "path: field".
  const Json* value = nullptr;

  Field(const Json& document, const std::string& path, const char* name) : where(path + ": " + name) {
    const auto found = document.FindMember(name);
    if (found == document.MemberEnd()) return;
    check(found->value.IsArray(), "{}: expected a list", where);
    value = &found->value;
  }
  unsigned size() const { return value->Size(); }
  const Json& operator[](unsigned i) const { return (*value)[i]; }

  // Reads an index between lowest and lowest + joints - 1 and returns it counted from 0.
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
  // Reads positive finite numbers, one per joint.
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

namespace {

// Returns the number of letters to change, add or remove.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({changed, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

// Unknown fields may be notes of the author. But a field whose name is almost a known one is a misspelling that would
// be ignored silently, so it is an error.
void check_field_names(const Json& document, const std::string& file) {
  static constexpr std::string_view known[] = {"name",           "aliases",    "keypoints",
                                               "skeleton",       "flip_pairs", "kps_weights",
                                               "upper_body_ids", "sigmas",     "lower_body_ids"};
  for (const auto& member : document.GetObject()) {
    const std::string_view field(member.name.GetString(), member.name.GetStringLength());
    if (std::find(std::begin(known), std::end(known), field) != std::end(known)) continue;
    for (const std::string_view name : known) {
      check(name.size() < 5 || edit_distance(field, name) > 2, "{}: unknown field \"{}\"; is \"{}\" meant?", file,
            field, name);
    }
  }
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Weight files carry skeletons and may come from anywhere. Therefore the same limits apply to every source of a
// skeleton.
void check_limits(const Skeleton& s, const std::string& where) {
  for (int k = 0; k < s.joints(); ++k) {
    check(s.names[k].size() <= max_joint_name && !has_control_characters(s.names[k]),
          "{}: keypoints[{}]: expected a name of at most {} printable bytes", where, k, max_joint_name);
  }
  check(s.limbs.size() <= max_limbs, "{}: skeleton: {} limbs, at most {} are supported", where, s.limbs.size(),
        max_limbs);
}

enum class Source {
  built_in,  // It is complete. Looking up its sigmas among the built-in skeletons would be circular.
  file,      // Written by a user; two joints of one name are then an error.
  text,      // Written by skeleton_to_text(), of any skeleton that the program accepts.
};
Skeleton from_json(const Json& document, const std::string& file, Source source) {
  check(document.IsObject(), "{}: expected an object with keypoints, skeleton, flip_pairs, ...", file);
  check_field_names(document, file);
  Skeleton s;
  s.name = file;
  if (const auto name = document.FindMember("name"); name != document.MemberEnd()) {
    check(name->value.IsString() && name->value.GetStringLength() > 0, "{}: name: expected a name", file);
    s.name = name->value.GetString();
    check(s.name.size() <= max_name && !has_control_characters(s.name),
          "{}: name: expected a name of at most {} printable bytes", file, max_name);
  }
  const Field names(document, file, "keypoints");
  check(names.value != nullptr && names.size() > 0,
        "{}: keypoints: expected the list of joint names; is this the seed's person_keypoints.json?", file);
  check(names.size() <= max_joints, "{}: keypoints: {} joints, at most {} are supported", file, names.size(),
        max_joints);
  for (unsigned i = 0; i < names.size(); ++i) {
    check(names[i].IsString(), "{}[{}]: expected a name", names.where, i);
    s.names.emplace_back(names[i].GetString(), names[i].GetStringLength());
    if (source == Source::text) continue;
    check(!s.names.back().empty(), "{}[{}]: expected a name, got nothing", names.where, i);
    const auto same = std::find(s.names.begin(), s.names.end() - 1, s.names.back());
    check(same == s.names.end() - 1, "{}[{}]: \"{}\" is also joint {}", names.where, i, s.names.back(),
          same - s.names.begin());
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
    check(source != Source::built_in, "{}: no sigmas", file);
    find_sigmas(s);
  }
  check_limits(s, file);
  return s;
}

const std::vector<BuiltIn>& built_in() {
  static const std::vector<BuiltIn> all = [] {
    std::vector<BuiltIn> out;
    for (const SkeletonFile& file : skeleton_files()) {
      const std::string where = fmt::format("data/skeletons/{}", file.name);
      const rapidjson::Document document = parse_json(file.json, where);
      BuiltIn entry{from_json(document, where, Source::built_in), {}};
      entry.aliases.push_back(plain(entry.skeleton.name));
      if (const auto aliases = document.FindMember("aliases"); aliases != document.MemberEnd()) {
        for (const Json& alias : aliases->value.GetArray()) entry.aliases.push_back(plain(alias.GetString()));
      }
      out.push_back(std::move(entry));
    }
    return out;
  }();
  return all;
}

const Skeleton* find_built_in(std::string_view name) {
  const std::string wanted = plain(name);
  for (const BuiltIn& entry : built_in()) {
    for (const std::string& alias : entry.aliases) {
      if (wanted == alias || wanted == alias + std::to_string(entry.skeleton.joints())) return &entry.skeleton;
    }
  }
  return nullptr;
}

}  // namespace

const Skeleton& built_in_skeleton(std::string_view name) {
  const Skeleton* found = find_built_in(name);
  check(found != nullptr, "no built-in skeleton \"{}\"; there are {}", name,
        fmt::join(built_in_skeleton_names(), ", "));
  return *found;
}

std::vector<std::string> built_in_skeleton_names() {
  std::vector<std::string> names;
  for (const BuiltIn& entry : built_in()) names.push_back(entry.skeleton.name);
  return names;
}

Skeleton find_skeleton(const std::string& name_or_path) {
  if (name_or_path.empty()) return coco_skeleton();
  // A path has a slash or a dot. A file whose name has neither can be given as ./file.
  if (name_or_path.find_first_of("/.") == std::string::npos) {
    if (const Skeleton* found = find_built_in(name_or_path)) return *found;
    check(fs::exists(name_or_path), "skeleton {}: neither a file nor one of the built-in skeletons ({})", name_or_path,
          fmt::join(built_in_skeleton_names(), ", "));
  }
  return read_skeleton(name_or_path);
}

Skeleton read_skeleton(const fs::path& path) { return from_json(parse_json_file(path), path.string(), Source::file); }

Skeleton parse_skeleton(std::string_view json, const std::string& where) {
  return from_json(parse_json(json, where), where, Source::file);
}

namespace {

// Writes for example [[1,2],[2,3]]; the first joint has the number `lowest`.
void write_pairs(JsonWriter& json, std::string_view key, const std::vector<std::pair<int, int>>& pairs, int lowest) {
  json.key(key).begin_list();
  for (const auto& [a, b] : pairs) json.value(std::array{a + lowest, b + lowest});
  json.end();
}

std::set<std::pair<int, int>> unordered(const std::vector<std::pair<int, int>>& pairs) {
  std::set<std::pair<int, int>> out;
  for (const auto& [a, b] : pairs) out.insert(std::minmax(a, b));
  return out;
}

}  // namespace

std::string skeleton_to_text(const Skeleton& s) {
  for (const BuiltIn& known : built_in()) {
    if (known.skeleton == s) return s.name;
  }
  std::string own = fs::path(s.name).filename().string();
  std::erase_if(own, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (own.empty()) own = "own";
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_object().member("name", own).member("keypoints", s.names);
  write_pairs(json, "skeleton", s.limbs, 1);
  write_pairs(json, "flip_pairs", s.flip_pairs, 0);
  json.member("kps_weights", s.joint_weights);
  json.member("upper_body_ids", s.upper_ids).member("lower_body_ids", s.lower_ids);
  // Sigmas that were assumed are not written, so that they stay assumed.
  if (!s.sigmas_assumed) json.member("sigmas", s.sigmas);
  json.end();
  return text;
}

Skeleton skeleton_from_text(std::string_view text, const std::string& where) {
  check(text.size() <= max_text, "{}: has {} bytes, at most {} are expected", where, text.size(), max_text);
  if (!text.starts_with("{")) {
    // A long text is not a name, and it may contain anything.
    const Skeleton* known = text.size() <= max_joint_name ? find_built_in(text) : nullptr;
    check(known != nullptr, "{}: is neither an object nor the name of a built-in skeleton ({})", where,
          fmt::join(built_in_skeleton_names(), ", "));
    return *known;
  }
  return from_json(parse_json(text, where), where, Source::text);
}

std::string skeleton_difference(const Skeleton& s, const Skeleton& other) {
  const size_t joints = std::min(s.names.size(), other.names.size());
  for (size_t k = 0; k < joints; ++k) {
    if (s.names[k] != other.names[k])
      return fmt::format("joint {} is \"{}\" instead of \"{}\"", k, s.names[k], other.names[k]);
  }
  const std::vector<int> mirror = s.mirror(), others = other.mirror();
  for (size_t k = 0; k < joints; ++k) {
    if (mirror[k] == others[k]) continue;
    return fmt::format("the mirror image of {} is {} instead of {}", s.names[k], s.names[mirror[k]],
                       s.names[others[k]]);
  }
  for (size_t k = 0; k < joints; ++k) {
    if (s.sigmas[k] == other.sigmas[k]) continue;
    return fmt::format("the sigma of {} is {} instead of {}", s.names[k], s.sigmas[k], other.sigmas[k]);
  }
  return unordered(s.limbs) != unordered(other.limbs) ? "the limbs differ" : "";
}

Skeleton skeleton_from_names(std::vector<std::string> names, std::span<const std::pair<int, int>> limbs,
                             const std::string& where, int* dropped_limbs) {
  check(!names.empty(), "{}: the category names no keypoints; give a skeleton file instead", where);
  check(names.size() <= max_joints, "{}: {} joints, at most {} are supported", where, names.size(), max_joints);
  int dropped = 0;
  Skeleton s;
  for (const BuiltIn& entry : built_in()) {
    if (!same_joints(entry.skeleton.names, names)) continue;
    s = entry.skeleton;
    s.names = std::move(names);
    if (dropped_limbs != nullptr) *dropped_limbs = 0;
    check_limits(s, where);
    return s;
  }
  s.name = where;
  s.names = std::move(names);
  const int joints = s.joints();
  for (const auto& [a, b] : limbs) {
    if (a >= 1 && b >= 1 && a <= joints && b <= joints && a != b) {
      s.limbs.emplace_back(a - 1, b - 1);
    } else {
      ++dropped;
    }
  }
  std::map<std::string, std::pair<int, int>> pairs;  // The rest of the name -> left, right.
  static constexpr std::string_view lower_words[] = {"hip", "knee", "ankle", "heel", "toe", "foot", "tail", "pelvis"};
  for (int k = 0; k < joints; ++k) {
    const Sided name = sided(s.names[k]);
    const bool lower = std::any_of(std::begin(lower_words), std::end(lower_words),
                                   [&](std::string_view word) { return name.rest.find(word) != std::string::npos; });
    (lower ? s.lower_ids : s.upper_ids).push_back(k);
    if (name.side == 0) continue;
    auto& pair = pairs.try_emplace(name.rest, -1, -1).first->second;
    int& at = name.side < 0 ? pair.first : pair.second;
    check(at < 0, "{}: joints {} and {} have the same name \"{}\"", where, at, k, s.names[k]);
    at = k;
  }
  for (const auto& [rest, pair] : pairs) {
    if (pair.first >= 0 && pair.second >= 0) s.flip_pairs.push_back(pair);
  }
  std::sort(s.flip_pairs.begin(), s.flip_pairs.end());
  s.joint_weights.assign(s.names.size(), 1.0F);
  find_sigmas(s);
  check_limits(s, where);
  if (dropped_limbs != nullptr) *dropped_limbs = dropped;
  return s;
}

}  // namespace hr

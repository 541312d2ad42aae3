#include "tools/predict/boxes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json.h"
#include "data/formats/coco.h"

namespace hr {
namespace {

// Returns how many components at the end two paths have in common: 2 for a/b/7.jpg and x/b/7.jpg.
int common_end(const fs::path& a, const fs::path& b) {
  int n = 0;
  for (auto i = a.end(), j = b.end(); i != a.begin() && j != b.begin() && *std::prev(i) == *std::prev(j); --i, --j) ++n;
  return n;
}

// Finds the picture that a file name in --boxes refers to: the one with the longest common end of the path.
class PictureNames {
 public:
  PictureNames(const std::vector<fs::path>& pictures, std::string path) : path_(std::move(path)) {
    for (const fs::path& picture : pictures) {
      whole_.push_back(fs::absolute(picture).lexically_normal());
      by_name_[picture.filename().string()].push_back(static_cast<int>(whole_.size()) - 1);
    }
  }
  struct Match {
    int picture = -1;  // The index is -1 if no picture fits.
    int names = 0;     // The two paths have this many last components in common.
  };
  // Returns the best match. Throws Error if two pictures fit equally well.
  Match operator()(const fs::path& name) const {
    Match best;
    bool twice = false;
    const auto same = by_name_.find(name.filename().string());
    if (same == by_name_.end()) return best;
    for (const int i : same->second) {
      const int n = common_end(name, whole_[i]);
      if (n == best.names) twice = true;
      if (n > best.names) {
        best = {i, n};
        twice = false;
      }
    }
    check(!twice, "--boxes {}: {} may be {} as well as another picture; write the folder into the file's name, too",
          path_, name.string(), whole_[best.picture].string());
    return best;
  }

 private:
  std::string path_;
  std::vector<fs::path> whole_;
  std::map<std::string, std::vector<int>> by_name_;
};

void add_annotations(Boxes& boxes, const std::string& path, const std::vector<fs::path>& pictures) {
  // A person whose numbers cannot be used gets no pose, and the other people of the file keep theirs.
  BadSamples bad;
  const CocoAnnotations annotations = read_coco(path, 0, &bad);
  const PictureNames names(pictures, path);
  std::map<int64_t, int> index;
  std::vector<int> quality(pictures.size());
  for (const CocoImage& image : annotations.images) {
    const auto [i, fit] = names(image.file_name);
    // If several images of the file have the same name in different folders, the picture takes the one whose folders
    // agree best.
    if (i < 0 || fit <= quality[i]) continue;
    if (quality[i] > 0) index.erase(boxes.pictures[i].id);
    quality[i] = fit;
    index[image.id] = i;
    boxes.pictures[i] = {image.id, image.file_name, image.width, image.height, std::vector<People::Person>{}};
  }
  size_t people = 0;
  for (const CocoAnnotation& person : annotations.annotations) {
    const auto found = index.find(person.image_id);
    const bool usable = person.box.w > 0 && person.box.h > 0 && std::isfinite(person.box.x + person.box.w) &&
                        std::isfinite(person.box.y + person.box.h);
    if (found == index.end() || person.iscrowd || !usable) continue;
    boxes.pictures[found->second].people->push_back({person.box, 1, person.category_id});
    ++people;
  }
  check(people > 0, "--boxes {}: has no boxes for the {} given; their file names must match", path,
        counted(pictures.size(), "picture"));
  // Pictures that the file does not list get ids that the file does not use.
  int64_t next = 0;
  for (const CocoImage& image : annotations.images) next = std::max(next, image.id);
  for (Boxes::Picture& picture : boxes.pictures) {
    if (picture.people) continue;
    picture.id = ++next;
    picture.people.emplace();
  }
}

// Reads a list for --boxes with entries such as {"file_name": "a.jpg", "bbox": [x, y, w, h], "score": 0.9,
// "category_id": 1}. An entry may have "image_id": N instead of a name and then belongs to the picture N.jpg or
// 00..N.jpg, as in a COCO detection file. Entries of pictures that were not given are ignored.
void add_list(Boxes& boxes, const Json& list, const std::string& path, const std::vector<fs::path>& pictures) {
  check(list.IsArray(),
        "--boxes {}: expected a COCO annotation file, or a list of {{\"file_name\", \"bbox\": [x, y, w, h]}}", path);
  const PictureNames names(pictures, path);
  std::map<int64_t, int> by_number;
  for (size_t i = 0; i < pictures.size(); ++i) {
    boxes.pictures[i].people.emplace();
    const std::string stem = pictures[i].stem().string();
    if (!stem.empty() && stem.size() < 18 && stem.find_first_not_of("0123456789") == std::string::npos) {
      by_number[std::stoll(stem)] = static_cast<int>(i);
    }
  }
  size_t index = 0, used = 0;
  bool numbered = false;
  for (const Json& entry : list.GetArray()) {
    const auto complain = [&](const char* what) { fail("--boxes {}: entry {}: {}", path, index, what); };
    if (!entry.IsObject()) complain("expected an object with file_name and bbox");
    People::Person person;
    int picture = -1;
    if (const auto name = entry.FindMember("file_name"); name != entry.MemberEnd()) {
      if (!name->value.IsString()) complain("file_name is not a string");
      picture = names(name->value.GetString()).picture;
    } else if (const auto id = entry.FindMember("image_id"); id != entry.MemberEnd() && id->value.IsInt64()) {
      numbered = true;
      const auto found = by_number.find(id->value.GetInt64());
      if (found != by_number.end()) picture = found->second;
    } else {
      complain("needs file_name (or a whole-number image_id)");
    }
    const auto box = entry.FindMember("bbox");
    if (box == entry.MemberEnd() || !box->value.IsArray() || box->value.Size() != 4)
      complain("needs bbox: [x, y, width, height]");
    double v[4];
    for (rapidjson::SizeType i = 0; i < 4; ++i) {
      if (!box->value[i].IsNumber()) complain("bbox must hold four numbers");
      v[i] = box->value[i].GetDouble();
    }
    if (!(v[2] > 0 && v[3] > 0)) complain("bbox needs a width and height above 0");
    person.box = {v[0], v[1], v[2], v[3]};
    if (const auto score = entry.FindMember("score"); score != entry.MemberEnd() && score->value.IsNumber())
      person.score = score->value.GetDouble();
    if (const auto category = entry.FindMember("category_id");
        category != entry.MemberEnd() && category->value.IsInt64())
      person.category = category->value.GetInt64();
    if (picture >= 0) {
      boxes.pictures[picture].people->push_back(person);
      ++used;
    }
    ++index;
  }
  check(used > 0, "--boxes {}: none of its {} belongs to the {} given; file_name must match", path,
        counted(index, "entry", "entries"), counted(pictures.size(), "picture"));
  if (!numbered) return;
  // The numbers in the file names are image ids, so the poses carry them, too. Pictures without a number get other ids.
  int64_t next = by_number.empty() ? 0 : by_number.rbegin()->first;
  std::set<int> with_number;
  for (const auto& [number, picture] : by_number) {
    boxes.pictures[picture].id = number;
    with_number.insert(picture);
  }
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (!with_number.contains(static_cast<int>(i))) boxes.pictures[i].id = ++next;
  }
}

}  // namespace

Boxes read_boxes(const std::string& path, const std::vector<fs::path>& pictures) {
  Boxes boxes;
  for (size_t i = 0; i < pictures.size(); ++i) {
    boxes.pictures.push_back({static_cast<int64_t>(i) + 1, pictures[i].filename().string(), 0, 0, std::nullopt});
  }
  if (path.empty()) return boxes;
  const rapidjson::Document document = parse_json_file(path);
  if (document.IsObject() && document.HasMember("annotations")) {
    add_annotations(boxes, path, pictures);
  } else {
    add_list(boxes, document, path, pictures);
  }
  return boxes;
}

}  // namespace hr

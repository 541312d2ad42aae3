#include "data/formats/labels_json.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/io/json.h"

namespace hr::labels {
namespace {

// A value of a JSON file, and its place in the file for messages. Throws Error "file: place: expected ..." if a value
// is of another type than expected.
class Node {
 public:
  Node(const Json& value, std::string place) : value_(value), place_(std::move(place)) {}

  std::optional<Node> find(const char* name) const {
    if (!value_.IsObject()) wrong("an object");
    const auto at = value_.FindMember(name);
    if (at == value_.MemberEnd() || at->value.IsNull()) return std::nullopt;
    return Node(at->value, fmt::format("{}: {}", place_, name));
  }
  Node at(const char* name) const {
    auto found = find(name);
    if (!found) fail("{}: no \"{}\"", place_, name);
    return *std::move(found);
  }
  std::vector<Node> list(size_t at_least = 0) const {
    if (!value_.IsArray() || value_.Size() < at_least) {
      wrong(at_least == 0 ? "a list" : fmt::format("a list of at least {}", at_least).c_str());
    }
    std::vector<Node> out;
    out.reserve(value_.Size());
    for (rapidjson::SizeType i = 0; i < value_.Size(); ++i)
      out.emplace_back(value_[i], fmt::format("{}[{}]", place_, i));
    return out;
  }
  double number() const {
    if (!value_.IsNumber() || !std::isfinite(value_.GetDouble())) wrong("a number");
    return value_.GetDouble();
  }
  int pixels() const {
    const double v = number();
    if (v < 1 || v > 1 << 20) wrong("a number of pixels");
    return static_cast<int>(v);
  }
  std::string text() const {
    if (!value_.IsString()) wrong("a text");
    return {value_.GetString(), value_.GetStringLength()};
  }
  // Returns true if a member of the object is true, and false for anything but an object.
  bool any_true() const {
    return value_.IsObject() && std::any_of(value_.MemberBegin(), value_.MemberEnd(),
                                            [](const auto& m) { return m.value.IsBool() && m.value.GetBool(); });
  }
  bool is_true() const { return value_.IsBool() && value_.GetBool(); }
  const Json& value() const { return value_; }
  const std::string& place() const { return place_; }

 private:
  [[noreturn]] void wrong(const char* expected) const { fail("{}: expected {}", place_, expected); }

  const Json& value_;
  std::string place_;
};

void add_point(Thing& thing, const std::string& joint, const Point& point, const Node& where) {
  check(thing.points.emplace(joint, point).second,
        "{}: the joint \"{}\" occurs twice in one person; give each person an own rectangle or group", where.place(),
        joint);
}

LabelledPicture labelme_page(const Node& page) {
  LabelledPicture picture;
  picture.image.file_name = page.at("imagePath").text();
  std::replace(picture.image.file_name.begin(), picture.image.file_name.end(), '\\', '/');
  picture.image.width = page.at("imageWidth").pixels();
  picture.image.height = page.at("imageHeight").pixels();
  std::vector<std::pair<std::string, Thing>> groups;  // By the text of group_id, in the order of the file.
  for (const Node& shape : page.at("shapes").list()) {
    const auto id = shape.find("group_id");
    const std::string group = !id ? "" : id->value().IsString() ? id->text() : fmt::format("{}", id->number());
    auto thing = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == group; });
    if (thing == groups.end()) thing = groups.insert(groups.end(), {group, Thing{}});
    const std::string kind = shape.at("shape_type").text();
    if (kind != "rectangle" && kind != "point") continue;
    double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
    for (const Node& point : shape.at("points").list(kind == "point" ? 1 : 2)) {
      const auto xy = point.list(2);
      x0 = std::min(x0, xy[0].number()), x1 = std::max(x1, xy[0].number());
      y0 = std::min(y0, xy[1].number()), y1 = std::max(y1, xy[1].number());
    }
    if (kind == "rectangle") {
      thing->second.box = Box{x0, y0, x1 - x0, y1 - y0};
    } else {
      const auto flags = shape.find("flags");
      add_point(thing->second, shape.at("label").text(), {x0, y0, flags && flags->any_true() ? 1 : 2}, shape);
    }
  }
  for (auto& [group, thing] : groups) picture.things.push_back(std::move(thing));
  return picture;
}

// Decodes %41 to A.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) {
      return at < text.size() ? std::string_view("0123456789abcdef").find(static_cast<char>(std::tolower(text[at])))
                              : std::string_view::npos;
    };
    if (text[i] == '%' && digit(i + 1) != std::string_view::npos && digit(i + 2) != std::string_view::npos) {
      out += static_cast<char>(16 * digit(i + 1) + digit(i + 2));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Label Studio names an uploaded picture by its address, and one of a local folder by the query d of the address.
std::string picture_name(std::string_view address) {
  address = address.substr(0, address.find('#'));
  const size_t mark = address.find('?');
  std::string path = percent_decoded(address.substr(0, mark));
  if (mark != std::string_view::npos) {
    std::string_view query = address.substr(mark + 1);
    while (!query.empty()) {
      const std::string_view item = query.substr(0, query.find('&'));
      if (item.starts_with("d=")) path = percent_decoded(item.substr(2));
      query.remove_prefix(std::min(query.size(), item.size() + 1));
    }
  }
  return path.substr(path.rfind('/') + 1);
}

std::string name_of(const Node& data) {
  if (const auto image = data.find("image")) return picture_name(image->text());
  for (auto m = data.value().MemberBegin(); m != data.value().MemberEnd(); ++m) {
    if (m->value.IsString()) return picture_name(m->value.GetString());
  }
  fail("{}: no address of a picture", data.place());
}

// Returns the rectangle with the smallest area around a point, or null.
Thing* smallest_around(std::vector<std::pair<std::string, Thing>>& boxes, double x, double y) {
  Thing* best = nullptr;
  for (auto& [id, thing] : boxes) {
    const Box& b = *thing.box;
    if (x < b.x || x > b.x + b.w || y < b.y || y > b.y + b.h) continue;
    if (best == nullptr || b.w * b.h < best->box->w * best->box->h) best = &thing;
  }
  return best;
}

// Returns nothing for a task in which nothing is labelled.
std::optional<LabelledPicture> label_studio_task(const Node& task) {
  const auto annotations = task.find("annotations");
  if (!annotations) return std::nullopt;
  std::optional<Node> done;
  for (const Node& annotation : annotations->list()) {
    const auto cancelled = annotation.find("was_cancelled");
    if (!done && !(cancelled && cancelled->is_true())) done.emplace(annotation);
  }
  if (!done) return std::nullopt;
  LabelledPicture picture;
  std::vector<std::pair<std::string, Thing>> boxes;  // By the id of the region.
  std::vector<std::pair<Node, Point>> points;
  for (const Node& region : done->at("result").list()) {
    if (!region.find("original_width")) continue;
    picture.image.width = region.at("original_width").pixels();
    picture.image.height = region.at("original_height").pixels();
    const Node value = region.at("value");
    const std::string kind = region.at("type").text();
    const auto in_pixels = [&](const char* name, int size) { return value.at(name).number() * size / 100; };
    const int w = picture.image.width, h = picture.image.height;
    if (kind == "rectanglelabels") {
      boxes.emplace_back(
          region.at("id").text(),
          Thing{Box{in_pixels("x", w), in_pixels("y", h), in_pixels("width", w), in_pixels("height", h)}, {}});
    } else if (kind == "keypointlabels") {
      points.emplace_back(region, Point{in_pixels("x", w), in_pixels("y", h), 2});
    }
  }
  if (picture.image.width == 0) return std::nullopt;
  Thing alone;
  for (const auto& [region, point] : points) {
    const auto parent = region.find("parentID");
    const auto named = std::find_if(boxes.begin(), boxes.end(),
                                    [&](const auto& box) { return parent && box.first == parent->text(); });
    Thing* owner = named != boxes.end() ? &named->second : smallest_around(boxes, point.x, point.y);
    add_point(owner == nullptr ? alone : *owner, region.at("value").at("keypointlabels").list(1)[0].text(), point,
              region);
  }
  for (auto& [id, thing] : boxes) picture.things.push_back(std::move(thing));
  picture.things.push_back(std::move(alone));
  picture.image.file_name = name_of(task.at("data"));
  return picture;
}

}  // namespace

std::vector<LabelledPicture> read_labelme(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<LabelledPicture> pictures;
  for (const fs::path& file : files) {
    const auto page = parse_json_file(file);
    if (page.IsObject() && page.HasMember("shapes")) pictures.push_back(labelme_page({page, file.string()}));
  }
  check(!pictures.empty(), "{}: the folder has no JSON file of labelme (an object with \"shapes\")", folder.string());
  return pictures;
}

std::vector<LabelledPicture> read_label_studio(const fs::path& file) {
  const auto tasks = parse_json_file(file);
  std::vector<LabelledPicture> pictures;
  for (const Node& task : Node(tasks, file.string()).list()) {
    if (auto picture = label_studio_task(task)) pictures.push_back(*std::move(picture));
  }
  check(!pictures.empty(), "{}: nothing is labelled in any of the {} tasks", file.string(), tasks.Size());
  return pictures;
}

}  // namespace hr::labels

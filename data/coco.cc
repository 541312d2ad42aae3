#include "data/coco.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/json.h"

namespace hr {
namespace {

// A scalar of the file; the text lives only during the call.
struct Scalar {
  enum class Kind { null, boolean, whole, real, text, list, object } kind = Kind::null;
  int64_t whole = 0;
  double real = 0;
  std::string_view text;

  bool is_number() const { return kind == Kind::whole || kind == Kind::real; }
  const char* name() const {
    static constexpr const char* names[] = {"null",     "true or false", "a number", "a number",
                                            "a string", "a list",        "an object"};
    return names[static_cast<int>(kind)];
  }
};

constexpr unsigned bit(int i) { return 1U << i; }

// The i-th number of a bbox list; more than four are counted by the caller.
void set_side(Box& box, size_t i, double value) {
  double* const sides[] = {&box.x, &box.y, &box.w, &box.h};
  if (i < 4) *sides[i] = value;
}

// The event handler shared by both kinds of file. It follows
//   { section: [ { field: scalar | [scalar, ...] | [[scalar, ...], ...] }, ... ], ... }
// and, with `list_file`, the same without the outer object (one section ""). Everything that the file kind does not
// know costs a counter: most of an annotation file is segmentation polygons.
//
// A file kind (derived class) has: bool section(name), int field(name) (-1: unknown), void begin(), void end(),
// void value(field, Scalar) for scalars, void item(field, depth, Scalar) for list items (depth 1: in the field's list,
// 2: in a list inside), void open(field, depth) when such a list starts.
template <class Kind>
class Events : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Events<Kind>> {
 public:
  Events(std::string path, bool list_file) : path_(std::move(path)), list_file_(list_file) {}

  bool Null() { return scalar({}); }
  bool Bool(bool b) { return scalar({Scalar::Kind::boolean, static_cast<int64_t>(b), static_cast<double>(b), {}}); }
  bool Int(int i) { return Int64(i); }
  bool Uint(unsigned i) { return Int64(i); }
  bool Int64(int64_t i) { return scalar({Scalar::Kind::whole, i, static_cast<double>(i), {}}); }
  bool Uint64(uint64_t i) {
    return i <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ? Int64(static_cast<int64_t>(i))
                                                                           : Double(static_cast<double>(i));
  }
  bool Double(double d) {
    // 785.0 is as good as 785 for an id; beyond 2^53 a double no longer says which whole number was meant.
    if (std::abs(d) <= 0x1p53 && d == std::floor(d))
      return scalar({Scalar::Kind::whole, static_cast<int64_t>(d), d, {}});
    return scalar({Scalar::Kind::real, 0, d, {}});
  }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    return scalar({Scalar::Kind::text, 0, 0, std::string_view(text, size)});
  }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    if (skipping_ > 0) return true;
    const std::string_view name(text, size);
    if (level_ == 1) {
      section_ = name;
      index_ = 0;
    } else if (level_ == 3) {
      field_ = kind().field(name);
      field_name_ = name;
    }
    return true;
  }
  bool StartObject() {
    if (skipping_ > 0) return skip();
    if (level_ == 0) {
      if (list_file_) wrong_root("an object");
      level_ = 1;
    } else if (level_ == 1) {
      if (kind().section(section_)) wrong_section("an object");
      return skip();
    } else if (level_ == 2) {
      level_ = 3;
      field_ = -1;
      has_id_ = false;
      kind().begin();
    } else if (field_ < 0) {
      return skip();
    } else {
      Scalar object;
      object.kind = Scalar::Kind::object;
      scalar(object);
    }
    return true;
  }
  bool EndObject(rapidjson::SizeType) {
    if (skipping_ > 0) return unskip();
    if (level_ == 3) {
      kind().end();
      ++index_;
    }
    --level_;
    return true;
  }
  bool StartArray() {
    if (skipping_ > 0) return skip();
    if (level_ == 0) {
      if (!list_file_) wrong_root("a list");
      level_ = 2;
      section_.clear();
    } else if (level_ == 1) {
      if (!kind().section(section_)) return skip();
      level_ = 2;
    } else if (level_ == 2) {
      fail("{}: {}: expected an object, got a list", path_, place());
    } else if (field_ < 0) {
      return skip();
    } else {
      ++level_;
      kind().open(field_, level_ - 3);
    }
    return true;
  }
  bool EndArray(rapidjson::SizeType) {
    if (skipping_ > 0) return unskip();
    level_ = list_file_ && level_ == 2 ? 0 : level_ - 1;
    return true;
  }

  // Parses the whole file; Error with line and column when it is not JSON.
  static void run(Kind& kind, std::string_view text, const std::string& path) {
    rapidjson::Reader reader;
    rapidjson::MemoryStream stream(text.data(), text.size());
    constexpr unsigned flags = rapidjson::kParseIterativeFlag |  // deep nesting must not overflow the stack
                               rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag;
    const rapidjson::ParseResult result = reader.Parse<flags>(stream, kind);
    if (result.IsError()) {
      fail("{}:{}: not valid JSON: {}", path, line_and_column(text, result.Offset()),
           rapidjson::GetParseError_En(result.Code()));
    }
    if (kind.root_wrong_) kind.wrong_root("a single value");
  }

 protected:
  const std::string& path() const { return path_; }
  const std::string& section_name() const { return section_; }
  size_t index() const { return index_; }
  void set_id(int64_t id) {
    id_ = id;
    has_id_ = true;
  }
  // "annotations[12] (id 5)"
  std::string place() const {
    const std::string entry = fmt::format("{}[{}]", section_.empty() ? "entry " : section_, index_);
    return has_id_ ? fmt::format("{} (id {})", entry, id_) : entry;
  }
  [[noreturn]] void wrong(std::string_view expected, const Scalar& got) const {
    const std::string text = got.is_number() ? fmt::format("{}", got.real) : got.name();
    fail("{}: {}: {}: expected {}, got {}", path_, place(), field_name_, expected, text);
  }
  int64_t whole(const Scalar& s) const {
    if (s.kind != Scalar::Kind::whole) wrong("a whole number", s);
    return s.whole;
  }
  double finite(const Scalar& s) const {
    if (!s.is_number() || !std::isfinite(s.real)) wrong("a number", s);
    return s.real;
  }

 private:
  Kind& kind() { return static_cast<Kind&>(*this); }
  bool skip() {
    ++skipping_;
    return true;
  }
  bool unskip() {
    --skipping_;
    return true;
  }
  bool scalar(const Scalar& s) {
    if (skipping_ > 0) return true;
    if (level_ >= 4) {
      kind().item(field_, level_ - 3, s);
    } else if (level_ == 3) {
      if (field_ >= 0) kind().value(field_, s);
    } else if (level_ == 2) {
      fail("{}: {}: expected an object, got {}", path_, place(), s.name());
    } else if (level_ == 1) {
      if (kind().section(section_)) wrong_section(s.name());
    } else {
      root_wrong_ = true;  // said after the whole file proved to be JSON
    }
    return true;
  }
  [[noreturn]] void wrong_root(const char* got) const {
    fail("{}: expected {} at the top, got {}", path_,
         list_file_ ? "a list of results" : "an object with images and annotations", got);
  }
  [[noreturn]] void wrong_section(const char* got) const {
    fail("{}: {}: expected a list, got {}", path_, section_, got);
  }

  std::string path_, section_, field_name_;
  bool list_file_;
  int level_ = 0;     // 1: in the outer object, 2: in a section's list, 3: in an entry, 4..: in a field's lists
  int skipping_ = 0;  // nesting inside something unknown
  int field_ = -1;
  size_t index_ = 0;  // of the entry
  int64_t id_ = 0;
  bool has_id_ = false;
  bool root_wrong_ = false;
};

class AnnotationEvents : public Events<AnnotationEvents> {
 public:
  AnnotationEvents(const std::string& path, int joints) : Events(path, false), joints_(joints) { out.path = path; }

  CocoAnnotations out;

  bool section(std::string_view name) {
    if (name == "images") return enter(images);
    if (name == "annotations") return enter(annotations);
    if (name == "categories") return enter(categories);
    return false;
  }

  int field(std::string_view name) const {
    static constexpr std::string_view names[] = {"id",          "file_name", "width",   "height",  "image_id",
                                                 "category_id", "bbox",      "area",    "iscrowd", "num_keypoints",
                                                 "keypoints",   "name",      "skeleton"};
    static constexpr unsigned known[] = {bit(id) | bit(file_name) | bit(width) | bit(height),
                                         bit(id) | bit(image_id) | bit(category_id) | bit(bbox) | bit(area) |
                                             bit(iscrowd) | bit(num_keypoints) | bit(keypoints),
                                         bit(id) | bit(name_) | bit(keypoints) | bit(skeleton)};
    for (int f = 0; f < fields; ++f) {
      if (name == names[f]) return (known[kind_] & bit(f)) != 0 ? f : -1;
    }
    return -1;
  }

  void begin() {
    seen_ = 0;
    boxed_ = 0;
    image_ = {};
    annotation_ = {};
    category_ = {};
  }

  void value(int f, const Scalar& s) {
    seen_ |= bit(f);
    switch (f) {
      case id:
        image_.id = annotation_.id = category_.id = whole(s);
        set_id(whole(s));
        break;
      case file_name:
        if (s.kind != Scalar::Kind::text || s.text.empty()) wrong("a file name", s);
        image_.file_name = s.text;
        break;
      case width:
        image_.width = side(s);
        break;
      case height:
        image_.height = side(s);
        break;
      case image_id:
        annotation_.image_id = whole(s);
        break;
      case category_id:
        annotation_.category_id = whole(s);
        break;
      case area:
        annotation_.area = finite(s);
        break;
      case iscrowd:
        if (s.kind != Scalar::Kind::boolean && s.kind != Scalar::Kind::whole) wrong("0 or 1", s);
        annotation_.iscrowd = s.whole != 0;
        break;
      case num_keypoints: {
        const int64_t n = whole(s);
        if (n < 0 || n > 1000000) wrong("a number of joints", s);
        annotation_.num_keypoints = static_cast<int>(n);
        break;
      }
      case name_:
        if (s.kind != Scalar::Kind::text) wrong("a string", s);
        category_.name = s.text;
        break;
      case skeleton:
        wrong("a list of pairs", s);
      case bbox:
        wrong("a list of 4 numbers", s);
      default:
        wrong("a list", s);
    }
  }

  void open(int f, int depth) {
    seen_ |= bit(f);
    const bool is_list = f == bbox || f == keypoints || f == skeleton;
    if (!is_list || depth > (f == skeleton ? 2 : 1)) {
      Scalar list;
      list.kind = Scalar::Kind::list;
      wrong(is_list ? "numbers in the list" : "a single value", list);
    }
    if (depth == 2) pair_ = 0;
  }

  void item(int f, int depth, const Scalar& s) {
    if (f == skeleton) {
      if (depth != 2) wrong("pairs of joints in the list", s);
      const int64_t joint = whole(s);
      if (pair_ > 1 || joint < 0 || joint > 1000000) wrong("pairs of joints", s);
      if (pair_ == 0) category_.skeleton.emplace_back(0, 0);
      (pair_ == 0 ? category_.skeleton.back().first : category_.skeleton.back().second) = static_cast<int>(joint);
      ++pair_;
    } else if (kind_ == categories) {
      if (s.kind != Scalar::Kind::text) wrong("names in the list", s);
      category_.keypoints.emplace_back(s.text);
    } else if (f == bbox) {
      set_side(annotation_.box, boxed_++, finite(s));
    } else {
      annotation_.keypoints.push_back(finite(s));
    }
  }

  void end() {
    switch (kind_) {
      case images:
        require(id, "id");
        require(file_name, "file_name");
        unique(image_ids_, image_.id, "images");
        out.images.push_back(std::move(image_));
        break;
      case annotations:
        end_annotation();
        break;
      default:
        out.categories.push_back(std::move(category_));
    }
  }

  void finish() {
    check((sections_ & bit(images)) != 0, "{}: no \"images\"; expected a COCO person_keypoints file", path());
    check((sections_ & bit(annotations)) != 0, "{}: no \"annotations\"; expected a COCO person_keypoints file", path());
    // Images may stand after the annotations in the file.
    for (size_t i = 0; i < out.annotations.size(); ++i) {
      const CocoAnnotation& a = out.annotations[i];
      check(image_ids_.count(a.image_id) != 0, "{}: annotations[{}] (id {}): image_id {} is not among the {} images",
            path(), i, a.id, a.image_id, out.images.size());
    }
  }

 private:
  enum SectionKind { images, annotations, categories };
  enum FieldKind {
    id,
    file_name,
    width,
    height,
    image_id,
    category_id,
    bbox,
    area,
    iscrowd,
    num_keypoints,
    keypoints,
    name_,
    skeleton,
    fields
  };

  bool enter(SectionKind kind) {
    kind_ = kind;
    sections_ |= bit(kind);
    return true;
  }
  int side(const Scalar& s) const {
    const int64_t pixels = whole(s);
    if (pixels < 1 || pixels > std::numeric_limits<int>::max()) wrong("a size in pixels", s);
    return static_cast<int>(pixels);
  }
  void require(int f, const char* name) const {
    check((seen_ & bit(f)) != 0, "{}: {}: no \"{}\"", path(), place(), name);
  }
  void unique(std::unordered_map<int64_t, size_t>& ids, int64_t value, const char* list) {
    const auto [at, fresh] = ids.emplace(value, index());
    check(fresh, "{}: {}: the id is already used by {}[{}]", path(), place(), list, at->second);
  }
  void end_annotation() {
    CocoAnnotation& a = annotation_;
    require(id, "id");
    require(image_id, "image_id");
    require(bbox, "bbox");
    check(boxed_ == 4, "{}: {}: bbox: expected 4 numbers (x, y, width, height), got {}", path(), place(), boxed_);
    const size_t n = a.keypoints.size();
    if (n == 0) {
      // Crowds and other categories may do without; a person may not when the caller needs joints.
      check(joints_ == 0 || a.iscrowd || a.category_id != 1,
            "{}: {}: no keypoints; expected {} ({} joints x 3). Is this an instances file instead of person_keypoints?",
            path(), place(), 3 * joints_, joints_);
    } else if (joints_ != 0) {
      check(n == static_cast<size_t>(joints_) * 3,
            "{}: {}: keypoints: expected {} numbers ({} joints x 3), got {}; does --num-joints fit this file?", path(),
            place(), 3 * joints_, joints_, n);
    } else {
      check(n % 3 == 0, "{}: {}: keypoints: expected x, y, v per joint, got {} numbers", path(), place(), n);
      if (common_ == 0) common_ = n;
      check(n == common_, "{}: {}: keypoints: expected {} numbers as in the annotations before, got {}", path(),
            place(), common_, n);
    }
    if ((seen_ & bit(area)) == 0) a.area = a.box.w * a.box.h;
    if ((seen_ & bit(num_keypoints)) == 0) {
      for (size_t i = 2; i < n; i += 3) a.num_keypoints += static_cast<int>(a.keypoints[i] > 0);
    }
    unique(annotation_ids_, a.id, "annotations");
    out.annotations.push_back(std::move(a));
  }

  int joints_;
  SectionKind kind_ = images;
  unsigned sections_ = 0, seen_ = 0;
  int pair_ = 0;
  size_t boxed_ = 0, common_ = 0;
  CocoImage image_;
  CocoAnnotation annotation_;
  CocoCategory category_;
  std::unordered_map<int64_t, size_t> image_ids_, annotation_ids_;
};

class DetectionEvents : public Events<DetectionEvents> {
 public:
  explicit DetectionEvents(const std::string& path) : Events(path, true) {}

  std::vector<CocoDetection> out;

  static bool section(std::string_view) { return true; }
  static int field(std::string_view name) {
    static constexpr std::string_view names[] = {"image_id", "category_id", "bbox", "keypoints", "score"};
    for (int f = 0; f < 5; ++f) {
      if (name == names[f]) return f;
    }
    return -1;
  }
  void begin() {
    seen_ = 0;
    boxed_ = 0;
    detection_ = {};
  }
  void value(int f, const Scalar& s) {
    seen_ |= bit(f);
    switch (f) {
      case image_id:
        detection_.image_id = whole(s);
        break;
      case category_id:
        detection_.category_id = whole(s);
        break;
      case score:
        if (!s.is_number()) wrong("a number", s);
        detection_.score = s.real;
        break;
      default:
        wrong("a list of numbers", s);
    }
  }
  void open(int f, int depth) {
    seen_ |= bit(f);
    if ((f == bbox || f == keypoints) && depth == 1) return;
    Scalar list;
    list.kind = Scalar::Kind::list;
    wrong(depth == 1 ? "a single value" : "numbers in the list", list);
  }
  void item(int f, int, const Scalar& s) {
    // Results may hold NaN (a diverged network): the evaluator has rules for it.
    if (!s.is_number()) wrong("numbers in the list", s);
    if (f == keypoints) {
      detection_.keypoints.push_back(s.real);
    } else {
      set_side(detection_.box, boxed_++, finite(s));
    }
  }
  void end() {
    require(image_id, "image_id");
    require(score, "score");
    detection_.has_box = (seen_ & bit(bbox)) != 0;
    check(!detection_.has_box || boxed_ == 4, "{}: {}: bbox: expected 4 numbers (x, y, width, height), got {}", path(),
          place(), boxed_);
    const size_t n = detection_.keypoints.size();
    check(n % 3 == 0, "{}: {}: keypoints: expected x, y, score per joint, got {} numbers", path(), place(), n);
    check(n != 0 || (seen_ & bit(keypoints)) == 0, "{}: {}: keypoints: the list is empty", path(), place());
    check(detection_.has_box || n != 0, "{}: {}: neither \"bbox\" nor \"keypoints\"", path(), place());
    out.push_back(std::move(detection_));
  }

 private:
  enum FieldKind { image_id, category_id, bbox, keypoints, score };
  void require(int f, const char* name) const {
    check((seen_ & bit(f)) != 0, "{}: {}: no \"{}\"", path(), place(), name);
  }

  unsigned seen_ = 0;
  size_t boxed_ = 0;
  CocoDetection detection_;
};

}  // namespace

CocoAnnotations read_coco(const fs::path& path, int joints) {
  const MappedFile file(path);
  AnnotationEvents events(path.string(), joints);
  AnnotationEvents::run(events, file.text(), path.string());
  events.finish();
  return std::move(events.out);
}

std::vector<CocoDetection> read_coco_detections(const fs::path& path) {
  const MappedFile file(path);
  DetectionEvents events(path.string());
  DetectionEvents::run(events, file.text(), path.string());
  return std::move(events.out);
}

void write_coco(const fs::path& path, const CocoAnnotations& annotations) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  const auto key = [&](const char* name) { json.Key(name); };
  const auto text = [&](const std::string& s) { json.String(s.data(), static_cast<rapidjson::SizeType>(s.size())); };
  const auto number = [&](double v) {  // 12 rather than 12.0: COCO's joints are whole numbers
    check(std::isfinite(v), "{}: cannot write {} into an annotation file", path.string(), v);
    if (v == std::floor(v) && std::abs(v) < 0x1p53) {
      json.Int64(static_cast<int64_t>(v));
    } else {
      json.Double(v);
    }
  };
  json.StartObject();
  key("images");
  json.StartArray();
  for (const CocoImage& image : annotations.images) {
    json.StartObject();
    key("id");
    json.Int64(image.id);
    key("file_name");
    text(image.file_name);
    if (image.width > 0 && image.height > 0) {
      key("width");
      json.Int(image.width);
      key("height");
      json.Int(image.height);
    }
    json.EndObject();
  }
  json.EndArray();
  key("annotations");
  json.StartArray();
  for (const CocoAnnotation& a : annotations.annotations) {
    json.StartObject();
    key("id");
    json.Int64(a.id);
    key("image_id");
    json.Int64(a.image_id);
    key("category_id");
    json.Int64(a.category_id);
    key("bbox");
    json.StartArray();
    for (const double v : {a.box.x, a.box.y, a.box.w, a.box.h}) number(v);
    json.EndArray();
    key("area");
    number(a.area);
    key("iscrowd");
    json.Int(a.iscrowd ? 1 : 0);
    if (!a.keypoints.empty()) {
      key("num_keypoints");
      json.Int(a.num_keypoints);
      key("keypoints");
      json.StartArray();
      for (const double v : a.keypoints) number(v);
      json.EndArray();
    }
    json.EndObject();
  }
  json.EndArray();
  key("categories");
  json.StartArray();
  for (const CocoCategory& category : annotations.categories) {
    json.StartObject();
    key("supercategory");
    text(category.name);
    key("id");
    json.Int64(category.id);
    key("name");
    text(category.name);
    key("keypoints");
    json.StartArray();
    for (const std::string& name : category.keypoints) text(name);
    json.EndArray();
    key("skeleton");
    json.StartArray();
    for (const auto& [a, b] : category.skeleton) {
      json.StartArray();
      json.Int(a);
      json.Int(b);
      json.EndArray();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  write_file(path, std::string_view(buffer.GetString(), buffer.GetSize()));
}

}  // namespace hr

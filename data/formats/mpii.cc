#include "data/formats/mpii.h"

#include <cmath>

#include "core/error.h"
#include "core/io/json_cursor.h"
#include "data/formats/mat_file.h"

namespace hr {
namespace {

using Kind = JsonCursor::Kind;

class Reader {
 public:
  Reader(const fs::path& path, int joints) : path_(path.string()), file_(path), json_(file_.text(), path_) {
    out_.path = path_;
    out_.joints = joints;
  }

  MpiiAnnotations read() {
    if (json_.kind() != Kind::list) fail("{}: expected MPII's list of people at the top; is it a COCO file?", path_);
    for (json_.enter_list(); json_.item(); ++index_) {
      if (json_.kind() != Kind::object) fail("{}: entry [{}]: expected an object", path_, index_);
      out_.people.push_back(person());
    }
    json_.finish();
    check(!out_.people.empty(), "{}: the list is empty", path_);
    return std::move(out_);
  }

 private:
  [[noreturn]] void wrong(const char* field, const std::string& expected) const {
    fail("{}: entry [{}]: {}: expected {}", path_, index_, field, expected);
  }

  double number(const char* field) {
    if (json_.kind() != Kind::number) wrong(field, "a number");
    const double value = json_.number().real;
    if (!std::isfinite(value)) wrong(field, "a finite number");
    return value;
  }

  void numbers(const char* field, size_t n, std::vector<double>& out) {
    if (json_.kind() != Kind::list) wrong(field, "a list");
    const size_t before = out.size();
    for (json_.enter_list(); json_.item();) out.push_back(number(field));
    if (out.size() != before + n) wrong(field, fmt::format("{} numbers, got {}", n, out.size() - before));
  }

  MpiiPerson person() {
    MpiiPerson p;
    std::vector<double> center;
    bool scale = false;
    const auto joints = static_cast<size_t>(out_.joints);
    json_.enter_object();
    for (std::string_view key; json_.member(key);) {
      if (key == "image") {
        if (json_.kind() != Kind::string) wrong("image", "a file name");
        p.image = json_.string();
      } else if (key == "center") {
        numbers("center", 2, center);
      } else if (key == "scale") {
        p.scale = number("scale");
        scale = true;
      } else if (key == "joints") {
        if (json_.kind() != Kind::list) wrong("joints", "a list");
        for (json_.enter_list(); json_.item();) numbers("joints", 2, p.joints);
      } else if (key == "joints_vis") {
        numbers("joints_vis", joints, p.visible);
      } else {
        json_.skip();
      }
    }
    if (p.image.empty()) wrong("image", "a file name");
    if (center.empty()) wrong("center", "two numbers");
    const bool placed = center[0] != -1;  // -1 means that the file does not say where the person is.
    if (!scale || (placed && p.scale <= 0)) wrong("scale", "a number above 0");
    if (!p.joints.empty() && p.joints.size() != 2 * joints) {
      wrong("joints", fmt::format("{} joints, got {}", joints, p.joints.size() / 2));
    }
    if (p.joints.empty() != p.visible.empty()) wrong("joints", "joints and joints_vis, or neither");
    p.center[0] = center[0];
    p.center[1] = center[1];
    if (index_ == 0) labelled_ = !p.joints.empty();
    if (p.joints.empty() == labelled_) wrong("joints", "joints in every entry or in none");
    return p;
  }

  std::string path_;
  MappedFile file_;
  JsonCursor json_;
  size_t index_ = 0;
  bool labelled_ = false;
  MpiiAnnotations out_;
};

}  // namespace

MpiiAnnotations read_mpii(const fs::path& path, int joints) { return Reader(path, joints).read(); }

bool is_mpii(const fs::path& path) {
  const MappedFile file(path);
  const size_t first = file.text().find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && file.text()[first] == '[';
}

MpiiPlace mpii_place(const MpiiPerson& person) {
  MpiiPlace place{{person.center[0], person.center[1]}, person.scale};
  if (place.center[0] != -1) {
    place.center[1] += 15 * place.scale;
    place.scale *= 1.25;
  }
  place.center[0] -= 1;
  place.center[1] -= 1;
  return place;
}

MpiiTruth read_mpii_truth(const fs::path& path) {
  const std::map<std::string, MatArray> file = read_mat(path);
  MpiiTruth truth;
  truth.path = path.string();
  const auto find = [&](const char* name) -> const MatArray& {
    const auto at = file.find(name);
    if (at != file.end()) return at->second;
    std::vector<std::string> names;
    names.reserve(file.size());
    for (const auto& [known, array] : file) names.push_back(known);
    fail("{}: no variable {}; it has {}. Expected MPII's gt_valid.mat", truth.path, name, fmt::join(names, ", "));
  };
  const MatArray& joints = find("pos_gt_src");
  const MatArray& missing = find("jnt_missing");
  const MatArray& heads = find("headboxes_src");
  truth.joint_names = find("dataset_joints").text;
  const auto J = static_cast<int64_t>(truth.joint_names.size());
  truth.people = missing.shape.size() == 2 ? missing.shape[1] : 0;
  const int64_t N = truth.people;
  const auto expect = [&](const char* name, const MatArray& array, std::vector<int64_t> shape) {
    std::vector<int64_t> got = array.shape;
    got.resize(std::max(got.size(), shape.size()), 1);  // A last dimension of 1 is not written.
    shape.resize(got.size(), 1);
    check(got == shape && !array.values.empty(), "{}: {} is {}, expected {} ({} joints, {} people)", truth.path, name,
          fmt::join(array.shape, " x "), fmt::join(shape, " x "), J, N);
  };
  expect("jnt_missing", missing, {J, N});
  expect("pos_gt_src", joints, {J, 2, N});
  expect("headboxes_src", heads, {2, 2, N});
  for (int64_t j = 0; j < J; ++j) {
    for (int64_t n = 0; n < N; ++n) truth.missing.push_back(missing.at({j, n}) != 0 ? 1 : 0);
    for (int64_t c = 0; c < 2; ++c) {
      for (int64_t n = 0; n < N; ++n) truth.joints.push_back(joints.at({j, c, n}));
    }
  }
  for (int64_t corner = 0; corner < 2; ++corner) {
    for (int64_t c = 0; c < 2; ++c) {
      for (int64_t n = 0; n < N; ++n) truth.heads.push_back(heads.at({corner, c, n}));
    }
  }
  return truth;
}

}  // namespace hr

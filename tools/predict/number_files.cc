#include "tools/predict/number_files.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "data/formats/mot.h"

namespace hr {
namespace {

// OpenPose's 18 joints are indices into COCO's 17: nose, neck, right arm, left arm, right leg, left leg, eyes and ears.
// The neck has none.
constexpr int kNeck = -1;
constexpr std::array<int, 18> kOpenPose = {0, kNeck, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3};

bool is_coco(const Pose& pose) { return pose.joints.size() == 17 && pose.skeleton && pose.skeleton->name == "coco"; }

// Returns the text as a field of a CSV file, quoted if it needs to be.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::vector<float> openpose_joints(const Pose& pose, double threshold) {
  std::vector<float> numbers;
  const auto add = [&](const Joint& j) {
    const bool seen = j.score > threshold;
    numbers.insert(numbers.end(), {seen ? j.x : 0, seen ? j.y : 0, seen ? j.score : 0});
  };
  if (!is_coco(pose)) {
    for (const Joint& j : pose.joints) add(j);
    return numbers;
  }
  const Joint &left = pose.joints[5], &right = pose.joints[6];
  const Joint neck{(left.x + right.x) / 2, (left.y + right.y) / 2, std::min(left.score, right.score)};
  for (const int k : kOpenPose) add(k == kNeck ? neck : pose.joints[static_cast<size_t>(k)]);
  return numbers;
}

std::string openpose_text(const Frame& frame, double threshold) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_object().member("version", 1.3).key("people").begin_list();
  const std::vector<float> none;
  for (const Pose& pose : frame.poses) {
    json.begin_object();
    json.member("person_id", std::vector<int64_t>{pose.track > 0 ? pose.track : -1});
    json.member("pose_keypoints_2d", openpose_joints(pose, threshold));
    for (const char* other :
         {"face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d",
          "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d"})
      json.member(other, none);
    json.end();
  }
  json.end().end();
  return text + "\n";
}

std::string csv_header(const Skeleton& skeleton) {
  std::string line = "input,frame,seconds,track,score,left,top,width,height";
  for (const std::string& name : skeleton.names) line += fmt::format(",{0}_x,{0}_y,{0}_score", name);
  return line + "\n";
}

std::string csv_lines(const Frame& frame, const std::string& source) {
  std::string lines;
  for (const Pose& p : frame.poses) {
    lines += fmt::format("{},{},{:.6f},{},{:.4f},{:.2f},{:.2f},{:.2f},{:.2f}", csv_field(source), frame.index,
                         frame.seconds, p.track, p.score, p.box.x, p.box.y, p.box.w, p.box.h);
    for (const Joint& j : p.joints) lines += fmt::format(",{:.2f},{:.2f},{:.4f}", j.x, j.y, j.score);
    lines += '\n';
  }
  return lines;
}

std::string json_line(const Frame& frame, const std::string& source) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().member("input", source);
  if (frame.video) json.member("frame", frame.index).member("seconds", JsonFixed{frame.seconds, 6});
  json.member("width", frame.image.width).member("height", frame.image.height).key("people").begin_list();
  for (const Pose& p : frame.poses) {
    json.begin_object();
    if (p.track > 0) json.member("track", p.track);
    json.member("score", p.score).key("box").begin_list();
    for (const double v : {p.box.x, p.box.y, p.box.w, p.box.h}) json.value(JsonFixed{v, 2});
    json.end().member("keypoints", keypoints(p)).end();
  }
  json.end().end();
  return text + "\n";
}

std::string mot_lines(const Frame& frame) {
  std::vector<MotBox> boxes;
  for (const Pose& p : frame.poses) {
    boxes.push_back(
        {.frame = static_cast<int>(frame.index) + 1, .id = p.track > 0 ? p.track : -1, .box = p.box, .score = p.score});
  }
  return mot_text(boxes);
}

CocoResults::CocoResults(const fs::path& path) : file_(path), json_(text_, {.lines = 1}) { json_.begin_list(); }

void CocoResults::add(const Frame& frame, int64_t image_id, const std::string& file_name) {
  for (const Pose& p : frame.poses) {
    json_.begin_object().member("image_id", image_id).member("file_name", file_name);
    if (frame.video) json_.member("frame", frame.index).member("seconds", JsonFixed{frame.seconds, 6});
    if (p.track > 0) json_.member("track_id", p.track);
    json_.member("category_id", p.category).member("score", p.score).member("keypoints", keypoints(p)).end();
  }
  file_.write(text_);
  text_.clear();
}

void CocoResults::finish() {
  json_.end();
  file_.write(text_ + "\n");
  file_.commit();
}

}  // namespace hr

#include "tools/predict/outputs.h"

#include <algorithm>
#include <csignal>

#include "core/counted.h"
#include "core/error.h"

namespace hr {
namespace {

// Each line is flushed, so that a program at the other end of a pipe sees it at once.
void print_line(const std::string& line) {
  const bool good = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
  check(good, "--json-lines: nobody reads stdout any more");
}

}  // namespace

Outputs::Outputs(const PredictOptions& o, const std::vector<Input>& inputs, const Boxes& boxes,
                 const Skeleton& skeleton)
    : o_(o),
      inputs_(inputs),
      boxes_(boxes),
      names_(output_names(inputs)),
      folder_(o.output_dir),
      coco_(folder_ / "poses.json") {
  for (const Boxes::Picture& picture : boxes.pictures) next_image_id_ = std::max(next_image_id_, picture.id + 1);
  if (!o.openpose.empty()) fs::create_directories(o.openpose);
  if (!o.mot.empty()) fs::create_directories(o.mot);
  if (!o.csv.empty()) {
    csv_ = std::make_unique<AtomicFile>(o.csv);
    csv_->write(csv_header(skeleton));
  }
  // A reader that closes the pipe causes a write error, which is reported like any other one.
  if (o.json_lines) std::signal(SIGPIPE, SIG_IGN);
}

void Outputs::refuse(const std::string& why) {
  check(o_.on_bad_sample != "fail", "{} (--on-bad-sample skip leaves it out)", why);
  bad_.push_back(why);
}

void Outputs::take(Frame& frame) {
  if (frame.end) return take_end(frame);
  const std::string& source = inputs_[frame.input].source;
  if (!frame.video) {
    ++pictures_taken_;
    const std::string damage = frame.damage.empty() ? "" : fmt::format("{}: {}", source, frame.damage);
    if (!frame.error.empty()) return refuse(frame.error);
    if (!damage.empty() && !o_.on_bad_sample.empty()) return refuse(damage);
    if (!damage.empty()) damaged_.push_back(damage);
    ++pictures_done_;
  } else {
    ++video_frames_;
    ++frames_of_input_;
  }
  last_is_picture_ = !frame.video;
  ++frames_;
  people_ += static_cast<int64_t>(frame.poses.size());
  write_numbers(frame);
  if (o_.overlay) write_overlay(frame);
}

void Outputs::write_overlay(Frame& frame) {
  const fs::path file = folder_ / (names_[frame.input] + (frame.video ? "_pose.mp4" : "_pose.jpg"));
  if (!frame.video) return write_image(file, frame.image);
  if (overlay_ == nullptr) {
    const std::string& source = inputs_[frame.input].source;
    overlay_ = std::make_unique<VideoWriter>(
        file, frame.image.width, frame.image.height,
        VideoWriterOptions{.fps = frame.fps > 0 ? frame.fps : 25,
                           .pixel = frame.pixel,
                           .sound_of = is_stream_name(source) ? fs::path() : fs::path(source)});
  }
  overlay_->write(frame.image, frame.seconds);
}

void Outputs::write_numbers(const Frame& frame) {
  const std::string& source = inputs_[frame.input].source;
  const std::string& name = names_[frame.input];
  if (frame.video) {
    coco_.add(frame, next_image_id_++, fs::path(source).filename().string());
  } else {
    const Boxes::Picture& entry = boxes_.pictures[pictures_taken_ - 1];
    coco_.add(frame, entry.id, entry.file_name);
  }
  if (!o_.openpose.empty()) {
    const std::string number = frame.video ? fmt::format("_{:012}", frame.index) : "";
    write_file(fs::path(o_.openpose) / (name + number + "_keypoints.json"), openpose_text(frame, o_.threshold));
  }
  if (csv_) csv_->write(csv_lines(frame, source));
  if (!o_.mot.empty() && frame.video) {
    if (mot_ == nullptr) mot_ = std::make_unique<AtomicFile>(fs::path(o_.mot) / (name + ".txt"));
    mot_->write(mot_lines(frame));
  }
  if (o_.json_lines) print_line(json_line(frame, source));
}

void Outputs::finish_overlay(const std::string& source) {
  if (!overlay_) return;
  overlay_->finish();
  if (const std::string why = overlay_->sound_problem(); !why.empty())
    notes_.push_back(fmt::format("{}: its sound {}", source, why));
  overlay_.reset();
}

void Outputs::take_end(Frame& frame) {
  const std::string& source = inputs_[frame.input].source;
  finish_overlay(source);
  if (mot_) mot_->commit();
  mot_.reset();
  const int64_t frames = std::exchange(frames_of_input_, 0);
  if (frame.dropped > 0)
    notes_.push_back(fmt::format("{}: {} came too fast and were dropped", source, counted(frame.dropped, "frame")));
  if (!frame.error.empty()) {
    return refuse(frames == 0 ? frame.error : fmt::format("{} (after {})", frame.error, counted(frames, "frame")));
  }
  const std::string damage = frame.damage.empty() ? "" : fmt::format("{}: {}", source, frame.damage);
  if (frames == 0) return refuse(damage.empty() ? fmt::format("{}: has no frames", source) : damage);
  ++videos_done_;
  if (!damage.empty()) damaged_.push_back(damage);
}

void Outputs::check_any() const {
  check(frames_ > 0 || bad_.empty(), "{}{}", bad_.empty() ? "" : bad_.front(),
        bad_.size() > 1 ? fmt::format(" (and none of the {} others can be read)", bad_.size() - 1) : "");
}

void Outputs::finish() {
  if (overlay_) overlay_->finish();
  if (mot_) mot_->commit();
  if (csv_) csv_->commit();
  coco_.finish();
  overlay_.reset();
  mot_.reset();
  csv_.reset();
}

std::string Outputs::written() const {
  std::vector<std::string> files;
  if (o_.overlay && pictures_done_ > 0) files.push_back(folder_.string() + "/*_pose.jpg");
  if (o_.overlay && video_frames_ > 0) files.push_back(folder_.string() + "/*_pose.mp4");
  for (const std::string& other : {o_.csv, o_.openpose, video_frames_ > 0 ? o_.mot : ""}) {
    if (!other.empty()) files.push_back(other);
  }
  std::string text;
  for (const std::string& file : files) text += (text.empty() ? "" : ", ") + file;
  return text + (text.empty() ? "" : " and ") + (folder_ / "poses.json").string();
}

int Outputs::report() const {
  std::FILE* out = o_.json_lines ? stderr : stdout;
  std::string where = pictures_done_ > 0 || video_frames_ == 0 ? counted(pictures_done_, "picture") : "";
  if (video_frames_ > 0) where += (where.empty() ? "" : " and ") + counted(video_frames_, "frame");
  fmt::print(out, "{} in {}: wrote {}\n", counted_people(people_), where, written());
  for (const std::string& line : damaged_) {
    fmt::print(out, "note       {}; some of its pixels may be wrong\n", line);
  }
  for (const std::string& line : notes_) fmt::print(out, "note       {}\n", line);
  if (bad_.empty()) return 0;
  std::fflush(stdout);
  const bool skip = o_.on_bad_sample == "skip";
  const bool videos = std::any_of(inputs_.begin(), inputs_.end(), [](const Input& i) { return i.video; });
  fmt::print(stderr, "predict: {} of {} {}; the others are done:\n", bad_.size(),
             counted(inputs_.size(), videos ? "input" : "picture"), skip ? "left out" : "could not be read");
  for (const std::string& line : bad_) fmt::print(stderr, "  {}\n", line);
  return skip ? 0 : 2;
}

}  // namespace hr

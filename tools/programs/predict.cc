#include "tools/programs/predict.h"

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "data/draw/draw.h"
#include "hrnet/infer/pose_network.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/progress.h"
#include "tools/predict/inputs.h"
#include "tools/predict/picture_reader.h"

namespace hr {
namespace {

PoseEstimator pose_estimator(const PredictOptions& o) {
  LoadedModel loaded = load_model(o);
  if (!loaded.note.empty()) fmt::print(stderr, "predict: note: {}\n", with_flags(loaded.note));
  PoseNetwork network{.weights = o.weights,
                      .cx = std::move(loaded.cx),
                      .model = std::move(loaded.model),
                      .skeleton = std::make_shared<const Skeleton>(std::move(loaded.skeleton)),
                      .decoding = choose_decoding(o.decoding, loaded.info.codec, o.weights, loaded.input_h),
                      .input_h = loaded.input_h,
                      .input_w = loaded.input_w};
  return {std::move(network), o.batch_size, 0.9};
}

// Pictures whose people share batches. With large ones there are fewer, since they stay in memory until they are drawn.
std::vector<ReadPicture> next_pictures(PictureReader& reader, const Boxes& boxes, size_t done, size_t most_people) {
  constexpr size_t most_bytes = size_t{1} << 30;
  std::vector<ReadPicture> some;
  size_t people = 0, bytes = 0;
  for (ReadPicture picture; people < most_people && bytes < most_bytes && reader.next(picture);) {
    const auto& known = boxes.pictures[done + some.size()].people;
    if (picture.error.empty()) people += known ? known->size() : 1;
    bytes += picture.image.rgb.size();
    some.push_back(std::move(picture));
  }
  return some;
}

std::vector<std::vector<Pose>> find_poses(PoseEstimator& estimator, const std::vector<ReadPicture>& pictures,
                                          const Boxes& boxes, size_t done) {
  std::vector<PoseRequest> requests;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const auto& known = boxes.pictures[done + i].people;
    if (pictures[i].error.empty()) requests.push_back({pictures[i].image, known ? People(*known) : People()});
  }
  std::vector<std::vector<Pose>> found = estimator(requests), all;
  for (auto next = found.begin(); const ReadPicture& p : pictures) {
    all.push_back(p.error.empty() ? std::move(*next++) : std::vector<Pose>());
  }
  return all;
}

}  // namespace

int predict(const PredictOptions& o) {
  std::vector<fs::path> left_out;
  const std::vector<fs::path> pictures = list_pictures(o.inputs, left_out);
  if (!left_out.empty()) {
    fmt::print(stderr, "predict: note: {} left out, since JPEG, PNG, BMP, GIF and PNM are read: {}\n",
               counted(left_out.size(), "file"), first_names(left_out));
  }
  PoseEstimator estimator = pose_estimator(o);
  prepare_output_folder(o.output_dir, "output_dir");
  const Boxes boxes = read_boxes(o.boxes, pictures);
  const std::vector<std::string> names = output_names(pictures);
  const fs::path folder = o.output_dir;

  PictureReader reader(pictures, boxes, o.workers);
  Progress progress("predict", static_cast<int64_t>(pictures.size()));
  std::vector<std::string> bad, damaged;
  std::string poses_text;
  JsonWriter json(poses_text, {.lines = 1});
  json.begin_list();
  size_t people_in_all = 0, done = 0;
  // Several batches in a call, so that they overlap on a GPU.
  const size_t most_people = static_cast<size_t>(o.batch_size) * 4;
  for (;;) {
    std::vector<ReadPicture> some = next_pictures(reader, boxes, done, most_people);
    if (some.empty()) break;
    const std::vector<std::vector<Pose>> found = find_poses(estimator, some, boxes, done);
    for (size_t k = 0; k < some.size(); ++k, ++done) {
      progress.update(static_cast<int64_t>(done) + 1);
      const std::string damage =
          some[k].damage.empty() ? "" : fmt::format("{}: {}", pictures[done].string(), some[k].damage);
      if (!some[k].error.empty() || (!damage.empty() && !o.on_bad_sample.empty())) {
        bad.push_back(some[k].error.empty() ? damage : some[k].error);
        check(o.on_bad_sample != "fail", "{} (--on-bad-sample skip leaves it out)", bad.back());
        continue;
      }
      if (!damage.empty()) damaged.push_back(damage);
      const Boxes::Picture& entry = boxes.pictures[done];
      for (const Pose& p : found[k]) {
        draw_person(some[k].image, p, {.threshold = static_cast<float>(o.threshold)});
        json.begin_object().member("image_id", entry.id).member("file_name", entry.file_name);
        json.member("category_id", p.category).member("score", p.score).member("keypoints", keypoints(p)).end();
        ++people_in_all;
      }
      write_image(folder / (names[done] + "_pose.jpg"), some[k].image);
    }
  }
  progress.finish();
  check(bad.size() < pictures.size(), "{}{}", bad.empty() ? "" : bad.front(),
        bad.size() > 1 ? fmt::format(" (and none of the {} others can be read)", bad.size() - 1) : "");
  json.end();
  write_file(folder / "poses.json", poses_text + "\n");
  fmt::print("{} in {}: wrote {}/*_pose.jpg and {}\n", counted_people(people_in_all),
             counted(pictures.size() - bad.size(), "picture"), folder.string(), (folder / "poses.json").string());
  for (const std::string& line : damaged) fmt::print("note       {}; some of its pixels may be wrong\n", line);
  if (bad.empty()) return 0;
  std::fflush(stdout);
  const bool skip = o.on_bad_sample == "skip";
  fmt::print(stderr, "predict: {} of {} {}; the others are done:\n", bad.size(), counted(pictures.size(), "picture"),
             skip ? "left out" : "could not be read");
  for (const std::string& line : bad) fmt::print(stderr, "  {}\n", line);
  return skip ? 0 : 2;
}

}  // namespace hr

#include "tools/predict.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/json.h"
#include "tools/cli.h"
#include "tools/draw.h"
#include "tools/validate.h"

namespace hr {
namespace {

// Pictures named outright, and those inside named folders in alphabetical order.
std::vector<fs::path> list_pictures(const std::vector<std::string>& inputs) {
  const std::set<std::string> endings{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm"};
  std::vector<fs::path> pictures;
  for (const std::string& input : inputs) {
    check(fs::exists(input), "{}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      pictures.emplace_back(input);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(input)) {
      std::string ending = entry.path().extension().string();
      std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
      if (entry.is_regular_file() && endings.count(ending) != 0) inside.push_back(entry.path());
    }
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files", input);
    std::sort(inside.begin(), inside.end());
    pictures.insert(pictures.end(), inside.begin(), inside.end());
  }
  return pictures;
}

// The boxes of a COCO annotation file, pictures told by their file names.
std::vector<CocoDetection> boxes_of_annotations(const std::string& path, const std::vector<fs::path>& pictures) {
  const CocoAnnotations annotations = read_coco(path);
  std::map<std::string, int64_t> numbers;
  for (size_t i = 0; i < pictures.size(); ++i) numbers[pictures[i].filename().string()] = static_cast<int64_t>(i) + 1;
  std::map<int64_t, int64_t> by_id;
  for (const CocoImage& image : annotations.images) {
    const auto found = numbers.find(fs::path(image.file_name).filename().string());
    if (found != numbers.end()) by_id[image.id] = found->second;
  }
  std::vector<CocoDetection> detections;
  for (const CocoAnnotation& person : annotations.annotations) {
    const auto found = by_id.find(person.image_id);
    if (found == by_id.end() || person.iscrowd || !(person.box.w > 0 && person.box.h > 0)) continue;
    CocoDetection& d = detections.emplace_back();
    d.image_id = found->second;
    d.category_id = person.category_id;
    d.box = person.box;
    d.has_box = true;
    d.score = 1;
  }
  check(!detections.empty(), "--boxes {}: has no boxes for the {} pictures given; their file names must match", path,
        pictures.size());
  return detections;
}

// --boxes: a list of {"file_name": "a.jpg", "bbox": [x, y, w, h], "score": 0.9}; or with "image_id": N instead of a
// name, for pictures called N.jpg, 00..N.jpg (a COCO detection file). Entries of other pictures are not used.
std::vector<CocoDetection> read_boxes(const std::string& path, const std::vector<fs::path>& pictures) {
  const rapidjson::Document document = parse_json_file(path);
  if (document.IsObject() && document.HasMember("annotations")) return boxes_of_annotations(path, pictures);
  check(document.IsArray(),
        "--boxes {}: expected a COCO annotation file, or a list of {{\"file_name\", \"bbox\": [x, y, w, h]}}", path);
  std::map<std::string, int64_t> by_name;
  std::map<int64_t, int64_t> by_number;
  for (size_t i = 0; i < pictures.size(); ++i) {
    by_name[pictures[i].filename().string()] = static_cast<int64_t>(i) + 1;
    const std::string stem = pictures[i].stem().string();
    if (!stem.empty() && stem.size() < 18 && stem.find_first_not_of("0123456789") == std::string::npos) {
      by_number[std::stoll(stem)] = static_cast<int64_t>(i) + 1;
    }
  }
  std::vector<CocoDetection> detections;
  size_t index = 0;
  for (const Json& entry : document.GetArray()) {
    const auto complain = [&](const char* what) { fail("--boxes {}: entry {}: {}", path, index, what); };
    if (!entry.IsObject()) complain("expected an object with file_name and bbox");
    CocoDetection d;
    d.has_box = true;
    d.score = 1;
    if (const auto name = entry.FindMember("file_name"); name != entry.MemberEnd()) {
      if (!name->value.IsString()) complain("file_name is not a string");
      const auto found = by_name.find(fs::path(name->value.GetString()).filename().string());
      d.image_id = found == by_name.end() ? 0 : found->second;
    } else if (const auto id = entry.FindMember("image_id"); id != entry.MemberEnd() && id->value.IsInt64()) {
      const auto found = by_number.find(id->value.GetInt64());
      d.image_id = found == by_number.end() ? 0 : found->second;
    } else {
      complain("needs file_name (or a whole-number image_id)");
    }
    if (const auto category = entry.FindMember("category_id");
        category != entry.MemberEnd() && category->value.IsInt64())
      d.category_id = category->value.GetInt64();
    const auto box = entry.FindMember("bbox");
    if (box == entry.MemberEnd() || !box->value.IsArray() || box->value.Size() != 4)
      complain("needs bbox: [x, y, width, height]");
    double v[4];
    for (rapidjson::SizeType i = 0; i < 4; ++i) {
      if (!box->value[i].IsNumber()) complain("bbox must hold four numbers");
      v[i] = box->value[i].GetDouble();
    }
    if (!(v[2] > 0 && v[3] > 0)) complain("bbox needs a width and height above 0");
    d.box = {v[0], v[1], v[2], v[3]};
    if (const auto score = entry.FindMember("score"); score != entry.MemberEnd() && score->value.IsNumber())
      d.score = score->value.GetDouble();
    if (d.image_id != 0) detections.push_back(std::move(d));
    ++index;
  }
  check(!detections.empty(),
        "--boxes {}: none of its {} entries belongs to the {} pictures given; file_name must match", path, index,
        pictures.size());
  return detections;
}

std::string results_json(const std::vector<PersonResult>& people, const std::vector<fs::path>& pictures) {
  std::string json = "[";
  for (const PersonResult& p : people) {
    json += fmt::format(
        "{}\n  {{\"image_id\": {}, \"file_name\": {}, \"category_id\": {}, \"score\": {}, \"keypoints\": [{}]}}",
        json.size() > 1 ? "," : "", p.image_id, json_quote(pictures[p.image_id - 1].filename().string()), p.category_id,
        p.score, fmt::join(p.keypoints, ", "));
  }
  return json + "\n]\n";
}

}  // namespace

void add_predict_options(CLI::App& app, PredictOptions& o) {
  describe(
      app,
      "Finds the joints of people in pictures: writes one overlay per picture and poses.json (COCO result format).",
      "predict photo.jpg --boxes boxes.json --weights demo/run/best.safetensors --output-dir out\n"
      "where boxes.json is [{\"file_name\": \"photo.jpg\", \"bbox\": [40, 20, 110, 260]}]");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->required()->type_name("FILE");
  add_weights(app, o);
  app.add_option("--boxes", o.boxes,
                 "JSON list of boxes {file_name, bbox: [x, y, w, h]}, or a COCO annotation file; without it the whole "
                 "picture is one person")
      ->type_name("FILE");
  app.add_option("--threshold", o.threshold, "joints with a higher score are drawn")->type_name("X");
  add_decoding_options(app, o.decoding);
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for overlays and poses.json")->type_name("DIR");
  add_model_options(app, o);
}

void predict(const PredictOptions& o) {
  const std::vector<fs::path> pictures = list_pictures(o.inputs);
  const LoadedModel loaded = load_model(o);
  const Skeleton& skeleton = loaded.skeleton;
  const PoseModel& model = *loaded.model;
  const Decoding decoding = choose_decoding(o.decoding, loaded.info.codec, o.weights, loaded.input_h);
  prepare_output_folder(o.output_dir, "--output-dir");

  // The pictures become a small data set with one entry per box, so that prediction and validation share every step.
  CocoAnnotations files{.path = o.boxes.empty() ? "the pictures" : o.boxes};
  std::vector<CocoDetection> boxes;
  if (!o.boxes.empty()) boxes = read_boxes(o.boxes, pictures);
  std::set<std::string> names;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const std::string name = pictures[i].filename().string();
    check(names.insert(pictures[i].stem().string()).second,
          "{}: two pictures of this name; their overlays would overwrite each other", name);
    const Image image = read_image(pictures[i]);
    const auto id = static_cast<int64_t>(i) + 1;
    files.images.push_back({id, fs::absolute(pictures[i]).string(), image.width, image.height});
    if (o.boxes.empty()) {
      CocoDetection whole;
      whole.image_id = id;
      whole.box = {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
      whole.score = 1;
      whole.has_box = true;
      boxes.push_back(std::move(whole));
    }
  }
  const PoseDataset dataset = PoseDataset::from_detections(std::move(files), boxes, "", skeleton,
                                                           {.input_h = loaded.input_h,
                                                            .input_w = loaded.input_w,
                                                            .bgr = model.bgr_input(),
                                                            .encoding = encoding_of(decoding.decode.codec),
                                                            .categories = {}});
  HeatmapRunner runner(loaded.cx, model, skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift});
  const std::vector<PersonResult> people =
      postprocess_official(predict_people(runner, dataset, o.batch_size, o.workers, "predict", decoding.decode),
                           {.sigmas = skeleton.sigmas});

  const fs::path folder = o.output_dir;
  for (size_t i = 0; i < pictures.size(); ++i) {
    Image image = read_image(pictures[i]);
    for (const PersonResult& person : people) {
      if (person.image_id == static_cast<int64_t>(i) + 1) {
        draw_person(image, skeleton, person.keypoints, {.threshold = static_cast<float>(o.threshold)});
      }
    }
    write_image(folder / (pictures[i].stem().string() + "_pose.jpg"), image);
  }
  write_file(folder / "poses.json", results_json(people, pictures));
  fmt::print("{} in {}: wrote {}/*_pose.jpg and {}\n", counted_people(people.size()),
             counted(pictures.size(), "picture"), folder.string(), (folder / "poses.json").string());
}

}  // namespace hr

#include "tools/validate.h"

#include <chrono>

#include "core/error.h"
#include "eval/decode.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace hr {
namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
}  // namespace

std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                                         const std::string& title) {
  const double started = now();
  const auto rate = [&](size_t n) {
    return fmt::format("{:.1f} people/s", static_cast<double>(n) / (now() - started));
  };
  Loader loader(dataset, {.batch_size = batch_size, .workers = workers});
  loader.start_epoch(0);
  Progress progress(title, static_cast<int64_t>(dataset.size()));
  std::vector<PersonResult> people;
  people.reserve(dataset.size());
  Batch batch;
  while (loader.next(batch)) {
    const Heatmaps maps = runner(batch.images, batch.size, batch.h, batch.w);
    std::vector<float> poses = decode(maps, {.codec = Codec::quarter});
    std::vector<Affine> places;
    for (const SampleMeta& meta : batch.meta) places.push_back(meta.heatmap_to_image);
    to_image(poses, maps.joints, places);
    const auto numbers = static_cast<ptrdiff_t>(maps.joints) * 3;
    for (int i = 0; i < batch.size; ++i) {
      const SampleMeta& meta = batch.meta[i];
      PersonResult& person = people.emplace_back();
      person.image_id = meta.image_id;
      person.keypoints.assign(poses.begin() + i * numbers, poses.begin() + (i + 1) * numbers);
      person.score = meta.box_score;
      std::copy_n(meta.center, 2, person.center);
      std::copy_n(meta.scale, 2, person.scale);
      person.area = meta.area;
    }
    progress.update(static_cast<int64_t>(people.size()), rate(people.size()));
  }
  progress.finish(rate(people.size()));
  return people;
}

ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                             const std::string& title) {
  ValidationRun run;
  const std::vector<PersonResult> people = predict_people(runner, dataset, batch_size, workers, title);
  const bool seed = dataset.options().recipe == Recipe::seed;
  run.results = seed ? postprocess_seed(people) : postprocess_official(people, {.sigmas = dataset.skeleton().sigmas});
  const auto detections = to_detections(run.results, seed ? Rounding::two_decimals : Rounding::none);
  run.coco = evaluate_coco(dataset.annotations(), detections,
                           {.sigmas = dataset.skeleton().sigmas, .detections_name = "the network's poses"});
  return run;
}

SplitPaths split_paths(const std::string& root, const std::string& split, const std::string& annotations,
                       const std::string& images) {
  SplitPaths paths{annotations, images};
  if (annotations.empty() || images.empty()) {
    check(fs::is_directory(root),
          "--data-path {}: no such folder; expected a folder with {}2017/ and annotations/ in it", root, split);
  }
  if (annotations.empty()) {
    paths.annotations = fs::path(root) / "annotations" / fmt::format("person_keypoints_{}2017.json", split);
    check(fs::exists(paths.annotations),
          "--data-path {}: {} does not exist; expected COCO's layout, or name the file with --{}-annotations", root,
          paths.annotations.string(), split);
  }
  if (images.empty()) {
    paths.images = fs::path(root) / fmt::format("{}2017", split);
    check(fs::is_directory(paths.images),
          "--data-path {}: folder {} does not exist; expected COCO's layout, or name it with --{}-images", root,
          paths.images.string(), split);
  }
  return paths;
}

Skeleton load_skeleton(const std::string& path, int joints) {
  Skeleton skeleton = find_skeleton(path);
  check(skeleton.joints() == joints, "--num-joints {}: {} has {} joints; give both flags for the same skeleton", joints,
        path.empty() ? "the built-in COCO skeleton" : path, skeleton.joints());
  return skeleton;
}

double heatmap_sigma(double flag, int input_h) { return flag > 0 ? flag : input_h >= 384 ? 3.0 : 2.0; }

void add_validate_options(CLI::App& app, ValidateOptions& o) {
  describe(app,
           "Measures a pose model on a COCO-layout dataset: prints the ten OKS numbers and writes key_results.json and "
           "record_mAP.txt.",
           "validate --data-path demo/data --weights demo/run/best.safetensors --output-dir demo/run");
  app.add_option("--weights,--weights-path", o.weights, "weights to measure (.safetensors)")
      ->required()
      ->type_name("FILE");
  app.add_option("--data-path", o.data_path, "folder with val2017/ and annotations/")->type_name("DIR");
  app.add_option("--val-annotations", o.annotations, "annotation file, instead of the one in --data-path")
      ->type_name("FILE");
  app.add_option("--val-images", o.images, "image folder, instead of the one in --data-path")->type_name("DIR");
  app.add_option("--person-det", o.person_det, "detected boxes (COCO result list) instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--keypoints-path,--label-json-path", o.keypoints_path, "skeleton file; COCO's 17 joints are built in")
      ->type_name("FILE");
  app.add_option("--num-joints", o.joints, "joints of the model")->type_name("N");
  app.add_option("--model", o.model, "hrnet_wC or pose_resnet50/101/152; not needed when the weights say it")
      ->type_name("NAME");
  app.add_option("--fixed-size,--resize-hw", o.fixed_size, "input height and width; not needed when the weights say it")
      ->type_name("H W");
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_flag("--flip,!--no-flip", o.flip,
               "average with the mirrored picture (on by default; --no-flip turns it off)");
  app.add_flag("--amp", o.amp, "bf16 activations");
  app.add_option("--recipe", o.recipe, "geometry and post-processing: official or seed")
      ->check(CLI::IsMember({"official", "seed"}));
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for the result files")->type_name("DIR");
  add_device(app, o.device);
  add_threads(app, o.threads);
}

void validate(const ValidateOptions& o) {
  Context cx = make_context(o.device, o.amp, o.threads);
  const Skeleton skeleton = load_skeleton(o.keypoints_path, o.joints);
  const WeightInfo info = weight_info(SafetensorsFile(o.weights));
  check(!info.codec || *info.codec == "quarter", "{}: was trained for the codec '{}', validate decodes 'quarter'",
        o.weights, info.codec.value_or(""));
  const int h = o.fixed_size ? (*o.fixed_size)[0] : info.input_h.value_or(256);
  const int w = o.fixed_size ? (*o.fixed_size)[1] : info.input_w.value_or(192);
  const auto model = load_model(cx, o.weights, o.model, o.joints);
  prepare_output_folder(o.output_dir, "--output-dir");

  const SplitPaths paths = split_paths(o.data_path, "val", o.annotations, o.images);
  const Recipe recipe = o.recipe == "seed" ? Recipe::seed : Recipe::official;
  const DatasetOptions options{
      .recipe = recipe, .input_h = h, .input_w = w, .sigma = heatmap_sigma(0, h), .bgr = model->bgr_input()};
  CocoAnnotations annotations = read_coco(paths.annotations, o.joints);
  const PoseDataset dataset =
      o.person_det.empty() ? PoseDataset::from_annotations(std::move(annotations), paths.images, skeleton, options)
                           : PoseDataset::from_detections(std::move(annotations), read_coco_detections(o.person_det),
                                                          paths.images, skeleton, options);
  dataset.check_files();

  fmt::print("model      {} ({} joints), {}\n", model->name(), model->joints(), o.weights);
  fmt::print("input      {} x {}, {}, flip test {}, codec quarter, recipe {}\n", h, w,
             model->bgr_input() ? "BGR" : "RGB", o.flip ? "on" : "off", o.recipe);
  fmt::print("boxes      {}: {}\n", o.person_det.empty() ? "ground truth" : "detections of " + o.person_det,
             dataset.counts().summary());
  std::fflush(stdout);

  HeatmapRunner runner(cx, *model, skeleton.mirror(), {.flip = o.flip});
  const ValidationRun run = run_validation(runner, dataset, o.batch_size, o.workers, "validate");
  fmt::print("{}\n", coco_summary(run.coco));
  const std::string remarks = coco_remarks(run.coco);
  if (!remarks.empty()) fmt::print("{}\n", remarks);
  const fs::path folder = o.output_dir;
  write_seed_results(folder / "key_results.json", run.results);
  write_record_map(folder / "record_mAP.txt", run.coco);
  fmt::print("wrote {} and {}\n", (folder / "key_results.json").string(), (folder / "record_mAP.txt").string());
}

}  // namespace hr

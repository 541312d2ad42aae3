#include "tools/programs/validate.h"

#include <deque>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_cursor.h"
#include "data/formats/mat_file.h"
#include "data/formats/mpii.h"
#include "eval/coco_files.h"
#include "eval/crowdpose.h"
#include "eval/decode.h"
#include "eval/pckh.h"
#include "eval/remarks.h"
#include "hrnet/validate/gather_people.h"
#include "tools/plot/analysis_picture.h"
#include "tools/programs/cli.h"
#include "tools/programs/coco_eval.h"
#include "tools/programs/datasets.h"
#include "tools/programs/progress.h"
#include "tools/programs/stopwatch.h"

namespace hr {
namespace {

using Kind = SplitFiles::Kind;

// {"key": value, ...}, line by line.
class JsonObject {
 public:
  void raw(const std::string& key, const std::string& value) {
    text_ += fmt::format("{}  {}: {}", text_.empty() ? "{\n" : ",\n", json_quote(key), value);
  }
  void text(const std::string& key, const std::string& value) { raw(key, json_quote(value)); }
  void number(const std::string& key, double value) { raw(key, python_repr(value)); }
  void whole(const std::string& key, int64_t value) { raw(key, std::to_string(value)); }
  void boolean(const std::string& key, bool value) { raw(key, value ? "true" : "false"); }
  template <class Numbers>
  void numbers(const std::string& key, const Numbers& list) {
    std::vector<std::string> texts;
    texts.reserve(std::size(list));
    for (const double v : list) texts.push_back(python_repr(v));
    raw(key, fmt::format("[{}]", fmt::join(texts, ", ")));
  }
  void texts(const std::string& key, const std::vector<std::string>& list) {
    std::string all;
    for (const std::string& v : list) all += (all.empty() ? "" : ", ") + json_quote(v);
    raw(key, "[" + all + "]");
  }
  template <class Names>
  void names(const std::string& key, const Names& list) {
    std::vector<std::string> texts;
    texts.reserve(std::size(list));
    for (const char* v : list) texts.push_back(json_quote(v));
    raw(key, fmt::format("[{}]", fmt::join(texts, ", ")));
  }
  std::string finish() const { return text_ + "\n}\n"; }

 private:
  std::string text_;
};

PckhResult evaluate_people(const MpiiTruth& truth, const std::vector<PersonResult>& people) {
  std::vector<float> poses;  // [people, joints, 2] counted from 0
  for (const PersonResult& p : people) {
    for (size_t k = 0; k < p.keypoints.size(); k += 3) poses.insert(poses.end(), {p.keypoints[k], p.keypoints[k + 1]});
  }
  return evaluate_pckh(truth, poses);
}

// Everything a validation starts from.
struct Validation {
  const ValidateOptions& o;
  const bool packed;
  SplitFiles files;
  Context cx;
  std::optional<WeightFile> weights;
  std::string container, sha256;
  std::unique_ptr<PoseModel> model;
  Skeleton skeleton;
  int h = 256, w = 192;
  Decoding decoding;
  OfficialPostprocess post;
  std::optional<PoseDataset> dataset;
  MpiiTruth truth;
  fs::path folder;
  bool no_truth = false;    // images without annotations: results for the evaluation server, and no numbers
  std::string boxes_doubt;  // of the detector's boxes
  JsonObject json;

  explicit Validation(const ValidateOptions& options)
      : o(options), packed(reads_pack(options, "val")), files(packed ? SplitFiles{} : find_split(options, "val")) {
    check(!(o.soft_nms && o.no_nms), "--soft-nms and --no-nms: only one of them");
    const bool seed = o.recipe == "seed";
    check(!seed || !(o.soft_nms || o.oks_thre || o.in_vis_thre),
          "--recipe seed: has no NMS and rescores with joints above 0.2; --soft-nms, --oks-thre and --in-vis-thre "
          "belong to the official recipe");
    check(!o.analysis || files.kind != Kind::mpii, "--analysis: works with OKS, which MPII is not measured with");
    check(o.person_det.empty() || files.kind != Kind::mpii, "--person-det: MPII is measured at the annotated places");
    cx = make_context(o.device, o.amp, o.threads);
    open_weights();
    prepare_output_folder(o.output_dir, "--output-dir");
    folder = o.output_dir;
    post = {.in_vis_thre = o.in_vis_thre.value_or(0.2),
            .oks_thre = o.oks_thre.value_or(0.9),
            .nms = o.no_nms     ? NmsKind::none
                   : o.soft_nms ? NmsKind::soft
                                : NmsKind::hard};
    open_dataset();
    weights.reset();  // the map is not needed any more
    post.sigmas = skeleton.sigmas;
  }

  void open_weights() {
    const WeightFile& file = weights.emplace(fs::path(o.weights));
    const WeightInfo info = weight_info(file, !o.fixed_size);
    container = file.container();
    model = load_model(cx, file, o.model, o.joints, o.color);
    sha256 = file.sha256();
    h = o.fixed_size ? (*o.fixed_size)[0] : info.input_h.value_or(256);
    w = o.fixed_size ? (*o.fixed_size)[1] : info.input_w.value_or(files.kind == Kind::mpii ? 256 : 192);
    decoding = choose_decoding(o.decoding, info.codec, o.weights, h);
  }

  // The joints that the pack or the annotations name.
  Skeleton joints_of_the_data() const {
    if (packed || files.kind == Kind::mpii) return data_skeleton(o, "", "val");
    const CocoAnnotations names{.path = files.annotations.string(),
                                .images = {},
                                .annotations = {},
                                .categories = read_coco_categories(files.annotations)};
    return skeleton_of(names, files.kind == Kind::crowdpose);
  }

  // The joints: as the flag says, else those that the checkpoint carries, else the pack's or the annotations' own.
  Skeleton joints_of() const {
    Skeleton joints;
    std::string note;
    if (!o.keypoints_path.empty()) {
      joints = data_skeleton(o, o.keypoints_path, "val");
      note = skeleton_note(*weights, joints, "--keypoints-path " + o.keypoints_path);
    } else if (std::optional<Skeleton> own = carried_skeleton(*weights)) {
      joints = *std::move(own);
      const Skeleton theirs = joints_of_the_data();
      for (int k = 0; k < joints.joints() && theirs.joints() == joints.joints() && note.empty(); ++k) {
        if (joints.names[k] == theirs.names[k]) continue;
        note =
            fmt::format("joint {} is \"{}\" in {}, and \"{}\" in the skeleton that {} carries, which is used", k,
                        theirs.names[k], packed ? o.data_path : files.annotations.string(), joints.names[k], o.weights);
      }
    } else {
      joints = joints_of_the_data();
    }
    const bool of_data = o.keypoints_path.empty() || o.keypoints_path == "categories";
    check(
        joints.joints() == model->joints(), "{}: the weights are for {} joints, the {} ({}) has {}; {}", o.weights,
        model->joints(), of_data ? "dataset's skeleton" : "skeleton of --keypoints-path", joints.name, joints.joints(),
        of_data
            ? "take weights that were trained on these joints, or name the weights' skeleton with --keypoints-path if "
              "the annotations have its joints"
            : "without the flag the annotations' own skeleton is taken");
    if (!note.empty()) fmt::print("note       {}\n", note);
    return joints;
  }

  void open_dataset() {
    skeleton = joints_of();
    DatasetOptions options = dataset_options(o, h, w, heatmap_sigma(0, h), false, model->bgr_input(), "val");
    options.encoding = encoding_of(decoding.decode.codec);
    options.cache_bytes = DatasetOptions{}.cache_bytes;
    options.substitute_bad = o.on_bad_sample == "skip";
    if (files.kind == Kind::mpii) options.categories = {};
    no_truth = !packed && files.kind != Kind::mpii && !has_annotations(files.annotations);
    check(!no_truth || !o.person_det.empty(),
          "{}: has images and no \"annotations\" (a list such as image_info_test-dev2017.json): name the detected "
          "boxes with --person-det, and the results for the evaluation server are written",
          files.annotations.string());
    dataset = open_split(o, "val", skeleton, options, {o.person_det, o.image_thre}, &boxes_doubt);
    if (packed) {
      files.annotations = dataset->annotations().path;
      files.images = o.data_path;
      files.kind = dataset->people().front().place           ? Kind::mpii
                   : has_crowd_index(dataset->annotations()) ? Kind::crowdpose
                                                             : Kind::coco;
      check(!o.analysis || files.kind != Kind::mpii, "--analysis: works with OKS, which MPII is not measured with");
    }
    if (files.kind == Kind::mpii) truth = open_mpii_truth(o.truth, *dataset);
    check_samples(*dataset, o, "val", folder, o.threads);
    check(files.kind != Kind::mpii || dataset->size() == static_cast<size_t>(truth.people),
          "{}: PCKh is measured on all {} people, and pictures of {} of them are bad ({}); mend them",
          files.annotations.string(), truth.people, dataset->counts().bad_picture,
          bad_samples_file(folder, "val").string());
  }

  // What is measured and how, printed and for validation.json.
  void header() {
    const bool mpii = files.kind == Kind::mpii;
    const std::string boxes = mpii                   ? "annotated centre and scale"
                              : o.person_det.empty() ? "ground truth"
                                                     : o.person_det;
    const std::string color = model->bgr_input() ? "bgr" : "rgb", type = o.amp ? "bf16" : "float32";
    std::string rescoring = "joints above 0.2, no NMS";
    if (o.recipe != "seed") {
      const char* nms = post.nms == NmsKind::none ? "no NMS" : post.nms == NmsKind::soft ? "soft OKS-NMS" : "OKS-NMS";
      rescoring = fmt::format("joints above {}, {}", post.in_vis_thre, nms);
      if (post.nms != NmsKind::none) rescoring += fmt::format(" at {}", post.oks_thre);
    }
    fmt::print("dataset    {}: {}\n", kind_name(files.kind), files.annotations.string());
    fmt::print("boxes      {}: {} ({})\n", boxes, dataset->size(), dataset->counts().summary());
    fmt::print("weights    {}, SHA-256 {}\n", o.weights, sha256);
    fmt::print("model      {}, {}, {} x {} (h x w), {}, {}\n", model->name(), counted(model->joints(), "joint"), h, w,
               color, type);
    fmt::print("decoding   codec {}, recipe {}\n", decoding.summary(), o.recipe);
    if (mpii) {
      fmt::print("measure    PCKh with the head boxes of {}\n",
                 (o.truth.empty() ? files.annotations.parent_path() / "gt_valid.mat" : fs::path(o.truth)).string());
    } else {
      fmt::print("rescoring  {}\n", rescoring);
      fmt::print("sigmas     {}:", skeleton.name);
      for (const double sigma : skeleton.sigmas) fmt::print(" {:.5g}", sigma);
      fmt::print("\n");
    }
    std::fflush(stdout);

    json.text("dataset", kind_name(files.kind));
    json.text("annotations", files.annotations.string());
    json.text("images", files.images.string());
    json.text("box_source", boxes);
    json.whole("boxes", static_cast<int64_t>(dataset->size()));
    json.text("box_counts", dataset->counts().summary());
    json.text("weights", o.weights);
    json.text("weights_sha256", sha256);
    json.text("weights_container", container);
    json.text("model", model->name());
    json.whole("joints", model->joints());
    json.raw("input", fmt::format("{{\"height\": {}, \"width\": {}}}", h, w));
    json.text("color", color);
    json.text("precision", type);
    json.text("recipe", o.recipe);
    json.text("codec", std::string(codec_name(decoding.decode.codec)));
    if (encoding_of(decoding.decode.codec) != Encoding::quarter) json.whole("blur", decoding.decode.blur);
    json.boolean("flip", decoding.flip);
    json.boolean("shift_heatmap", decoding.flip && decoding.shift);
    json.text("skeleton", skeleton.name);
    if (mpii) {
      json.text("truth",
                (o.truth.empty() ? files.annotations.parent_path() / "gt_valid.mat" : fs::path(o.truth)).string());
    } else {
      json.numbers("sigmas", skeleton.sigmas);
      json.text("rescoring", rescoring);
    }
  }

  std::vector<PersonResult> predict() {
    HeatmapRunner runner(cx, *model, skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift});
    return predict_people(runner, *dataset, o.batch_size, o.workers, "validate", decoding.decode);
  }

  // The set's name in the official file's: person_keypoints_val2017.json is val2017.
  std::string set_name() const {
    const std::string stem = files.annotations.stem().string();
    for (const std::string prefix : {"person_keypoints_", "image_info_"}) {
      if (stem.starts_with(prefix)) return stem.substr(prefix.size());
    }
    return stem;
  }

  void numbers(std::span<const char* const> names, std::span<const double> stats) {
    json.names("stats_names", names);
    json.numbers("stats", stats);
    const std::string table = markdown_table(model->name(), names, stats);
    write_file(folder / "validation.md", table + "\n");
    fmt::print("{}\n", table);
  }

  void finish(double seconds, std::vector<std::string> written) {
    json.raw("seconds", fmt::format("{:.3f}", seconds));
    write_file(folder / "validation.json", json.finish());
    written.insert(written.end(), {"validation.json", "validation.md"});
    fmt::print("wrote {} in {}\n", fmt::join(written, ", "), folder.string());
  }

  // For images without annotations.
  void write_server_files(const std::vector<PersonResult>& results, double seconds) {
    const std::string official = fmt::format("results/keypoints_{}_results_0.json", set_name());
    write_seed_results(folder / "key_results.json", results);
    prepare_output_folder(folder / "results", "--output-dir");
    write_official_results(folder / official, results);
    const std::string remark =
        fmt::format("{} has no annotations, so there are no numbers: {} is what the evaluation server takes",
                    files.annotations.string(), (folder / official).string());
    std::vector<std::string> remarks = {remark};
    if (!boxes_doubt.empty()) remarks.push_back(boxes_doubt);
    for (const std::string& text : remarks) fmt::print("remark     {}\n", text);
    json.texts("remarks", remarks);
    json.raw("seconds", fmt::format("{:.3f}", seconds));
    write_file(folder / "validation.json", json.finish());
    fmt::print("wrote key_results.json, {}, validation.json in {}\n", official, folder.string());
  }

  void measure_oks() {
    const double started = now();
    const bool seed = o.recipe == "seed";
    const std::vector<PersonResult> people = predict();
    const std::vector<PersonResult> results = seed ? postprocess_seed(people) : postprocess_official(people, post);
    if (no_truth) {
      write_server_files(results, now() - started);
      return;
    }
    const auto detections = to_detections(results, seed ? Rounding::two_decimals : Rounding::none);
    CocoEvalOptions options{.sigmas = skeleton.sigmas,
                            .categories = evaluated_categories(*dataset),
                            .threads = o.threads > 0 ? o.threads : 1,
                            .sigmas_remark = sigmas_doubt(skeleton),
                            .detections_name = "the network's poses"};
    const CocoAnnotations& annotations = dataset->annotations();
    CocoEvalResult coco;
    std::string summary;
    if (files.kind == Kind::crowdpose) {
      constexpr std::array<const char*, 9> names = {"AP",     "Ap .5",  "AP .75", "AR",    "AR .5",
                                                    "AR .75", "AP (E)", "AP (M)", "AP (H)"};
      CrowdPoseResult crowdpose = evaluate_crowdpose(annotations, detections, options);
      options.rules = CocoRules::xtcocotools_crowd;
      summary = crowdpose_summary(crowdpose);
      fmt::print("{}\n", summary);
      numbers(names, crowdpose.stats);
      coco = std::move(crowdpose.all);
    } else {
      constexpr std::array<const char*, 10> names = {"AP", "Ap .5", "AP .75", "AP (M)", "AP (L)",
                                                     "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
      coco = evaluate_coco(annotations, detections, options);
      summary = coco_summary(coco);
      fmt::print("{}\n", summary);
      numbers(names, coco.stats);
    }
    std::vector<std::string> remarks = coco_remark_list(coco);
    if (!boxes_doubt.empty()) remarks.insert(remarks.begin(), boxes_doubt);
    for (const std::string& remark : remarks) fmt::print("remark     {}\n", remark);
    json.texts("remarks", remarks);
    json.text("rules", std::string(coco_rules_name(options.rules)));
    json.raw("evaluated", fmt::format("{{\"images\": {}, \"people\": {}, \"poses\": {}}}", coco.counts.images,
                                      coco.counts.people, coco.counts.detections));
    const std::string official = fmt::format("results/keypoints_{}_results_0.json", set_name());
    write_seed_results(folder / "key_results.json", results);
    write_record_map(folder / "record_mAP.txt", summary);
    prepare_output_folder(folder / "results", "--output-dir");
    write_official_results(folder / official, results);
    std::vector<std::string> written = {"key_results.json", "record_mAP.txt", official};
    if (o.analysis) {
      const PoseAnalysis analysis = analyse_poses(annotations, detections, skeleton, options);
      fmt::print("\n{}\n", analysis_table(analysis));
      const std::string title = fmt::format("{} on {}: AP {:.3f}", model->name(), set_name(), coco.stats[0]);
      write_image(folder / "analysis.png", analysis_picture(analysis, title));
      json.raw("analysis", analysis_json(analysis));
      written.emplace_back("analysis.png");
    }
    finish(now() - started, std::move(written));
  }

  void measure_pckh() {
    const double started = now();
    const std::vector<PersonResult> people = predict();
    const auto J = static_cast<size_t>(model->joints());
    MatArray matlab{{static_cast<int64_t>(people.size()), static_cast<int64_t>(J), 2}, {}, {}};  // counted from 1
    matlab.values.resize(people.size() * J * 2);
    for (size_t n = 0; n < people.size(); ++n) {
      for (size_t k = 0; k < J; ++k) {
        for (size_t c = 0; c < 2; ++c)
          matlab.values[n + people.size() * (k + J * c)] = people[n].keypoints[3 * k + c] + 1.0F;
      }
    }
    const PckhResult pckh = evaluate_people(truth, people);
    numbers(pckh_columns(), pckh.table);
    json.numbers("pckh_by_joint", pckh.joints);
    write_mat(folder / "pred.mat", {{"preds", matlab}}, true);
    finish(now() - started, {"pred.mat"});
  }
};

}  // namespace

std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                                         const std::string& title, const DecodeOptions& decoding, Comm* ranks) {
  check((encoding_of(decoding.codec) == Encoding::udp) == (dataset.options().encoding == Encoding::udp),
        "decoding with codec {}, but the crops were made for {}", codec_name(decoding.codec),
        encoding_name(dataset.options().encoding));
  runner.discard();  // of a call that ended with an error
  const double started = now();
  const auto rate = [&](size_t n) {
    return fmt::format("{:.1f} people/s", static_cast<double>(n) / (now() - started));
  };
  const Shard shard = ranks != nullptr ? Shard{ranks->rank(), ranks->size()} : Shard{};
  Loader loader(dataset, loader_for(runner.context().device,
                                    {.batch_size = batch_size, .workers = workers, .targets = false, .shard = shard}));
  loader.start_epoch(0);
  Progress progress(shard.rank == 0 ? title : "", static_cast<int64_t>(shard.size(dataset.size())));
  std::vector<PersonResult> people;
  people.reserve(dataset.size());
  Batch batch;
  std::deque<std::vector<SampleMeta>> metas;  // of the batches under way
  for (bool more = true;;) {
    while (!runner.full() && (more = more && loader.next(batch))) {
      runner.submit(batch);
      metas.push_back(std::move(batch.meta));
    }
    if (metas.empty()) break;
    const Heatmaps maps = runner.wait();
    const std::vector<SampleMeta> meta_of = std::move(metas.front());
    metas.pop_front();
    std::vector<float> poses = decode(maps, decoding);  // while the device has the batches after this one
    std::vector<Affine> places;
    for (const SampleMeta& meta : meta_of) places.push_back(meta.heatmap_to_image);
    to_image(poses, maps.joints, places);
    const auto numbers = static_cast<ptrdiff_t>(maps.joints) * 3;
    for (int i = 0; i < maps.n; ++i) {
      const SampleMeta& meta = meta_of[i];
      if (meta.substitute) continue;  // the picture has turned bad; nobody is found where nobody was looked for
      PersonResult& person = people.emplace_back();
      person.image_id = meta.image_id;
      person.keypoints.assign(poses.begin() + i * numbers, poses.begin() + (i + 1) * numbers);
      person.category_id = meta.category_id;
      person.score = meta.box_score;
      std::copy_n(meta.center, 2, person.center);
      std::copy_n(meta.scale, 2, person.scale);
      person.area = meta.area;
    }
    progress.update(static_cast<int64_t>(people.size()), rate(people.size() * shard.ranks));
    if (ranks != nullptr) ranks->check();
  }
  progress.finish(rate(people.size() * shard.ranks));
  if (shard.ranks > 1) {
    ranks->barrier();  // not all are equally fast
    return gather_people(*ranks, loader.order(), people, dataset.size());
  }
  return people;
}

ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                             const std::string& title, const DecodeOptions& decoding, Comm* ranks,
                             const MpiiTruth* truth) {
  ValidationRun run;
  std::vector<PersonResult> people = predict_people(runner, dataset, batch_size, workers, title, decoding, ranks);
  if (ranks != nullptr && ranks->rank() != 0) return run;
  if (truth != nullptr) {
    run.pckh = evaluate_people(*truth, people);
    run.results = std::move(people);
    return run;
  }
  const bool seed = dataset.options().recipe == Recipe::seed;
  run.results = seed ? postprocess_seed(people) : postprocess_official(people, {.sigmas = dataset.skeleton().sigmas});
  const auto detections = to_detections(run.results, seed ? Rounding::two_decimals : Rounding::none);
  run.coco = evaluate_coco(dataset.annotations(), detections,
                           {.sigmas = dataset.skeleton().sigmas,
                            .categories = evaluated_categories(dataset),
                            .sigmas_remark = sigmas_doubt(dataset.skeleton()),
                            .detections_name = "the network's poses"});
  return run;
}

std::vector<int64_t> evaluated_categories(const PoseDataset& dataset) {
  std::set<int64_t> there;
  for (const CocoCategory& category : dataset.annotations().categories) there.insert(category.id);
  if (there.empty()) {
    for (const CocoAnnotation& person : dataset.annotations().annotations) there.insert(person.category_id);
  }
  std::vector<int64_t> categories;
  for (const int64_t id : dataset.options().categories) {
    if (there.contains(id)) categories.push_back(id);
  }
  return categories;
}

MpiiTruth open_mpii_truth(const fs::path& named, const PoseDataset& dataset) {
  const fs::path annotations = dataset.annotations().path;
  const fs::path path = named.empty() ? annotations.parent_path() / "gt_valid.mat" : named;
  check(fs::exists(path),
        "{}: does not exist; PCKh needs the head boxes of MPII's gt_valid.mat, name it with --mpii-truth",
        path.string());
  MpiiTruth truth = read_mpii_truth(path);
  check(truth.people == static_cast<int64_t>(dataset.size()),
        "{}: has {} people, {} has {}; do the files belong together?", path.string(), truth.people,
        annotations.string(), dataset.size());
  return truth;
}

double heatmap_sigma(double flag, int input_h) { return flag > 0 ? flag : input_h >= 384 ? 3.0 : 2.0; }

void add_validate_options(CLI::App& app, ValidateOptions& o) {
  describe(app,
           "Measures a pose model on COCO (ten OKS numbers), CrowdPose (nine) or MPII (PCKh): prints what was measured "
           "and how, and writes result files in the seed's and the official formats.",
           "validate --data-path demo/data --weights demo/run/best.safetensors --output-dir demo/run");
  add_weights(app, o);
  add_data_options(app, o, DataFlags::validation);
  app.add_option("--mpii-truth", o.truth, "MPII: gt_valid.mat [default: beside the annotation file]")
      ->type_name("FILE");
  app.add_option("--person-det", o.person_det, "detected boxes (COCO result list) instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--image-thre", o.image_thre, "detected boxes with a lower score are left out")->type_name("X");
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  add_decoding_options(app, o.decoding);
  app.add_flag("--soft-nms", o.soft_nms, "soft OKS-NMS: scores shrink instead of poses being dropped; at most 20 stay");
  app.add_flag("--no-nms", o.no_nms, "keep every pose");
  app.add_option("--oks-thre", o.oks_thre, "OKS above which the weaker pose is dropped [default: 0.9]")->type_name("X");
  app.add_option("--in-vis-thre", o.in_vis_thre, "only joints with a higher score count in a pose's [default: 0.2]")
      ->type_name("X");
  app.add_flag("--analysis", o.analysis, "error analysis by joint and size: a table, and analysis.png");
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for the result files")->type_name("DIR");
  add_model_options(app, o);
}

void validate(const ValidateOptions& o) {
  Validation validation(o);
  validation.header();
  if (validation.files.kind == Kind::mpii) {
    validation.measure_pckh();
  } else {
    validation.measure_oks();
  }
}

}  // namespace hr

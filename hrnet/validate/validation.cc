#include "hrnet/validate/validation.h"

#include <array>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/stopwatch.h"
#include "data/formats/mat_file.h"
#include "data/formats/mpii.h"
#include "eval/coco_files.h"
#include "eval/crowdpose.h"
#include "eval/pckh.h"
#include "eval/remarks.h"
#include "eval/results.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/model/make_context.h"
#include "hrnet/validate/detected_boxes.h"
#include "hrnet/validate/run_validation.h"

namespace hr {
namespace {

using Kind = SplitFiles::Kind;

// The text of validation.json. Members are appended as soon as their values are known.
struct Document {
  std::string text;
  JsonWriter json{text, {.lines = 1, .python_reals = true, .non_finite = true}};
  Document() { json.begin_object(); }
};

}  // namespace

struct Validation::Parts {
  const ValidationOptions o;
  const ValidationObserver tell;
  const bool packed;
  SplitFiles files;
  Context cx;
  std::optional<WeightFile> weights;
  std::string container, sha256;
  bool eight_bits = false;  // The weights are those of hrnet/int8/file.h.
  std::unique_ptr<PoseModel> model;
  Skeleton skeleton;
  int h = 256, w = 192;
  Decoding decoding;
  OfficialPostprocess post;
  std::optional<PoseDataset> dataset;
  MpiiTruth truth;
  fs::path folder;
  bool no_truth = false;    // Images without annotations: results for the evaluation server, but no numbers.
  std::string boxes_doubt;  // A remark about the detected boxes.

  Parts(const ValidationOptions& options, ValidationObserver observer)
      : o(options),
        tell(std::move(observer)),
        packed(reads_pack(options, "val")),
        files(packed ? SplitFiles{} : find_split(options, "val")) {
    check_field(!(o.soft_nms && o.no_nms), "soft_nms", "and `no_nms` contradict each other; give one of them");
    const bool seed = o.recipe == "seed";
    check_field(!seed || !(o.soft_nms || o.oks_thre || o.in_vis_thre), "recipe",
                "seed: has no NMS and rescores with joints above 0.2; `soft_nms`, `oks_thre` and `in_vis_thre` belong "
                "to the official recipe");
    check_analysis();
    check_field(o.person_det.empty() || files.kind != Kind::mpii, "person_det",
                "{}: MPII is measured with annotated centre and scale, not with detected boxes; leave it out",
                o.person_det);
    cx = make_context({.device = o.device,
                       .amp = o.amp,
                       .threads = o.threads,
                       .tf32 = o.tf32,
                       .exact = o.exact,
                       .listener = tell.listener});
    open_weights();
    prepare_output_folder(o.output_dir, "output_dir");
    folder = o.output_dir;
    post = {.in_vis_thre = o.in_vis_thre.value_or(0.2),
            .oks_thre = o.oks_thre.value_or(0.9),
            .nms = o.no_nms     ? NmsKind::none
                   : o.soft_nms ? NmsKind::soft
                                : NmsKind::hard};
    open_dataset();
    weights.reset();  // The mapped file is not needed any more.
    post.sigmas = skeleton.sigmas;
  }

  void check_analysis() const {
    check_field(!o.analysis || files.kind != Kind::mpii, "analysis",
                "needs OKS, but MPII is measured with PCKh; leave it out");
  }
  void note(const std::string& text) const {
    if (tell.note) tell.note(text);
  }
  std::string worded(const std::string& remark) const { return tell.wording ? tell.wording(remark) : remark; }
  std::string truth_file() const {
    return (o.mpii_truth.empty() ? files.annotations.parent_path() / "gt_valid.mat" : fs::path(o.mpii_truth)).string();
  }

  void open_weights() {
    const WeightFile& file = weights.emplace(fs::path(o.weights));
    const WeightInfo info = weight_info(file, !o.fixed_size);
    container = file.container();
    model = load_model(cx, file, o.model, o.joints, o.color);
    sha256 = file.sha256();
    eight_bits = is_int8(file);
    h = o.fixed_size ? (*o.fixed_size)[0] : info.input_h.value_or(256);
    w = o.fixed_size ? (*o.fixed_size)[1] : info.input_w.value_or(files.kind == Kind::mpii ? 256 : 192);
    decoding = choose_decoding(o.decoding, info.codec, o.weights, h);
  }

  // The skeleton that the pack or the annotations name.
  Skeleton joints_of_the_data() const {
    if (packed || files.kind == Kind::mpii) return data_skeleton(o, "", "val", tell.note);
    const CocoAnnotations names{.path = files.annotations.string(),
                                .images = {},
                                .annotations = {},
                                .categories = read_coco_categories(files.annotations)};
    return skeleton_of(names, files.kind == Kind::crowdpose);
  }

  // Chooses the skeleton: the one in keypoints_path, or else the one that the checkpoint carries, or else that of the
  // pack or the annotations.
  Skeleton joints_of() const {
    Skeleton joints;
    std::string difference;
    if (!o.keypoints_path.empty()) {
      joints = data_skeleton(o, o.keypoints_path, "val", tell.note);
      difference = skeleton_note(*weights, joints, "`keypoints_path` " + o.keypoints_path);
    } else if (std::optional<Skeleton> own = carried_skeleton(*weights)) {
      joints = *std::move(own);
      const Skeleton theirs = joints_of_the_data();
      for (int k = 0; k < joints.joints() && theirs.joints() == joints.joints() && difference.empty(); ++k) {
        if (joints.names[k] == theirs.names[k]) continue;
        difference =
            fmt::format("joint {} is \"{}\" in {}, but \"{}\" in the skeleton that {} carries, which is used", k,
                        theirs.names[k], packed ? o.data_path : files.annotations.string(), joints.names[k], o.weights);
      }
    } else {
      joints = joints_of_the_data();
    }
    const bool of_data = o.keypoints_path.empty() || o.keypoints_path == "categories";
    check(
        joints.joints() == model->joints(), "{}: the weights are for {} joints, but the {} ({}) has {}; {}", o.weights,
        model->joints(), of_data ? "dataset's skeleton" : "skeleton of `keypoints_path`", joints.name, joints.joints(),
        of_data
            ? "take weights that were trained on these joints, or name the weights' skeleton with `keypoints_path` if "
              "the annotations have its joints"
            : "without this setting the annotations' own skeleton is taken");
    if (!difference.empty()) note(difference);
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
          "{}: has images but no \"annotations\" (a list such as image_info_test-dev2017.json); name the detected "
          "boxes with `person_det` to write the results for the evaluation server",
          files.annotations.string());
    const DetectedBoxes boxes = read_detected_boxes(o, "val", o.person_det, o.image_thre);
    dataset.emplace(open_split(o, "val", skeleton, options, boxes));
    if (!boxes.file.empty()) boxes_doubt = detector_doubt(boxes.boxes, dataset->annotations(), boxes.file);
    if (packed) {
      files.annotations = dataset->annotations().path;
      files.images = o.data_path;
      files.kind = dataset->people().front().place           ? Kind::mpii
                   : has_crowd_index(dataset->annotations()) ? Kind::crowdpose
                                                             : Kind::coco;
      check_analysis();
    }
    if (files.kind == Kind::mpii) truth = open_mpii_truth(o.mpii_truth, *dataset);
    const std::string left_out = check_samples(*dataset, o, "val", folder, o.threads, tell.checked, tell.note);
    if (!left_out.empty() && tell.left_out) tell.left_out(left_out);
    check(files.kind != Kind::mpii || dataset->size() == static_cast<size_t>(truth.people),
          "{}: PCKh is measured on all {} people, but pictures of {} of them are bad ({}); repair these pictures",
          files.annotations.string(), truth.people, dataset->counts().bad_picture,
          bad_samples_file(folder, "val").string());
  }

  // These describe what is measured and how.
  std::string boxes() const {
    return files.kind == Kind::mpii ? "annotated centre and scale"
           : o.person_det.empty()   ? "ground truth"
                                    : o.person_det;
  }
  std::string rescoring() const {
    if (o.recipe == "seed") return "joints above 0.2, no NMS";
    const char* nms = post.nms == NmsKind::none ? "no NMS" : post.nms == NmsKind::soft ? "soft OKS-NMS" : "OKS-NMS";
    std::string text = fmt::format("joints above {}, {}", post.in_vis_thre, nms);
    if (post.nms != NmsKind::none) text += fmt::format(" at {}", post.oks_thre);
    return text;
  }
  const char* color() const { return model->bgr_input() ? "bgr" : "rgb"; }
  const char* type() const { return eight_bits ? "int8" : o.amp ? "bf16" : "float32"; }

  std::vector<std::pair<std::string, std::string>> description() const {
    std::vector<std::pair<std::string, std::string>> lines = {
        {"dataset", fmt::format("{}: {}", kind_name(files.kind), files.annotations.string())},
        {"boxes", fmt::format("{}: {} ({})", boxes(), dataset->size(), dataset->counts().summary())},
        {"weights", fmt::format("{}, SHA-256 {}", o.weights, sha256)},
        {"model", fmt::format("{}, {}, {} x {} (h x w), {}, {}", model->name(), counted(model->joints(), "joint"), h, w,
                              color(), type())},
        {"decoding", fmt::format("codec {}, recipe {}", decoding.summary(), o.recipe)}};
    if (files.kind == Kind::mpii) {
      lines.emplace_back("measure", "PCKh with the head boxes of " + truth_file());
      return lines;
    }
    lines.emplace_back("rescoring", rescoring());
    std::string sigmas = skeleton.name + ":";
    for (const double sigma : skeleton.sigmas) sigmas += fmt::format(" {:.5g}", sigma);
    lines.emplace_back("sigmas", sigmas);
    return lines;
  }

  void describe(JsonWriter& json) const {
    json.member("dataset", kind_name(files.kind));
    json.member("annotations", files.annotations.string());
    json.member("images", files.images.string());
    json.member("box_source", boxes());
    json.member("boxes", dataset->size());
    json.member("box_counts", dataset->counts().summary());
    json.member("weights", o.weights);
    json.member("weights_sha256", sha256);
    json.member("weights_container", container);
    json.member("model", model->name());
    json.member("joints", model->joints());
    json.key("input").begin_object().member("height", h).member("width", w).end();
    json.member("color", color());
    json.member("precision", type());
    json.member("recipe", o.recipe);
    json.member("codec", codec_name(decoding.decode.codec));
    if (encoding_of(decoding.decode.codec) != Encoding::quarter) json.member("blur", decoding.decode.blur);
    json.member("flip", decoding.flip);
    json.member("shift_heatmap", decoding.flip && decoding.shift);
    json.member("skeleton", skeleton.name);
    if (files.kind == Kind::mpii) {
      json.member("truth", truth_file());
    } else {
      json.member("sigmas", skeleton.sigmas);
      json.member("rescoring", rescoring());
    }
  }

  std::vector<PersonResult> predict() {
    HeatmapRunner runner(cx, *model, skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift});
    return predict_people(
        runner, *dataset,
        {.batch_size = o.batch_size, .workers = o.workers, .decoding = decoding.decode, .progress = tell.progress});
  }

  // The name of the set in the official file's name: val2017 for person_keypoints_val2017.json.
  std::string set_name() const {
    const std::string stem = files.annotations.stem().string();
    for (const std::string prefix : {"person_keypoints_", "image_info_"}) {
      if (stem.starts_with(prefix)) return stem.substr(prefix.size());
    }
    return stem;
  }

  void numbers(std::span<const char* const> names, std::span<const double> stats, JsonWriter& json,
               ValidationReport& report) const {
    json.member("stats_names", names).member("stats", stats);
    report.stat_names.assign(names.begin(), names.end());
    report.stats.assign(stats.begin(), stats.end());
    report.table = markdown_table(model->name(), names, stats);
    write_file(folder / "validation.md", report.table + "\n");
  }

  void finish(double seconds, Document& document, ValidationReport& report) const {
    document.json.member("seconds", JsonFixed{seconds, 3}).end();
    write_file(folder / "validation.json", document.text + "\n");
    report.written.emplace_back("validation.json");
    if (!report.table.empty()) report.written.emplace_back("validation.md");
  }

  void remark(std::vector<std::string> remarks, JsonWriter& json, ValidationReport& report) const {
    report.remarks = std::move(remarks);
    json.key("remarks").begin_list();
    for (const std::string& text : report.remarks) json.value(worded(text));
    json.end();
  }

  std::string write_results(const std::vector<PersonResult>& results, ValidationReport& report) const {
    const std::string official = fmt::format("results/keypoints_{}_results_0.json", set_name());
    write_seed_results(folder / "key_results.json", results);
    prepare_output_folder(folder / "results", "output_dir");
    write_official_results(folder / official, results);
    report.written = {"key_results.json", official};
    return official;
  }

  // The annotations of these images are not public, so the results go to an evaluation server.
  ValidationReport without_truth(const std::vector<PersonResult>& results, double started) const {
    ValidationReport report;
    Document document;
    describe(document.json);
    const std::string official = write_results(results, report);
    std::vector<std::string> remarks = {
        fmt::format("{} has no annotations, so there are no numbers: {} is what the evaluation server takes",
                    files.annotations.string(), (folder / official).string())};
    if (!boxes_doubt.empty()) remarks.push_back(boxes_doubt);
    remark(std::move(remarks), document.json, report);
    finish(now() - started, document, report);
    return report;
  }

  CocoEvalResult evaluate(const std::vector<CocoDetection>& detections, CocoEvalOptions& options, JsonWriter& json,
                          ValidationReport& report) const {
    const CocoAnnotations& annotations = dataset->annotations();
    if (files.kind != Kind::crowdpose) {
      CocoEvalResult coco = evaluate_coco(annotations, detections, options);
      report.summary = coco_summary(coco);
      numbers(kOfficialStatNames, coco.stats, json, report);
      return coco;
    }
    constexpr std::array<const char*, 9> names = {"AP",     "Ap .5",  "AP .75", "AR",    "AR .5",
                                                  "AR .75", "AP (E)", "AP (M)", "AP (H)"};
    CrowdPoseResult crowdpose = evaluate_crowdpose(annotations, detections, options);
    options.rules = CocoRules::xtcocotools_crowd;
    report.summary = crowdpose_summary(crowdpose);
    numbers(names, crowdpose.stats, json, report);
    return std::move(crowdpose.all);
  }

  ValidationReport measure_oks() {
    const double started = now();
    const bool seed = o.recipe == "seed";
    const std::vector<PersonResult> people = predict();
    const std::vector<PersonResult> results = seed ? postprocess_seed(people) : postprocess_official(people, post);
    if (no_truth) return without_truth(results, started);
    ValidationReport report;
    Document document;
    JsonWriter& json = document.json;
    describe(json);
    const auto detections = to_detections(results, seed ? Rounding::two_decimals : Rounding::none);
    CocoEvalOptions options{.sigmas = skeleton.sigmas,
                            .categories = evaluated_categories(*dataset),
                            .threads = o.threads > 0 ? o.threads : 1,
                            .sigmas_remark = sigmas_doubt(skeleton),
                            .detections_name = "the network's poses"};
    const CocoEvalResult coco = evaluate(detections, options, json, report);
    std::vector<std::string> remarks = coco_remark_list(coco);
    if (!boxes_doubt.empty()) remarks.insert(remarks.begin(), boxes_doubt);
    remark(std::move(remarks), json, report);
    report.rules = options.rules;
    json.member("rules", coco_rules_name(options.rules));
    json.key("evaluated").begin_object().member("images", coco.counts.images).member("people", coco.counts.people);
    json.member("poses", coco.counts.detections).end();
    write_results(results, report);
    report.results = results;
    write_record_map(folder / "record_mAP.txt", report.summary);
    report.written.insert(report.written.begin() + 1, "record_mAP.txt");
    if (o.analysis) {
      report.analysis = analyse_poses(dataset->annotations(), detections, skeleton, options);
      report.analysis_title = fmt::format("{} on {}: AP {:.3f}", model->name(), set_name(), coco.stats[0]);
      json.key("analysis").copy(analysis_json(*report.analysis));
    }
    finish(now() - started, document, report);
    return report;
  }

  ValidationReport measure_pckh() {
    const double started = now();
    const std::vector<PersonResult> people = predict();
    const auto J = static_cast<size_t>(model->joints());
    // MATLAB counts pixels from 1.
    MatArray matlab{{static_cast<int64_t>(people.size()), static_cast<int64_t>(J), 2}, {}, {}};
    matlab.values.resize(people.size() * J * 2);
    for (size_t n = 0; n < people.size(); ++n) {
      for (size_t k = 0; k < J; ++k) {
        for (size_t c = 0; c < 2; ++c)
          matlab.values[n + people.size() * (k + J * c)] = people[n].keypoints[3 * k + c] + 1.0F;
      }
    }
    const PckhResult pckh = evaluate_people(truth, people);
    ValidationReport report;
    Document document;
    describe(document.json);
    numbers(pckh_columns(), pckh.table, document.json, report);
    document.json.member("pckh_by_joint", pckh.joints);
    report.pckh = true;
    report.joints = pckh.joints;
    report.results = people;
    write_mat(folder / "pred.mat", {{"preds", matlab}}, true);
    report.written = {"pred.mat"};
    finish(now() - started, document, report);
    return report;
  }
};

Validation::Validation(const ValidationOptions& options, ValidationObserver observer)
    : parts_(std::make_unique<Parts>(options, std::move(observer))) {}
Validation::~Validation() = default;

std::vector<std::pair<std::string, std::string>> Validation::description() const { return parts_->description(); }

const PoseDataset& Validation::dataset() const { return *parts_->dataset; }

ValidationReport Validation::run() {
  ValidationReport report = parts_->files.kind == Kind::mpii ? parts_->measure_pckh() : parts_->measure_oks();
  report.model = parts_->model->name();
  report.set = parts_->set_name();
  report.input_h = parts_->h;
  report.input_w = parts_->w;
  return report;
}

}  // namespace hr

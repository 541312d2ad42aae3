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

}  // namespace

struct Validation::Parts {
  const ValidationOptions o;
  const ValidationObserver tell;
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
                "{}: MPII is measured at the annotated places", o.person_det);
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
    weights.reset();  // the map is not needed any more
    post.sigmas = skeleton.sigmas;
  }

  void check_analysis() const {
    check_field(!o.analysis || files.kind != Kind::mpii, "analysis", "works with OKS, which MPII is not measured with");
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
    h = o.fixed_size ? (*o.fixed_size)[0] : info.input_h.value_or(256);
    w = o.fixed_size ? (*o.fixed_size)[1] : info.input_w.value_or(files.kind == Kind::mpii ? 256 : 192);
    decoding = choose_decoding(o.decoding, info.codec, o.weights, h);
  }

  // The joints that the pack or the annotations name.
  Skeleton joints_of_the_data() const {
    if (packed || files.kind == Kind::mpii) return data_skeleton(o, "", "val", tell.note);
    const CocoAnnotations names{.path = files.annotations.string(),
                                .images = {},
                                .annotations = {},
                                .categories = read_coco_categories(files.annotations)};
    return skeleton_of(names, files.kind == Kind::crowdpose);
  }

  // The joints: as the flag says, else those that the checkpoint carries, else the pack's or the annotations' own.
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
            fmt::format("joint {} is \"{}\" in {}, and \"{}\" in the skeleton that {} carries, which is used", k,
                        theirs.names[k], packed ? o.data_path : files.annotations.string(), joints.names[k], o.weights);
      }
    } else {
      joints = joints_of_the_data();
    }
    const bool of_data = o.keypoints_path.empty() || o.keypoints_path == "categories";
    check(
        joints.joints() == model->joints(), "{}: the weights are for {} joints, the {} ({}) has {}; {}", o.weights,
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
          "{}: has images and no \"annotations\" (a list such as image_info_test-dev2017.json): name the detected "
          "boxes with `person_det`, and the results for the evaluation server are written",
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
          "{}: PCKh is measured on all {} people, and pictures of {} of them are bad ({}); mend them",
          files.annotations.string(), truth.people, dataset->counts().bad_picture,
          bad_samples_file(folder, "val").string());
  }

  // What is measured and how.
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
  const char* type() const { return o.amp ? "bf16" : "float32"; }

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

  JsonObject described() const {
    JsonObject json;
    json.text("dataset", kind_name(files.kind));
    json.text("annotations", files.annotations.string());
    json.text("images", files.images.string());
    json.text("box_source", boxes());
    json.whole("boxes", static_cast<int64_t>(dataset->size()));
    json.text("box_counts", dataset->counts().summary());
    json.text("weights", o.weights);
    json.text("weights_sha256", sha256);
    json.text("weights_container", container);
    json.text("model", model->name());
    json.whole("joints", model->joints());
    json.raw("input", fmt::format("{{\"height\": {}, \"width\": {}}}", h, w));
    json.text("color", color());
    json.text("precision", type());
    json.text("recipe", o.recipe);
    json.text("codec", std::string(codec_name(decoding.decode.codec)));
    if (encoding_of(decoding.decode.codec) != Encoding::quarter) json.whole("blur", decoding.decode.blur);
    json.boolean("flip", decoding.flip);
    json.boolean("shift_heatmap", decoding.flip && decoding.shift);
    json.text("skeleton", skeleton.name);
    if (files.kind == Kind::mpii) {
      json.text("truth", truth_file());
    } else {
      json.numbers("sigmas", skeleton.sigmas);
      json.text("rescoring", rescoring());
    }
    return json;
  }

  std::vector<PersonResult> predict() {
    HeatmapRunner runner(cx, *model, skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift});
    return predict_people(
        runner, *dataset,
        {.batch_size = o.batch_size, .workers = o.workers, .decoding = decoding.decode, .progress = tell.progress});
  }

  // The set's name in the official file's: person_keypoints_val2017.json is val2017.
  std::string set_name() const {
    const std::string stem = files.annotations.stem().string();
    for (const std::string prefix : {"person_keypoints_", "image_info_"}) {
      if (stem.starts_with(prefix)) return stem.substr(prefix.size());
    }
    return stem;
  }

  void numbers(std::span<const char* const> names, std::span<const double> stats, JsonObject& json,
               ValidationReport& report) const {
    json.names("stats_names", names);
    json.numbers("stats", stats);
    report.table = markdown_table(model->name(), names, stats);
    write_file(folder / "validation.md", report.table + "\n");
  }

  void finish(double seconds, JsonObject& json, ValidationReport& report) const {
    json.raw("seconds", fmt::format("{:.3f}", seconds));
    write_file(folder / "validation.json", json.finish());
    report.written.emplace_back("validation.json");
    if (!report.table.empty()) report.written.emplace_back("validation.md");
  }

  void remark(std::vector<std::string> remarks, JsonObject& json, ValidationReport& report) const {
    report.remarks = std::move(remarks);
    std::vector<std::string> texts;
    for (const std::string& text : report.remarks) texts.push_back(worded(text));
    json.texts("remarks", texts);
  }

  std::string write_results(const std::vector<PersonResult>& results, ValidationReport& report) const {
    const std::string official = fmt::format("results/keypoints_{}_results_0.json", set_name());
    write_seed_results(folder / "key_results.json", results);
    prepare_output_folder(folder / "results", "output_dir");
    write_official_results(folder / official, results);
    report.written = {"key_results.json", official};
    return official;
  }

  // The truth of images without annotations is not known: the results go to an evaluation server.
  ValidationReport without_truth(const std::vector<PersonResult>& results, double started) const {
    ValidationReport report;
    JsonObject json = described();
    const std::string official = write_results(results, report);
    std::vector<std::string> remarks = {
        fmt::format("{} has no annotations, so there are no numbers: {} is what the evaluation server takes",
                    files.annotations.string(), (folder / official).string())};
    if (!boxes_doubt.empty()) remarks.push_back(boxes_doubt);
    remark(std::move(remarks), json, report);
    finish(now() - started, json, report);
    return report;
  }

  CocoEvalResult evaluate(const std::vector<CocoDetection>& detections, CocoEvalOptions& options, JsonObject& json,
                          ValidationReport& report) const {
    const CocoAnnotations& annotations = dataset->annotations();
    if (files.kind != Kind::crowdpose) {
      constexpr std::array<const char*, 10> names = {"AP", "Ap .5", "AP .75", "AP (M)", "AP (L)",
                                                     "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
      CocoEvalResult coco = evaluate_coco(annotations, detections, options);
      report.summary = coco_summary(coco);
      numbers(names, coco.stats, json, report);
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
    JsonObject json = described();
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
    json.text("rules", std::string(coco_rules_name(options.rules)));
    json.raw("evaluated", fmt::format("{{\"images\": {}, \"people\": {}, \"poses\": {}}}", coco.counts.images,
                                      coco.counts.people, coco.counts.detections));
    write_results(results, report);
    write_record_map(folder / "record_mAP.txt", report.summary);
    report.written.insert(report.written.begin() + 1, "record_mAP.txt");
    if (o.analysis) {
      report.analysis = analyse_poses(dataset->annotations(), detections, skeleton, options);
      report.analysis_title = fmt::format("{} on {}: AP {:.3f}", model->name(), set_name(), coco.stats[0]);
      json.raw("analysis", analysis_json(*report.analysis));
    }
    finish(now() - started, json, report);
    return report;
  }

  ValidationReport measure_pckh() {
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
    ValidationReport report;
    JsonObject json = described();
    numbers(pckh_columns(), pckh.table, json, report);
    json.numbers("pckh_by_joint", pckh.joints);
    write_mat(folder / "pred.mat", {{"preds", matlab}}, true);
    report.written = {"pred.mat"};
    finish(now() - started, json, report);
    return report;
  }
};

Validation::Validation(const ValidationOptions& options, ValidationObserver observer)
    : parts_(std::make_unique<Parts>(options, std::move(observer))) {}
Validation::~Validation() = default;

std::vector<std::pair<std::string, std::string>> Validation::description() const { return parts_->description(); }

ValidationReport Validation::run() {
  return parts_->files.kind == Kind::mpii ? parts_->measure_pckh() : parts_->measure_oks();
}

}  // namespace hr

#include "tools/train.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <ctime>
#include <deque>

#include "core/error.h"
#include "core/json.h"
#include "core/parallel.h"
#include "hrnet/train_step.h"
#include "nn/state_dict.h"
#include "tools/cli.h"
#include "tools/history.h"
#include "tools/progress.h"
#include "tools/validate.h"

namespace hr {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// The first Ctrl-C asks for an orderly end; the second one ends at once.
void on_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string timestamp() {
  const std::time_t t = std::time(nullptr);
  std::tm local{};
  localtime_r(&t, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &local);
  return text;
}

// How far a run has come: the first epoch and step still to do, and what the started epoch has summed up.
struct Position {
  int epoch = 0;
  int64_t step = 0;
  double loss_sum = 0;  // over the samples of the started epoch
  int64_t samples = 0;
  double best_ap = -1;
  std::vector<EpochRecord> history;
};

std::optional<WeightFile> open_weights(const TrainOptions& o) {
  check(o.weights.empty() || !o.no_pretrained,
        "--weights {} and --no-pretrained contradict each other; give one of them", o.weights);
  check(o.weights.empty() || o.resume.empty(),
        "--weights starts a new run and --resume continues one; give one of them");
  check(!o.drop_final_layer || !o.weights.empty(), "--drop-final-layer is for --weights, of which there are none");
  if (o.weights.empty() && o.resume.empty()) return {};
  return WeightFile(fs::path(o.resume.empty() ? o.weights : o.resume));
}

// Fills in what the flags leave open.
TrainOptions decided(TrainOptions o, const std::optional<WeightFile>& file) {
  const WeightInfo info = file ? weight_info(*file) : WeightInfo{};
  if (o.model.empty()) o.model = info.model.value_or("hrnet_w32");
  if (!o.joints)
    o.joints = o.keypoints_path.empty() ? coco_skeleton().joints() : read_skeleton(o.keypoints_path).joints();
  if (!o.fixed_size) {
    const bool resumed = !o.resume.empty() && info.input_h && info.input_w;
    o.fixed_size = resumed ? std::array{*info.input_h, *info.input_w} : std::array{256, 192};
  }
  if (o.color.empty()) o.color = info.color.value_or("");
  return o;
}

class Trainer {
 public:
  explicit Trainer(const TrainOptions& options);
  int run();

 private:
  void open_data();
  void start_or_resume();
  void resume_own(const WeightFile& file);
  void resume_torch(const WeightFile& file);
  bool train_epoch();  // false when interrupted
  void finish_epoch();
  std::map<std::string, std::string> metadata() const;
  void save(const std::string& name, bool with_optimizer) const;
  void write_config() const;
  Schedule schedule() const;
  // Seed: AdamW, decay 1e-4 on everything. Official: Adam without decay (its WD setting never reaches Adam).
  double weight_decay() const { return o_.weight_decay.value_or(seed_recipe_ ? 1e-4 : 0.0); }

  std::optional<WeightFile> file_;  // --weights or --resume
  const TrainOptions o_;            // model, joints and fixed_size are decided
  const int joints_, input_h_, input_w_;
  const bool seed_recipe_;
  const fs::path folder_;
  Context cx_;
  Skeleton skeleton_;
  std::optional<PoseDataset> train_set_, val_set_;
  std::unique_ptr<PoseModel> model_;
  std::optional<Optimizer> optimizer_;
  std::optional<TrainStep> step_;
  std::optional<HeatmapRunner> runner_;
  std::optional<Loader> loader_;
  Position at_;
  fs::path results_file_;
};

Trainer::Trainer(const TrainOptions& options)
    : file_(open_weights(options)),
      o_(decided(options, file_)),
      joints_(*o_.joints),
      input_h_((*o_.fixed_size)[0]),
      input_w_((*o_.fixed_size)[1]),
      seed_recipe_(o_.recipe == "seed"),
      folder_(o_.output_dir),
      cx_(make_context(o_.device, o_.amp, o_.threads, o_.tf32)),
      skeleton_(load_skeleton(o_.keypoints_path, joints_)) {
  check(o_.start_epoch >= 0 && o_.start_epoch < o_.epochs, "--start-epoch {}: expected 0 to {}, --epochs is {}",
        o_.start_epoch, o_.epochs - 1, o_.epochs);
  const Init init = o_.init == "torch" || (o_.init == "auto" && seed_recipe_) ? Init::torch : Init::official;
  model_ = make_model(cx_, o_.model, joints_, o_.seed, o_.resume.empty() ? init : Init::none);
  set_color(*model_, o_.color, {});
  start_or_resume();  // first: weights that do not fit are told at once, annotations take seconds
  prepare_output_folder(folder_, "--output-dir");
  open_data();
  results_file_ = folder_ / fmt::format("results{}.txt", timestamp());
  write_config();
}

void Trainer::open_data() {
  const SplitPaths train = split_paths(o_.data_path, "train", o_.train_annotations, o_.train_images);
  const SplitPaths val = split_paths(o_.data_path, "val", o_.val_annotations, o_.val_images);
  DatasetOptions options{
      .recipe = seed_recipe_ ? Recipe::seed : Recipe::official,
      .input_h = input_h_,
      .input_w = input_w_,
      .sigma = heatmap_sigma(o_.sigma, input_h_),
      .augment = !o_.no_augment,
      .seed = o_.seed,
      .augmentation = {.scale = o_.scale_factor, .rotation = o_.rot_factor, .half_body = o_.prob_half_body},
      .bgr = model_->bgr_input(),
      .cache_bytes = static_cast<size_t>(o_.cache_mib) << 20};
  train_set_ = PoseDataset::from_annotations(read_coco(train.annotations, joints_), train.images, skeleton_, options);
  train_set_->check_files();
  options.augment = false;
  CocoAnnotations annotations = read_coco(val.annotations, joints_);
  val_set_ = o_.person_det.empty()
                 ? PoseDataset::from_annotations(std::move(annotations), val.images, skeleton_, options)
                 : PoseDataset::from_detections(std::move(annotations), read_coco_detections(o_.person_det), val.images,
                                                skeleton_, options);
  val_set_->check_files();
  fmt::print("train      {} ({})\nval        {} ({}; boxes: {})\n", train_set_->size(), train_set_->counts().summary(),
             val_set_->size(), val_set_->counts().summary(), o_.person_det.empty() ? "ground truth" : o_.person_det);
  loader_.emplace(*train_set_,
                  LoaderOptions{.batch_size = o_.batch_size, .workers = o_.workers, .shuffle = true, .seed = o_.seed});
}

void Trainer::start_or_resume() {
  optimizer_.emplace(cx_, model_->parameters(), AdamStep{.weight_decay = weight_decay(), .decoupled = true});
  at_.epoch = o_.start_epoch;
  if (!o_.weights.empty()) fmt::print("weights    {}\n", load_pretrained(*file_, *model_, o_.drop_final_layer));
  if (!o_.resume.empty()) {
    check(file_->optimizer() != nullptr || file_->contains("optimizer.exp_avg"),
          "--resume {}: is not a training checkpoint (no optimiser state); use --weights to start from its weights",
          o_.resume);
    load_weights(*file_, *model_);
    load_optimizer(*file_, *optimizer_);
    file_->optimizer() != nullptr ? resume_torch(*file_) : resume_own(*file_);
    if (o_.start_epoch > 0) {
      at_.epoch = o_.start_epoch;
      at_.step = at_.samples = 0;
      at_.loss_sum = 0;
    }
    check(at_.epoch < o_.epochs, "--resume {}: has finished epoch {} of {}; raise --epochs to go on", o_.resume,
          at_.epoch, o_.epochs);
    fmt::print("resume     {}: epoch {}, step {}\n", o_.resume, at_.epoch, at_.step);
  }
  file_.reset();  // the map is not needed any more
  step_.emplace(cx_, *model_, *optimizer_, seed_recipe_ ? JointsLoss::seed : JointsLoss::official);
  runner_.emplace(cx_, *model_, skeleton_.mirror(), HeatmapRunner::Options{.flip = o_.flip});
  fmt::print("model      {}: {:.1f} M parameters, {}, {} threads, input {} x {}, recipe {}\n", model_->name(),
             static_cast<double>(model_->parameters().parameter_count()) / 1e6, o_.amp ? "bf16" : "f32",
             compute_threads(), input_h_, input_w_, o_.recipe);
  std::fflush(stdout);
}

void Trainer::resume_own(const WeightFile& file) {
  const auto text = [&](const char* key) {
    const auto it = file.metadata().find(key);
    check(it != file.metadata().end(),
          "--resume {}: is not a training checkpoint (no '{}'); use --weights to start from its weights", o_.resume,
          key);
    return it->second;
  };
  const rapidjson::Document position = parse_json(text("position"), o_.resume);
  const auto number = [&](const char* key) {
    check(position.IsObject() && position.HasMember(key) && position[key].IsNumber(),
          "--resume {}: its position has no number '{}'", o_.resume, key);
    return position[key].GetDouble();
  };
  at_.epoch = static_cast<int>(number("epoch"));
  at_.step = static_cast<int64_t>(number("step"));
  at_.samples = static_cast<int64_t>(number("samples"));
  at_.loss_sum = number("loss_sum");
  at_.best_ap = number("best_ap");
  at_.history = history_from_json(text("history"), o_.resume);
  const std::string saved_seed = text("seed"), saved_batch = text("batch_size");
  check(saved_seed == std::to_string(o_.seed),
        "--resume {}: the run used --seed {}, this one uses {}; the same seed continues it exactly", o_.resume,
        saved_seed, o_.seed);
  check(at_.step == 0 || saved_batch == std::to_string(o_.batch_size),
        "--resume {}: stopped within an epoch of --batch-size {}, this run uses {}; the same size continues it exactly",
        o_.resume, saved_batch, o_.batch_size);
}

// A PyTorch training checkpoint: weights, moments and the epoch continue; the order of the pictures is ours.
void Trainer::resume_torch(const WeightFile& file) {
  at_.epoch = static_cast<int>(std::clamp<int64_t>(file.next_epoch().value_or(0), 0, o_.epochs));
  fmt::print("resume     {}, Adam after {} steps\n", file.wrapper().describe(), optimizer_->steps);
  // Learning rate and decay are flags here; say so when the checkpoint had others.
  const Value* groups = file.optimizer()->find("param_groups");
  const auto* list = groups != nullptr ? groups->as<Value::List>() : nullptr;
  if (list == nullptr || list->items.empty()) return;
  const auto number = [&](const char* key) -> std::optional<double> {
    const Value* value = list->items[0]->find(key);
    if (value == nullptr) return {};
    if (const auto* d = value->as<double>()) return *d;
    if (const auto* i = value->as<int64_t>()) return static_cast<double>(*i);
    return {};
  };
  const auto compare_with = [&](const char* key, double ours, const char* flags) {
    const std::optional<double> theirs = number(key);
    if (theirs && std::abs(*theirs - ours) > 1e-6 * std::abs(ours))
      fmt::print("note       the checkpoint's {} is {}, this run's is {} ({})\n", key, *theirs, ours, flags);
  };
  compare_with("lr", schedule().at(at_.epoch, 0, 1), "--lr, --lr-steps, --lr-gamma");
  compare_with("weight_decay", weight_decay(), "--recipe, --weight-decay");
}

Schedule Trainer::schedule() const {
  return {.lr = o_.lr, .gamma = o_.lr_gamma, .milestones = o_.lr_steps, .warmup = seed_recipe_};
}

std::map<std::string, std::string> Trainer::metadata() const {
  return {{"format", "hrnet.cpp checkpoint 1"},
          {"model", model_->name()},
          {"joints", std::to_string(joints_)},
          {"codec", "quarter"},
          {"recipe", o_.recipe},
          {"input_h", std::to_string(input_h_)},
          {"input_w", std::to_string(input_w_)},
          {"color", model_->bgr_input() ? "bgr" : "rgb"},
          {"seed", std::to_string(o_.seed)},
          {"batch_size", std::to_string(o_.batch_size)},
          {"history", history_to_json(at_.history)},
          {"position", fmt::format("{{\"epoch\":{},\"step\":{},\"samples\":{},\"loss_sum\":{},\"best_ap\":{}}}",
                                   at_.epoch, at_.step, at_.samples, at_.loss_sum, at_.best_ap)}};
}

void Trainer::save(const std::string& name, bool with_optimizer) const {
  save_state_dict(folder_ / name, model_->parameters(), metadata(), with_optimizer ? &*optimizer_ : nullptr);
}

void Trainer::write_config() const {
  std::string json = "{\n";
  const auto add = [&](std::string_view key, const std::string& value) {
    json += fmt::format("{}  {}: {}", json.size() > 2 ? ",\n" : "", json_quote(key), value);
  };
  const auto quoted = [](std::string_view text) { return json_quote(text); };
  add("model", quoted(o_.model));
  add("recipe", quoted(o_.recipe));
  add("data_path", quoted(o_.data_path));
  add("train_annotations", quoted(train_set_->annotations().path));
  add("val_annotations", quoted(val_set_->annotations().path));
  add("keypoints_path", quoted(o_.keypoints_path));
  add("person_det", quoted(o_.person_det));
  add("weights", quoted(o_.weights));
  add("init", quoted(o_.init));
  add("resume", quoted(o_.resume));
  add("fixed_size", fmt::format("[{}, {}]", input_h_, input_w_));
  add("num_joints", std::to_string(joints_));
  add("sigma", fmt::format("{}", heatmap_sigma(o_.sigma, input_h_)));
  add("augment", o_.no_augment ? "false" : "true");
  add("scale_factor", fmt::format("{}", o_.scale_factor));
  add("rot_factor", fmt::format("{}", o_.rot_factor));
  add("prob_half_body", fmt::format("{}", o_.prob_half_body));
  add("start_epoch", std::to_string(at_.epoch));
  add("epochs", std::to_string(o_.epochs));
  add("batch_size", std::to_string(o_.batch_size));
  add("lr", fmt::format("{}", o_.lr));
  add("lr_steps", fmt::format("[{}]", fmt::join(o_.lr_steps, ", ")));
  add("lr_gamma", fmt::format("{}", o_.lr_gamma));
  add("optimizer", quoted(seed_recipe_ ? "AdamW" : "Adam"));
  add("weight_decay", fmt::format("{}", weight_decay()));
  add("amp", o_.amp ? "true" : "false");
  add("device", quoted(to_string(cx_.device)));
  add("threads", std::to_string(compute_threads()));
  add("workers", std::to_string(o_.workers));
  add("seed", std::to_string(o_.seed));
  add("eval_every", std::to_string(o_.eval_every));
  write_file(folder_ / "config.json", json + "\n}\n");
}

bool Trainer::train_epoch() {
  const auto steps = static_cast<int64_t>(loader_->batches());
  const Schedule rates = schedule();
  Progress progress(fmt::format("epoch {}/{}", at_.epoch + 1, o_.epochs), steps);
  if (at_.step == 0) at_.loss_sum = 0, at_.samples = 0;
  loader_->start_epoch(static_cast<uint64_t>(at_.epoch), static_cast<size_t>(at_.step));
  const double started = now();
  int64_t samples_here = 0;
  double lr = 0;
  // Steps whose losses are still on the GPU; on the CPU at most the one that just ran.
  struct Under {
    int64_t step;
    int size;
    std::vector<int64_t> annotations;
  };
  std::deque<Under> under_way;
  const auto take_loss = [&] {
    const double loss = step_->wait();
    const Under done = std::move(under_way.front());
    under_way.pop_front();
    if (!std::isfinite(loss)) {
      const bool saved = fs::exists(folder_ / "last.safetensors");
      fail("the loss is {} at epoch {}, batch {} of {} (annotations {}); nothing was updated by this batch. {}", loss,
           at_.epoch, done.step, steps, fmt::join(done.annotations, ", "),
           saved ? fmt::format("{} is the last good checkpoint; try a lower --lr and --resume it",
                               (folder_ / "last.safetensors").string())
                 : "There is no checkpoint yet; try a lower --lr");
    }
    at_.loss_sum += loss * done.size;
    at_.samples += done.size;
  };
  Batch batch;
  while (loader_->next(batch)) {
    lr = rates.at(at_.epoch, at_.step, steps);
    step_->submit({batch.images, batch.targets, batch.weights, batch.size, batch.h, batch.w}, lr);
    Under& now_running = under_way.emplace_back(Under{at_.step, batch.size, {}});
    for (const SampleMeta& meta : batch.meta) now_running.annotations.push_back(meta.annotation_id);
    samples_here += batch.size;
    ++at_.step;
    const bool last = at_.step == steps || interrupted != 0;
    while (!under_way.empty() && (last || step_->ready())) take_loss();
    if (at_.samples == 0) continue;  // no loss to show yet
    const double seconds = now() - started;
    progress.update(at_.step,
                    fmt::format("loss {:.6f}  lr {:.1e}  {:.1f} img/s  data wait {:.0f}%",
                                at_.loss_sum / static_cast<double>(at_.samples), lr,
                                static_cast<double>(samples_here) / seconds, 100 * loader_->wait_seconds() / seconds));
    if (interrupted != 0 && at_.step < steps) return false;
  }
  progress.finish(fmt::format(
      "loss {:.6f}  lr {:.1e}  {:.1f} img/s  data wait {:.0f}%", at_.loss_sum / static_cast<double>(at_.samples), lr,
      static_cast<double>(samples_here) / (now() - started), 100 * loader_->wait_seconds() / (now() - started)));
  at_.history.push_back({.epoch = at_.epoch, .loss = at_.loss_sum / static_cast<double>(at_.samples), .lr = lr});
  return true;
}

void Trainer::finish_epoch() {
  EpochRecord& record = at_.history.back();
  const bool last = at_.epoch + 1 == o_.epochs;
  bool best = false;
  if (last || (at_.epoch + 1) % o_.eval_every == 0) {
    const ValidationRun run = run_validation(*runner_, *val_set_, o_.batch_size, o_.workers, "  validate");
    record.evaluated = true;
    record.stats = run.coco.stats;
    write_seed_results(folder_ / "key_results.json", run.results);
    best = record.stats[0] >= at_.best_ap;
    fmt::print("  AP {:.4f}  AP50 {:.4f}  AP75 {:.4f}  AR {:.4f}{}\n", record.stats[0], record.stats[1],
               record.stats[2], record.stats[5], best ? "  (best so far)" : "");
    std::fflush(stdout);
    if (last) fmt::print("{}\n", coco_summary(run.coco));
  }
  append_line(results_file_, results_line(record));
  if (best) at_.best_ap = record.stats[0];
  ++at_.epoch;
  at_.step = at_.samples = 0;
  at_.loss_sum = 0;
  save("last.safetensors", true);
  if (best) save("best.safetensors", false);
  if (o_.keep_all) save(fmt::format("epoch_{}.safetensors", at_.epoch - 1), true);
  plot_history(folder_ / "curves.png", at_.history);
}

int Trainer::run() {
  interrupted = 0;
  const auto previous = std::signal(SIGINT, on_interrupt);
  while (at_.epoch < o_.epochs) {
    const bool done = train_epoch();
    if (done) finish_epoch();
    if (interrupted != 0) {
      if (!done) save("last.safetensors", true);
      fmt::print("stopped by Ctrl-C at epoch {}, step {}. Go on with the same flags and\n  --resume {}\n", at_.epoch,
                 at_.step, (folder_ / "last.safetensors").string());
      return 130;
    }
  }
  std::signal(SIGINT, previous);
  fmt::print(
      "wrote {}/: last.safetensors, best.safetensors (AP {:.4f}), {}, key_results.json, config.json, curves.png\n",
      folder_.string(), at_.best_ap, results_file_.filename().string());
  return 0;
}

}  // namespace

void add_train_options(CLI::App& app, TrainOptions& o) {
  describe(app,
           "Trains a pose network on a COCO-layout dataset and validates it after every epoch. Writes last and best "
           "weights, a results line "
           "per epoch, the resolved configuration and plots to --output-dir.",
           "train --data-path demo/data --model hrnet_w8 --fixed-size 128 96 --epochs 10 --lr-steps 7 9 --output-dir "
           "demo/run");
  app.add_option("--data-path", o.data_path, "folder with train2017/, val2017/ and annotations/")->type_name("DIR");
  app.add_option("--person-det", o.person_det, "detected boxes for validation instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--output-dir", o.output_dir, "folder for everything that is written")->type_name("DIR");
  app.add_option(
         "--resume", o.resume,
         "checkpoint to continue: last.safetensors, exactly where it stopped; or a PyTorch checkpoint of the seed, the "
         "official project or simple-HRNet, after its last epoch")
      ->type_name("FILE");
  app.add_option("--start-epoch", o.start_epoch, "number of the first epoch, for the schedule and the random streams")
      ->type_name("N");
  app.add_option("--epochs", o.epochs, "epochs in all")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--lr-steps", o.lr_steps, "epochs from which the learning rate is multiplied by --lr-gamma")
      ->type_name("N...");
  app.add_option("--lr-gamma", o.lr_gamma, "factor at each of --lr-steps")->type_name("X");
  app.add_option("--lr", o.lr, "learning rate")->type_name("X")->check(CLI::PositiveNumber);
  app.add_option("--wd,--weight-decay", o.weight_decay,
                 "decoupled weight decay [default: 1e-4 with --recipe seed, else 0]")
      ->type_name("X");
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  add_model_options(app, o);
  app.add_option(
         "--weights", o.weights,
         "pretrained start: safetensors or .pth of the same network, an ImageNet backbone or, for pose_resnet, a "
         "torchvision ResNet")
      ->type_name("FILE");
  app.add_flag("--drop-final-layer", o.drop_final_layer,
               "leave out the final layer of --weights, for another number of joints");
  app.add_flag("--no-pretrained", o.no_pretrained, "start from random weights (what happens without --weights)");
  app.add_option("--workers", o.workers, "loader threads; any number gives the same batches")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--cache-mib", o.cache_mib, "memory for decoded pictures; those that fit are decoded once")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--recipe", o.recipe,
                 "official (HRNet's published recipe) or seed (the PyTorch project this one follows)")
      ->check(CLI::IsMember({"official", "seed"}));
  app.add_option("--init", o.init,
                 "initial weights: official (N(0, 0.001), meant to be loaded over), torch (the layers' default, better "
                 "from scratch) or auto "
                 "(the recipe's)")
      ->check(CLI::IsMember({"auto", "official", "torch"}));
  add_seed(app, o.seed);
  app.add_option("--eval-every", o.eval_every, "validate after every N-th epoch, and after the last")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_flag("--keep-all", o.keep_all, "keep a checkpoint of every epoch");
  app.add_flag("--no-augment", o.no_augment, "train on the plain crops");
  app.add_option("--scale-factor", o.scale_factor, "augmentation: spread of the scale")
      ->type_name("X")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--rot-factor", o.rot_factor, "augmentation: spread of the rotation in degrees")
      ->type_name("X")
      ->check(CLI::Range(0.0, 90.0));
  app.add_option("--prob-half-body", o.prob_half_body, "augmentation: share of people cropped to half their body")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--flip,!--no-flip", o.flip, "validate with the flip test (on by default; --no-flip turns it off)");
  app.add_option("--sigma", o.sigma, "heatmap sigma in heatmap pixels [0: 2, or 3 from an input height of 384 on]")
      ->type_name("X");
  app.add_option("--train-annotations", o.train_annotations, "annotation file, instead of the one in --data-path")
      ->type_name("FILE");
  app.add_option("--train-images", o.train_images, "image folder, instead of the one in --data-path")->type_name("DIR");
  app.add_option("--val-annotations", o.val_annotations, "annotation file, instead of the one in --data-path")
      ->type_name("FILE");
  app.add_option("--val-images", o.val_images, "image folder, instead of the one in --data-path")->type_name("DIR");
}

int train(const TrainOptions& options) { return Trainer(options).run(); }

}  // namespace hr

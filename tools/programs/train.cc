#include "tools/programs/train.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <ctime>
#include <deque>
#include <limits>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/parallel.h"
#include "data/crops/crop_writer.h"
#include "data/pack/pack.h"
#include "nn/state_dict.h"
#include "tools/programs/cli.h"
#include "tools/programs/history.h"
#include "tools/programs/progress.h"
#include "tools/programs/stopwatch.h"
#include "tools/programs/validate.h"

namespace hr {
namespace {

constexpr int max_epochs = 1'000'000'000;  // of a checkpoint; one more still fits an int

volatile std::sig_atomic_t interrupted = 0;  // the signal that asks for an orderly end

// The first Ctrl-C (or SIGTERM) asks for an orderly end; the second one ends at once.
void on_interrupt(int signal) {
  interrupted = signal;
  std::signal(signal, SIG_DFL);
}

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
  bool trained = false;    // all steps of the epoch are done, and its validation is not
  double best_score = -1;  // EpochRecord::score()
  std::vector<EpochRecord> history;
};

std::optional<WeightFile> open_weights(const TrainOptions& o) {
  check(o.weights.empty() || !o.no_pretrained,
        "--weights {} and --no-pretrained contradict each other; give one of them", o.weights);
  check(o.weights.empty() || o.resume.empty(),
        "--weights starts a new run and --resume continues one; give one of them");
  check(!o.drop_final_layer || !o.weights.empty(), "--drop-final-layer is for --weights, of which there are none");
  check(!o.test_only || !o.weights.empty() || !o.resume.empty(),
        "--test-only: what? Name it with --weights or --resume");
  if (o.weights.empty() && o.resume.empty()) return {};
  return WeightFile(fs::path(o.resume.empty() ? o.weights : o.resume));
}

// What restarts and --resume auto mean.
TrainOptions resolved(TrainOptions o, const World& world) {
  if (o.resume == "auto") o.resume = fs::exists(last_checkpoint(o)) ? last_checkpoint(o).string() : "";
  if (!world.ranks.resume.empty()) {
    o.resume = world.ranks.resume;
    o.weights.clear();
    o.drop_final_layer = false;
    o.start_epoch = 0;
  }
  return o;
}

// All flags that decide about the weights; paths may differ from host to host, what they hold may not.
Facts flags_of(const TrainOptions& o) {
  const auto text = [](const auto& v) { return fmt::format("{}", v); };
  const auto switched = [](bool on) { return std::string(on ? "on" : "off"); };
  return {{"--model", o.model},
          {"--recipe", o.recipe},
          {"--init", o.init},
          {"--num-joints", o.joints ? text(*o.joints) : ""},
          {"--fixed-size", o.fixed_size ? fmt::format("{}", fmt::join(*o.fixed_size, " ")) : ""},
          {"--color", o.color},
          {"--start-epoch", text(o.start_epoch)},
          {"--epochs", text(o.epochs)},
          {"--batch-size", text(o.batch_size)},
          {"--lr", text(o.lr)},
          {"--lr-steps", fmt::format("{}", fmt::join(o.lr_steps, " "))},
          {"--lr-gamma", text(o.lr_gamma)},
          {"--weight-decay", o.weight_decay ? text(*o.weight_decay) : ""},
          {"--seed", text(o.seed)},
          {"--amp", switched(o.amp)},
          {"--tf32", switched(o.tf32)},
          {"--sync-bn", switched(o.sync_bn)},
          {"--no-augment", switched(o.no_augment)},
          {"--scale-factor", text(o.scale_factor)},
          {"--rot-factor", text(o.rot_factor)},
          {"--prob-half-body", text(o.prob_half_body)},
          {"--sigma", text(o.sigma)},
          {"--flip", switched(o.flip)},
          {"--eval-every", text(o.eval_every)},
          {"--test-only", switched(o.test_only)},
          {"--device", o.device.substr(0, o.device.find(':'))},
          {"--dist-timeout", text(o.ranks.dist_timeout)},
          {"--drop-final-layer", switched(o.drop_final_layer)},
          {"--new-global-batch", switched(o.new_global_batch)},
          {"the contents of --weights", hash_of_file(o.weights)},
          {"the contents of --resume", hash_of_file(o.resume)},
          {"the contents of --keypoints-path", hash_of_file(o.keypoints_path)}};
}

// Fills in what the flags leave open.
TrainOptions decided(TrainOptions o, const std::optional<WeightFile>& file) {
  const WeightInfo info = file ? weight_info(*file) : WeightInfo{};
  if (o.model.empty()) o.model = info.model.value_or("hrnet_w32");
  const bool goes_on = file && (!o.resume.empty() || o.test_only);  // with the joints that the network has learnt
  const std::optional<Skeleton> own = goes_on && o.keypoints_path.empty() ? carried_skeleton(*file) : std::nullopt;
  if (own && is_pack(o.data_path)) {
    const Skeleton packed = Pack(o.data_path).skeleton();
    check(packed.joints() == own->joints(), "{}: was trained with {} ({}), but {} was packed with {} ({})",
          file->path().string(), counted(own->joints(), "joint"), own->name, o.data_path, packed.joints(), packed.name);
  }
  if (own) o.skeleton = skeleton_to_text(*own);
  if (!o.joints) o.joints = own ? own->joints() : data_skeleton(o, o.keypoints_path).joints();
  if (!o.fixed_size) {
    const bool resumed = !o.resume.empty() && info.input_h && info.input_w;
    o.fixed_size = resumed ? std::array{*info.input_h, *info.input_w} : std::array{256, 192};
  }
  if (o.color.empty()) o.color = info.color.value_or("");
  return o;
}

// The same on several ranks: rank 0 has the weight file and decides.
TrainOptions decided_together(TrainOptions o, const std::optional<WeightFile>& file, const World& world) {
  if (world.size() == 1) return decided(std::move(o), file);
  require_agreement(world, flags_of(o));
  Packer choice;
  if (world.first()) {
    o = decided(std::move(o), file);
    choice.text(o.model).text(o.color).text(o.skeleton).u32(static_cast<uint32_t>(*o.joints));
    for (const int side : *o.fixed_size) choice.u32(static_cast<uint32_t>(side));
  }
  const std::string first = world.control->all_gather(choice.str())[0];
  Unpack in(first);
  o.model = in.text();
  o.color = in.text();
  o.skeleton = in.text();
  o.joints = static_cast<int>(in.u32());
  o.fixed_size.emplace();
  for (int& side : *o.fixed_size) side = static_cast<int>(in.u32());
  parse_device(o.device);  // where there is no GPU at all, all ranks say the same
  if (o.device == "cuda") o.device = fmt::format("cuda:{}", world.ranks.local_rank);
  return o;
}

class Trainer {
 public:
  Trainer(const TrainOptions& options, World& world);
  int run();

 private:
  void open_data();
  void start_or_resume();
  void share_start();
  int test();
  ValidationRun measure(const std::string& title);  // also writes key_results.json
  void print_table(const ValidationRun& run) const;
  int stopping_signal() const;  // 0: nobody wants to stop; the same on all ranks
  void set_batch_size(int saved_batch_size, int saved_ranks);
  void resume_own(const WeightFile& file);
  void note_other_flags(const WeightFile& file) const;
  void resume_torch(const WeightFile& file);
  bool train_epoch();  // false when interrupted
  void finish_epoch();
  std::map<std::string, std::string> metadata() const;
  void save(const std::string& name, bool with_optimizer) const;
  void write_config() const;
  Schedule schedule() const;
  // Seed: AdamW, decay 1e-4 on everything. Official: Adam without decay (its WD setting never reaches Adam).
  Decoding decoding() const { return choose_decoding({.flip = o_.flip}, o_.codec, "--codec", input_h_); }
  void report_bad_samples();
  std::vector<std::string> new_remarks();
  double weight_decay() const { return o_.weight_decay.value_or(seed_recipe_ ? 1e-4 : 0.0); }

  World& world_;
  std::optional<WeightFile> file_;  // --weights or --resume; rank 0 only
  const TrainOptions o_;            // model, joints and fixed_size are decided
  const int joints_, input_h_, input_w_;
  const bool seed_recipe_;
  const fs::path folder_;
  Context cx_;
  Skeleton skeleton_;
  std::optional<PoseDataset> train_set_, val_set_;
  std::optional<MpiiTruth> mpii_truth_;  // the validation set is MPII's
  size_t bad_known_ = 0;                 // bad samples that have been told
  std::set<std::string> remarks_known_;  // without their counts
  std::string said_;                     // remarks of the last validation
  std::unique_ptr<PoseModel> model_;
  std::optional<Optimizer> optimizer_;
  std::optional<DataParallel> parallel_;
  std::optional<PoseTrainStep> step_;
  std::optional<HeatmapRunner> runner_;
  std::optional<Loader> loader_;
  Position at_;
  int batch_size_;  // of this rank
  fs::path results_file_;
};

Trainer::Trainer(const TrainOptions& options, World& world)
    : world_(world),
      file_(world.first() ? open_weights(resolved(options, world)) : std::nullopt),
      o_(decided_together(resolved(options, world), file_, world)),
      joints_(*o_.joints),
      input_h_((*o_.fixed_size)[0]),
      input_w_((*o_.fixed_size)[1]),
      seed_recipe_(o_.recipe == "seed"),
      folder_(o_.output_dir),
      cx_(make_context(o_.device, o_.amp, o_.threads, o_.tf32)),
      skeleton_(o_.skeleton.empty() ? data_skeleton(o_, o_.keypoints_path)
                                    : skeleton_from_text(o_.skeleton, "the checkpoint's skeleton")),
      batch_size_(o_.batch_size) {
  check(skeleton_.joints() == joints_,
        "--num-joints {}: the skeleton {} has {} joints; give both flags for the same one", joints_, skeleton_.name,
        skeleton_.joints());
  if (file_ && !o_.keypoints_path.empty() && (!o_.resume.empty() || o_.test_only)) {
    const std::string note = skeleton_note(*file_, skeleton_, "--keypoints-path " + o_.keypoints_path);
    if (!note.empty()) fmt::print("note       {}\n", note);
  }
  check(o_.start_epoch >= 0 && o_.start_epoch < o_.epochs, "--start-epoch {}: expected 0 to {}, --epochs is {}",
        o_.start_epoch, o_.epochs - 1, o_.epochs);
  const Init init = o_.init == "torch" || (o_.init == "auto" && seed_recipe_) ? Init::torch : Init::official;
  model_ = make_model(cx_, o_.model, joints_, o_.seed, o_.resume.empty() ? init : Init::none);
  set_color(*model_, o_.color, {});
  if (world_.size() > 1) {
    make_engine(world_, cx_.device);
    parallel_.emplace(*world_.comm, model_->parameters());
    if (o_.sync_bn) cx_.sync_bn = world_.comm.get();
  }
  start_or_resume();  // first: weights that do not fit are told at once, annotations take seconds
  if (world_.first()) prepare_output_folder(folder_, "--output-dir");
  open_data();
  results_file_ = folder_ / fmt::format("results{}.txt", timestamp());
  if (world_.first() && !o_.test_only) write_config();
}

void Trainer::open_data() {
  const auto options = [&](bool augment) {
    return dataset_options(o_, input_h_, input_w_, heatmap_sigma(o_.sigma, input_h_), augment, model_->bgr_input());
  };
  train_set_ = open_split(o_, "train", skeleton_, options(true));
  val_set_ = open_split(o_, "val", skeleton_, options(false), {.file = o_.person_det});
  const bool mpii = !is_pack(o_.data_path) && is_mpii(val_set_->annotations().path);
  if (mpii || !o_.mpii_truth.empty()) mpii_truth_ = open_mpii_truth(o_.mpii_truth, *val_set_);
  check_samples(*train_set_, o_, "train", world_.first() ? folder_ : fs::path(), 0, !world_.first());
  check_samples(*val_set_, o_, "val", world_.first() ? folder_ : fs::path(), 0, !world_.first());
  new_remarks();  // the check has printed them
  check(!mpii_truth_ || val_set_->size() == static_cast<size_t>(mpii_truth_->people),
        "{}: PCKh is measured on all {} people, and pictures of {} of them are bad ({}); mend them",
        val_set_->annotations().path, mpii_truth_->people, val_set_->counts().bad_picture,
        bad_samples_file(folder_, "val").string());
  bad_known_ = train_set_->bad().size() + val_set_->bad().size();
  fmt::print("train      {} ({})\nval        {} ({}; boxes: {})\n", train_set_->size(), train_set_->counts().summary(),
             val_set_->size(), val_set_->counts().summary(), o_.person_det.empty() ? "ground truth" : o_.person_det);
  if (world_.size() > 1) {
    require_agreement(world_, {{"the training annotations", hash_of_file(train_set_->annotations().path)},
                               {"the validation annotations", hash_of_file(val_set_->annotations().path)},
                               {"--person-det", hash_of_file(o_.person_det)},
                               {"the pack", is_pack(o_.data_path) ? Pack(o_.data_path).fingerprint() : "(none)"},
                               {"people to train on", std::to_string(train_set_->size())},
                               {"people to validate on", std::to_string(val_set_->size())}});
  }
  const Shard shard{world_.rank(), world_.size()};
  // The seed drops the incomplete last batch when it trains on several GPUs, and only then.
  const bool drop_last =
      seed_recipe_ && shard.ranks > 1 && shard.size(train_set_->size()) >= static_cast<size_t>(batch_size_);
  loader_.emplace(*train_set_, loader_for(cx_.device, {.batch_size = batch_size_,
                                                       .workers = o_.workers,
                                                       .shuffle = true,
                                                       .drop_last = drop_last,
                                                       .seed = o_.seed,
                                                       .shard = shard}));
}

void Trainer::start_or_resume() {
  optimizer_.emplace(cx_, model_->parameters(), AdamStep{.weight_decay = weight_decay(), .decoupled = true});
  at_.epoch = o_.start_epoch;
  if (world_.first()) {
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
        at_.trained = false;
      }
      const bool restarted = !world_.ranks.resume.empty();  // the crash may have come after the end
      check(at_.epoch < o_.epochs || o_.test_only || restarted,
            "--resume {}: has finished {}, and --epochs asks for {} in all; raise --epochs to go on", o_.resume,
            counted(at_.epoch, "epoch"), o_.epochs);
      if (at_.trained) {
        fmt::print("resume     {}: epoch {} is trained and still to be validated\n", o_.resume, at_.epoch + 1);
      } else {
        fmt::print("resume     {}: epoch {}, step {}\n", o_.resume, at_.epoch, at_.step);
      }
    }
  }
  file_.reset();  // the map is not needed any more
  if (parallel_) share_start();
  step_.emplace(cx_, *model_, *optimizer_, seed_recipe_ ? JointsLoss::seed : JointsLoss::official,
                parallel_ ? &*parallel_ : nullptr);
  runner_.emplace(cx_, *model_, skeleton_.mirror(), HeatmapRunner::Options{.flip = o_.flip, .shift = decoding().shift});
  fmt::print("model      {}: {:.1f} M parameters, {}, {}, input {} x {}, recipe {}\n", model_->name(),
             static_cast<double>(model_->parameters().parameter_count()) / 1e6, o_.amp ? "bf16" : "f32",
             counted(compute_threads(), "thread"), input_h_, input_w_, o_.recipe);
  if (parallel_) {
    fmt::print("ranks      {} over {}, {} per rank and step, batch norm {}\n", world_.size(), world_.comm->engine(),
               counted_people(batch_size_), o_.sync_bn ? "over all ranks" : "per rank");
  }
  std::fflush(stdout);
}

// Rank 0 has loaded; the others take it from there.
void Trainer::share_start() {
  parallel_->broadcast(cx_, &*optimizer_);
  const std::string mine = fmt::format("[{},{},{},{},{},{},{}]", at_.epoch, at_.step, at_.samples, at_.loss_sum,
                                       at_.best_score, batch_size_, at_.trained);
  const rapidjson::Document first = parse_json(world_.comm->all_gather(mine)[0], "rank 0's position");
  at_.epoch = first[0].GetInt();
  at_.step = first[1].GetInt64();
  at_.samples = first[2].GetInt64();
  at_.loss_sum = first[3].GetDouble();
  at_.best_score = first[4].GetDouble();
  batch_size_ = first[5].GetInt();
  at_.trained = first[6].GetBool();
}

// A run goes on with the batch it had, all ranks together, whatever their number is now.
void Trainer::set_batch_size(int saved_batch_size, int saved_ranks) {
  const int ranks = world_.size();
  const int64_t had = int64_t{saved_batch_size} * saved_ranks, asked = int64_t{o_.batch_size} * ranks;
  if (asked == had) return;
  if (o_.new_global_batch) {
    // What has been seen of the epoch counts in samples now; a started batch is seen again.
    if (at_.step > 0 && !at_.trained) {
      at_.step = at_.samples / asked;
      const double mean = at_.loss_sum / static_cast<double>(at_.samples);
      at_.samples = at_.step * asked;
      at_.loss_sum = mean * static_cast<double>(at_.samples);
    }
    return;
  }
  if (saved_ranks != ranks && o_.batch_size == saved_batch_size) {
    check(had % ranks == 0,
          "--resume {}: trained with {} people per step ({} ranks, --batch-size {}), which {} ranks cannot share "
          "equally; "
          "choose a --batch-size and add --new-global-batch",
          o_.resume, had, saved_ranks, saved_batch_size, ranks);
    batch_size_ = static_cast<int>(had / ranks);
    fmt::print("note       {} per rank and step instead of {}: {} now, {} before, {} per step\n",
               counted_people(batch_size_), o_.batch_size, counted(ranks, "rank"), saved_ranks, counted_people(had));
    return;
  }
  const bool between_epochs = at_.step == 0 || at_.trained;
  check(saved_ranks == ranks && between_epochs,
        "--resume {}: {} {} people per step ({} ranks, --batch-size {}), these flags mean {} ({} ranks, --batch-size "
        "{}); "
        "choose --batch-size so that they agree, or add --new-global-batch",
        o_.resume, between_epochs ? "trained with" : "stopped within an epoch of", had, saved_ranks, saved_batch_size,
        asked, ranks, o_.batch_size);
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
  check(position.IsObject(), "--resume {}: its position is not an object", o_.resume);
  // What comes from a file is limited before it is converted or divided by.
  const auto number = [&](const char* key, double least, double most) {
    check(position.HasMember(key) && position[key].IsNumber(), "--resume {}: its position has no number '{}'",
          o_.resume, key);
    const double value = position[key].GetDouble();
    check(value >= least && value <= most, "--resume {}: {} of its position is {}, expected {} to {}", o_.resume, key,
          value, least, most);
    return value;
  };
  const auto whole_number = [&](const char* key, int64_t least, int64_t most) {
    const double value = number(key, static_cast<double>(least), static_cast<double>(most));
    check(value == std::floor(value), "--resume {}: {} of its position is {}, expected a whole number", o_.resume, key,
          value);
    return static_cast<int64_t>(value);
  };
  constexpr int64_t most_samples = int64_t{1} << 40;
  at_.epoch = static_cast<int>(whole_number("epoch", 0, max_epochs));
  at_.step = whole_number("step", 0, most_samples);
  at_.samples = whole_number("samples", at_.step, most_samples);  // a step has at least one
  at_.loss_sum = number("loss_sum", 0, std::numeric_limits<double>::max());
  at_.best_score = number("best_ap", -1, 1);
  if (const auto trained = position.FindMember("trained"); trained != position.MemberEnd()) {
    check(trained->value.IsBool(), "--resume {}: 'trained' of its position is neither true nor false", o_.resume);
    at_.trained = trained->value.GetBool();
    check(!at_.trained || at_.samples > 0, "--resume {}: samples of its position is 0 although the epoch is trained",
          o_.resume);
  }
  at_.history = history_from_json(text("history"), o_.resume);
  const std::string saved_seed = text("seed");
  check(saved_seed == std::to_string(o_.seed),
        "--resume {}: the run used --seed {}, this one uses {}; the same seed continues it exactly", o_.resume,
        saved_seed, o_.seed);
  if (const auto codec = file.metadata().find("codec"); codec != file.metadata().end()) {
    check(codec->second == o_.codec, "--resume {}: the run learnt codec {}, this one asks for {}; give --codec {}",
          o_.resume, codec->second, o_.codec, codec->second);
  }
  note_other_flags(file);
  const auto parsed = [&](const char* key, int most) {
    const std::string value = text(key);
    int n = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
    check(error == std::errc() && end == value.data() + value.size() && n >= 1 && n <= most,
          "--resume {}: its {} is '{}', expected a whole number from 1 to {}", o_.resume, key, value, most);
    return n;
  };
  const int batch_size = parsed("batch_size", 1'000'000);  // times ranks it fits an int
  set_batch_size(batch_size, file.metadata().contains("ranks") ? parsed("ranks", 2'000) : 1);  // else one process
}

// Flags may differ from those of the checkpoint's run; the numbers of the run then do too, so it is said.
void Trainer::note_other_flags(const WeightFile& file) const {
  const std::map<std::string, std::string> ours = metadata();
  const auto say = [](const char* flag, const std::string& theirs, const std::string& now) {
    if (theirs != now) fmt::print("note       the checkpoint's {} is {}, this run's is {}\n", flag, theirs, now);
  };
  // A file of an older version may lack some of them.
  const auto value = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? ours.at(key) : it->second;
  };
  for (const auto& [flag, key] : {std::pair{"--lr", "lr"},
                                  {"--lr-steps", "lr_steps"},
                                  {"--lr-gamma", "lr_gamma"},
                                  {"--weight-decay", "weight_decay"},
                                  {"--recipe", "recipe"}}) {
    say(flag, value(key), ours.at(key));
  }
  say("--fixed-size", value("input_h") + " " + value("input_w"), fmt::format("{} {}", input_h_, input_w_));
}

// A PyTorch training checkpoint: weights, moments and the epoch continue; the order of the pictures is ours.
void Trainer::resume_torch(const WeightFile& file) {
  const int64_t epoch = file.next_epoch().value_or(0);
  check(epoch >= 0 && epoch <= max_epochs, "--resume {}: its epoch is {}, expected 0 to {}", o_.resume, epoch,
        max_epochs);
  at_.epoch = static_cast<int>(epoch);
  fmt::print("resume     {}, Adam's step {}\n", file.wrapper().describe(), optimizer_->steps());
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
          {"skeleton", skeleton_to_text(skeleton_)},
          {"codec", o_.codec},
          {"recipe", o_.recipe},
          {"input_h", std::to_string(input_h_)},
          {"input_w", std::to_string(input_w_)},
          {"color", model_->bgr_input() ? "bgr" : "rgb"},
          {"seed", std::to_string(o_.seed)},
          {"lr", fmt::format("{}", o_.lr)},
          {"lr_steps", fmt::format("{}", fmt::join(o_.lr_steps, " "))},
          {"lr_gamma", fmt::format("{}", o_.lr_gamma)},
          {"weight_decay", fmt::format("{}", weight_decay())},
          {"batch_size", std::to_string(batch_size_)},
          {"ranks", std::to_string(world_.size())},
          {"history", history_to_json(at_.history)},
          {"position",
           fmt::format("{{\"epoch\":{},\"step\":{},\"samples\":{},\"loss_sum\":{},\"best_ap\":{},\"trained\":{}}}",
                       at_.epoch, at_.step, at_.samples, at_.loss_sum, at_.best_score, at_.trained)}};
}

void Trainer::save(const std::string& name, bool with_optimizer) const {
  if (!world_.first()) return;
  const Control::Busy busy(world_.control.get());
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
  add("photometric", fmt::format("{}", o_.photometric));
  add("coarse_dropout", fmt::format("{}", o_.coarse_dropout));
  add("codec", quoted(o_.codec));
  add("skeleton", quoted(skeleton_.name));
  add("categories", quoted(fmt::format("{}", fmt::join(o_.categories, " "))));
  add("on_bad_sample", quoted(o_.on_bad_sample.empty() ? "fail in the check, then skip" : o_.on_bad_sample));
  add("start_epoch", std::to_string(at_.epoch));
  add("epochs", std::to_string(o_.epochs));
  add("batch_size", std::to_string(batch_size_));
  add("ranks", std::to_string(world_.size()));
  add("sync_bn", o_.sync_bn ? "true" : "false");
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
  Progress progress(world_.first() ? fmt::format("epoch {}/{}", at_.epoch + 1, o_.epochs) : "", steps);
  if (at_.step == 0) at_.loss_sum = 0, at_.samples = 0;
  loader_->start_epoch(static_cast<uint64_t>(at_.epoch), static_cast<size_t>(at_.step));
  const double started = now();
  int64_t samples_here = 0;  // of all ranks
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
      // Whose people they are is for that rank to say.
      if (std::isfinite(step_->own_loss()) && world_.control != nullptr)
        world_.control->await_failure(world_.control->timeout());
      world_.comm->check();
      const bool saved = fs::exists(folder_ / "last.safetensors");
      fail("the loss is {} at epoch {}, batch {} of {} (annotations {}); nothing was updated by this batch. {}", loss,
           at_.epoch, done.step, steps, fmt::join(done.annotations, ", "),
           saved ? fmt::format("{} is the last good checkpoint; try a lower --lr and --resume it",
                               (folder_ / "last.safetensors").string())
                 : "There is no checkpoint yet; try a lower --lr");
    }
    const int64_t size = int64_t{done.size} * world_.size();
    at_.loss_sum += loss * static_cast<double>(size);
    at_.samples += size;
  };
  const auto take_all = [&] {
    while (!under_way.empty()) take_loss();
  };
  const auto note = [&] {
    const double seconds = now() - started;
    return fmt::format("loss {:.6f}  lr {:.1e}  {:.1f} img/s  data wait {:.0f}%",
                       at_.loss_sum / static_cast<double>(at_.samples), lr, static_cast<double>(samples_here) / seconds,
                       100 * loader_->wait_seconds() / seconds);
  };
  Batch batch;
  while (loader_->next(batch)) {
    lr = rates.at(at_.epoch, at_.step, steps);
    if (interrupted != 0) step_->request_stop();
    step_->submit(train_batch(batch), lr);
    Under& now_running = under_way.emplace_back(Under{at_.step, batch.size, {}});
    for (const SampleMeta& meta : batch.meta) now_running.annotations.push_back(meta.annotation_id);
    samples_here += int64_t{batch.size} * world_.size();
    ++at_.step;
    while (!under_way.empty() && step_->ready()) take_loss();
    const bool stop = step_->must_stop(), last = at_.step == steps;
    const bool save_now = o_.checkpoint_every > 0 && at_.step % o_.checkpoint_every == 0 && !last;
    if (stop || last || save_now) take_all();
    if (at_.samples == 0) continue;  // no loss to show yet
    progress.update(at_.step, note());
    if (o_.print_freq > 0 && at_.step % o_.print_freq == 0)
      progress.say(fmt::format("epoch {}/{} [{}/{}]  {}", at_.epoch + 1, o_.epochs, at_.step, steps, note()));
    if (stop && !last) return false;
    if (save_now) save("last.safetensors", true);
  }
  progress.finish(note());
  at_.trained = true;
  return true;
}

// What the data sets remark on and nobody has been told yet. Of damaged data training only learns when it reads them.
std::vector<std::string> Trainer::new_remarks() {
  std::vector<std::string> out;
  for (const PoseDataset* set : {&*train_set_, &*val_set_}) {
    for (std::string& line : set->remarks()) {
      if (remarks_known_.insert(line.substr(0, line.find(" (one of "))).second) out.push_back(std::move(line));
    }
  }
  return out;
}

// Pictures that turned bad since the check, on any rank: counted on the terminal, named in the list.
void Trainer::report_bad_samples() {
  for (const std::string& line : new_remarks()) {
    if (world_.first()) fmt::print("  note: {}\n", line);
  }
  Packer mine;
  for (const PoseDataset* set : {&*train_set_, &*val_set_}) {
    const auto entries = set->bad().entries();
    mine.u32(static_cast<uint32_t>(entries.size()));
    for (const auto& e : entries) {
      mine.u32(static_cast<uint32_t>(e.kind)).u64(static_cast<uint64_t>(e.id)).u64(e.people).text(e.message);
    }
  }
  const std::vector<std::string> all =
      world_.size() > 1 ? world_.control->all_gather(mine.str()) : std::vector<std::string>{mine.str()};
  size_t count = 0;
  BadSamples bad[2];
  for (const std::string& text : all) {
    Unpack in(text);
    for (BadSamples& split : bad) {
      for (uint32_t left = in.u32(); left > 0; --left) {
        const auto kind = static_cast<BadSamples::Kind>(in.u32());
        const auto id = static_cast<int64_t>(in.u64());
        const uint64_t people = in.u64();
        split.add({kind, id, in.text(), people});
      }
    }
  }
  for (const BadSamples& split : bad) count += split.size();
  if (count == bad_known_) return;
  for (const auto& [split, name] : {std::pair{&bad[0], "train"}, {&bad[1], "val"}}) {
    if (split->size() > 0 && world_.first()) split->write(bad_samples_file(folder_, name));
  }
  fmt::print("  {}, others took their places; all are listed in {}\n", counted(count - bad_known_, "more bad sample"),
             (folder_ / "bad_samples_*.tsv").string());
  bad_known_ = count;
}

void Trainer::finish_epoch() {
  const auto steps = static_cast<int64_t>(loader_->batches());
  EpochRecord record{.epoch = at_.epoch,
                     .loss = at_.loss_sum / static_cast<double>(at_.samples),
                     .lr = schedule().at(at_.epoch, steps - 1, steps),
                     .pckh = mpii_truth_.has_value()};
  const bool last = at_.epoch + 1 == o_.epochs;
  bool best = false;
  if (parallel_ && !o_.sync_bn) parallel_->broadcast_buffers(cx_);
  const Control::Busy busy(world_.first() ? world_.control.get() : nullptr);  // the others wait for it to write
  if (last || (at_.epoch + 1) % o_.eval_every == 0) {
    // A picture that cannot be read or a full disk may end the validation with an error. The epoch's training is on
    // the disk by then, and --resume only validates it again.
    save("last.safetensors", true);
    const ValidationRun run = measure("  validate");
    if (world_.first()) {
      if (run.pckh) {
        record.stats.assign(run.pckh->table.begin(), run.pckh->table.end());
      } else {
        record.stats.assign(run.coco.stats.begin(), run.coco.stats.end());
      }
      best = record.score() >= at_.best_score;
      const char* remark = best ? "  (best so far)" : "";
      const auto& s = record.stats;
      if (record.pckh) {
        fmt::print("  PCKh@0.5 {:.2f}  PCKh@0.1 {:.2f}{}\n", s[7], s[8], remark);
      } else {
        fmt::print("  AP {:.4f}  AP50 {:.4f}  AP75 {:.4f}  AR {:.4f}{}\n", s[0], s[1], s[2], s[5], remark);
      }
      // The same remark after every epoch would hide what is new.
      if (const std::string remarks = coco_remarks(run.coco); remarks != said_) {
        for (const std::string& line : coco_remark_list(run.coco)) fmt::print("  remark: {}\n", line);
        said_ = remarks;
      }
      std::fflush(stdout);
      if (last) print_table(run);
    }
  }
  report_bad_samples();
  if (world_.first()) append_line(results_file_, results_line(record));
  if (best) at_.best_score = record.score();
  at_.history.push_back(record);
  ++at_.epoch;
  at_.step = at_.samples = 0;
  at_.loss_sum = 0;
  at_.trained = false;
  if (!world_.first()) return;
  if (best) save("best.safetensors", false);
  if (o_.keep_all) save(fmt::format("epoch_{}.safetensors", at_.epoch - 1), true);
  plot_history(folder_ / "curves.png", at_.history);
  save("last.safetensors", true);  // last: what it says is done is done
}

int Trainer::stopping_signal() const {
  if (world_.control == nullptr) return interrupted;
  int signal = 0;
  for (const std::string& one : world_.control->all_gather(std::to_string(interrupted)))
    signal = std::max(signal, std::atoi(one.c_str()));
  return signal;
}

// --test-only: what --weights or --resume are worth.
int Trainer::test() {
  const ValidationRun run = measure("validate");
  if (!world_.first()) return 0;
  print_table(run);
  for (const std::string& line : coco_remark_list(run.coco)) fmt::print("remark: {}\n", line);
  fmt::print("wrote {}\n", (folder_ / "key_results.json").string());
  return 0;
}

ValidationRun Trainer::measure(const std::string& title) {
  ValidationRun run = run_validation(*runner_, *val_set_, batch_size_, o_.workers, title, decoding().decode,
                                     parallel_ ? world_.comm.get() : nullptr, mpii_truth_ ? &*mpii_truth_ : nullptr);
  if (world_.first()) write_seed_results(folder_ / "key_results.json", run.results);
  return run;
}

void Trainer::print_table(const ValidationRun& run) const {
  fmt::print("{}\n", run.pckh ? pckh_markdown(model_->name(), *run.pckh) : coco_summary(run.coco));
}

int Trainer::run() {
  if (o_.test_only) return test();
  interrupted = 0;
  const auto before_interrupt = std::signal(SIGINT, on_interrupt),
             before_terminate = std::signal(SIGTERM, on_interrupt);
  while (at_.epoch < o_.epochs) {
    const bool done = at_.trained || train_epoch();
    if (done) finish_epoch();
    if (const int signal = stopping_signal(); signal != 0 || !done) {
      if (!done) save("last.safetensors", true);
      fmt::print("stopped by {} at epoch {}, step {}. Go on with the same flags and\n  --resume {}\n",
                 signal == SIGTERM ? "SIGTERM" : "Ctrl-C", at_.epoch, at_.step,
                 (folder_ / "last.safetensors").string());
      std::fflush(stdout);
      return 128 + (signal != 0 ? signal : SIGINT);
    }
  }
  std::signal(SIGINT, before_interrupt);
  std::signal(SIGTERM, before_terminate);
  fmt::print(
      "wrote {}/: last.safetensors, best.safetensors ({} {:.4f}), {}, key_results.json, config.json, curves.png\n",
      folder_.string(), mpii_truth_ ? "PCKh" : "AP", at_.best_score, results_file_.filename().string());
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
  add_data_options(app, o);
  app.add_option("--mpii-truth", o.mpii_truth,
                 "MPII: gt_valid.mat, which PCKh is measured with [default: beside the validation annotations]")
      ->type_name("FILE");
  app.add_option("--person-det", o.person_det, "detected boxes for validation instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--output-dir", o.output_dir, "folder for everything that is written")->type_name("DIR");
  app.add_option("--resume", o.resume,
                 "checkpoint to continue: last.safetensors, exactly where it stopped (auto: the one in --output-dir, "
                 "if there is one); or a PyTorch checkpoint of the seed, the "
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
  app.add_option("-b,--batch-size", o.batch_size, "people per step, of each rank")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_model_options(app, o);
  app.add_option(
         "--weights", o.weights,
         "pretrained start: safetensors or .pth of the same network, an ImageNet backbone or, for pose_resnet, a "
         "torchvision ResNet")
      ->type_name("FILE");
  app.add_flag("--drop-final-layer", o.drop_final_layer,
               "leave out the final layer of --weights, for another number of joints");
  app.add_flag("--no-pretrained", o.no_pretrained, "start from random weights (what happens without --weights)");
  app.add_option("-j,--workers", o.workers, "loader threads of each rank; any number gives the same batches")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--init", o.init,
                 "initial weights: official (N(0, 0.001), meant to be loaded over), torch (the layers' default, better "
                 "from scratch) or auto "
                 "(the recipe's)")
      ->check(CLI::IsMember({"auto", "official", "torch"}));
  app.add_option("--eval-every", o.eval_every, "validate after every N-th epoch, and after the last")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--checkpoint-every", o.checkpoint_every,
                 "write last.safetensors after every N-th step too; 0: after every epoch")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--print-freq", o.print_freq, "print a line after every N-th step; 0: the progress bar only")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--test-only", o.test_only, "validate --weights or --resume, and nothing else");
  add_rank_options(app, o.ranks);
  app.add_flag("--sync-bn", o.sync_bn, "batch norm over the batches of all ranks: trains as one process would");
  app.add_flag("--new-global-batch", o.new_global_batch,
               "resume with another number of people per step than the run had, all ranks together");
  app.add_flag("--keep-all", o.keep_all, "keep a checkpoint of every epoch");
  app.add_flag("--flip,!--no-flip", o.flip, "validate with the flip test (on by default; --no-flip turns it off)");
  app.add_option("--sigma", o.sigma, "heatmap sigma in heatmap pixels [0: 2, or 3 from an input height of 384 on]")
      ->type_name("X");
}

TrainBatch train_batch(const Batch& batch) {
  return {.images = batch.images,
          .targets = batch.targets,
          .weights = batch.weights,
          .n = batch.size,
          .h = batch.h,
          .w = batch.w,
          .sources = batch.sources,
          .normal = normal_table(),
          .profiles = batch.profiles};
}

int train(const TrainOptions& options, World& world) { return Trainer(options, world).run(); }

int train(const TrainOptions& options) {
  World alone = lone_world();
  return train(options, alone);
}

}  // namespace hr

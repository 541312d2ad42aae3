#include "tools/train/train_output.h"

#include <cmath>
#include <csignal>
#include <cstdio>

#include "core/counted.h"
#include "tools/cli/flag_names.h"
#include "tools/plot/history_plot.h"

namespace hr {
namespace {

std::string note_of(const EpochStatus& s) {
  const std::string accuracy = std::isnan(s.accuracy) ? "" : fmt::format("  acc {:.3f}", s.accuracy);
  return fmt::format("loss {:.6f}{}  lr {:.1e}  {:.1f} img/s  data wait {:.0f}%", s.loss, accuracy, s.lr,
                     s.samples_per_second, 100 * s.wait_share);
}

std::string stopper_of(const TrainEnd& end) { return end.stop_reason == SIGTERM ? "SIGTERM" : "Ctrl-C"; }

// How a run ended, for its report.
std::string ending_of(const TrainEnd& end, int patience) {
  if (end.stopped()) {
    return fmt::format("stopped by {} at epoch {}, step {}", stopper_of(end), end.epoch + 1, end.step);
  }
  if (end.early) {
    return fmt::format("ended early because the score had not risen for {} (--patience)",
                       counted(patience, "validation"));
  }
  return "finished";
}

// The report of a model that is only tested.
ReportData tested_page(const ValidationRun& run, const Trainer& trainer, const ReportPairs& facts) {
  const TrainRecipe& recipe = trainer.recipe();
  ValidationReport report;
  report.remarks = coco_remark_list(run.coco);
  report.model = trainer.model().name();
  report.set = set_name_of(trainer.val().annotations().path);
  report.input_h = recipe.input_h();
  report.input_w = recipe.input_w();
  report.pckh = run.pckh.has_value();
  if (run.pckh) {
    for (const char* name : pckh_columns()) report.stat_names.emplace_back(name);
    report.stats.assign(run.pckh->table.begin(), run.pckh->table.end());
    report.joints = run.pckh->joints;
  } else {
    report.stat_names.assign(kOfficialStatNames.begin(), kOfficialStatNames.end());
    report.stats.assign(run.coco.stats.begin(), run.coco.stats.end());
  }
  report.results = run.results;
  ReportPairs description;
  for (const auto& [label, text] : facts) description.emplace_back(label, with_flags(text));
  return validation_report(description, report, trainer.val(), !recipe.person_det.empty(),
                           recipe.resume.empty() ? recipe.weights : recipe.resume);
}

void print_table(const ValidationRun& run, const std::string& model) {
  fmt::print("{}\n", run.pckh ? pckh_markdown(model, *run.pckh) : coco_summary(run.coco));
}

}  // namespace

void TrainOutput::end_bar() {
  if (bar_) bar_->finish();
  bar_.reset();
  checking_.clear();
}

void TrainOutput::guarded(const std::function<void()>& work, std::string_view trouble) {
  try {
    work();
  } catch (const std::exception& error) {
    if (report_trouble_.empty()) {
      fmt::print("  note: {}: {}\n", trouble, with_flags(error.what()));
    }
    report_trouble_ = error.what();
  }
}

void TrainOutput::fact(std::string_view label, const std::string& text) {
  end_bar();
  report_.fact(label, text);
  fmt::print("{:<10} {}\n", label, with_flags(text));
  if (label == "model" || label == "ranks") std::fflush(stdout);
}

void TrainOutput::checked_pictures(std::string_view split, size_t done, size_t all) {
  if (split != checking_) {
    end_bar();
    checking_ = split;
    bar_.emplace(fmt::format("checking {}", split), static_cast<int64_t>(all));
  }
  bar_->update(static_cast<int64_t>(done));
}

void TrainOutput::epoch_begins(const EpochStatus& s) {
  in_epoch_ = true;
  bar_.emplace(fmt::format("epoch {}/{}", s.epoch + 1, s.epochs), s.steps);
}

void TrainOutput::stepped(const EpochStatus& s) {
  bar_->update(s.step, note_of(s));
  if (print_freq_ > 0 && s.step % print_freq_ == 0)
    bar_->say(fmt::format("epoch {}/{} [{}/{}]  {}", s.epoch + 1, s.epochs, s.step, s.steps, note_of(s)));
}

void TrainOutput::epoch_trained(const EpochStatus& s) {
  bar_->finish(note_of(s));
  bar_.reset();
}

void TrainOutput::validating(const PeopleProgress& p) {
  const std::string rate = fmt::format("{:.1f} people/s", p.per_second);
  if (!bar_) bar_.emplace(in_epoch_ ? "  validate" : "validate", static_cast<int64_t>(p.all));
  if (!p.finished) {
    if (p.done > 0) bar_->update(static_cast<int64_t>(p.done), rate);
    return;
  }
  bar_->finish(rate);
  bar_.reset();
}

void TrainOutput::validated(const Validated& v) {
  const char* best = v.best ? "  (best so far)" : "";
  const auto& s = v.record.stats;
  if (v.record.pckh) {
    fmt::print("  PCKh@0.5 {:.2f}  PCKh@0.1 {:.2f}{}\n", s[7], s[8], best);
  } else {
    fmt::print("  AP {:.4f}  AP50 {:.4f}  AP75 {:.4f}  AR {:.4f}{}\n", s[0], s[1], s[2], s[5], best);
  }
  for (const std::string& line : v.remarks) fmt::print("  remark: {}\n", with_flags(line));
  std::fflush(stdout);
  if (v.last) print_table(v.run, v.model);
  guarded([&] { report_.validated(v); });
}

void TrainOutput::remark(const std::string& text) {
  fmt::print("  note: {}\n", with_flags(text));
  report_.remark(text);
}

void TrainOutput::more_bad_samples(size_t count, const std::string& list) {
  fmt::print("  {} replaced by other samples; all are listed in {}\n", counted(count, "more bad sample"), list);
}

void TrainOutput::epoch_finished(const fs::path& folder, const std::vector<EpochRecord>& history) {
  history_ = history;
  guarded([&] { plot_history(folder / "curves.png", history, read_epoch_speeds(folder)); });
  guarded([&] { report_.write(folder, history); });
}

void TrainOutput::ended(const TrainEnd& end, const Trainer& trainer) {
  bar_.reset();
  const RunFolder& folder = trainer.folder();
  if (folder.writes()) {
    guarded([&] { report_.write(folder.path(), history_, ending_of(end, trainer.recipe().patience)); });
  }
  if (end.stopped()) {
    fmt::print("stopped by {} at epoch {}, step {}. Continue with the same flags and\n  --resume {}\n", stopper_of(end),
               end.epoch, end.step, folder.last().string());
  } else {
    fmt::print(
        "wrote {}/: last.safetensors, best.safetensors ({} {:.4f}), {}, key_results.json, config.json, "
        "metrics.jsonl{}\n",
        folder.path().string(), end.pckh ? "PCKh" : "AP", end.best_score, folder.results_file().filename().string(),
        report_trouble_.empty() ? ", curves.png, report.html" : "");
  }
  std::fflush(stdout);
}

void TrainOutput::failed(const std::string& why, const RunFolder& folder) {
  end_bar();
  if (!folder.writes()) return;
  try {
    report_.write(folder.path(), history_, "ended by an error: " + with_flags(why));
  } catch (const std::exception&) {
    // The caller reports the error that matters. Where it is a full disk, this is the same one again.
  }
}

void TrainOutput::tested(const ValidationRun& run, const Trainer& trainer) {
  print_table(run, trainer.model().name());
  for (const std::string& line : coco_remark_list(run.coco)) fmt::print("remark: {}\n", with_flags(line));
  const fs::path& folder = trainer.folder().path();
  guarded([&] { write_file(folder / "report.html", report_html(tested_page(run, trainer, report_.facts()))); },
          "the report cannot be made");
  fmt::print("wrote {}{}\n", (folder / "key_results.json").string(), report_trouble_.empty() ? ", report.html" : "");
}

}  // namespace hr

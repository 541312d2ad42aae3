#include "tools/programs/validate.h"

#include <fmt/format.h>

#include "core/stopwatch.h"
#include "tools/cli/cli.h"
#include "tools/cli/data_options.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/model_options.h"
#include "tools/cli/progress.h"
#include "tools/plot/analysis_picture.h"

namespace hr {
namespace {

// The bars of the check and of the validation, and what is told between them.
ValidationObserver show_on(std::optional<Progress>& bar) {
  const auto end_bar = [&bar] {
    if (bar) bar->finish();
    bar.reset();
  };
  ValidationObserver show;
  show.note = [=](const std::string& text) {
    end_bar();
    print_note(text);
  };
  show.left_out = [=](const std::string& text) {
    end_bar();
    fmt::print("left out   {}\n", text);
  };
  show.checked = [&bar](size_t done, size_t all) {
    if (!bar) bar.emplace("checking val", static_cast<int64_t>(all));
    bar->update(static_cast<int64_t>(done));
  };
  show.progress = [&bar](const PeopleProgress& p) {
    const std::string rate = fmt::format("{:.1f} people/s", p.per_second);
    if (!bar) bar.emplace("validate", static_cast<int64_t>(p.all));
    if (p.finished) {
      bar->finish(rate);
    } else if (p.done > 0) {
      bar->update(static_cast<int64_t>(p.done), rate);
    }
  };
  show.listener = print_remark;
  show.wording = [](const std::string& remark) { return with_flags(remark); };
  return show;
}

void print(ValidationReport& report, const fs::path& folder) {
  if (!report.summary.empty()) fmt::print("{}\n", report.summary);
  if (!report.table.empty()) fmt::print("{}\n", report.table);
  for (const std::string& remark : report.remarks) fmt::print("remark     {}\n", with_flags(remark));
  if (report.analysis) {
    fmt::print("\n{}\n", analysis_table(*report.analysis));
    write_image(folder / "analysis.png", analysis_picture(*report.analysis, report.analysis_title));
    report.written.insert(report.written.end() - 2, "analysis.png");  // before validation.json and validation.md
  }
  fmt::print("wrote {} in {}\n", fmt::join(report.written, ", "), folder.string());
}

}  // namespace

void add_validate_options(CLI::App& app, ValidateOptions& o) {
  describe(app,
           "Measures a pose model on COCO (ten OKS numbers), CrowdPose (nine) or MPII (PCKh): prints what was measured "
           "and how, and writes result files in the seed's and the official formats.",
           "validate --data-path demo/data --weights demo/run/best.safetensors --output-dir demo/run");
  add_config_option(app, o.config, [&](const OfficialConfig& config) {
    std::vector<std::string> remarks = apply_official_config(config, o);
    if (!o.weights.empty()) app.get_option("--weights")->required(false);
    return remarks;
  });
  add_weights(app, o);
  add_data_options(app, o, DataFlags::validation);
  app.add_option("--mpii-truth", o.mpii_truth, "MPII: gt_valid.mat [default: beside the annotation file]")
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
  for (const std::string& remark : o.config.remarks) print_note(remark);
  std::optional<Progress> bar;
  Validation validation(o, show_on(bar));
  if (bar) bar->finish();
  bar.reset();
  for (const auto& [label, text] : validation.description()) fmt::print("{:<10} {}\n", label, text);
  std::fflush(stdout);
  ValidationReport report = validation.run();
  print(report, o.output_dir);
}

}  // namespace hr

#include "tools/programs/validate.h"

#include <fmt/format.h>

#include "core/stopwatch.h"
#include "hrnet/train/precision.h"
#include "tools/cli/cli.h"
#include "tools/cli/data_options.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/model_options.h"
#include "tools/cli/progress.h"
#include "tools/plot/analysis_picture.h"
#include "tools/report/run_report.h"

namespace hr {
namespace {

// Shows the progress bars of the check and of the validation, and prints the notes between them.
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

// Writes report.html. If that fails, prints a note, so that the numbers are shown nevertheless.
void write_report(const Validation& validation, ValidationReport& report, const ValidateOptions& o) {
  try {
    const ReportData page =
        validation_report(validation.description(), report, validation.dataset(), !o.person_det.empty(), o.weights);
    write_file(fs::path(o.output_dir) / "report.html", report_html(page));
    report.written.insert(report.written.begin(), "report.html");
  } catch (const std::exception& error) {
    print_note(fmt::format("the report cannot be made: {}", error.what()));
  }
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

void validate(const ValidateOptions& options) {
  ValidateOptions o = options;
  for (const std::string& remark : o.config.remarks) print_note(remark);
  PrecisionWork work;
  if (o.fixed_size) {
    work.h = (*o.fixed_size)[0];
    work.w = (*o.fixed_size)[1];
  }
  settle_precision(o, work, print_note);
  std::optional<Progress> bar;
  Validation validation(o, show_on(bar));
  if (bar) bar->finish();
  bar.reset();
  for (const auto& [label, text] : validation.description()) fmt::print("{:<10} {}\n", label, text);
  std::fflush(stdout);
  ValidationReport report = validation.run();
  write_report(validation, report, o);
  print(report, o.output_dir);
}

}  // namespace hr

// An HTML page about a training run or a validation. It is self-contained: it loads no script, font or picture from
// elsewhere. It is readable on a phone and on paper, and follows the light or dark mode of the browser.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/analysis.h"
#include "tools/plot/plot.h"
#include "tools/report/published.h"

namespace hr {

// A picture of people, annotated and predicted, side by side.
struct ReportPicture {
  std::string jpeg;  // The bytes of a JPEG file.
  std::string caption;
};

struct ReportFile {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;  // 64 hexadecimal digits, or a remark why there are none.
};

// The numbers of one measurement, in the order of ReportData::measures. A value below 0 means that there was nothing to
// find, as in the evaluators.
struct ReportNumbers {
  std::string name;  // For example "epoch 7, the best".
  std::vector<double> values;
};

struct ReportTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

using ReportPairs = std::vector<std::pair<std::string, std::string>>;

// The content of a page. All texts are plain: report_html() escapes them for HTML. An empty part is left out, or the
// page says that there is nothing to show.
struct ReportData {
  std::string title;       // "hrnet_w32 on val2017"
  std::string subtitle;    // "Training run, 5 of 210 epochs"
  ReportPairs headline;    // A few numbers in large letters: name and value.
  ReportPairs conditions;  // What was measured and how.
  std::vector<std::string> remarks;
  bool training = false;  // The page is about a training run, which has curves.
  std::vector<Panel> curves;
  ReportTable epochs;
  bool pckh = false;  // The numbers are in percent.
  std::vector<std::string> measures;
  std::vector<ReportNumbers> numbers;  // Empty if nothing was validated.
  std::vector<PublishedResult> published;
  std::string published_remark;  // What limits the comparison, or why there is none.
  std::optional<PoseAnalysis> analysis;
  std::vector<std::pair<std::string, double>> joints;  // PCKh@0.5 by joint, in percent.
  std::vector<ReportPicture> worst;
  std::string worst_rule;  // The measure by which the worst pictures were chosen.
  ReportPairs configuration;
  std::vector<ReportFile> files;
  std::string command;  // The command line, quoted for a shell.
  ReportPairs origin;   // Program, machine, time.
};

// Returns the whole page as HTML.
std::string report_html(const ReportData& data);

// Returns the bytes in base64, as a picture in a data: URL needs them.
std::string base64(std::string_view bytes);

}  // namespace hr

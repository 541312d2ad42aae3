// A page of HTML about a training run or a validation, complete in itself: no script, font or picture comes from
// elsewhere. It is readable on a phone and on paper, light and dark.
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

// Numbers of one measurement, in the order of ReportData::measures. NaN: not a number; below 0: nothing to find.
struct ReportNumbers {
  std::string name;  // For example "epoch 7, the best".
  std::vector<double> values;
};

struct ReportTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

using ReportPairs = std::vector<std::pair<std::string, std::string>>;

// Texts are plain; the page escapes them. A part that is empty is left out, or the page says that there is nothing.
struct ReportData {
  std::string title;       // "hrnet_w32 on val2017"
  std::string subtitle;    // "Training run, 5 of 210 epochs"
  ReportPairs headline;    // A few numbers in large letters: name and value.
  ReportPairs conditions;  // What was measured and how.
  std::vector<std::string> remarks;
  bool training = false;  // Curves are expected.
  std::vector<Panel> curves;
  ReportTable epochs;
  bool pckh = false;  // The numbers are in percent.
  std::vector<std::string> measures;
  std::vector<ReportNumbers> numbers;  // Empty: not validated.
  std::vector<PublishedResult> published;
  std::string published_remark;  // What to mind in a comparison, or why there is none.
  std::optional<PoseAnalysis> analysis;
  std::vector<std::pair<std::string, double>> joints;  // PCKh@0.5 by joint, in percent.
  std::vector<ReportPicture> worst;
  std::string worst_rule;  // What makes a picture bad.
  ReportPairs configuration;
  std::vector<ReportFile> files;
  std::string command;  // A line for a shell.
  ReportPairs origin;   // Program, machine, time.
};

std::string report_html(const ReportData& data);

// For images in data: URLs.
std::string base64(std::string_view bytes);

}  // namespace hr

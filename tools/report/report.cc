#include "tools/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/counted.h"
#include "tools/plot/drawing.h"
#include "tools/report/page_frame.h"

namespace hr {

std::string base64(std::string_view bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8U | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63U];
    }
  }
  return out;
}

namespace {

std::string number(double value, int decimals) {
  if (!std::isfinite(value)) return "not a number";
  if (value < 0) return "nothing to find";
  return fmt::format("{:.{}f}", value, decimals);
}

std::string size_of(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size < 1e6 ? fmt::format("{:.1f} kB", size / 1e3) : fmt::format("{:.1f} MB", size / 1e6);
}

// Writes the page, one member function per section.
class Page {
 public:
  explicit Page(const ReportData& data) : d_(data) {}

  std::string text() {
    head();
    headline();
    remarks();
    if (d_.training) curves();
    out_ += "<div class=\"pair\">\n";
    accuracy();
    published();
    out_ += "</div>\n";
    if (d_.analysis) analysis(*d_.analysis);
    if (!d_.joints.empty()) joints();
    worst();
    pairs("Conditions", d_.conditions);
    pairs("Configuration", d_.configuration);
    files();
    reproduce();
    out_ += fmt::format("</main>\n<div id=\"tip\"></div>\n<script>{}</script>\n</body>\n</html>\n", kPageScript);
    return std::move(out_);
  }

 private:
  void open(std::string_view title) { out_ += fmt::format("<section>\n<h2>{}</h2>\n", escaped(title)); }
  void close() { out_ += "</section>\n"; }
  void note(std::string_view text) { out_ += fmt::format("<p class=\"faint\">{}</p>\n", escaped(text)); }

  void head() {
    out_ += fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n<h1>{}</h1>\n<p class=\"faint\">{}</p>\n",
        escaped(d_.title), kPageStyle, escaped(d_.title), escaped(d_.subtitle));
  }

  void headline() {
    if (d_.headline.empty()) return;
    out_ += "<div class=\"cards\">\n";
    for (const auto& [name, value] : d_.headline) {
      out_ += fmt::format("<div><span class=\"faint\">{}</span><b>{}</b></div>\n", escaped(name), escaped(value));
    }
    out_ += "</div>\n";
  }

  void remarks() {
    if (d_.remarks.empty()) return;
    open("Remarks");
    out_ += "<ul>\n";
    for (const std::string& text : d_.remarks) out_ += fmt::format("<li>{}</li>\n", escaped(text));
    out_ += "</ul>\n";
    close();
  }

  void curves() {
    open("Course of the training");
    if (d_.epochs.rows.empty()) {
      note("No epoch is finished yet.");
      return close();
    }
    out_ += "<div class=\"curves\">\n";
    for (const Panel& panel : d_.curves) out_ += svg_text(draw_plot({panel}, 420, 280, 8), panel.title);
    out_ += "</div>\n<details>\n<summary>Table of epochs</summary>\n";
    table(d_.epochs);
    out_ += "</details>\n";
    close();
  }

  void table(const ReportTable& t) {
    out_ += "<div class=\"scroll\"><table>\n<tr>";
    for (const std::string& name : t.columns) out_ += fmt::format("<th class=\"n\">{}</th>", escaped(name));
    out_ += "</tr>\n";
    for (const auto& row : t.rows) {
      out_ += "<tr>";
      for (const std::string& cell : row) out_ += fmt::format("<td class=\"n\">{}</td>", escaped(cell));
      out_ += "</tr>\n";
    }
    out_ += "</table></div>\n";
  }

  void accuracy() {
    open(d_.pckh ? "Accuracy, PCKh in percent" : "Accuracy, OKS");
    if (d_.numbers.empty()) {
      note(d_.training ? "This run has not been validated yet." : "There are no annotations, so there are no numbers.");
      return close();
    }
    ReportTable t;
    t.columns = {"measure"};
    for (const ReportNumbers& n : d_.numbers) t.columns.push_back(n.name);
    for (size_t i = 0; i < d_.measures.size(); ++i) {
      std::vector<std::string>& row = t.rows.emplace_back();
      row.push_back(d_.measures[i]);
      for (const ReportNumbers& n : d_.numbers) {
        row.push_back(i < n.values.size() ? number(n.values[i], d_.pckh ? 2 : 4) : "");
      }
    }
    table(t);
    close();
  }

  void published() {
    open("Comparison with published numbers");
    if (!d_.published_remark.empty()) note(d_.published_remark);
    if (!d_.published.empty()) {
      const std::string& measure = d_.published.front().measure;
      out_ += fmt::format(
          "<div class=\"scroll\"><table>\n<tr><th class=\"n\">{}, %</th><th>input</th><th>set</th><th>boxes</th>"
          "<th>source</th></tr>\n",
          escaped(measure));
      for (const PublishedResult& r : d_.published) {
        const bool own = r.source.empty();
        out_ += fmt::format("<tr{}><td class=\"n\">{}</td><td>{} x {}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                            own ? " class=\"own\"" : "", number(r.percent, own && !d_.pckh ? 2 : 1), r.height, r.width,
                            escaped(r.set), escaped(r.boxes), own ? "this page" : escaped(r.source));
      }
      out_ += "</table></div>\n";
    }
    close();
  }

  static std::string kind_tone(PoseError kind) { return "var(--" + pose_error_name(kind) + ")"; }

  void bars(std::string_view title, const std::vector<ErrorRow>& rows) {
    out_ += fmt::format("<div><h3>{}</h3>\n<div class=\"bars\">\n", escaped(title));
    for (const ErrorRow& row : rows) {
      if (row.joints() == 0) continue;
      out_ += fmt::format("<span>{}</span><div class=\"bar\">", escaped(row.name));
      for (int k = 0; k < kPoseErrors; ++k) {
        const auto kind = static_cast<PoseError>(k);
        const double percent = 100 * row.share(kind);
        if (percent <= 0) continue;
        out_ += fmt::format("<span style=\"width:{:.2f}%;background:{}\" title=\"{} {:.1f}%\">{}</span>", percent,
                            kind_tone(kind), escaped(pose_error_name(kind)), percent,
                            percent >= 7 ? fmt::format("{:.0f}", percent) : "");
      }
      out_ += fmt::format("</div><span class=\"n faint\">{}</span>\n", row.joints());
    }
    out_ += "</div></div>\n";
  }

  void analysis(const PoseAnalysis& a) {
    open("Where the errors come from");
    note(
        fmt::format("{}{} of {} people were found. Of {} detections, {} are duplicates and {} show no person. Each bar "
                    "divides the labelled joints of people that were found, in percent; their number follows the bar.",
                    d_.training ? "At the last validation: " : "", a.people_found, a.people, a.detections, a.duplicates,
                    a.background));
    if (a.all.joints() == 0) {
      note("No person was found, so no joint can be judged.");
      return close();
    }
    out_ += "<div class=\"legend\">";
    static constexpr const char* meaning[] = {"as good as an annotator", "near the joint, not at it",
                                              "left and right confused", "another person's joint", "near no joint"};
    for (int k = 0; k < kPoseErrors; ++k) {
      const auto kind = static_cast<PoseError>(k);
      out_ += fmt::format("<span><i style=\"background:{}\"></i>{}: {}</span>", kind_tone(kind),
                          escaped(pose_error_name(kind)), meaning[k]);
    }
    out_ += "</div>\n<div class=\"two\">\n";
    std::vector<ErrorRow> joints = a.joints;
    joints.push_back(a.all);
    bars("By joint", joints);
    out_ += "<div>\n";
    bars("By the size of the person, square root of the area in pixels", a.sizes);
    out_ += "<h3>AP if one kind of error were corrected</h3>\n";
    ReportTable t{{"corrected", "AP", "gain"}, {{"nothing", number(a.stats[0], 4), ""}}};
    const auto row = [&](const std::string& name, double ap) {
      const bool known = ap >= 0 && a.stats[0] >= 0;
      t.rows.push_back({name, number(ap, 4), known ? fmt::format("{:+.4f}", ap - a.stats[0]) : ""});
    };
    for (size_t k = 0; k < a.corrected.size(); ++k) {
      row(pose_error_name(static_cast<PoseError>(k + 1)), a.corrected.at(k)[0]);
    }
    row("all of them", a.corrected_all[0]);
    table(t);
    out_ += "</div>\n</div>\n";
    close();
  }

  void joints() {
    open("By joint, PCKh@0.5 in percent");
    out_ += "<div class=\"bars\">\n";
    for (const auto& [name, percent] : d_.joints) {
      const double width = std::isfinite(percent) ? std::clamp(percent, 0.0, 100.0) : 0;
      out_ += fmt::format(
          "<span>{}</span><div class=\"bar\"><span style=\"width:{:.2f}%;background:var(--good)\"></span></div>"
          "<span class=\"n\">{}</span>\n",
          escaped(name), width, std::isfinite(percent) ? number(percent, 1) : "not visible on any person");
    }
    out_ += "</div>\n";
    close();
  }

  void worst() {
    if (d_.worst.empty()) return;
    open(fmt::format("The worst {}", counted(static_cast<int64_t>(d_.worst.size()), "picture")));
    note(
        "Left: annotations; hollow joints are hidden. Right: predictions; hollow joints have a score of at most 0.2. " +
        d_.worst_rule);
    out_ += "<div class=\"pictures\">\n";
    for (const ReportPicture& p : d_.worst) {
      out_ += fmt::format(
          "<figure><img alt=\"annotated and predicted people of {}\" src=\"data:image/jpeg;base64,{}\">"
          "<figcaption>{}</figcaption></figure>\n",
          escaped(p.caption), base64(p.jpeg), escaped(p.caption));
    }
    out_ += "</div>\n";
    close();
  }

  void rows(const ReportPairs& list) {
    out_ += "<table class=\"pairs\">\n";
    for (const auto& [name, value] : list) {
      out_ += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(value));
    }
    out_ += "</table>\n";
  }

  void pairs(std::string_view title, const ReportPairs& list) {
    if (list.empty()) return;
    open(title);
    rows(list);
    close();
  }

  void files() {
    if (d_.files.empty()) return;
    ReportPairs list;
    for (const ReportFile& f : d_.files) {
      list.emplace_back(fmt::format("{}, {}", f.name, size_of(f.bytes)), f.sha256);
    }
    pairs("Weight files, SHA-256", list);
  }

  void reproduce() {
    if (d_.command.empty() && d_.origin.empty()) return;
    open("How to reproduce");
    if (!d_.command.empty()) out_ += fmt::format("<pre>{}</pre>\n", escaped(d_.command));
    rows(d_.origin);
    close();
  }

  const ReportData& d_;
  std::string out_;
};

}  // namespace

std::string report_html(const ReportData& data) { return Page(data).text(); }

}  // namespace hr

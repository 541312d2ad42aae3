#include "tools/history.h"

#include "core/error.h"
#include "core/json.h"
#include "tools/plot.h"

namespace hr {

std::string results_line(const EpochRecord& r) {
  std::string line = fmt::format("epoch:{} ", r.epoch);
  for (const double s : r.stats) line += r.evaluated ? fmt::format("{:.4f}  ", s) : "nan  ";
  return line + fmt::format("{:.4f}  {:.6f}", r.loss, r.lr);
}

std::string history_to_json(const std::vector<EpochRecord>& history) {
  std::string json = "[";
  for (const EpochRecord& r : history) {
    json += fmt::format("{}{{\"epoch\":{},\"loss\":{},\"lr\":{}", json.size() > 1 ? "," : "", r.epoch, r.loss, r.lr);
    if (r.evaluated) json += fmt::format(",\"stats\":[{}]", fmt::join(r.stats, ","));
    json += '}';
  }
  return json + "]";
}

std::vector<EpochRecord> history_from_json(std::string_view text, std::string_view where) {
  const rapidjson::Document document = parse_json(text, where);
  std::vector<EpochRecord> history;
  check(document.IsArray(), "{}: the training history is not a list", where);
  for (const Json& item : document.GetArray()) {
    check(item.IsObject() && item.HasMember("epoch") && item["epoch"].IsInt() && item.HasMember("loss") &&
              item["loss"].IsNumber() && item.HasMember("lr") && item["lr"].IsNumber(),
          "{}: entry {} of the training history needs epoch, loss and lr", where, history.size());
    EpochRecord& r = history.emplace_back();
    r.epoch = item["epoch"].GetInt();
    r.loss = item["loss"].GetDouble();
    r.lr = item["lr"].GetDouble();
    if (const auto stats = item.FindMember("stats"); stats != item.MemberEnd()) {
      check(stats->value.IsArray() && stats->value.Size() == r.stats.size(), "{}: an epoch's stats must be ten numbers",
            where);
      r.evaluated = true;
      for (rapidjson::SizeType i = 0; i < stats->value.Size(); ++i) r.stats[i] = stats->value[i].GetDouble();
    }
  }
  return history;
}

void plot_history(const fs::path& path, const std::vector<EpochRecord>& history) {
  Series loss{"train loss", {}, {}}, lr{"learning rate", {}, {}}, ap{"AP", {}, {}}, ap50{"AP .50", {}, {}},
      ar{"AR", {}, {}};
  for (const EpochRecord& r : history) {
    const double x = r.epoch + 1;
    loss.x.push_back(x), loss.y.push_back(r.loss);
    lr.x.push_back(x), lr.y.push_back(r.lr);
    if (!r.evaluated) continue;
    for (const auto& [series, value] : {std::pair{&ap, r.stats[0]}, {&ap50, r.stats[1]}, {&ar, r.stats[5]}}) {
      series->x.push_back(x), series->y.push_back(value);
    }
  }
  const std::vector<Panel> panels{{"Loss", "epochs", "", {loss}, true, false},
                                  {"Learning rate", "epochs", "", {lr}, true, false},
                                  {"Validation", "epochs", "", {ap, ap50, ar}, false, true}};
  write_image(path, plot(panels, 1500, 420));
}

}  // namespace hr

#include "hrnet/train/history.h"

#include <limits>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"

namespace hr {

std::string results_line(const EpochRecord& r) {
  std::string line = fmt::format("epoch:{} ", r.epoch);
  for (const double s : r.stats) line += fmt::format("{:.4f}  ", s);
  for (int i = 0; r.stats.empty() && i < (r.pckh ? 9 : 10); ++i) line += "nan  ";
  return line + fmt::format("{:.4f}  {:.6f}", r.loss, r.lr);
}

std::string history_to_json(const std::vector<EpochRecord>& history) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_list();
  for (const EpochRecord& r : history) {
    json.begin_object().member("epoch", r.epoch).member("loss", r.loss).member("lr", r.lr);
    if (r.pckh) json.member("measure", "PCKh");
    if (!r.stats.empty()) {
      json.key("stats").begin_list();
      for (const double v : r.stats) json.value(if_finite(v));  // PCKh of a joint that nobody has is NaN.
      json.end();
    }
    json.end();
  }
  json.end();
  return text;
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
    r.pckh = item.HasMember("measure");
    if (const auto stats = item.FindMember("stats"); stats != item.MemberEnd()) {
      check(stats->value.IsArray() && stats->value.Size() == (r.pckh ? 9 : 10),
            "{}: an epoch's stats must be {} numbers", where, r.pckh ? 9 : 10);
      for (const Json& number : stats->value.GetArray()) {
        check(number.IsNumber() || number.IsNull(), "{}: an epoch's stats must be {} numbers", where, r.pckh ? 9 : 10);
        r.stats.push_back(number.IsNull() ? std::numeric_limits<double>::quiet_NaN() : number.GetDouble());
      }
    }
  }
  return history;
}

}  // namespace hr

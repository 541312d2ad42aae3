#include "hrnet/train/official_keys.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <variant>

#include "core/error.h"

namespace hr {
namespace {

using S = OfficialSettings;
using Place =
    std::variant<std::monostate, std::string*, int*, double*, bool*, std::vector<int>*, std::vector<std::string>*>;

struct Key {
  std::string name;
  Place place;  // Empty if the key has no effect here; most such keys have none in the original either.
};

std::vector<Key> known_keys(S& s) {
  std::vector<Key> keys = {
      {"OUTPUT_DIR", &s.output_dir},
      {"LOG_DIR", {}},
      {"DATA_DIR", &s.data_dir},
      {"GPUS", &s.gpus},
      {"WORKERS", &s.workers},
      {"PRINT_FREQ", &s.print_freq},
      {"AUTO_RESUME", &s.auto_resume},
      {"PIN_MEMORY", {}},
      {"RANK", {}},
      {"CUDNN.BENCHMARK", {}},
      {"CUDNN.DETERMINISTIC", {}},
      {"CUDNN.ENABLED", {}},
      {"MODEL.NAME", &s.name},
      {"MODEL.INIT_WEIGHTS", &s.init_weights},
      {"MODEL.PRETRAINED", &s.pretrained},
      {"MODEL.NUM_JOINTS", &s.num_joints},
      {"MODEL.TAG_PER_JOINT", {}},
      {"MODEL.TARGET_TYPE", &s.target_type},
      {"MODEL.IMAGE_SIZE", &s.image_size},
      {"MODEL.HEATMAP_SIZE", &s.heatmap_size},
      {"MODEL.SIGMA", &s.sigma},
      {"MODEL.EXTRA.PRETRAINED_LAYERS", &s.pretrained_layers},
      {"MODEL.EXTRA.FINAL_CONV_KERNEL", &s.final_conv_kernel},
      {"MODEL.EXTRA.NUM_LAYERS", &s.num_layers},
      {"MODEL.EXTRA.DECONV_WITH_BIAS", &s.deconv_with_bias},
      {"MODEL.EXTRA.NUM_DECONV_LAYERS", &s.deconv_layers},
      {"MODEL.EXTRA.NUM_DECONV_FILTERS", &s.deconv_filters},
      {"MODEL.EXTRA.NUM_DECONV_KERNELS", &s.deconv_kernels},
      {"LOSS.USE_OHKM", &s.ohkm},
      {"LOSS.TOPK", {}},
      {"LOSS.USE_TARGET_WEIGHT", &s.use_target_weight},
      {"LOSS.USE_DIFFERENT_JOINTS_WEIGHT", &s.different_joints_weight},
      {"DATASET.ROOT", &s.root},
      {"DATASET.DATASET", &s.dataset},
      {"DATASET.TRAIN_SET", &s.train_set},
      {"DATASET.TEST_SET", &s.test_set},
      {"DATASET.DATA_FORMAT", &s.data_format},
      {"DATASET.HYBRID_JOINTS_TYPE", {}},
      {"DATASET.SELECT_DATA", &s.select_data},
      {"DATASET.FLIP", &s.flip},
      {"DATASET.SCALE_FACTOR", &s.scale_factor},
      {"DATASET.ROT_FACTOR", &s.rot_factor},
      {"DATASET.PROB_HALF_BODY", &s.prob_half_body},
      {"DATASET.NUM_JOINTS_HALF_BODY", &s.half_body_joints},
      {"DATASET.COLOR_RGB", &s.color_rgb},
      {"TRAIN.LR", &s.lr},
      {"TRAIN.LR_FACTOR", &s.lr_factor},
      {"TRAIN.LR_STEP", &s.lr_step},
      {"TRAIN.OPTIMIZER", &s.optimizer},
      {"TRAIN.WD", &s.wd},
      {"TRAIN.MOMENTUM", {}},
      {"TRAIN.NESTEROV", {}},
      {"TRAIN.GAMMA1", {}},
      {"TRAIN.GAMMA2", {}},
      {"TRAIN.BEGIN_EPOCH", &s.begin_epoch},
      {"TRAIN.END_EPOCH", &s.end_epoch},
      {"TRAIN.RESUME", {}},
      {"TRAIN.CHECKPOINT", {}},
      {"TRAIN.BATCH_SIZE_PER_GPU", &s.batch_size},
      {"TRAIN.SHUFFLE", &s.shuffle},
      {"TEST.BATCH_SIZE_PER_GPU", &s.test_batch_size},
      {"TEST.FLIP_TEST", &s.flip_test},
      {"TEST.POST_PROCESS", &s.post_process},
      {"TEST.SHIFT_HEATMAP", &s.shift_heatmap},
      {"TEST.USE_GT_BBOX", &s.use_gt_bbox},
      {"TEST.IMAGE_THRE", &s.image_thre},
      {"TEST.NMS_THRE", {}},
      {"TEST.SOFT_NMS", &s.soft_nms},
      {"TEST.OKS_THRE", &s.oks_thre},
      {"TEST.IN_VIS_THRE", &s.in_vis_thre},
      {"TEST.COCO_BBOX_FILE", &s.boxes},
      {"TEST.BBOX_THRE", {}},
      {"TEST.MODEL_FILE", &s.model_file},
      {"DEBUG.DEBUG", {}},
      {"DEBUG.SAVE_BATCH_IMAGES_GT", {}},
      {"DEBUG.SAVE_BATCH_IMAGES_PRED", {}},
      {"DEBUG.SAVE_HEATMAPS_GT", {}},
      {"DEBUG.SAVE_HEATMAPS_PRED", {}},
  };
  for (auto& [stage, number] : {std::pair<S::Stage&, int>{s.stage2, 2}, {s.stage3, 3}, {s.stage4, 4}}) {
    const std::string at = fmt::format("MODEL.EXTRA.STAGE{}.", number);
    keys.push_back({at + "NUM_MODULES", &stage.modules});
    keys.push_back({at + "NUM_BRANCHES", &stage.branches});
    keys.push_back({at + "BLOCK", &stage.block});
    keys.push_back({at + "NUM_BLOCKS", &stage.blocks});
    keys.push_back({at + "NUM_CHANNELS", &stage.channels});
    keys.push_back({at + "FUSE_METHOD", &stage.fuse});
  }
  return keys;
}

// Returns the number of insertions, deletions and replacements that turn one text into the other. Callers limit the
// texts to about 200 characters, since the time grows with the product of the lengths.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string shortened(const std::string& text) { return text.size() <= 200 ? text : text.substr(0, 200) + "..."; }

[[noreturn]] void fail_unknown(const OfficialEntry& entry, const std::vector<Key>& keys) {
  const std::string asked = shortened(entry.key);
  const auto nearest = std::ranges::min_element(keys, {}, [&](const Key& key) { return edits(asked, key.name); });
  fail_field("cfg", "{}: {} is no setting of the official configuration files; is {} meant?", entry.place, asked,
             nearest->name);
}

[[noreturn]] void fail_type(const OfficialEntry& entry, const char* expected) {
  const std::string joined = shortened(fmt::format("{}", fmt::join(entry.items, ", ")));
  fail_field("cfg", "{}: {} is {}, expected {}", entry.place, entry.key,
             entry.list ? "[" + joined + "]" : "'" + joined + "'", expected);
}

bool read(const std::string& text, int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool read(const std::string& text, double& out) {
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  char* end = nullptr;
  out = std::strtod(text.c_str(), &end);
  return *end == '\0' && std::isfinite(out);
}

bool read(const std::string& text, bool& out) {
  std::string low = text;
  std::ranges::transform(low, low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto is = [&](std::initializer_list<std::string_view> words) { return std::ranges::count(words, low) > 0; };
  out = is({"true", "yes", "on"});
  return out || is({"false", "no", "off"});
}

// Returns the items of a list. In quotes and on the command line a list may also be written as in Python: "(0,1)" or
// "[170, 200]".
std::vector<std::string> items_of(const OfficialEntry& entry) {
  if (entry.list) return entry.items;
  std::string text = entry.items.at(0);
  if (text.size() < 2 || !((text.front() == '[' && text.back() == ']') || (text.front() == '(' && text.back() == ')')))
    fail_type(entry, "a list");
  text = text.substr(1, text.size() - 2);
  std::vector<std::string> items;
  for (size_t at = 0; at < text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    std::string item = text.substr(at, comma - at);
    const auto spare = [](char c) { return c == ' ' || c == '\'' || c == '"'; };
    while (!item.empty() && spare(item.back())) item.pop_back();
    item.erase(0, static_cast<size_t>(std::ranges::find_if_not(item, spare) - item.begin()));
    items.push_back(std::move(item));
    at = comma + 1;
  }
  return items;
}

void store(const OfficialEntry& entry, const Place& place) {
  const auto scalar = [&](const char* expected) -> const std::string& {
    if (entry.list) fail_type(entry, expected);
    return entry.items.at(0);
  };
  if (auto* const* text = std::get_if<std::string*>(&place)) {
    **text = scalar("text");
  } else if (auto* const* whole = std::get_if<int*>(&place)) {
    if (!read(scalar("a whole number"), **whole)) fail_type(entry, "a whole number");
  } else if (auto* const* number = std::get_if<double*>(&place)) {
    if (!read(scalar("a number"), **number)) fail_type(entry, "a number");
  } else if (auto* const* flag = std::get_if<bool*>(&place)) {
    if (!read(scalar("true or false"), **flag)) fail_type(entry, "true or false");
  } else if (auto* const* texts = std::get_if<std::vector<std::string>*>(&place)) {
    **texts = items_of(entry);
  } else if (auto* const* wholes = std::get_if<std::vector<int>*>(&place)) {
    (*wholes)->clear();
    for (const std::string& item : items_of(entry)) {
      int value = 0;
      if (!read(item, value)) fail_type(entry, "a list of whole numbers");
      (*wholes)->push_back(value);
    }
  }
}

}  // namespace

OfficialSettings read_official_settings(const std::vector<OfficialEntry>& entries) {
  OfficialSettings settings;
  const std::vector<Key> keys = known_keys(settings);
  for (const OfficialEntry& entry : entries) {
    const auto key = std::ranges::find(keys, entry.key, &Key::name);
    if (key == keys.end()) {
      if (!entry.key.starts_with("MODEL.EXTRA.")) fail_unknown(entry, keys);
      settings.strange.push_back(shortened(entry.key));
      continue;
    }
    const bool first = settings.given.insert(entry.key).second;
    if (std::holds_alternative<std::monostate>(key->place)) {
      if (first) settings.dead.push_back(entry.key);
    } else if (!entry.null) {  // A key without a value keeps the default, as in yacs.
      store(entry, key->place);
    }
  }
  return settings;
}

}  // namespace hr

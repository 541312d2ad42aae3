#include "tools/predict.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <future>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "core/counted.h"
#include "core/crop_source.h"
#include "core/error.h"
#include "core/json.h"
#include "data/crop_source.h"
#include "tools/cli.h"
#include "tools/draw.h"
#include "tools/heatmap_runner.h"
#include "tools/progress.h"
#include "tools/validate.h"

namespace hr {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// What file managers leave in folders: macOS's ._photo.jpg and .DS_Store, Windows' Thumbs.db, hidden files of any kind.
bool is_stray(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || name == "thumbs.db" || name == "desktop.ini";
}

// "a.heic, b.txt and 5 more"
std::string first_names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    text += (i > 0 ? ", " : "") + paths[i].filename().string();
  }
  return paths.size() > kShown ? text + fmt::format(" and {} more", paths.size() - kShown) : text;
}

// Pictures named outright, and those inside named folders in alphabetical order; each once. `left_out`: files of other
// kinds in those folders.
std::vector<fs::path> list_pictures(const std::vector<std::string>& inputs, std::vector<fs::path>& left_out) {
  const std::set<std::string> endings{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"};
  std::vector<fs::path> pictures;
  std::set<fs::path> known;
  const auto add = [&](const fs::path& picture) {
    if (known.insert(fs::weakly_canonical(picture)).second) pictures.push_back(picture);
  };
  for (const std::string& input : inputs) {
    check(fs::exists(input), "{}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      add(input);
      continue;
    }
    std::vector<fs::path> inside, others;
    for (const auto& entry : fs::directory_iterator(input)) {
      if (!entry.is_regular_file() || is_stray(entry.path())) continue;
      (endings.contains(lower(entry.path().extension().string())) ? inside : others).push_back(entry.path());
    }
    std::sort(others.begin(), others.end());
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files{}", input,
          others.empty() ? "" : fmt::format(", found {}; convert them first", first_names(others)));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& picture : inside) add(picture);
    left_out.insert(left_out.end(), others.begin(), others.end());
  }
  return pictures;
}

// A name for each picture that no other one has: its own without the ending where that is enough, else with the ending
// and as many folders above it as it takes, joined by underscores.
std::vector<std::string> output_names(const std::vector<fs::path>& pictures) {
  std::vector<std::string> names;
  std::map<std::string, int> count;
  for (const fs::path& picture : pictures) ++count[names.emplace_back(picture.stem().string())];
  std::vector<size_t> same;
  for (size_t i = 0; i < names.size(); ++i) {
    if (count[names[i]] > 1) same.push_back(i);
  }
  std::set<std::string> taken;
  for (size_t i = 0; i < names.size(); ++i) {
    if (count[names[i]] == 1) taken.insert(names[i]);
  }
  for (const size_t i : same) {
    const fs::path whole = fs::weakly_canonical(pictures[i]);
    const std::string ending = whole.extension().string();
    std::string name = whole.stem().string() + (ending.empty() ? "" : "_" + ending.substr(1));
    const auto shared = [&](const std::string& candidate, int folders) {  // by another of the same names
      return std::any_of(same.begin(), same.end(), [&](size_t j) {
        if (j == i) return false;
        const fs::path other = fs::weakly_canonical(pictures[j]);
        const std::string end = other.extension().string();
        std::string theirs = other.stem().string() + (end.empty() ? "" : "_" + end.substr(1));
        fs::path up = other.parent_path();
        for (int k = 0; k < folders; ++k, up = up.parent_path()) theirs = up.filename().string() + "_" + theirs;
        return theirs == candidate;
      });
    };
    int folders = 0;
    for (fs::path up = whole.parent_path(); shared(name, folders) && up.has_relative_path(); up = up.parent_path()) {
      name = up.filename().string() + "_" + name;
      ++folders;
    }
    names[i] = name;
    for (int n = 2; !taken.insert(names[i]).second; ++n) names[i] = fmt::format("{}_{}", name, n);
  }
  return names;
}

// How many names at the end two paths have in common: 2 for a/b/7.jpg and x/b/7.jpg.
int common_end(const fs::path& a, const fs::path& b) {
  int n = 0;
  for (auto i = a.end(), j = b.end(); i != a.begin() && j != b.begin() && *std::prev(i) == *std::prev(j); --i, --j) ++n;
  return n;
}

// What is known about the pictures and the people in them, from --boxes.
struct Boxes {
  struct Person {
    Box box;
    double score = 1;
    int64_t category = 1;
  };
  struct Picture {
    int64_t id = 0;
    std::string file_name;                      // as the file that gave the id has it
    int width = 0, height = 0;                  // 0: not said
    std::optional<std::vector<Person>> people;  // nullopt: the whole picture is one
  };
  std::vector<Picture> pictures;  // one for each picture on the command line
};

// Finds the picture that a name in a file means: the one with the longest common end.
class PictureNames {
 public:
  PictureNames(const std::vector<fs::path>& pictures, std::string path) : path_(std::move(path)) {
    for (const fs::path& picture : pictures) {
      whole_.push_back(fs::absolute(picture).lexically_normal());
      by_name_[picture.filename().string()].push_back(static_cast<int>(whole_.size()) - 1);
    }
  }
  struct Match {
    int picture = -1;  // none
    int names = 0;     // that the two have in common
  };
  // Throws Error if two pictures fit equally well.
  Match operator()(const fs::path& name) const {
    Match best;
    bool twice = false;
    const auto same = by_name_.find(name.filename().string());
    if (same == by_name_.end()) return best;
    for (const int i : same->second) {
      const int n = common_end(name, whole_[i]);
      if (n == best.names) twice = true;
      if (n > best.names) {
        best = {i, n};
        twice = false;
      }
    }
    check(!twice, "--boxes {}: {} may be {} as well as another picture; write the folder into the file's name, too",
          path_, name.string(), whole_[best.picture].string());
    return best;
  }

 private:
  std::string path_;
  std::vector<fs::path> whole_;
  std::map<std::string, std::vector<int>> by_name_;
};

void add_annotations(Boxes& boxes, const std::string& path, const std::vector<fs::path>& pictures) {
  BadSamples bad;  // a person whose numbers cannot be used has no pose; the others have
  const CocoAnnotations annotations = read_coco(path, 0, &bad);
  const PictureNames names(pictures, path);
  std::map<int64_t, int> index;
  std::vector<int> quality(pictures.size());
  for (const CocoImage& image : annotations.images) {
    const auto [i, fit] = names(image.file_name);
    // Several images of one name in different folders: the one whose folders agree.
    if (i < 0 || fit <= quality[i]) continue;
    if (quality[i] > 0) index.erase(boxes.pictures[i].id);
    quality[i] = fit;
    index[image.id] = i;
    boxes.pictures[i] = {image.id, image.file_name, image.width, image.height, std::vector<Boxes::Person>{}};
  }
  size_t people = 0;
  for (const CocoAnnotation& person : annotations.annotations) {
    const auto found = index.find(person.image_id);
    const bool usable = person.box.w > 0 && person.box.h > 0 && std::isfinite(person.box.x + person.box.w) &&
                        std::isfinite(person.box.y + person.box.h);
    if (found == index.end() || person.iscrowd || !usable) continue;
    boxes.pictures[found->second].people->push_back({person.box, 1, person.category_id});
    ++people;
  }
  check(people > 0, "--boxes {}: has no boxes for the {} given; their file names must match", path,
        counted(pictures.size(), "picture"));
  // Pictures that the file does not have get ids that it does not use.
  int64_t next = 0;
  for (const CocoImage& image : annotations.images) next = std::max(next, image.id);
  for (Boxes::Picture& picture : boxes.pictures) {
    if (picture.people) continue;
    picture.id = ++next;
    picture.people.emplace();
  }
}

// --boxes: a list of {"file_name": "a.jpg", "bbox": [x, y, w, h], "score": 0.9, "category_id": 1}; or with "image_id":
// N instead of a name, for pictures called N.jpg, 00..N.jpg (a COCO detection file). Entries of other pictures are not
// used.
void add_list(Boxes& boxes, const Json& list, const std::string& path, const std::vector<fs::path>& pictures) {
  check(list.IsArray(),
        "--boxes {}: expected a COCO annotation file, or a list of {{\"file_name\", \"bbox\": [x, y, w, h]}}", path);
  const PictureNames names(pictures, path);
  std::map<int64_t, int> by_number;
  for (size_t i = 0; i < pictures.size(); ++i) {
    boxes.pictures[i].people.emplace();
    const std::string stem = pictures[i].stem().string();
    if (!stem.empty() && stem.size() < 18 && stem.find_first_not_of("0123456789") == std::string::npos) {
      by_number[std::stoll(stem)] = static_cast<int>(i);
    }
  }
  size_t index = 0, used = 0;
  bool numbered = false;
  for (const Json& entry : list.GetArray()) {
    const auto complain = [&](const char* what) { fail("--boxes {}: entry {}: {}", path, index, what); };
    if (!entry.IsObject()) complain("expected an object with file_name and bbox");
    Boxes::Person person;
    int picture = -1;
    if (const auto name = entry.FindMember("file_name"); name != entry.MemberEnd()) {
      if (!name->value.IsString()) complain("file_name is not a string");
      picture = names(name->value.GetString()).picture;
    } else if (const auto id = entry.FindMember("image_id"); id != entry.MemberEnd() && id->value.IsInt64()) {
      numbered = true;
      const auto found = by_number.find(id->value.GetInt64());
      if (found != by_number.end()) picture = found->second;
    } else {
      complain("needs file_name (or a whole-number image_id)");
    }
    const auto box = entry.FindMember("bbox");
    if (box == entry.MemberEnd() || !box->value.IsArray() || box->value.Size() != 4)
      complain("needs bbox: [x, y, width, height]");
    double v[4];
    for (rapidjson::SizeType i = 0; i < 4; ++i) {
      if (!box->value[i].IsNumber()) complain("bbox must hold four numbers");
      v[i] = box->value[i].GetDouble();
    }
    if (!(v[2] > 0 && v[3] > 0)) complain("bbox needs a width and height above 0");
    person.box = {v[0], v[1], v[2], v[3]};
    if (const auto score = entry.FindMember("score"); score != entry.MemberEnd() && score->value.IsNumber())
      person.score = score->value.GetDouble();
    if (const auto category = entry.FindMember("category_id");
        category != entry.MemberEnd() && category->value.IsInt64())
      person.category = category->value.GetInt64();
    if (picture >= 0) {
      boxes.pictures[picture].people->push_back(person);
      ++used;
    }
    ++index;
  }
  check(used > 0, "--boxes {}: none of its {} belongs to the {} given; file_name must match", path,
        counted(index, "entry", "entries"), counted(pictures.size(), "picture"));
  if (!numbered) return;
  // The numbers in the names are image ids, so poses carry them too. Pictures without one get others.
  int64_t next = by_number.empty() ? 0 : by_number.rbegin()->first;
  std::set<int> with_number;
  for (const auto& [number, picture] : by_number) {
    boxes.pictures[picture].id = number;
    with_number.insert(picture);
  }
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (!with_number.contains(static_cast<int>(i))) boxes.pictures[i].id = ++next;
  }
}

Boxes read_boxes(const std::string& path, const std::vector<fs::path>& pictures) {
  Boxes boxes;
  for (size_t i = 0; i < pictures.size(); ++i) {
    boxes.pictures.push_back({static_cast<int64_t>(i) + 1, pictures[i].filename().string(), 0, 0, std::nullopt});
  }
  if (path.empty()) return boxes;
  const rapidjson::Document document = parse_json_file(path);
  if (document.IsObject() && document.HasMember("annotations")) {
    add_annotations(boxes, path, pictures);
  } else {
    add_list(boxes, document, path, pictures);
  }
  return boxes;
}

// A picture as it is seen: turned as its camera says. Boxes of an annotation file that gives the stored size of a
// picture on its side were drawn on the stored pixels.
Image read_picture(const fs::path& path, const Boxes::Picture& entry, std::string* damage) {
  const MappedFile file(path);
  Orientation orientation = Orientation::apply;
  if (entry.width > 0 && entry.height > 0) {
    const PictureInfo stored = probe_image(file.bytes(), path.string());
    const PictureInfo seen = probe_image(file.bytes(), path.string(), Orientation::apply);
    const auto fits = [&](const PictureInfo& info) { return info.width == entry.width && info.height == entry.height; };
    check(fits(stored) || fits(seen),
          "{}: the picture has {} x {} pixels, its entry in --boxes says {} x {}; its boxes would not fit",
          path.string(), seen.width, seen.height, entry.width, entry.height);
    if (!fits(seen)) orientation = Orientation::ignore;
  }
  return decode_image(file.bytes(), path.string(), orientation, default_max_pixels, damage);
}

// Crops, network, poses: people of several pictures in one batch.
class Poses {
 public:
  Poses(const PredictOptions& o, const LoadedModel& loaded, const Decoding& decoding)
      : o_(o),
        loaded_(loaded),
        decoding_(decoding),
        runner_(loaded.cx, *loaded.model, loaded.skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift}) {}

  struct Task {
    const Image* picture;
    const std::string* name;
    int64_t image_id;
    Boxes::Person person;
  };
  std::vector<PersonResult> operator()(std::span<const Task> tasks) {
    std::vector<PersonResult> people;
    const auto most = static_cast<size_t>(o_.batch_size);
    for (size_t at = 0; at < tasks.size(); at += most)
      batch(tasks.subspan(at, std::min(most, tasks.size() - at)), people);
    return people;
  }

 private:
  void batch(std::span<const Task> tasks, std::vector<PersonResult>& people) {
    const int w = loaded_.input_w, h = loaded_.input_h, n = static_cast<int>(tasks.size());
    const bool bgr = loaded_.model->bgr_input(), gpu = runner_.context().device.is_cuda();
    const size_t pixels = static_cast<size_t>(w) * h * 3, slot = CropSource::slot_bytes(w, h);
    if (gpu) {
      sources_.resize(slot * n);
    } else {
      images_.resize(pixels * n);
    }
    std::vector<Placement> places;
    std::vector<Affine> maps;
    for (int i = 0; i < n; ++i) {
      const Task& task = tasks[i];
      places.push_back(place_official(center_scale(task.person.box, static_cast<double>(w) / h), {}, loaded_.skeleton,
                                      {}, task.picture->width, w, h, encoding_of(decoding_.decode.codec)));
      maps.push_back(places.back().heatmap_to_image);
      const ImageView view(*task.picture);
      if (gpu) {
        write_crop_source(view, places.back(), w, h, {}, bgr, std::span(sources_).subspan(slot * i, slot));
        continue;
      }
      const auto row = static_cast<size_t>(w);
      crop_image(view, places.back(), w, h, {}, [&](int y, const uint8_t* rgb) {
        normalize_row(rgb, row, images_.data() + pixels * i + static_cast<size_t>(y) * row * 3, bgr);
      });
    }
    const Heatmaps heatmaps =
        gpu ? runner_(std::span<const uint8_t>(sources_), n, h, w) : runner_(std::span<const float>(images_), n, h, w);
    const size_t numbers = static_cast<size_t>(heatmaps.h) * heatmaps.w * heatmaps.joints;
    for (int i = 0; i < n; ++i) {
      const std::span<const float> map(heatmaps.data + numbers * i, numbers);
      check(std::all_of(map.begin(), map.end(), [](float v) { return std::isfinite(v); }),
            "{}: the network's heatmaps of {} hold numbers that are not finite (NaN or infinity), so the weights are "
            "damaged or their training has diverged; use another checkpoint",
            o_.weights, *tasks[i].name);
    }
    std::vector<float> poses = decode(heatmaps, decoding_.decode);
    to_image(poses, heatmaps.joints, maps);
    const auto size = static_cast<ptrdiff_t>(heatmaps.joints) * 3;
    for (int i = 0; i < n; ++i) {
      PersonResult& person = people.emplace_back();
      person.image_id = tasks[i].image_id;
      person.keypoints.assign(poses.begin() + i * size, poses.begin() + (i + 1) * size);
      person.score = tasks[i].person.score;
      person.category_id = tasks[i].person.category;
      std::copy_n(places[i].place.center, 2, person.center);
      std::copy_n(places[i].place.scale, 2, person.scale);
      person.area = places[i].place.area();
    }
  }

  const PredictOptions& o_;
  const LoadedModel& loaded_;
  const Decoding& decoding_;
  HeatmapRunner runner_;
  std::vector<float> images_;
  std::vector<uint8_t> sources_;
};

// Rescored as validate does it, people of one category at a time: two of different kinds may share a place. A pose
// without a joint above the threshold would get the score 0, so that weak poses could not be told apart; theirs is the
// mean over all joints.
std::vector<PersonResult> rescored(const std::vector<PersonResult>& people, const Skeleton& skeleton) {
  std::map<int64_t, std::vector<PersonResult>> by_category;
  for (const PersonResult& p : people) by_category[p.category_id].push_back(p);
  std::vector<PersonResult> all;
  for (auto& [category, some] : by_category) {
    for (PersonResult& p : postprocess_official(some, {.sigmas = skeleton.sigmas})) {
      if (p.score == 0) {
        double sum = 0;
        for (size_t k = 2; k < p.keypoints.size(); k += 3) sum += std::max(0.0F, p.keypoints[k]);
        p.score = sum / skeleton.joints();
      }
      all.push_back(std::move(p));
    }
  }
  return all;
}

}  // namespace

void add_predict_options(CLI::App& app, PredictOptions& o) {
  describe(
      app,
      "Finds the joints of people in pictures: writes one overlay per picture and poses.json (COCO result format).",
      "predict photo.jpg --boxes boxes.json --weights demo/run/best.safetensors --output-dir out\n"
      "where boxes.json is [{\"file_name\": \"photo.jpg\", \"bbox\": [40, 20, 110, 260]}]");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->required()->type_name("FILE");
  add_weights(app, o);
  app.add_option("--boxes", o.boxes,
                 "JSON list of boxes {file_name, bbox: [x, y, w, h]}, or a COCO annotation file, whose image ids and "
                 "categories then stand in poses.json too; without it the whole picture is one person")
      ->type_name("FILE");
  app.add_option("--threshold", o.threshold, "joints with a higher score are drawn")->type_name("X");
  add_decoding_options(app, o.decoding);
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for overlays and poses.json")->type_name("DIR");
  add_model_options(app, o);
}

int predict(const PredictOptions& o) {
  std::vector<fs::path> left_out;
  const std::vector<fs::path> pictures = list_pictures(o.inputs, left_out);
  if (!left_out.empty()) {
    fmt::print(stderr, "predict: note: {} left out, since JPEG, PNG, BMP, GIF and PNM are read: {}\n",
               counted(left_out.size(), "file"), first_names(left_out));
  }
  const LoadedModel loaded = load_model(o);
  const Skeleton& skeleton = loaded.skeleton;
  const Decoding decoding = choose_decoding(o.decoding, loaded.info.codec, o.weights, loaded.input_h);
  prepare_output_folder(o.output_dir, "--output-dir");
  const Boxes boxes = read_boxes(o.boxes, pictures);
  const std::vector<std::string> names = output_names(pictures);
  const fs::path folder = o.output_dir;

  struct Read {
    Image image;
    std::string error, damage;
  };
  const auto read = [&](size_t i) -> Read {
    Read out;
    try {
      out.image = read_picture(pictures[i], boxes.pictures[i], &out.damage);
    } catch (const Error& error) {
      out.error = error.what();
    }
    return out;
  };
  // The next pictures are decoded meanwhile, each one once: crops and overlay are made of the same pixels.
  std::deque<std::future<Read>> ahead;
  size_t asked = 0;
  const auto ask = [&] {
    const size_t most = static_cast<size_t>(std::max(1, o.workers));
    const auto policy = o.workers > 0 ? std::launch::async : std::launch::deferred;
    while (asked < pictures.size() && ahead.size() < most) ahead.push_back(std::async(policy, read, asked++));
  };

  Poses poses(o, loaded, decoding);
  Progress progress("predict", static_cast<int64_t>(pictures.size()));
  std::vector<std::string> bad, damaged;
  std::string json = "[";
  size_t people_in_all = 0;
  for (size_t done = 0; done < pictures.size();) {
    // As many pictures as fill a batch.
    std::vector<std::pair<size_t, Image>> group;
    std::vector<Poses::Task> tasks;
    size_t people = 0;
    while (done < pictures.size() && people < static_cast<size_t>(o.batch_size) &&
           group.size() < static_cast<size_t>(o.batch_size)) {
      ask();
      Read next = ahead.front().get();
      ahead.pop_front();
      const size_t i = done++;
      if (!next.error.empty()) {
        bad.push_back(next.error);
        continue;
      }
      if (!next.damage.empty()) damaged.push_back(fmt::format("{}: {}", pictures[i].string(), next.damage));
      people += boxes.pictures[i].people ? boxes.pictures[i].people->size() : 1;
      group.emplace_back(i, std::move(next.image));
    }
    std::deque<std::string> paths;
    for (const auto& [i, image] : group) {
      const Boxes::Picture& entry = boxes.pictures[i];
      const std::string& path = paths.emplace_back(pictures[i].string());
      const Box whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
      if (!entry.people) tasks.push_back({&image, &path, entry.id, {whole}});
      for (const Boxes::Person& person : entry.people.value_or(std::vector<Boxes::Person>{})) {
        tasks.push_back({&image, &path, entry.id, person});
      }
    }
    const std::vector<PersonResult> found = rescored(poses(tasks), skeleton);
    for (auto& [i, image] : group) {
      const Boxes::Picture& entry = boxes.pictures[i];
      for (const PersonResult& p : found) {
        if (p.image_id != entry.id) continue;
        draw_person(image, skeleton, p.keypoints, {.threshold = static_cast<float>(o.threshold)});
        json += fmt::format(
            "{}\n  {{\"image_id\": {}, \"file_name\": {}, \"category_id\": {}, \"score\": {}, \"keypoints\": [{}]}}",
            json.size() > 1 ? "," : "", p.image_id, json_quote(entry.file_name), p.category_id, p.score,
            fmt::join(p.keypoints, ", "));
        ++people_in_all;
      }
      write_image(folder / (names[i] + "_pose.jpg"), image);
    }
    progress.update(static_cast<int64_t>(done));
  }
  progress.finish();
  check(bad.size() < pictures.size(), "{}{}", bad.empty() ? "" : bad.front(),
        bad.size() > 1 ? fmt::format(" (and none of the {} others can be read)", bad.size() - 1) : "");
  write_file(folder / "poses.json", json + "\n]\n");
  fmt::print("{} in {}: wrote {}/*_pose.jpg and {}\n", counted_people(people_in_all),
             counted(pictures.size() - bad.size(), "picture"), folder.string(), (folder / "poses.json").string());
  for (const std::string& line : damaged) fmt::print("note       {}; some of its pixels may be wrong\n", line);
  if (bad.empty()) return 0;
  std::fflush(stdout);
  fmt::print(stderr, "predict: {} of {} could not be read; the others are done:\n", bad.size(),
             counted(pictures.size(), "picture"));
  for (const std::string& line : bad) fmt::print(stderr, "  {}\n", line);
  return 2;
}

}  // namespace hr

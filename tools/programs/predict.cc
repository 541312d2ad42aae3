#include "tools/programs/predict.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "core/counted.h"
#include "core/crop_slot.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "data/crops/crop_writer.h"
#include "data/draw/draw.h"
#include "hrnet/infer/heatmap_runner.h"
#include "tools/programs/cli.h"
#include "tools/programs/progress.h"
#include "tools/programs/validate.h"

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

// A picture with the crops of its people, as a worker thread makes it.
struct Prepared {
  struct Crop {
    Boxes::Person person;
    Placement placement;
  };
  Image image;
  std::vector<Crop> people;
  std::vector<float> images;     // for the CPU: [people, h, w, 3], normalised
  std::vector<uint8_t> sources;  // for a GPU: [people] slots that it makes the crops from
  std::string error;             // the picture cannot be used
  std::string damage;            // the picture was read, but some of its pixels may be wrong
};

struct CropKind {
  int w = 0, h = 0;
  bool bgr = false, gpu = false;
  Encoding encoding = Encoding::quarter;

  size_t pixels() const { return static_cast<size_t>(w) * static_cast<size_t>(h) * 3; }
  size_t slot() const { return CropSource::slot_bytes(w, h); }
};

// The picture is decoded once: crops and overlay are made of the same pixels.
Prepared prepare(const fs::path& path, const Boxes::Picture& entry, const Skeleton& skeleton, const CropKind& kind) {
  Prepared p;
  try {
    p.image = read_picture(path, entry, &p.damage);
  } catch (const Error& error) {
    p.error = error.what();
    return p;
  }
  const Box whole{0, 0, static_cast<double>(p.image.width), static_cast<double>(p.image.height)};
  const auto people = entry.people ? *entry.people : std::vector<Boxes::Person>{{whole}};
  const auto w = static_cast<size_t>(kind.w);
  kind.gpu ? p.sources.resize(kind.slot() * people.size()) : p.images.resize(kind.pixels() * people.size());
  const ImageView view(p.image);
  for (size_t i = 0; i < people.size(); ++i) {
    const Placement placement = place_official(center_scale(people[i].box, static_cast<double>(kind.w) / kind.h), {},
                                               skeleton, {}, p.image.width, kind.w, kind.h, kind.encoding);
    p.people.push_back({people[i], placement});
    if (kind.gpu) {
      write_crop_source(view, placement, kind.w, kind.h, {}, kind.bgr,
                        std::span(p.sources).subspan(kind.slot() * i, kind.slot()));
      continue;
    }
    float* const to = p.images.data() + kind.pixels() * i;
    crop_image(view, placement, kind.w, kind.h, {}, [&](int y, const uint8_t* rgb) {
      normalize_row(rgb, w, to + static_cast<size_t>(y) * w * 3, kind.bgr);
    });
  }
  return p;
}

// The people of all pictures, batch after batch. Batches overlap on a GPU: the next ones are put under way before the
// poses of the oldest are taken, and worker threads make the crops of the pictures after them meanwhile.
class Poses {
 public:
  struct Picture {
    size_t index = 0;  // on the command line
    Prepared prepared;
    size_t submitted = 0;  // people whose crops are in a batch
    std::vector<PersonResult> found;
    bool complete() const { return found.size() == prepared.people.size(); }
  };

  Poses(const PredictOptions& o, const LoadedModel& loaded, const Decoding& decoding,
        const std::vector<fs::path>& pictures, const Boxes& boxes)
      : o_(o),
        decoding_(decoding),
        pictures_(pictures),
        boxes_(boxes),
        skeleton_(loaded.skeleton),
        kind_{loaded.input_w, loaded.input_h, loaded.model->bgr_input(), loaded.cx.device.is_cuda(),
              encoding_of(decoding.decode.codec)},
        runner_(loaded.cx, *loaded.model, loaded.skeleton.mirror(), {.flip = decoding.flip, .shift = decoding.shift}) {
    const std::shared_ptr<Allocator> memory = batch_memory(loaded.cx.device);
    batch_.images = HostBuffer<float>(memory);
    batch_.sources = HostBuffer<uint8_t>(memory);
    batch_.w = kind_.w;
    batch_.h = kind_.h;
  }

  // Calls done(picture) for every picture, in order; `error` of one that cannot be used is not empty.
  void run(const std::function<void(Picture&)>& done) {
    for (;;) {
      while (!runner_.full()) {
        std::vector<Member> members = fill(done);
        if (members.empty()) break;
        runner_.submit(batch_);
        under_way_.push_back(std::move(members));
      }
      if (under_way_.empty()) break;
      take();
      pass_on(done);
    }
    pass_on(done);
  }

 private:
  struct Member {
    Picture* picture;
    size_t person;
  };

  // The next pictures are prepared meanwhile.
  void ask() {
    const auto most = static_cast<size_t>(std::max(1, o_.workers));
    const bool threads = o_.workers > 0;
    while (asked_ < pictures_.size() && ahead_.size() < most) {
      ahead_.push_back(std::async(threads ? std::launch::async : std::launch::deferred, [this, threads, i = asked_++] {
        if (threads) unpin_this_thread();  // it inherits the pin of the thread that computes
        return prepare(pictures_[i], boxes_.pictures[i], skeleton_, kind_);
      }));
    }
  }

  // Fills batch_ with the next people; with none when there are no more, or when the batches under way come first.
  std::vector<Member> fill(const std::function<void(Picture&)>& done) {
    // Pictures stay in memory until their poses are drawn, so with large ones a batch is not full.
    constexpr size_t most_bytes = size_t{1} << 30;
    std::vector<Member> members;
    while (members.size() < static_cast<size_t>(o_.batch_size)) {
      if (!open_.empty() && open_.back().submitted < open_.back().prepared.people.size()) {
        members.push_back({&open_.back(), open_.back().submitted++});
        continue;
      }
      size_t bytes = 0;
      for (const Picture& picture : open_) bytes += picture.prepared.image.rgb.size();
      if (bytes > most_bytes && !(members.empty() && under_way_.empty())) break;
      ask();
      if (ahead_.empty()) break;
      open_.push_back({next_++, ahead_.front().get(), 0, {}});
      ahead_.pop_front();
      if (open_.back().complete()) pass_on(done);  // without people
    }
    const size_t n = members.size();
    batch_.size = static_cast<int>(n);
    kind_.gpu ? batch_.sources.resize(kind_.slot() * n) : batch_.images.resize(kind_.pixels() * n);
    for (size_t i = 0; i < n; ++i) {
      const Prepared& from = members[i].picture->prepared;
      if (kind_.gpu) {
        std::copy_n(from.sources.data() + kind_.slot() * members[i].person, kind_.slot(),
                    batch_.sources.data() + kind_.slot() * i);
      } else {
        std::copy_n(from.images.data() + kind_.pixels() * members[i].person, kind_.pixels(),
                    batch_.images.data() + kind_.pixels() * i);
      }
    }
    return members;
  }

  // The poses of the oldest batch.
  void take() {
    const Heatmaps heatmaps = runner_.wait();
    const std::vector<Member> members = std::move(under_way_.front());
    under_way_.pop_front();
    const size_t numbers = static_cast<size_t>(heatmaps.h) * heatmaps.w * heatmaps.joints;
    std::vector<Affine> places;
    for (size_t i = 0; i < members.size(); ++i) {
      const auto& [picture, person] = members[i];
      const std::span<const float> map(heatmaps.data + numbers * i, numbers);
      check(std::all_of(map.begin(), map.end(), [](float v) { return std::isfinite(v); }),
            "{}: the network's heatmaps of {} hold numbers that are not finite (NaN or infinity), so the weights are "
            "damaged or their training has diverged; use another checkpoint",
            o_.weights, pictures_[picture->index].string());
      places.push_back(picture->prepared.people[person].placement.heatmap_to_image);
    }
    std::vector<float> poses = decode(heatmaps, decoding_.decode);  // while the device has the batches after this one
    to_image(poses, heatmaps.joints, places);
    const auto size = static_cast<ptrdiff_t>(heatmaps.joints) * 3;
    for (size_t i = 0; i < members.size(); ++i) {
      Picture& picture = *members[i].picture;
      const Prepared::Crop& crop = picture.prepared.people[members[i].person];
      const auto pose = poses.begin() + static_cast<ptrdiff_t>(i) * size;
      PersonResult& person = picture.found.emplace_back();
      person.image_id = boxes_.pictures[picture.index].id;
      person.keypoints.assign(pose, pose + size);
      person.score = crop.person.score;
      person.category_id = crop.person.category;
      std::copy_n(crop.placement.place.center, 2, person.center);
      std::copy_n(crop.placement.place.scale, 2, person.scale);
      person.area = crop.placement.place.area();
    }
  }

  void pass_on(const std::function<void(Picture&)>& done) {
    while (!open_.empty() && open_.front().complete()) {
      done(open_.front());
      open_.pop_front();
    }
  }

  const PredictOptions& o_;
  const Decoding& decoding_;
  const std::vector<fs::path>& pictures_;
  const Boxes& boxes_;
  const Skeleton& skeleton_;
  const CropKind kind_;
  HeatmapRunner runner_;
  Batch batch_;
  std::deque<Picture> open_;  // in order; batches point to them
  std::deque<std::vector<Member>> under_way_;
  size_t asked_ = 0, next_ = 0;
  std::deque<std::future<Prepared>> ahead_;  // last: its threads use the other members
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
      "Finds the joints of people in pictures. Writes one overlay per picture, NAME_pose.jpg (where two names are "
      "equal, "
      "the ending and the folders stand in front), and poses.json in COCO's result format, which coco_eval takes. "
      "Pictures are read as they are seen, turned as their camera says. Exit status: 0; 2 when pictures could not be "
      "read, which are listed at the end, the others being done.",
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
  app.add_option("--on-bad-sample", o.on_bad_sample,
                 "pictures that cannot be read: fail at the first, or skip and list them with exit status 0 [default: "
                 "list them, do the others, exit status 2]. A picture with damaged data counts as one of them only "
                 "when this is given; otherwise it is done with a note")
      ->check(CLI::IsMember({"fail", "skip"}));
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
  if (!loaded.note.empty()) fmt::print(stderr, "predict: note: {}\n", loaded.note);
  const Skeleton& skeleton = loaded.skeleton;
  const Decoding decoding = choose_decoding(o.decoding, loaded.info.codec, o.weights, loaded.input_h);
  prepare_output_folder(o.output_dir, "--output-dir");
  const Boxes boxes = read_boxes(o.boxes, pictures);
  const std::vector<std::string> names = output_names(pictures);
  const fs::path folder = o.output_dir;

  Poses poses(o, loaded, decoding, pictures, boxes);
  Progress progress("predict", static_cast<int64_t>(pictures.size()));
  std::vector<std::string> bad, damaged;
  std::string poses_text;
  JsonWriter json(poses_text, {.lines = 1});
  json.begin_list();
  size_t people_in_all = 0;
  poses.run([&](Poses::Picture& picture) {
    const size_t i = picture.index;
    const Boxes::Picture& entry = boxes.pictures[i];
    progress.update(static_cast<int64_t>(i) + 1);
    const std::string damage =
        picture.prepared.damage.empty() ? "" : fmt::format("{}: {}", pictures[i].string(), picture.prepared.damage);
    const bool refused = !picture.prepared.error.empty() || (!damage.empty() && !o.on_bad_sample.empty());
    if (refused) {
      const std::string& why = picture.prepared.error.empty() ? damage : picture.prepared.error;
      check(o.on_bad_sample != "fail", "{} (--on-bad-sample skip leaves it out)", why);
      bad.push_back(why);
      return;
    }
    if (!damage.empty()) damaged.push_back(damage);
    Image& image = picture.prepared.image;
    for (const PersonResult& p : rescored(picture.found, skeleton)) {
      draw_person(image, skeleton, p.keypoints, {.threshold = static_cast<float>(o.threshold)});
      json.begin_object().member("image_id", p.image_id).member("file_name", entry.file_name);
      json.member("category_id", p.category_id).member("score", p.score).member("keypoints", p.keypoints).end();
      ++people_in_all;
    }
    write_image(folder / (names[i] + "_pose.jpg"), image);
  });
  progress.finish();
  check(bad.size() < pictures.size(), "{}{}", bad.empty() ? "" : bad.front(),
        bad.size() > 1 ? fmt::format(" (and none of the {} others can be read)", bad.size() - 1) : "");
  json.end();
  write_file(folder / "poses.json", poses_text + "\n");
  fmt::print("{} in {}: wrote {}/*_pose.jpg and {}\n", counted_people(people_in_all),
             counted(pictures.size() - bad.size(), "picture"), folder.string(), (folder / "poses.json").string());
  for (const std::string& line : damaged) fmt::print("note       {}; some of its pixels may be wrong\n", line);
  if (bad.empty()) return 0;
  std::fflush(stdout);
  const bool skip = o.on_bad_sample == "skip";
  fmt::print(stderr, "predict: {} of {} {}; the others are done:\n", bad.size(), counted(pictures.size(), "picture"),
             skip ? "left out" : "could not be read");
  for (const std::string& line : bad) fmt::print(stderr, "  {}\n", line);
  return skip ? 0 : 2;
}

}  // namespace hr

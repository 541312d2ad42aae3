#include "tools/predict/inputs.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "core/error.h"
#include "data/video/video_reader.h"

namespace hr {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

const std::set<std::string> kPictures{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"};
const std::set<std::string> kVideos{".mp4", ".m4v", ".mov",  ".mkv", ".webm", ".avi", ".mpg", ".mpeg",
                                    ".ts",  ".mts", ".m2ts", ".wmv", ".flv",  ".3gp", ".ogv", ".mjpeg"};

// Of a file that is named outright: its ending decides, else its first bytes.
bool is_video(const fs::path& path) {
  const std::string ending = lower(path.extension().string());
  if (kPictures.contains(ending) || kVideos.contains(ending)) return kVideos.contains(ending);
  if (!fs::is_regular_file(path)) return has_video();
  const MappedFile file(path);
  const std::string_view text = file.text();
  const bool picture = text.empty() || text.starts_with("\xff\xd8") || text.starts_with("\x89PNG") ||
                       text.starts_with("GIF8") || text.starts_with("BM") ||
                       (text.size() > 2 && text[0] == 'P' && text[1] >= '1' && text[1] <= '6' && text[2] <= ' ');
  return !picture && has_video();
}

// What file managers leave in folders: macOS's ._photo.jpg and .DS_Store, Windows' Thumbs.db, hidden files of any kind.
bool is_stray(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || name == "thumbs.db" || name == "desktop.ini";
}

}  // namespace

std::string first_names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    text += (i > 0 ? ", " : "") + paths[i].filename().string();
  }
  return paths.size() > kShown ? text + fmt::format(" and {} more", paths.size() - kShown) : text;
}

std::vector<Input> list_inputs(const std::vector<std::string>& named, std::vector<fs::path>& left_out) {
  std::vector<Input> inputs;
  std::set<fs::path> known;
  const auto add = [&](const fs::path& file, bool video) {
    if (known.insert(fs::weakly_canonical(file)).second) inputs.push_back({file.string(), video});
  };
  for (const std::string& name : named) {
    if (is_stream_name(name)) {
      if (known.insert(name).second) inputs.push_back({name, true});
      continue;
    }
    check(fs::exists(name), "{}: no such file or folder", name);
    if (!fs::is_directory(name)) {
      add(name, is_video(name));
      continue;
    }
    std::vector<fs::path> inside, others;
    for (const auto& entry : fs::directory_iterator(name)) {
      if (!entry.is_regular_file() || is_stray(entry.path())) continue;
      const std::string ending = lower(entry.path().extension().string());
      (kPictures.contains(ending) || kVideos.contains(ending) ? inside : others).push_back(entry.path());
    }
    std::sort(others.begin(), others.end());
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files, or videos{}", name,
          others.empty() ? "" : fmt::format(", found {}; convert them first", first_names(others)));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& file : inside) add(file, kVideos.contains(lower(file.extension().string())));
    left_out.insert(left_out.end(), others.begin(), others.end());
  }
  return inputs;
}

std::vector<std::string> output_names(const std::vector<Input>& inputs) {
  std::vector<fs::path> pictures;
  for (const Input& input : inputs) {
    std::string name = input.source;
    if (is_stream_name(name)) {  // an address has characters that no file name should have
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
      while (name.ends_with('_')) name.pop_back();
    }
    pictures.emplace_back(name);
  }
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

}  // namespace hr

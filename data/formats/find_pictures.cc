#include "data/formats/find_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "core/error.h"
#include "data/video/video_reader.h"

namespace hr {
namespace {

const std::set<std::string> kPictures{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"};
const std::set<std::string> kVideos{".mp4", ".m4v", ".mov",  ".mkv", ".webm", ".avi", ".mpg", ".mpeg",
                                    ".ts",  ".mts", ".m2ts", ".wmv", ".flv",  ".3gp", ".ogv", ".mjpeg"};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// File managers leave such files in folders: macOS writes ._photo.jpg and .DS_Store, and Windows writes Thumbs.db.
bool is_stray(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || name == "thumbs.db" || name == "desktop.ini";
}

std::string ending_of(const fs::path& path) { return lower(path.extension().string()); }

// Returns whether a file that the user named is a video.
bool is_video(const fs::path& path) {
  const std::string ending = ending_of(path);
  if (kPictures.contains(ending) || kVideos.contains(ending)) return kVideos.contains(ending);
  if (!fs::is_regular_file(path)) return has_video();
  const MappedFile file(path);
  const std::string_view text = file.text();
  const bool picture = text.empty() || text.starts_with("\xff\xd8") || text.starts_with("\x89PNG") ||
                       text.starts_with("GIF8") || text.starts_with("BM") ||
                       (text.size() > 2 && text[0] == 'P' && text[1] >= '1' && text[1] <= '6' && text[2] <= ' ');
  return !picture && has_video();
}

FoundInputs find(const std::vector<std::string>& paths, bool videos) {
  FoundInputs found;
  std::set<fs::path> known;
  const auto add = [&](const fs::path& file, bool video) {
    if (known.insert(fs::weakly_canonical(file)).second) found.inputs.push_back({file.string(), video});
  };
  for (const std::string& path : paths) {
    if (videos && is_stream_name(path)) {
      if (known.insert(path).second) found.inputs.push_back({path, true});
      continue;
    }
    check(fs::exists(path), "{}: no such file or folder", path);
    if (!fs::is_directory(path)) {
      add(path, videos && is_video(path));
      continue;
    }
    std::vector<fs::path> inside, others;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (!entry.is_regular_file() || is_stray(entry.path())) continue;
      const std::string ending = ending_of(entry.path());
      const bool wanted = kPictures.contains(ending) || (videos && kVideos.contains(ending));
      (wanted ? inside : others).push_back(entry.path());
    }
    std::sort(others.begin(), others.end());
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files{}{}", path,
          videos ? ", or videos" : "",
          others.empty() ? "" : fmt::format(", found {}; convert them first", some_names(others)));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& file : inside) add(file, kVideos.contains(ending_of(file)));
    found.left_out.insert(found.left_out.end(), others.begin(), others.end());
  }
  return found;
}

}  // namespace

std::string some_names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    text += (i > 0 ? ", " : "") + paths[i].filename().string();
  }
  return paths.size() > kShown ? text + fmt::format(" and {} more", paths.size() - kShown) : text;
}

FoundPictures find_pictures(const std::vector<std::string>& paths) {
  FoundInputs found = find(paths, false);
  FoundPictures pictures{.pictures = {}, .left_out = std::move(found.left_out)};
  for (const NamedInput& input : found.inputs) pictures.pictures.push_back(input.path());
  return pictures;
}

FoundInputs find_inputs(const std::vector<std::string>& paths) { return find(paths, true); }

}  // namespace hr

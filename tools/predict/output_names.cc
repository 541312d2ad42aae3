#include "tools/predict/output_names.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "core/error.h"
#include "data/video/video_reader.h"

namespace hr {
namespace {

// The name of a file with its ending as part of the name: street_jpg for street.jpg.
std::string name_with_ending(const fs::path& file) {
  std::string name = file.stem().string();
  const std::string ending = file.extension().string();
  if (!ending.empty()) name.append(1, '_').append(ending, 1);
  return name;
}

// The name preceded by that of the folder.
std::string below(const fs::path& folder, const std::string& name) {
  return folder.filename().string().append(1, '_').append(name);
}

}  // namespace

std::vector<std::string> output_names(const std::vector<Input>& inputs) {
  std::vector<fs::path> pictures;
  for (const Input& input : inputs) {
    std::string name = input.source;
    if (is_stream_name(name)) {  // An address has characters that do not belong in a file name.
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
    std::string name = name_with_ending(whole);
    // Tells whether another input of the same name would get this candidate, too.
    const auto shared = [&](const std::string& candidate, int folders) {
      return std::any_of(same.begin(), same.end(), [&](size_t j) {
        if (j == i) return false;
        const fs::path other = fs::weakly_canonical(pictures[j]);
        std::string theirs = name_with_ending(other);
        fs::path up = other.parent_path();
        for (int k = 0; k < folders; ++k, up = up.parent_path()) theirs = below(up, theirs);
        return theirs == candidate;
      });
    };
    int folders = 0;
    for (fs::path up = whole.parent_path(); shared(name, folders) && up.has_relative_path(); up = up.parent_path()) {
      name = below(up, name);
      ++folders;
    }
    names[i] = name;
    for (int n = 2; !taken.insert(names[i]).second; ++n) names[i] = fmt::format("{}_{}", name, n);
  }
  return names;
}

}  // namespace hr

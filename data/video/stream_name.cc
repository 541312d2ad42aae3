#include <algorithm>
#include <cctype>

#include "data/video/video_reader.h"

namespace hr {

bool is_stream_name(const std::string& source) {
  if (source.starts_with("camera:") || source.starts_with("/dev/video")) return true;
  const size_t colon = source.find("://");
  return colon != std::string::npos && colon > 0 &&
         std::all_of(source.begin(), source.begin() + static_cast<ptrdiff_t>(colon),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '+'; });
}

}  // namespace hr

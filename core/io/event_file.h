// TensorBoard's event files, written as its readers expect them: records of protobuf messages (event.proto), each with
// its length and two checksums.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/file.h"

namespace hr {

// CRC-32C (Castagnoli, RFC 3720) of the bytes.
uint32_t crc32c(std::string_view bytes);

// A new event file in `folder`. TensorBoard shows all event files of a folder as one run, so a run that is resumed
// opens another one and its steps go on. The files are named events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER. Each
// event is in the file when the call returns. Throws Error if the file cannot be written. Not thread-safe.
class EventFile {
 public:
  explicit EventFile(const fs::path& folder);

  const fs::path& path() const { return path_; }
  void scalar(std::string_view tag, int64_t step, double value);
  // `png` is a complete file of this many rows and columns in RGB.
  void image(std::string_view tag, int64_t step, std::string_view png, int height, int width);

 private:
  void event(int64_t step, uint32_t field, std::string_view value);

  fs::path path_;
  AppendFile file_;
};

}  // namespace hr

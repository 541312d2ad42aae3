// Writes TensorBoard's event files: records of protobuf messages (event.proto), each with its length and two checksums.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/file.h"

namespace hr {

// Returns the CRC-32C (Castagnoli, RFC 3720) of the bytes. Thread-safe.
uint32_t crc32c(std::string_view bytes);

// Creates a new event file in `folder`. TensorBoard shows all event files of a folder as one run, so a resumed run
// opens another file and continues its step numbers. The files are named
// events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER. Each event has been written to the file when the call returns. The
// constructor and the functions throw Error if the file cannot be written. Not thread-safe.
class EventFile {
 public:
  explicit EventFile(const fs::path& folder);

  const fs::path& path() const { return path_; }
  void scalar(std::string_view tag, int64_t step, double value);
  // Adds an image. `file` is a complete PNG or JPEG file in RGB with this many rows and columns.
  void image(std::string_view tag, int64_t step, std::string_view file, int height, int width);

 private:
  void event(int64_t step, uint32_t field, std::string_view value);

  fs::path path_;
  AppendFile file_;
};

}  // namespace hr

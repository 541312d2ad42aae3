// Files, read as if an enemy wrote them and written as if someone pulls the plug.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hr {

namespace fs = std::filesystem;

// A read-only memory map of a whole file. Error names the path and the system's reason.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  const fs::path& path() const { return path_; }
  // Says that this part of bytes() is not needed for now: its whole pages leave our memory, and are read again if used.
  void release(std::span<const std::byte> part) const;

 private:
  fs::path path_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Whole file as a string.
std::string read_file(const fs::path& path);

// Writes to a temporary file beside `path`; commit() makes it durable (fsync, rename, fsync of the folder) and visible
// in one step. Without commit() the temporary file is removed and whatever was at `path` stays as it was.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  // over what was written; does not move the end
  void commit();

 private:
  fs::path path_, temporary_;
  int fd_ = -1;
};

void write_file(const fs::path& path, std::string_view text);   // AtomicFile in one call
void append_line(const fs::path& path, std::string_view line);  // for logs: one write, newline added, fsync

// Creates the folder (and its parents) and proves by a probe file that it can be written to. Throws Error with this
// field if it cannot.
void prepare_output_folder(const fs::path& folder, const char* field);

}  // namespace hr

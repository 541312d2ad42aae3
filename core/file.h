// Files. Readers assume that a file was made by an attacker, and writers assume that power may fail at any moment.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hr {

namespace fs = std::filesystem;

// A read-only memory map of a whole file. Throws Error with the path and the system's reason.
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
  // Declares that `part` is not needed for now. Its whole pages leave our memory and are read again when they are next
  // used. Nothing happens to a part that does not lie in bytes().
  void release(std::span<const std::byte> part) const;

 private:
  fs::path path_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Returns the whole file as a string. Throws Error with the path and the system's reason.
std::string read_file(const fs::path& path);

// Writes to a temporary file beside `path`. commit() makes it durable (fsync, rename, fsync of the folder) and visible
// in one step. Without commit() the temporary file is removed and an existing file at `path` stays as it was. Throws
// Error with the path and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  // Overwrites bytes that were already written; the end of the file does not move.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  void commit();

 private:
  fs::path path_, temporary_;
  int fd_ = -1;
};

void write_file(const fs::path& path, std::string_view text);  // Writes an AtomicFile in one call.

// A log that grows while a program runs and that others read meanwhile. Every call of write() appends its bytes with
// one system call, so that a reader never sees half of them; power that fails may cost the last ones. Throws Error with
// the path and the system's reason. Not thread-safe.
class AppendFile {
 public:
  explicit AppendFile(fs::path path);  // Makes the file if it does not exist.
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void write(std::string_view text);

 private:
  fs::path path_;
  int fd_ = -1;
};

// For logs: appends `line` and a newline with one write, then fsync.
void append_line(const fs::path& path, std::string_view line);

// Creates the folder and its parents and checks with a probe file that it can be written to. Throws Error with
// this field if the folder cannot be created or written to.
void prepare_output_folder(const fs::path& folder, const char* field);

}  // namespace hr

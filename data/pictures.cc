#include "data/pictures.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/io/zip.h"

namespace hr {
namespace {

// More than any camera's file; what claims more is damaged or means harm.
constexpr uint64_t max_file_bytes = uint64_t{1} << 30;

void check_bytes(uint64_t size, const std::string& place) {
  check(size > 0, "{}: empty file (0 bytes), expected a picture", place);
  check(size <= max_file_bytes, "{}: {} bytes, more than the limit of 2^30 for a picture", place, size);
}

class Folder final : public PictureSource {
 public:
  explicit Folder(fs::path path) : path_(std::move(path)) {}

  std::string place(const std::string& file_name) const override { return (path_ / file_name).string(); }

  // Read rather than mapped: unmapping 150 kB stops the other threads for longer than copying them takes.
  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const override {
    const fs::path path = path_ / file_name;
    struct Descriptor {
      int fd;
      ~Descriptor() {
        if (fd >= 0) ::close(fd);
      }
    } const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) fail_to_open(path, file_name, errno);
    struct stat info {};
    if (::fstat(file.fd, &info) != 0) fail("{}: {}", path.string(), std::strerror(errno));
    check(S_ISREG(info.st_mode), "{}: not a file", path.string());
    check_bytes(static_cast<uint64_t>(info.st_size), path.string());
    const auto size = static_cast<size_t>(info.st_size);
    if (scratch.size() < size) scratch.resize(size + size / 4);
    size_t done = 0;
    while (done < size) {
      const ssize_t n = ::read(file.fd, scratch.data() + done, size - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("{}: cannot read: {}", path.string(), std::strerror(errno));
      if (n == 0) break;  // somebody cut it off in this moment; decoding will say so
      done += static_cast<size_t>(n);
    }
    return std::span(scratch).first(done);
  }

  void glance(const std::string& file_name,
              const std::function<void(std::span<const std::byte>)>& look) const override {
    const fs::path path = path_ / file_name;
    std::error_code error;
    const auto status = fs::status(path, error);
    if (!fs::exists(status)) fail_to_open(path, file_name, ENOENT);
    check(fs::is_regular_file(status), "{}: not a file", path.string());
    const MappedFile file(path);
    check_bytes(file.bytes().size(), path.string());
    look(file.bytes());
  }

 private:
  [[noreturn]] static void fail_to_open(const fs::path& path, const std::string& file_name, int reason) {
    if (reason != ENOENT && reason != ENOTDIR) fail("{}: cannot open: {}", path.string(), std::strerror(reason));
    const fs::path name(file_name);
    if (name.has_parent_path() && name.is_relative()) {
      fail("{}: no such picture; the annotation's file_name \"{}\" has folders, a plain \"{}\" is not looked for",
           path.string(), file_name, name.filename().string());
    }
    fail("{}: no such picture", path.string());
  }

  fs::path path_;
};

class Zip final : public PictureSource {
 public:
  // The budget: a million names.
  explicit Zip(const fs::path& path)
      : path_(path.string()),
        inner_folder_(path.stem().string()),
        file_(path),
        budget_(path_, size_t{512} << 20),
        zip_(file_.bytes(), path_, budget_) {}

  std::string place(const std::string& file_name) const override { return path_ + "/" + file_name; }

  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const override {
    const std::string where = place(file_name);
    const ZipReader::Member* member = zip_.find(file_name);
    std::string name = file_name;
    if (member == nullptr) {
      name = inner_folder_ + "/" + file_name;
      member = zip_.find(name);
    }
    check(member != nullptr, "{}: no such picture in the zip file ({} members, looked for \"{}\" and \"{}\")", where,
          zip_.members().size(), file_name, name);
    check_bytes(member->size, where);
    check_bytes(member->packed_size, where);
    const std::span<const std::byte> packed = zip_.stored(name);
    if (!member->deflated) return packed;
    // Deflate makes at most 1032 bytes of one; a claim beyond that must not take memory.
    check(member->size <= 1032 * member->packed_size, "{}: damaged in the zip file: {} bytes cannot unpack to {}",
          where, member->packed_size, member->size);
    if (scratch.size() < member->size) scratch.resize(member->size + member->size / 4);
    z_stream stream{};
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));  // zlib only reads it
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(scratch.data());
    stream.avail_out = static_cast<uInt>(member->size);
    check(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "{}: no memory to inflate", where);
    const int result = ::inflate(&stream, Z_FINISH);
    const size_t done = stream.total_out;
    inflateEnd(&stream);
    const auto out = std::span<const std::byte>(scratch).first(static_cast<size_t>(member->size));
    check(result == Z_STREAM_END && done == member->size && zip_crc(out) == member->crc,
          "{}: damaged in the zip file: {} of {} bytes could be inflated{}", where, done, member->size,
          done == member->size ? ", with another CRC" : "");
    return out;
  }

  void glance(const std::string& file_name,
              const std::function<void(std::span<const std::byte>)>& look) const override {
    std::vector<std::byte> scratch;
    look(read(file_name, scratch));
  }

 private:
  std::string path_, inner_folder_;
  MappedFile file_;
  Budget budget_;
  ZipReader zip_;
};

}  // namespace

std::optional<ImageView> PictureSource::pixels(size_t, const Region&) const { return std::nullopt; }

std::shared_ptr<const PictureSource> open_pictures(const fs::path& path) {
  if (path.extension() == ".zip" && !fs::is_directory(path)) return std::make_shared<Zip>(path);
  return std::make_shared<Folder>(path);
}

}  // namespace hr

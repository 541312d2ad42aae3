#include "data/formats/pictures.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/zip.h"
#include "data/formats/file_names.h"

namespace hr {
namespace {

// More than any camera's file has. A file that claims more is damaged or hostile.
constexpr uint64_t max_file_bytes = uint64_t{1} << 30;

void check_bytes(uint64_t size, const std::string& place) {
  check(size > 0, "{}: empty file (0 bytes), expected a picture", place);
  check(size <= max_file_bytes, "{}: {} bytes, more than the limit of 2^30 for a picture", place, size);
}

// ---- names that are not on the disk as the annotations write them ---------------------------------------------------

// Other ways to read a name, the most literal first, and what was changed in it.
struct Spelling {
  std::string name, way;
};

std::vector<Spelling> spellings(const std::string& file_name, const std::string& own_folder) {
  std::vector<Spelling> out{{file_name, ""}};
  const auto add_all = [&](const char* way, auto&& change) {
    const size_t n = out.size();
    for (size_t i = 0; i < n; ++i) {
      const std::string name = change(out[i].name);
      if (name != out[i].name && !name.empty()) {
        out.push_back({name, out[i].way + (out[i].way.empty() ? "" : " and ") + way});
      }
    }
  };
  const auto slashes = [](std::string name) {
    std::replace(name.begin(), name.end(), '\\', '/');
    return name;
  };
  add_all("with \"/\" for \"\\\"", slashes);
  add_all("with %XX decoded", [&](const std::string& name) {
    const std::string decoded = percent_decoded(name);
    return decoded == name ? name : slashes(decoded);
  });
  add_all("without the name of the pictures' folder", [&](std::string name) {
    if (name.starts_with("./")) name.erase(0, 2);
    const bool own = !own_folder.empty() && name.starts_with(own_folder + "/");
    return own ? name.substr(own_folder.size() + 1) : name;
  });
  return out;
}

// Remembers the names that were found under another spelling. Thread-safe.
class OtherNames {
 public:
  // Returns the name to use for file_name if another spelling was found.
  const std::string* find(const std::string& file_name) const {
    if (!any_) return nullptr;
    const std::lock_guard lock(mutex_);
    const auto found = names_.find(file_name);
    return found == names_.end() ? nullptr : &found->second;  // Nodes of a map do not move.
  }
  // Runs one search at a time; its result is valid for all threads. search() returns a spelling that exists, or throws.
  template <class Search>
  const std::string& search(const std::string& file_name, const Search& search) {
    const std::lock_guard lock(mutex_);
    if (const auto known = names_.find(file_name); known != names_.end()) return known->second;
    const Spelling found = search();
    Way& way = ways_[found.way];
    if (way.count++ == 0) way.first = fmt::format("\"{}\" is \"{}\"", file_name, found.name);
    any_ = true;
    return names_.emplace(file_name, found.name).first->second;
  }
  std::vector<std::string> remarks() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [way, what] : ways_) {
      out.push_back(fmt::format("{} found {}: {}{}", counted(what.count, "picture was", "pictures were"), way,
                                what.first, what.count > 1 ? ", and so on" : ""));
    }
    return out;
  }

 private:
  struct Way {
    size_t count = 0;
    std::string first;
  };
  mutable std::mutex mutex_;
  std::atomic<bool> any_{false};
  std::map<std::string, std::string> names_;
  std::map<std::string, Way> ways_;
};

Spelling folded_spelling(std::string name) {
  return {std::move(name), "with upper and lower case, Unicode forms and escapes taken as equal"};
}

[[noreturn]] void fail_between(const std::string& place, const std::string& one, const std::string& other) {
  fail("{}: no such picture; \"{}\" and \"{}\" differ from it only in spelling, and either may be meant", place, one,
       other);
}

bool is_windows_drive(const std::string& name) {
  return name.size() > 2 && name[1] == ':' && (name[2] == '\\' || name[2] == '/');
}

class Folder final : public PictureSource {
 public:
  explicit Folder(fs::path path) : path_(std::move(path)) {
    own_name_ = path_.has_filename() ? path_.filename().string() : path_.parent_path().filename().string();
    if (own_name_ == "." || own_name_ == "..") own_name_.clear();
  }

  std::string place(const std::string& file_name) const override { return path_of(file_name).string(); }
  std::vector<std::string> remarks() const override { return others_.remarks(); }

  // The file is read and not mapped, because unmapping 150 kB stops the other threads for longer than copying them
  // takes.
  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const override {
    fs::path path = path_of(file_name);
    struct Descriptor {
      int fd;
      ~Descriptor() {
        if (fd >= 0) ::close(fd);
      }
    } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
      path = search(file_name);
      file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (file.fd < 0) fail("{}: cannot open: {}", path.string(), std::strerror(errno));
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
      if (n == 0) break;  // Another process has just truncated the file; decoding will report it.
      done += static_cast<size_t>(n);
    }
    return std::span(scratch).first(done);
  }

  void glance(const std::string& file_name,
              const std::function<void(std::span<const std::byte>)>& look) const override {
    fs::path path = path_of(file_name);
    std::error_code error;
    auto status = fs::status(path, error);
    if (!fs::exists(status)) {
      path = search(file_name);
      status = fs::status(path, error);
    }
    check(fs::is_regular_file(status), "{}: not a file", path.string());
    const MappedFile file(path);
    check_bytes(file.bytes().size(), path.string());
    look(file.bytes());
  }

 private:
  fs::path path_of(const std::string& file_name) const {
    const std::string* other = others_.find(file_name);
    return path_ / (other != nullptr ? *other : file_name);
  }

  fs::path search(const std::string& file_name) const {
    return path_ / others_.search(file_name, [&]() -> Spelling {
      const std::vector<Spelling> ways = spellings(file_name, own_name_);
      std::error_code error;
      for (size_t i = 1; i < ways.size(); ++i) {
        if (fs::is_regular_file(path_ / ways[i].name, error)) return ways[i];
      }
      for (const Spelling& way : ways) {
        const std::vector<std::string> names = folded(way.name);
        if (names.size() > 1) fail_between((path_ / file_name).string(), names[0], names[1]);
        if (names.size() == 1) return folded_spelling(names[0]);
      }
      fail_missing(file_name);
    });
  }

  using Names = std::multimap<std::string, std::string>;  // The names by their folded form.
  // Returns the names in a folder. It is read once; files that are added later are only found by their exact name.
  const Names& names_in(const fs::path& folder) const {
    const auto [found, fresh] = listings_.try_emplace(folder.string());
    if (fresh) {
      std::error_code error;
      for (fs::directory_iterator it(folder.empty() ? fs::path(".") : folder, error), end; !error && it != end;
           it.increment(error)) {
        const std::string name = it->path().filename().string();
        found->second.emplace(folded_name(name), name);
      }
    }
    return found->second;
  }

  // Returns paths below the folder that equal `name` part by part when folded. Two of them are enough to show that the
  // name is ambiguous.
  std::vector<std::string> folded(const std::string& name) const {
    const fs::path path(name);
    if (path.is_absolute()) return {};
    std::vector<std::string> found{""};
    for (const fs::path& part : path) {
      std::vector<std::string> next;
      for (const std::string& folder : found) {
        const std::string prefix = folder.empty() ? "" : folder + "/";
        if (part == "." || part == "..") {
          next.push_back(prefix + part.string());
          continue;
        }
        const auto [from, to] = names_in(path_ / folder).equal_range(folded_name(part.string()));
        for (auto it = from; it != to; ++it) next.push_back(prefix + it->second);
      }
      found = std::move(next);
    }
    std::erase_if(found, [&](const std::string& file) {
      std::error_code error;
      return !fs::is_regular_file(path_ / file, error);
    });
    if (found.size() > 2) found.resize(2);
    return found;
  }

  [[noreturn]] void fail_missing(const std::string& file_name) const {
    const std::string tried = (path_ / file_name).string(), folder = path_.string();
    std::string plain = file_name;
    std::replace(plain.begin(), plain.end(), '\\', '/');
    const fs::path name(plain);
    const std::string leaf = name.filename().string();
    std::error_code error;
    if (!path_.empty() && !fs::is_directory(path_, error)) {
      fail("{}: no such picture; there is no folder {}", tried, folder);
    }
    if (file_name.find("://") != std::string::npos) {
      fail(
          "{}: no such picture; the annotation's file_name \"{}\" is a web address, and pictures are read from the "
          "disk only",
          tried, file_name);
    }
    if (name.is_absolute() || is_windows_drive(file_name)) {
      const bool here = !folded(leaf).empty();
      fail(
          "{}: no such picture; the annotation's file_name \"{}\" is an absolute path, perhaps of another computer; "
          "it must be relative to the pictures' folder {}{}",
          tried, file_name, folder, here ? fmt::format(", where a plain \"{}\" is", leaf) : "");
    }
    if (name.has_parent_path()) {
      fail("{}: no such picture; the annotation's file_name \"{}\" has folders, a plain \"{}\" is not looked for{}",
           tried, file_name, leaf, folded(leaf).empty() ? "" : ", though there is one");
    }
    const Names& names = names_in(path_);
    if (names.empty()) fail("{}: no such picture; the folder {} is empty", tried, folder);
    const std::string stem = folded_name(name.stem().string()) + ".";
    if (const auto like = names.lower_bound(stem); like != names.end() && like->first.starts_with(stem)) {
      fail("{}: no such picture; there is \"{}\", which has another extension", tried, like->second);
    }
    size_t looked_into = 0;
    for (const auto& [fold, inner] : names) {
      if (!fs::is_directory(path_ / inner, error)) continue;
      if (++looked_into > 20) break;
      if (fs::is_regular_file(path_ / inner / leaf, error)) {
        fail("{}: no such picture; the folder {} within {} has one of this name", tried, inner, folder);
      }
    }
    fail("{}: no such picture among the {} of {}, such as \"{}\"", tried, counted(names.size(), "entry", "entries"),
         folder.empty() ? "this folder" : folder, names.begin()->second);
  }

  fs::path path_;
  std::string own_name_;
  mutable OtherNames others_;
  mutable std::map<std::string, Names> listings_;  // Only used within others_.search().
};

class Zip final : public PictureSource {
 public:
  // The budget allows a million names.
  explicit Zip(const fs::path& path)
      : path_(path.string()),
        inner_folder_(path.stem().string()),
        file_(path),
        budget_(path_, size_t{512} << 20),
        zip_(file_.bytes(), path_, budget_) {}

  std::string place(const std::string& file_name) const override {
    const std::string* other = others_.find(file_name);
    return path_ + "/" + (other != nullptr ? *other : file_name);
  }
  std::vector<std::string> remarks() const override { return others_.remarks(); }

  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const override {
    const std::string* other = others_.find(file_name);
    std::string name = other != nullptr ? *other : file_name;
    if (zip_.find(name) == nullptr) {
      name = inner_folder_ + "/" + name;
      if (zip_.find(name) == nullptr) name = search(file_name);
    }
    const std::string where = path_ + "/" + name;
    const ZipReader::Member* member = zip_.find(name);
    check_bytes(member->size, where);
    check_bytes(member->packed_size, where);
    const std::span<const std::byte> packed = zip_.stored(name);
    if (!member->deflated) return packed;
    // Deflate makes at most 1032 bytes of one. No memory may be allocated for a larger claim.
    check(member->size <= 1032 * member->packed_size, "{}: damaged in the zip file: {} bytes cannot unpack to {}",
          where, member->packed_size, member->size);
    if (scratch.size() < member->size) scratch.resize(member->size + member->size / 4);
    z_stream stream{};
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));  // zlib only reads the input.
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
          done == member->size ? ", and the CRC differs" : "");
    return out;
  }

  void glance(const std::string& file_name,
              const std::function<void(std::span<const std::byte>)>& look) const override {
    std::vector<std::byte> scratch;
    look(read(file_name, scratch));
  }

 private:
  std::string search(const std::string& file_name) const {
    return others_.search(file_name, [&]() -> Spelling {
      const std::vector<Spelling> ways = spellings(file_name, inner_folder_);
      const auto with_folder = [&](const std::string& name) { return inner_folder_ + "/" + name; };
      for (size_t i = 1; i < ways.size(); ++i) {
        for (const std::string& name : {ways[i].name, with_folder(ways[i].name)}) {
          if (zip_.find(name) != nullptr) return {name, ways[i].way};
        }
      }
      if (by_fold_.empty()) {
        for (const auto& [name, member] : zip_.members()) by_fold_.emplace(folded_name(name), name);
      }
      const std::string where = path_ + "/" + file_name;
      for (const Spelling& way : ways) {
        for (const std::string& name : {way.name, with_folder(way.name)}) {
          const auto [from, to] = by_fold_.equal_range(folded_name(name));
          if (from == to) continue;
          if (std::next(from) != to) fail_between(where, from->second, std::next(from)->second);
          return folded_spelling(from->second);
        }
      }
      fail("{}: no such picture in the zip file ({}, looked for \"{}\" and \"{}\")", where,
           counted(zip_.members().size(), "member"), file_name, with_folder(file_name));
    });
  }

  std::string path_, inner_folder_;
  mutable OtherNames others_;
  mutable std::multimap<std::string, std::string> by_fold_;  // Only used within others_.search().
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

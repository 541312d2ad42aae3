#include "core/io/zip.h"

#include <minizip/unzip.h>
#include <minizip/zip.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

constexpr size_t kStep = size_t{1} << 20;  // how much is inflated, or read of the map, between two looks

// minizip's view of a file: a position, moved by its three kinds of seek.
bool move_to(uint64_t& position, uint64_t size, uint64_t offset, int origin) {
  uint64_t target = offset;
  if (origin == ZLIB_FILEFUNC_SEEK_CUR) target += position;
  if (origin == ZLIB_FILEFUNC_SEEK_END) target += size;
  if (target > size) return false;
  position = target;
  return true;
}

// True if the end record and its comment are there to the last byte; minizip does not look.
bool has_whole_end(std::span<const std::byte> bytes) {
  constexpr size_t kRecord = 22, kLongestComment = 0xffff;
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view tail = file.substr(file.size() - std::min(file.size(), kRecord + kLongestComment));
  const size_t record = tail.rfind("PK\x05\x06");
  if (record == std::string_view::npos || tail.size() - record < kRecord) return false;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(tail[record + i]); };
  return tail.size() - record == kRecord + byte(20) + 256u * byte(21);
}

}  // namespace

struct ZipReader::Input {
  std::span<const std::byte> bytes;
  const MappedFile* map = nullptr;
  uint64_t position = 0;
  uint64_t released = 0;  // while inflating: up to here the map's pages were handed back

  static Input& of(void* stream) { return *static_cast<Input*>(stream); }

  zlib_filefunc64_def functions() {
    return {.zopen64_file = [](void* self, const void*, int) { return self; },
            .zread_file =
                [](void*, void* stream, void* to, uLong n) {
                  Input& in = of(stream);
                  n = std::min<uint64_t>(n, in.bytes.size() - in.position);
                  if (n == 1) {  // how minizip reads its numbers
                    *static_cast<std::byte*>(to) = in.bytes[in.position];
                  } else if (n > 0) {
                    std::memcpy(to, in.bytes.data() + in.position, n);
                  }
                  in.position += n;
                  return n;
                },
            .zwrite_file = nullptr,
            .ztell64_file = [](void*, void* stream) -> ZPOS64_T { return of(stream).position; },
            .zseek64_file = [](void*, void* stream, ZPOS64_T offset, int origin) -> long {
              Input& in = of(stream);
              return move_to(in.position, in.bytes.size(), offset, origin) ? 0 : -1;
            },
            .zclose_file = [](void*, void*) { return 0; },
            .zerror_file = [](void*, void*) { return 0; },
            .opaque = this};
  }

  // Packed data that have been inflated are not needed again; without this, a deflated file would be in memory twice.
  void release_up_to_position() {
    if (map == nullptr || position < released + kStep) return;
    map->release(bytes.subspan(released, position - released));
    released = position;
  }
};

void ZipReader::Close::operator()(void* zip) const { unzClose(zip); }

ZipReader::ZipReader(std::span<const std::byte> bytes, std::string where, Budget& budget, const MappedFile* map)
    : where_(std::move(where)), input_(std::make_unique<Input>(Input{.bytes = bytes, .map = map})) {
  // Debian's minizip (1.1) compares 32-bit fields with a 64-bit -1 and so misses zip64's sizes and offsets.
  check(bytes.size() <= UINT32_MAX, "{}: a zip file of {} bytes; up to 4 GiB can be read, safetensors have no limit",
        where_, bytes.size());
  // minizip 1.1 refuses an end record without entries before it, 1.3 does not.
  check(bytes.size() < 3 || bytes[2] != std::byte{5}, "{}: an empty zip file", where_);
  zlib_filefunc64_def functions = input_->functions();
  if (has_whole_end(bytes)) zip_.reset(unzOpen2_64("", &functions));
  check(zip_ != nullptr, "{}: starts as a zip file and has no valid end record; is the download complete?", where_);
  unz_global_info64 about{};
  check(unzGetGlobalInfo64(zip_.get(), &about) == UNZ_OK && about.number_entry > 0, "{}: an empty zip file", where_);
  members_.reserve(std::min<uint64_t>(about.number_entry, bytes.size() / 46));  // the bytes of an entry, at least
  std::vector<char> buffer(1024);
  int state = unzGoToFirstFile(zip_.get());
  for (uint64_t i = 0; i < about.number_entry; ++i) {
    unz_file_info64 info{};
    unz64_file_pos place{};
    if (state != UNZ_OK || unzGetFilePos64(zip_.get(), &place) != UNZ_OK ||
        unzGetCurrentFileInfo64(zip_.get(), &info, buffer.data(), buffer.size(), nullptr, 0, nullptr, 0) != UNZ_OK) {
      fail("{}: broken zip directory: {} members announced, number {} cannot be read", where_, about.number_entry,
           i + 1);
    }
    check(info.size_filename <= buffer.size(), "{}: broken zip directory: a name of {} bytes", where_,
          info.size_filename);
    std::string name(buffer.data(), info.size_filename);
    if ((info.flag & 1) != 0) fail("{}: member {} is encrypted", where_, shown(name));
    const bool deflated = info.compression_method == Z_DEFLATED;
    if (info.compression_method != 0 && !deflated) {
      fail("{}: member {} has compression method {}; stored (0) and deflated (8) can be read", where_, shown(name),
           info.compression_method);
    }
    if (info.compressed_size > bytes.size() || (!deflated && info.compressed_size != info.uncompressed_size)) {
      fail("{}: broken zip directory: member {} takes {} bytes for {}, the file has {}", where_, shown(name),
           info.compressed_size, info.uncompressed_size, bytes.size());
    }
    budget.take(sizeof(Member) + 128 + name.size());
    const Member member{.size = info.uncompressed_size,
                        .packed_size = info.compressed_size,
                        .directory_offset = place.pos_in_zip_directory,
                        .ordinal = place.num_of_file,
                        .crc = static_cast<uint32_t>(info.crc),
                        .deflated = deflated};
    const auto [it, fresh] = members_.emplace(std::move(name), member);
    if (!fresh) fail("{}: member {} occurs twice in the zip directory", where_, shown(it->first));
    state = unzGoToNextFile(zip_.get());
  }
}

ZipReader::~ZipReader() = default;

const ZipReader::Member* ZipReader::find(const std::string& name) const {
  const auto it = members_.find(name);
  return it == members_.end() ? nullptr : &it->second;
}

void ZipReader::open(const std::string& name, bool raw) {
  const Member* member = find(name);
  if (member == nullptr) fail("{}: has no member {}", where_, shown(name));
  const unz64_file_pos place{.pos_in_zip_directory = member->directory_offset, .num_of_file = member->ordinal};
  int method = 0, level = 0;
  // Opening compares the member's own header with the directory.
  if (unzGoToFilePos64(zip_.get(), &place) != UNZ_OK ||
      unzOpenCurrentFile2(zip_.get(), &method, &level, raw ? 1 : 0) != UNZ_OK) {
    fail("{}: broken zip file: the header of member {} is not where or what the directory says", where_, shown(name));
  }
}

std::span<const std::byte> ZipReader::stored(const std::string& name) {
  open(name, true);
  const uint64_t begin = unzGetCurrentFileZStreamPos64(zip_.get()), size = members_.at(name).packed_size;
  unzCloseCurrentFile(zip_.get());
  if (begin > input_->bytes.size() || size > input_->bytes.size() - begin) {
    fail("{}: member {} announces {} bytes from byte {} on, the file has {}", where_, shown(name), size, begin,
         input_->bytes.size());
  }
  return input_->bytes.subspan(begin, size);
}

void ZipReader::inflate(const std::string& name, std::span<std::byte> out) {
  open(name, false);
  input_->released = unzGetCurrentFileZStreamPos64(zip_.get());
  size_t done = 0;
  int got = 0;
  while (done < out.size()) {
    got = unzReadCurrentFile(zip_.get(), out.data() + done, static_cast<unsigned>(std::min(kStep, out.size() - done)));
    if (got <= 0) break;
    done += static_cast<size_t>(got);
    input_->release_up_to_position();
  }
  const int closed = unzCloseCurrentFile(zip_.get());
  if (got < 0 || done != out.size()) {
    fail("{}: member {} is damaged: {} of {} bytes could be inflated", where_, shown(name), done, out.size());
  }
  if (closed != UNZ_OK) fail("{}: member {} is damaged: its CRC is not the one announced", where_, shown(name));
}

uint32_t zip_crc(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// minizip fills in a member's sizes and CRC after its data, so the output can step back. What is asked for in small
// pieces is gathered; exceptions may not pass through C and wait in `failure`.
struct ZipWriter::Output {
  AtomicFile& file;
  std::string pending;  // follows the `written` bytes
  uint64_t written = 0, position = 0;
  std::exception_ptr failure;

  static Output& of(void* stream) { return *static_cast<Output*>(stream); }
  uint64_t size() const { return written + pending.size(); }

  void flush() {
    file.write(pending);
    written += pending.size();
    pending.clear();
  }
  void write(const char* p, uint64_t n) {
    if (position < size()) {  // a patch of what is there
      const uint64_t patched = std::min(n, size() - position);
      if (position < written) flush();
      if (position < written) {
        file.write_at(position, std::as_bytes(std::span(p, patched)));
      } else {
        std::memcpy(pending.data() + (position - written), p, patched);
      }
      position += patched;
      p += patched;
      n -= patched;
    }
    pending.append(p, n);
    position += n;
    if (pending.size() >= kStep) flush();
  }

  zlib_filefunc64_def functions() {
    return {.zopen64_file = [](void* self, const void*, int) { return self; },
            .zread_file = [](void*, void*, void*, uLong) -> uLong { return 0; },
            .zwrite_file = [](void*, void* stream, const void* from, uLong n) -> uLong {
              Output& out = of(stream);
              if (out.failure != nullptr) return 0;
              try {
                out.write(static_cast<const char*>(from), n);
                return n;
              } catch (...) {
                out.failure = std::current_exception();
                return 0;
              }
            },
            .ztell64_file = [](void*, void* stream) -> ZPOS64_T { return of(stream).position; },
            .zseek64_file = [](void*, void* stream, ZPOS64_T offset, int origin) -> long {
              Output& out = of(stream);
              return move_to(out.position, out.size(), offset, origin) ? 0 : -1;
            },
            .zclose_file = [](void*, void*) { return 0; },
            .zerror_file = [](void*, void* stream) { return of(stream).failure != nullptr ? 1 : 0; },
            .opaque = this};
  }

  // Throws what went wrong while minizip was running.
  void done(int state) {
    if (failure != nullptr) std::rethrow_exception(failure);
    check(state == ZIP_OK, "writing a zip file failed with minizip's code {}", state);
  }
};

void ZipWriter::Close::operator()(void* zip) const { zipClose(zip, nullptr); }

ZipWriter::ZipWriter(AtomicFile& file) : output_(std::make_unique<Output>(Output{.file = file})) {
  zlib_filefunc64_def functions = output_->functions();
  zip_.reset(zipOpen2_64("", APPEND_STATUS_CREATE, nullptr, &functions));
  check(zip_ != nullptr, "cannot start a zip file");
}

ZipWriter::~ZipWriter() = default;

void ZipWriter::add(const std::string& name, std::span<const std::byte> bytes) {
  constexpr uint64_t kHeader = 30, kExtraHeader = 4, kZip64Extra = 20;
  const bool zip64 = bytes.size() >= 0xffffffffu;
  // A field of padding ("FB", as PyTorch names it) puts the data at a multiple of kAlignment.
  const uint64_t unpadded = output_->position + kHeader + name.size() + kExtraHeader + (zip64 ? kZip64Extra : 0);
  const auto padding = static_cast<uint8_t>((kAlignment - unpadded % kAlignment) % kAlignment);
  std::string extra{'F', 'B', static_cast<char>(padding), '\0'};
  extra.append(padding, 'Z');
  // The same date in every file: equal tensors make equal files.
  const zip_fileinfo info{
      .tmz_date = {.tm_sec = 0, .tm_min = 0, .tm_hour = 0, .tm_mday = 1, .tm_mon = 0, .tm_year = 1980},
      .dosDate = 0,
      .internal_fa = 0,
      .external_fa = 0};
  output_->done(zipOpenNewFileInZip2_64(zip_.get(), name.c_str(), &info, extra.data(), static_cast<uInt>(extra.size()),
                                        nullptr, 0, nullptr, 0, 0, 0, zip64 ? 1 : 0));
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kStep);
    output_->done(zipWriteInFileInZip(zip_.get(), bytes.data(), static_cast<unsigned>(n)));
    bytes = bytes.subspan(n);
  }
  output_->done(zipCloseFileInZip(zip_.get()));
}

void ZipWriter::finish() {
  const int state = zipClose(zip_.release(), nullptr);
  output_->done(state);
  output_->flush();
}

}  // namespace hr

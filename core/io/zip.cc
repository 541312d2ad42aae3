#include "core/io/zip.h"

#include <minizip/zip.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

// The number of bytes that are inflated, or read from the map, before pages are released.
constexpr size_t kStep = size_t{1} << 20;

// Moves a position in the file with minizip's three kinds of seek.
bool move_to(uint64_t& position, uint64_t size, uint64_t offset, int origin) {
  uint64_t target = offset;
  if (origin == ZLIB_FILEFUNC_SEEK_CUR) target += position;
  if (origin == ZLIB_FILEFUNC_SEEK_END) target += size;
  if (target > size) return false;
  position = target;
  return true;
}

// Reads a little-endian number of the zip format. The caller has checked that it lies in the file.
uint64_t number_at(std::span<const std::byte> bytes, uint64_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[at + i]);
  return value;
}

bool lies_in(std::span<const std::byte> bytes, uint64_t at, uint64_t size) {
  return at <= bytes.size() && size <= bytes.size() - at;
}

bool has_signature(std::span<const std::byte> bytes, uint64_t at, std::string_view signature) {
  return lies_in(bytes, at, signature.size()) &&
         std::memcmp(bytes.data() + at, signature.data(), signature.size()) == 0;
}

constexpr uint64_t kEndRecord = 22, kZip64Locator = 20, kZip64EndRecord = 56, kEntry = 46, kLocalHeader = 30;
constexpr uint64_t kLongestName = 1024;
// This value in a field of 32 bits says that the zip64 record holds the real one.
constexpr uint64_t kIn64 = UINT32_MAX;

// The position of the directory and the number of members that it announces.
struct Directory {
  uint64_t begin = 0, end = 0, members = 0;
  uint64_t prefix = 0;  // The bytes before the zip file itself, for example in a program that unpacks itself.
};

// Finds the end record, which must be complete to the last byte of its comment.
std::optional<Directory> find_directory(std::span<const std::byte> bytes) {
  constexpr size_t kLongestComment = 0xffff;
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t record = file.substr(file.size() - std::min(file.size(), kEndRecord + kLongestComment)).rfind("PK\5\6");
  if (record == std::string_view::npos) return std::nullopt;
  const uint64_t end = file.size() - std::min(file.size(), kEndRecord + kLongestComment) + record;
  if (!lies_in(bytes, end, kEndRecord)) return std::nullopt;
  if (bytes.size() - end != kEndRecord + number_at(bytes, end + 20, 2)) return std::nullopt;
  Directory directory{.end = end, .members = number_at(bytes, end + 10, 2)};
  // The parts of a split archive number their disks, and each counts its own members.
  bool in_one_piece = number_at(bytes, end + 4, 4) == 0 && number_at(bytes, end + 8, 2) == directory.members;
  uint64_t size = number_at(bytes, end + 12, 4), offset = number_at(bytes, end + 16, 4);
  if (end >= kZip64Locator && has_signature(bytes, end - kZip64Locator, "PK\6\7")) {
    const uint64_t record64 = number_at(bytes, end - kZip64Locator + 8, 8);
    if (!has_signature(bytes, record64, "PK\6\6") || !lies_in(bytes, record64, kZip64EndRecord)) return std::nullopt;
    in_one_piece = number_at(bytes, record64 + 16, 8) == 0 &&
                   number_at(bytes, record64 + 24, 8) == number_at(bytes, record64 + 32, 8);
    directory.end = record64;
    directory.members = number_at(bytes, record64 + 32, 8);
    size = number_at(bytes, record64 + 40, 8);
    offset = number_at(bytes, record64 + 48, 8);
  }
  if (!in_one_piece || size > directory.end || offset > directory.end - size) return std::nullopt;
  directory.begin = directory.end - size;
  directory.prefix = directory.begin - offset;
  return directory;
}

// Values of an entry that do not fit into 32 bits stand in its zip64 field, in this order. Returns false if they are
// missing.
bool read_zip64(std::span<const std::byte> extra, std::array<uint64_t*, 3> values) {
  if (std::ranges::none_of(values, [](const uint64_t* v) { return *v == kIn64; })) return true;
  for (uint64_t at = 0; lies_in(extra, at, 4);) {
    const uint64_t id = number_at(extra, at, 2), size = number_at(extra, at + 2, 2);
    if (!lies_in(extra, at + 4, size)) return false;
    if (id != 1) {
      at += 4 + size;
      continue;
    }
    const std::span<const std::byte> field = extra.subspan(at + 4, size);
    uint64_t next = 0;
    for (uint64_t* value : values) {
      if (*value != kIn64) continue;
      if (!lies_in(field, next, 8)) return false;
      *value = number_at(field, next, 8);
      next += 8;
    }
    return true;
  }
  return false;
}

}  // namespace

ZipReader::ZipReader(std::span<const std::byte> bytes, std::string where, Budget& budget, const MappedFile* map)
    : where_(std::move(where)), bytes_(bytes), map_(map) {
  check(bytes.size() < 3 || bytes[2] != std::byte{5}, "{}: an empty zip file", where_);
  const std::optional<Directory> directory = find_directory(bytes);
  check(directory.has_value(), "{}: starts as a zip file and has no valid end record; is the download complete?",
        where_);
  check(directory->members > 0, "{}: an empty zip file", where_);
  members_.reserve(std::min<uint64_t>(directory->members, bytes.size() / kEntry));
  uint64_t at = directory->begin;
  for (uint64_t i = 0; i < directory->members; ++i) {
    const auto unreadable = [&] {
      fail("{}: broken zip directory: {} members announced, number {} cannot be read", where_, directory->members,
           i + 1);
    };
    const std::span<const std::byte> listed = bytes.first(directory->end);
    if (!lies_in(listed, at, kEntry) || !has_signature(listed, at, "PK\1\2")) unreadable();
    const uint64_t name_size = number_at(bytes, at + 28, 2), extra_size = number_at(bytes, at + 30, 2);
    const uint64_t entry_size = kEntry + name_size + extra_size + number_at(bytes, at + 32, 2);
    if (!lies_in(listed, at, entry_size)) unreadable();
    check(name_size <= kLongestName, "{}: broken zip directory: a name of {} bytes", where_, name_size);
    std::string name(reinterpret_cast<const char*>(bytes.data()) + at + kEntry, name_size);
    Member member{.size = number_at(bytes, at + 24, 4),
                  .packed_size = number_at(bytes, at + 20, 4),
                  .header_offset = number_at(bytes, at + 42, 4),
                  .crc = static_cast<uint32_t>(number_at(bytes, at + 16, 4)),
                  .deflated = false};
    if (!read_zip64(bytes.subspan(at + kEntry + name_size, extra_size),
                    {&member.size, &member.packed_size, &member.header_offset})) {
      fail("{}: broken zip directory: member {} has no zip64 field for its size or offset", where_, shown(name));
    }
    const uint64_t method = number_at(bytes, at + 10, 2);
    if ((number_at(bytes, at + 8, 2) & 1) != 0) fail("{}: member {} is encrypted", where_, shown(name));
    member.deflated = method == Z_DEFLATED;
    if (method != 0 && !member.deflated) {
      fail("{}: member {} has compression method {}; stored (0) and deflated (8) can be read", where_, shown(name),
           method);
    }
    if (member.packed_size > bytes.size() || (!member.deflated && member.packed_size != member.size)) {
      fail("{}: broken zip directory: member {} takes {} bytes for {}, the file has {}", where_, shown(name),
           member.packed_size, member.size, bytes.size());
    }
    // An offset outside of the file stays as it is; the member's header is then not found there.
    if (member.header_offset <= bytes.size()) member.header_offset += directory->prefix;
    budget.take(sizeof(Member) + 128 + name.size());
    const auto [it, fresh] = members_.emplace(std::move(name), member);
    if (!fresh) fail("{}: member {} occurs twice in the zip directory", where_, shown(it->first));
    at += entry_size;
  }
}

const ZipReader::Member* ZipReader::find(const std::string& name) const {
  const auto it = members_.find(name);
  return it == members_.end() ? nullptr : &it->second;
}

// The member's own header repeats the facts of the directory, but its sizes and its CRC may stand after the data (bit 3
// of the flags) or in a zip64 field.
std::span<const std::byte> ZipReader::stored(const std::string& name) const {
  const Member* member = find(name);
  if (member == nullptr) fail("{}: has no member {}", where_, shown(name));
  const uint64_t at = member->header_offset;
  const auto repeats = [&](uint64_t field, uint64_t value) {
    const uint64_t own = number_at(bytes_, at + field, 4);
    return own == value || own == kIn64;
  };
  const bool header = has_signature(bytes_, at, "PK\3\4") && lies_in(bytes_, at, kLocalHeader);
  const bool sizes_follow = header && (number_at(bytes_, at + 6, 2) & 8) != 0;
  if (!header || number_at(bytes_, at + 8, 2) != (member->deflated ? Z_DEFLATED : 0) ||
      number_at(bytes_, at + 26, 2) != name.size() || !has_signature(bytes_, at + kLocalHeader, name) ||
      (!sizes_follow && (number_at(bytes_, at + 14, 4) != member->crc || !repeats(18, member->packed_size) ||
                         !repeats(22, member->size)))) {
    fail("{}: broken zip file: the header of member {} does not agree with the directory", where_, shown(name));
  }
  const uint64_t begin = at + kLocalHeader + name.size() + number_at(bytes_, at + 28, 2);
  if (!lies_in(bytes_, begin, member->packed_size)) {
    fail("{}: member {} announces {} bytes from byte {} on, the file has {}", where_, shown(name), member->packed_size,
         begin, bytes_.size());
  }
  return bytes_.subspan(begin, member->packed_size);
}

void ZipReader::inflate(const std::string& name, std::span<std::byte> out) const {
  const std::span<const std::byte> packed = stored(name);
  const Member& member = members_.at(name);
  size_t done = 0;
  if (!member.deflated) {
    done = std::min(out.size(), packed.size());
    std::copy_n(packed.begin(), done, out.begin());
  } else {
    z_stream stream{};
    check(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "{}: no memory to inflate", where_);
    size_t taken = 0, released = 0;
    int state = Z_OK;
    while (state == Z_OK && done < out.size()) {
      const size_t in = std::min(kStep, packed.size() - taken), room = std::min(kStep, out.size() - done);
      // zlib only reads the input.
      stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data() + taken));
      stream.avail_in = static_cast<uInt>(in);
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + done);
      stream.avail_out = static_cast<uInt>(room);
      state = ::inflate(&stream, Z_NO_FLUSH);
      taken += in - stream.avail_in;
      done += room - stream.avail_out;
      // Packed data that have been inflated are not needed again. Without this a deflated file would be in memory
      // twice.
      if (map_ != nullptr && taken >= released + kStep) {
        map_->release(packed.subspan(released, taken - released));
        released = taken;
      }
    }
    inflateEnd(&stream);
  }
  if (done != out.size()) {
    fail("{}: member {} is damaged: {} of {} bytes could be inflated", where_, shown(name), done, out.size());
  }
  if (zip_crc(out) != member.crc) {
    fail("{}: member {} is damaged: its CRC differs from the one in the directory", where_, shown(name));
  }
}

uint32_t zip_crc(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// minizip fills in the sizes and the CRC of a member after its data, so the output must be able to step back. Small
// writes are collected. Exceptions cannot pass through C and wait in `failure`.
struct ZipWriter::Output {
  AtomicFile& file;
  std::string pending;  // Follows the `written` bytes.
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
    if (position < size()) {  // Overwrites bytes that were written before.
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

  // Throws the exception that occurred while minizip was running.
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
  // A padding field ("FB", as PyTorch names it) puts the data at a multiple of kAlignment.
  const uint64_t unpadded = output_->position + kHeader + name.size() + kExtraHeader + (zip64 ? kZip64Extra : 0);
  const auto padding = static_cast<uint8_t>((kAlignment - unpadded % kAlignment) % kAlignment);
  std::string extra{'F', 'B', static_cast<char>(padding), '\0'};
  extra.append(padding, 'Z');
  // Every file has the same date, so that equal tensors make equal files.
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

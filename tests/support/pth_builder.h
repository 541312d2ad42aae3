// Zip files, legacy streams and pickles, written by hand, so that tests can make them wrong.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wrestrict"  // gcc 12 is wrong about "literal" + string (its bug 105651)
#endif

namespace hr::test {

inline std::string little(uint64_t v, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += static_cast<char>(i < 8 ? v >> (8 * i) : 0);
  return out;
}

// The pieces of a pickle.
namespace pickled {
inline std::string text(const std::string& s) { return "X" + little(s.size(), 4) + s; }
inline std::string integer(int64_t v) { return "J" + little(static_cast<uint64_t>(v), 4); }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string ints(const std::vector<int64_t>& items) {
  std::string out = "(";
  for (const int64_t v : items) out += integer(v);
  return out + "t";
}
inline std::string storage(const std::string& type, const std::string& key, int64_t count) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + "tQ";
}
inline std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + integer(offset) + ints(shape) + ints(stride) +
         "\x89" + global("collections", "OrderedDict") + ")RtR";
}
// {name: value, …} of pickled values.
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = global("collections", "OrderedDict") + ")R(";
  for (const auto& [name, value] : entries) out += text(name) + value;
  return out + "u";
}
inline std::string program(const std::string& value) { return "\x80\x02" + value + "."; }
}  // namespace pickled

struct ZipMember {
  std::string name, data;
  bool deflate = false;
};

inline std::string deflated(const std::string& data) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zip_of(const std::vector<ZipMember>& members) {
  std::string file, directory;
  for (const ZipMember& m : members) {
    const std::string packed = m.deflate ? deflated(m.data) : m.data;
    const uint64_t crc = crc32_z(0, reinterpret_cast<const Bytef*>(m.data.data()), m.data.size());
    // version, flags, method, time, date, CRC, sizes, lengths of name and extra field
    const std::string common = little(20, 2) + little(0, 2) + little(m.deflate ? 8 : 0, 2) + little(0, 2) +
                               little(0x21, 2) + little(crc, 4) + little(packed.size(), 4) + little(m.data.size(), 4) +
                               little(m.name.size(), 2) + little(0, 2);
    directory += "PK\x01\x02" + little(20, 2) + common + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) +
                 little(file.size(), 4) + m.name;
    file += "PK\x03\x04" + common;
    file += m.name;
    file += packed;
  }
  return file + directory + "PK\x05\x06" + little(0, 4) + little(members.size(), 2) + little(members.size(), 2) +
         little(directory.size(), 4) + little(file.size(), 4) + little(0, 2);
}

// Returns a .pth zip file: the pickle of `value` and its storages.
inline std::string zip_pth(const std::string& value, const std::map<std::string, std::string>& storages,
                           bool deflate = false) {
  std::vector<ZipMember> members{{"archive/data.pkl", pickled::program(value), deflate}};
  for (const auto& [key, bytes] : storages) members.push_back({"archive/data/" + key, bytes, deflate});
  members.push_back({"archive/version", "3\n", deflate});
  return zip_of(members);
}

// Returns the pickles that precede the object in a legacy stream.
inline std::string legacy_head(const std::string& little_endian = "\x88") {
  using namespace pickled;
  return program("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + program(integer(1001)) +
         program("}" + text("little_endian") + little_endian + "s");
}

struct LegacyStorage {
  std::string key, bytes;
  int64_t count;
};
inline std::string legacy_pth(const std::string& value, const std::vector<LegacyStorage>& storages) {
  using namespace pickled;
  std::string keys = "](", data;
  for (const auto& s : storages) {
    keys += text(s.key);
    data += little(static_cast<uint64_t>(s.count), 8) + s.bytes;
  }
  return legacy_head() + program(value) + program(keys + "e") + data;
}

}  // namespace hr::test

// Changes the contents of a zip file and repairs the container around them (sizes, offsets, CRCs), so that a fuzzer
// gets past the container to the pickle.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/pth_builder.h"

namespace hr::test {

// Returns the members in file order, from their own headers. Returns none if the file is not a plain zip file with
// sizes in those headers.
inline std::vector<ZipMember> unzip(const std::string& file) {
  const auto number = [&](size_t at, int n) {
    size_t v = 0;
    for (int i = n; i-- > 0;) v = v << 8 | static_cast<uint8_t>(file[at + static_cast<size_t>(i)]);
    return v;
  };
  std::vector<ZipMember> members;
  for (size_t at = 0; at + 30 <= file.size() && file.compare(at, 4, "PK\x03\x04") == 0;) {
    const size_t method = number(at + 8, 2), packed = number(at + 18, 4), name = number(at + 26, 2),
                 extra = number(at + 28, 2), begin = at + 30 + name + extra;
    if (begin > file.size() || packed > file.size() - begin) break;
    ZipMember member{file.substr(at + 30, name), file.substr(begin, packed), method == 8};
    if (member.deflate) {
      std::string data(1 << 16, '\0');
      z_stream stream{};
      inflateInit2(&stream, -15);
      stream.next_in = reinterpret_cast<Bytef*>(member.data.data());
      stream.avail_in = static_cast<uInt>(packed);
      stream.next_out = reinterpret_cast<Bytef*>(data.data());
      stream.avail_out = static_cast<uInt>(data.size());
      inflate(&stream, Z_FINISH);
      data.resize(stream.total_out);
      inflateEnd(&stream);
      member.data = data;
    }
    members.push_back(std::move(member));
    at = begin + packed;
  }
  return members;
}

// `choose(n)` returns a number below n, and `mutate` changes text. Changes the pickle in most cases, else a storage,
// the list of members, or a name. Returns the file unchanged if it cannot be taken apart.
inline std::string mutate_inside(const std::string& file, const std::function<size_t(size_t)>& choose,
                                 const std::function<std::string(const std::string&)>& mutate) {
  std::vector<ZipMember> members = unzip(file);
  if (members.empty()) return file;
  const size_t picked = choose(members.size());
  switch (choose(10)) {
    case 0:
      members[picked].data = mutate(members[picked].data);
      break;
    case 1:
      members[picked].deflate = !members[picked].deflate;
      break;
    case 2:
      members.erase(members.begin() + static_cast<ptrdiff_t>(picked));
      break;
    case 3:
      members.push_back(members[picked]);
      members.back().name = mutate(members.back().name).substr(0, 300);
      break;
    default:
      for (ZipMember& m : members) {
        if (m.name.ends_with("data.pkl")) m.data = mutate(m.data);
      }
  }
  return zip_of(members);
}

}  // namespace hr::test

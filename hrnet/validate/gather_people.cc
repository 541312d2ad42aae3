#include "hrnet/validate/gather_people.h"

#include <cstring>

#include "core/comm/socket.h"
#include "core/error.h"

namespace hr {
namespace {

void put(Packer& out, double v) {
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  out.u64(bits);
}

double get_double(Unpack& in) {
  const uint64_t bits = in.u64();
  double v = 0;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Every number is sent exactly: a float is converted to double and back.
void put(Packer& out, size_t index, const PersonResult& p) {
  out.u64(index).u64(static_cast<uint64_t>(p.image_id)).u64(static_cast<uint64_t>(p.category_id));
  out.text({reinterpret_cast<const char*>(p.keypoints.data()), p.keypoints.size() * sizeof(float)});
  for (const double v :
       {p.score, p.area, double{p.center[0]}, double{p.center[1]}, double{p.scale[0]}, double{p.scale[1]}})
    put(out, v);
}

PersonResult get_person(Unpack& in) {
  PersonResult p;
  p.image_id = static_cast<int64_t>(in.u64());
  p.category_id = static_cast<int64_t>(in.u64());
  const std::string bytes = in.text();
  p.keypoints.resize(bytes.size() / sizeof(float));
  std::memcpy(p.keypoints.data(), bytes.data(), p.keypoints.size() * sizeof(float));
  p.score = get_double(in);
  p.area = get_double(in);
  for (float* v : {&p.center[0], &p.center[1], &p.scale[0], &p.scale[1]}) *v = static_cast<float>(get_double(in));
  return p;
}

}  // namespace

std::vector<PersonResult> gather_people(Comm& comm, std::span<const size_t> indices, std::span<const PersonResult> mine,
                                        size_t dataset_size) {
  check(indices.size() == mine.size(), "gathering results: {} results for {} samples", mine.size(), indices.size());
  Packer out;
  out.u64(mine.size());
  for (size_t i = 0; i < mine.size(); ++i) put(out, indices[i], mine[i]);
  std::vector<PersonResult> all(dataset_size);
  std::vector<bool> seen(dataset_size);
  const std::vector<std::string> parts = comm.all_gather(out.str());
  for (const std::string& part : parts) {
    Unpack in(part);
    for (uint64_t left = in.u64(); left > 0; --left) {
      const size_t index = in.u64();
      PersonResult person = get_person(in);
      check(index < dataset_size, "gathering results: a rank has sent sample {}, but there are {}", index,
            dataset_size);
      if (!seen[index]) all[index] = std::move(person);
      seen[index] = true;
    }
  }
  for (size_t i = 0; i < dataset_size; ++i) check(seen[i], "gathering results: no rank had sample {}", i);
  return all;
}

}  // namespace hr

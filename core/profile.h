// What a step is made of: one entry per kind of kernel, with the bytes it must move and, on a GPU, the time it took.
// For `bench --mode kernels`; a context without a profile pays one comparison per launch.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/cuda.h"

namespace hr {

class Profile {
 public:
  explicit Profile(bool on_gpu) : on_gpu_(on_gpu) {}
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  struct Kind {
    int64_t launches = 0;
    double bytes = 0, operations = 0;  // device memory read and written; multiplications and additions of convolutions
    double seconds = 0;                // GPU only, after finish()
  };
  void begin(std::string_view kind, double bytes, double operations, cuda::Stream stream);
  void end(cuda::Stream stream);
  // Waits for the device and adds up the times.
  const std::map<std::string, Kind, std::less<>>& finish();

 private:
  struct Span {
    Kind* kind;
    cuda::Event from, to;
  };
  bool on_gpu_;
  std::map<std::string, Kind, std::less<>> kinds_;
  std::vector<Span> spans_;
};

}  // namespace hr

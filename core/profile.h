// The composition of a step: one entry per kind of kernel, with the bytes that it must move and, on a GPU, the time
// that it took. Used by `bench --mode kernels`. A context without a profile pays one comparison per launch.
#pragma once
#include <exception>
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
    // Device memory read and written, in bytes; multiplications and additions of convolutions.
    double bytes = 0, operations = 0;
    double seconds = 0;  // GPU only, known after finish(). The time of inner spans is not included.
  };
  // Spans nest, because a convolution may cast its filter. The time of an inner span is subtracted from that of the
  // outer one, so that all kinds together took as long as the device did. end() ends the span that was begun last. It
  // is called by destructors and never throws; an error of the device is kept and thrown by finish().
  void begin(std::string_view kind, double bytes, double operations, cuda::Stream stream);
  void end(cuda::Stream stream) noexcept;
  // Waits for the device and adds up the times. Throws Error if the device failed.
  const std::map<std::string, Kind, std::less<>>& finish();

 private:
  struct Span {
    Kind *kind, *outer;  // `outer` is the kind of the enclosing span, or null.
    cuda::Event from = nullptr, to = nullptr;
    bool ended = false;
  };
  void clear();
  bool on_gpu_;
  std::map<std::string, Kind, std::less<>> kinds_;
  std::vector<Span> spans_;
  std::vector<size_t> open_;  // Spans that have begun and not ended, the innermost one last.
  std::exception_ptr error_;  // The first error in end().
};

}  // namespace hr

// NCCL on the simulated device: communicators of one rank.
#include <cstring>
#include <memory>
#include <vector>

#include "core/comm/nccl_api.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr::nccl {

struct Communicator {};

namespace {

size_t size_of(int type) { return type == kUint8 ? 1 : type == kFloat32 ? 4 : 8; }

// What one rank gets is its own. In two kernels, and between them the destination is in ruins: whoever reads or writes
// it without waiting gets another result.
int move(const void* from, void* to, size_t bytes, void* stream) {
  const auto saved = std::make_shared<std::vector<std::byte>>();
  const auto on = static_cast<cuda::Stream>(stream);
  simulator::enqueue(on, [=] {
    const auto* begin = static_cast<const std::byte*>(from);
    saved->assign(begin, begin + bytes);
    std::memset(to, 0xff, bytes);
  });
  simulator::enqueue(on, [=] { std::memcpy(to, saved->data(), bytes); });
  return kSuccess;
}

}  // namespace

const Api& api() {
  static const Api a{
      .get_version = [](int* version) { return *version = 29999, kSuccess; },
      .get_unique_id = [](UniqueId* id) { return *id = {}, kSuccess; },
      .comm_init_rank =
          [](Comm* comm, int size, UniqueId, int) {
            *comm = new Communicator;
            return size == 1 ? kSuccess : 4;  // invalid argument
          },
      .comm_destroy = [](Comm comm) { return delete comm, kSuccess; },
      .comm_abort = [](Comm comm) { return delete comm, kSuccess; },
      .comm_get_async_error = [](Comm, int* code) { return *code = kSuccess, kSuccess; },
      .get_error_string = [](int) { return "simulated error"; },
      .get_last_error = [](Comm) { return ""; },
      .all_reduce = [](const void* from, void* to, size_t n, int type, int, Comm,
                       void* stream) { return move(from, to, n * size_of(type), stream); },
      .broadcast = [](const void* from, void* to, size_t n, int type, int, Comm,
                      void* stream) { return move(from, to, n * size_of(type), stream); },
      .all_gather = [](const void* from, void* to, size_t n, int type, Comm,
                       void* stream) { return move(from, to, n * size_of(type), stream); },
  };
  return a;
}

}  // namespace hr::nccl

// NCCL on the simulated device: communicators of one rank.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/comm/nccl_api.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr::nccl {

struct Communicator {};

namespace {

constexpr int kInvalidArgument = 4;

// The existing communicators, as a user of the real NCCL must know them.
struct Register {
  std::mutex mutex;
  std::map<Comm, int> calls;  // for each, the number of calls that are running
  std::function<int(const std::string&)> hook;
};
Register& all() {
  static auto* one = new Register;
  return *one;
}

[[noreturn]] void give_up(const char* what, const char* why) {
  std::fprintf(stderr, "simulated NCCL: %s %s\n", what, why);
  std::abort();
}

// The real NCCL would read freed memory.
template <class Body>
int use(const char* what, Comm comm, const Body& body) {
  std::function<int(const std::string&)> hook;
  {
    const std::lock_guard lock(all().mutex);
    const auto it = all().calls.find(comm);
    if (it == all().calls.end()) give_up(what, "on a communicator that was freed");
    ++it->second;
    hook = all().hook;
  }
  const int code = hook ? hook(what) : kSuccess;
  const int result = code != kSuccess ? code : body();
  const std::lock_guard lock(all().mutex);
  if (const auto it = all().calls.find(comm); it != all().calls.end()) --it->second;
  return result;
}

// Frees a communicator. ncclCommAbort may be called while a call hangs, which then ends. A hook that imitates such a
// call returns an error afterwards.
int release(const char* what, Comm comm) {
  std::function<int(const std::string&)> hook;
  {
    const std::lock_guard lock(all().mutex);
    if (all().calls.erase(comm) == 0) give_up(what, "on a communicator that was freed");
    hook = all().hook;
  }
  if (hook) hook(what);
  delete comm;
  return kSuccess;
}

// With one rank, the result is the rank's own data. The copy takes two kernels, and between them the destination holds
// garbage, so that a reader or writer that does not wait gets another result.
int move(const char* what, Comm comm, const void* from, void* to, size_t bytes, void* stream) {
  return use(what, comm, [=] {
    const auto saved = std::make_shared<std::vector<std::byte>>();
    const auto on = static_cast<cuda::Stream>(stream);
    simulator::enqueue(on, [=] {
      const auto* begin = static_cast<const std::byte*>(from);
      saved->assign(begin, begin + bytes);
      std::memset(to, 0xff, bytes);
    });
    simulator::enqueue(on, [=] { std::memcpy(to, saved->data(), bytes); });
    return kSuccess;
  });
}

size_t size_of(int type) { return type == kUint8 ? 1 : type == kFloat32 ? 4 : 8; }

int init_rank(Comm* comm, int size, UniqueId, int) {
  if (size != 1) return kInvalidArgument;
  *comm = new Communicator;
  const std::lock_guard lock(all().mutex);
  all().calls[*comm] = 0;
  return kSuccess;
}

}  // namespace

const Api& api() {
  static const Api a{
      .get_version = [](int* version) { return *version = 29999, kSuccess; },
      .get_unique_id = [](UniqueId* id) { return *id = {}, kSuccess; },
      .comm_init_rank = init_rank,
      .comm_destroy = [](Comm comm) { return release("destroy", comm); },
      .comm_abort = [](Comm comm) { return release("abort", comm); },
      .comm_get_async_error =
          [](Comm comm, int* code) { return use("async error", comm, [=] { return *code = kSuccess, kSuccess; }); },
      .get_error_string = [](int) { return "simulated error"; },
      .get_last_error = [](Comm) { return ""; },
      .all_reduce = [](const void* from, void* to, size_t n, int type, int, Comm comm,
                       void* stream) { return move("all reduce", comm, from, to, n * size_of(type), stream); },
      .broadcast = [](const void* from, void* to, size_t n, int type, int, Comm comm,
                      void* stream) { return move("broadcast", comm, from, to, n * size_of(type), stream); },
      .all_gather = [](const void* from, void* to, size_t n, int type, Comm comm,
                       void* stream) { return move("all gather", comm, from, to, n * size_of(type), stream); },
  };
  return a;
}

}  // namespace hr::nccl

namespace hr::simulator {
void on_nccl_call(std::function<int(const std::string& name)> hook) {
  const std::lock_guard lock(nccl::all().mutex);
  nccl::all().hook = std::move(hook);
}
}  // namespace hr::simulator

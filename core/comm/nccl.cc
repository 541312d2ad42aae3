#include "core/comm/nccl.h"

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "core/comm/nccl_api.h"
#include "core/cuda.h"
#include "core/error.h"
#include "core/launch_order.h"

namespace hr {
namespace {

using nccl::api;

// abort() waits this long for calls that are inside NCCL. A call that only enqueues work takes microseconds; a call
// that connects to a lost rank never returns by itself.
constexpr auto kPatience = std::chrono::seconds(1);

// A stream and two events on the device, and memory for host numbers in transit.
class Gpu {
 public:
  explicit Gpu(Device device) {
    cuda::use_device(device.index);
    bus_id = cuda::device_info(device.index).bus_id;
    stream = cuda::create_stream();
    forked = cuda::create_event();
    joined = cuda::create_event();
  }
  ~Gpu() {
    cuda::deallocate(scratch_);
    cuda::destroy_event(joined);
    cuda::destroy_event(forked);
    cuda::destroy_stream(stream);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  void* scratch(size_t bytes) {
    if (bytes > scratch_bytes_) {
      cuda::deallocate(std::exchange(scratch_, nullptr));
      scratch_bytes_ = 0;
      scratch_ = cuda::allocate(bytes);
      scratch_bytes_ = bytes;
    }
    return scratch_;
  }

  std::string bus_id;
  cuda::Stream stream = nullptr;
  cuda::Event forked = nullptr, joined = nullptr;

 private:
  void* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
};

class NcclComm final : public Comm {
 public:
  NcclComm(std::shared_ptr<Control> control, Device device)
      : Comm(control ? control->ranks().rank : 0, control ? control->ranks().size : 1),
        control_(std::move(control)),
        gpu_(device) {
    if (control_) refuse_shared_gpus();
    try {
      for (const int which : {0, 1}) {
        const nccl::UniqueId id = exchange_id(which);
        expect("ncclCommInitRank", api().comm_init_rank(&comms_[which], size(), id, rank()));
      }
    } catch (...) {
      destroy();
      throw;
    }
    if (control_) control_->on_failure([this] { abort(); });
  }

  ~NcclComm() override {
    if (control_) control_->on_failure({});
    destroy();
  }

  std::string_view engine() const override { return "nccl"; }

  void all_reduce(const Tensor& t, Reduce op, void* stream) override { reduce(kCaller, t, op, stream); }

  void broadcast(const Tensor& t, int root, void* stream) override {
    expect_device("broadcast", t);
    call("ncclBroadcast", kCaller, [&](nccl::Comm comm) {
      cuda::note_other_work(static_cast<cuda::Stream>(stream));
      return api().broadcast(t.raw(), t.raw(), t.bytes(), nccl::kUint8, root, comm, stream);
    });
  }

  void all_gather(const Tensor& mine, const Tensor& all, void* stream) override {
    expect_device("all_gather", mine);
    hr::check(all.dtype() == mine.dtype() && all.numel() == mine.numel() * size(),
              "all_gather: {} ranks with {} of {} each do not fill {} of {}", size(), mine.numel(),
              name_of(mine.dtype()), all.numel(), name_of(all.dtype()));
    call("ncclAllGather", kCaller, [&](nccl::Comm comm) {
      cuda::note_other_work(static_cast<cuda::Stream>(stream));
      return api().all_gather(mine.raw(), all.raw(), mine.bytes(), nccl::kUint8, comm, stream);
    });
  }

  void start_all_reduce(const Tensor& t, Reduce op, void* stream) override {
    expect_alive();
    cuda::record(gpu_.forked, static_cast<cuda::Stream>(stream));
    cuda::wait(gpu_.stream, gpu_.forked);
    reduce(kBackground, t, op, gpu_.stream);
    started_ = true;
    clock.bytes += static_cast<int64_t>(t.bytes());
  }

  void finish(void* stream) override {
    expect_alive();
    if (!std::exchange(started_, false)) return;
    cuda::record(gpu_.joined, gpu_.stream);
    cuda::wait(static_cast<cuda::Stream>(stream), gpu_.joined);
  }

  void all_reduce(std::span<double> values, Reduce op) override {
    expect_alive();
    if (values.empty()) return;
    void* device_values = gpu_.scratch(values.size_bytes());
    if (control_) control_->begin_collective(kCaller);
    cuda::copy(device_values, values.data(), values.size_bytes(), cuda::Copy::host_to_device, gpu_.stream);
    call("ncclAllReduce", kCaller, [&](nccl::Comm comm) {
      return api().all_reduce(device_values, device_values, values.size(), nccl::kFloat64,
                              op == Reduce::mean ? nccl::kAvg : nccl::kSum, comm, gpu_.stream);
    });
    cuda::copy(values.data(), device_values, values.size_bytes(), cuda::Copy::device_to_host, gpu_.stream);
    cuda::synchronize(gpu_.stream);
    if (control_) control_->end_collective(kCaller);
    check();
  }

  // Results and messages in host memory are rare and go over the control connection.
  std::vector<std::string> all_gather(std::string_view mine) override {
    expect_alive();
    if (!control_) return {std::string(mine)};
    return control_->all_gather(mine);
  }
  void barrier() override {
    expect_alive();
    if (control_) control_->barrier();
  }

  void check() override {
    if (control_) control_->check();
    for (const Which which : {kCaller, kBackground}) {
      int code = nccl::kSuccess;
      call("ncclCommGetAsyncError", which, [&](nccl::Comm comm) { return api().comm_get_async_error(comm, &code); });
      expect("NCCL", code);
    }
  }

  // Ends the kernels that wait for a lost rank, and with them the threads that wait for the stream. NCCL frees a
  // communicator when it aborts it. Therefore no thread may be inside NCCL with it at that moment, except a call that
  // hangs, which only the abort can end.
  void abort() noexcept override {
    std::unique_lock lock(mutex_);
    if (std::exchange(aborted_, true)) return;
    left_.wait_for(lock, kPatience, [this] { return inside_ == 0; });
    const auto comms = std::exchange(comms_, {});
    lock.unlock();
    for (const nccl::Comm comm : comms) {
      if (comm != nullptr) api().comm_abort(comm);
    }
  }

 private:
  enum Which : int { kCaller = 0, kBackground = 1 };

  void expect(const char* what, int code) {
    if (code == nccl::kSuccess) return;
    if (control_) {
      // NCCL notices a lost connection first; the control connection knows which rank it belonged to.
      if (const auto failure = control_->await_failure(control_->timeout())) throw RankFailed(*failure);
    }
    fail("{}: {} ({})", what, api().get_error_string(code), api().get_last_error(nullptr));
  }

  // Throws Error after abort().
  void expect_alive() {
    {
      const std::lock_guard lock(mutex_);
      if (!aborted_) return;
    }
    if (control_) control_->check();
    fail("NCCL: the communicators were aborted");
  }

  // Calls one function of NCCL with a communicator and keeps abort() from freeing it meanwhile. Throws Error after
  // abort().
  template <class Function>
  void call(const char* what, Which which, const Function& function) {
    std::unique_lock lock(mutex_);
    if (aborted_) {
      lock.unlock();
      return expect_alive();
    }
    const nccl::Comm comm = comms_[which];
    ++inside_;
    lock.unlock();
    const int code = function(comm);
    lock.lock();
    --inside_;
    left_.notify_all();
    lock.unlock();
    expect(what, code);
  }

  static void expect_device(const char* what, const Tensor& t) {
    hr::check(t.device().type == Device::Type::cuda, "{}: NCCL works in GPU memory, the tensor is on {}", what,
              to_string(t.device()));
  }

  void reduce(Which which, const Tensor& t, Reduce op, void* stream) {
    expect_device("all_reduce", t);
    hr::check(t.dtype() == DType::f32 || t.dtype() == DType::f64, "all_reduce: expected f32 or f64 elements, got {}",
              name_of(t.dtype()));
    call("ncclAllReduce", which, [&](nccl::Comm comm) {
      cuda::note_other_work(static_cast<cuda::Stream>(stream));
      return api().all_reduce(t.raw(), t.raw(), static_cast<size_t>(t.numel()),
                              t.dtype() == DType::f32 ? nccl::kFloat32 : nccl::kFloat64,
                              op == Reduce::mean ? nccl::kAvg : nccl::kSum, comm, stream);
    });
  }

  nccl::UniqueId exchange_id(int which) {
    nccl::UniqueId id{};
    if (rank() == 0) expect("ncclGetUniqueId", api().get_unique_id(&id));
    if (!control_) return id;
    const std::string key = fmt::format("nccl/{}", which);
    if (rank() == 0) control_->put(key, {id.internal, sizeof id.internal});
    const std::string bytes = control_->get(key);
    hr::check(bytes.size() == sizeof id.internal, "NCCL: an id of {} bytes instead of {}", bytes.size(),
              sizeof id.internal);
    std::memcpy(id.internal, bytes.data(), sizeof id.internal);
    return id;
  }

  void refuse_shared_gpus() {
    const std::vector<std::string> all = control_->all_gather(gpu_.bus_id);
    const auto host = [&](int r) {
      const std::string name = control_->name(r);
      const size_t at = name.find("host ");
      return name.substr(at, name.find(',', at) - at);
    };
    for (int b = 0; b < size(); ++b) {
      for (int a = 0; a < b; ++a) {
        hr::check(
            all[a] != all[b] || host(a) != host(b),
            "{} and {} are on the same GPU {}: NCCL wants one each; start fewer ranks or name GPUs with `devices`",
            control_->name(a), control_->name(b), all[a]);
      }
    }
  }

  void destroy() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(aborted_, true)) return;
    for (nccl::Comm& comm : comms_) {
      if (comm != nullptr) api().comm_destroy(std::exchange(comm, nullptr));
    }
  }

  std::shared_ptr<Control> control_;
  Gpu gpu_;
  std::mutex mutex_;  // Guards the four members below.
  std::condition_variable left_;
  std::array<nccl::Comm, 2> comms_{};
  int inside_ = 0;        // The number of calls that are inside NCCL.
  bool aborted_ = false;  // Aborted or destroyed.
  bool started_ = false;
};

}  // namespace

std::unique_ptr<Comm> make_nccl_comm(std::shared_ptr<Control> control, Device device) {
  // Opened first: if the library is missing, that is the message to give, and not an error that follows from it.
  api();
  return std::make_unique<NcclComm>(std::move(control), device);
}

void choose_nccl_interface(const Ranks& ranks) {
  if (ranks.size > 1 && ranks.local_size == ranks.size) ::setenv("NCCL_SOCKET_IFNAME", "lo", 0);
}

std::string nccl_description() {
  try {
    int version = 0;
    if (api().get_version(&version) != nccl::kSuccess) return "NCCL does not say its version";
    return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace hr

#include "core/comm/nccl.h"

#include <dlfcn.h>

#include <array>
#include <cstring>

#include "core/comm/nccl_api.h"
#include "core/error.h"

namespace hr {
namespace nccl {
namespace {

// A library and the functions that are wanted from it.
class Library {
 public:
  Library(const char* file, const char* next_step) : file_(file), handle_(::dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
    const char* reason = handle_ == nullptr ? ::dlerror() : "";
    check(handle_ != nullptr, "ranks on GPUs need {}: {}; {}", file, reason != nullptr ? reason : "cannot be opened",
          next_step);
  }
  template <class Function>
  void find(Function& function, const char* name) {
    void* symbol = ::dlsym(handle_, name);
    check(symbol != nullptr, "{}: has no function {}; it is too old", file_, name);
    std::memcpy(&function, &symbol, sizeof symbol);
  }

 private:
  const char* file_;
  void* handle_;  // stays open until the process ends
};

Api open_api() {
  Library library("libnccl.so.2", "install NCCL, or put its folder into LD_LIBRARY_PATH");
  Api a{};
  library.find(a.get_version, "ncclGetVersion");
  library.find(a.get_unique_id, "ncclGetUniqueId");
  library.find(a.comm_init_rank, "ncclCommInitRank");
  library.find(a.comm_destroy, "ncclCommDestroy");
  library.find(a.comm_abort, "ncclCommAbort");
  library.find(a.comm_get_async_error, "ncclCommGetAsyncError");
  library.find(a.get_error_string, "ncclGetErrorString");
  library.find(a.get_last_error, "ncclGetLastError");
  library.find(a.all_reduce, "ncclAllReduce");
  library.find(a.broadcast, "ncclBroadcast");
  library.find(a.all_gather, "ncclAllGather");
  return a;
}

Driver open_driver() {
  Library library("libcuda.so.1", "it comes with the NVIDIA driver; train on CPUs with --device cpu");
  Driver d{};
  library.find(d.init, "cuInit");
  library.find(d.device_get, "cuDeviceGet");
  library.find(d.device_get_pci_bus_id, "cuDeviceGetPCIBusId");
  library.find(d.primary_context_retain, "cuDevicePrimaryCtxRetain");
  library.find(d.primary_context_release, "cuDevicePrimaryCtxRelease_v2");
  library.find(d.context_set_current, "cuCtxSetCurrent");
  library.find(d.stream_create, "cuStreamCreate");
  library.find(d.stream_destroy, "cuStreamDestroy_v2");
  library.find(d.stream_synchronize, "cuStreamSynchronize");
  library.find(d.stream_wait_event, "cuStreamWaitEvent");
  library.find(d.event_create, "cuEventCreate");
  library.find(d.event_destroy, "cuEventDestroy_v2");
  library.find(d.event_record, "cuEventRecord");
  library.find(d.mem_alloc, "cuMemAlloc_v2");
  library.find(d.mem_free, "cuMemFree_v2");
  library.find(d.copy_to_device, "cuMemcpyHtoDAsync_v2");
  library.find(d.copy_to_host, "cuMemcpyDtoHAsync_v2");
  library.find(d.get_error_string, "cuGetErrorString");
  return d;
}

}  // namespace

const Api& api() {
  static const Api a = open_api();
  return a;
}

const Driver& driver() {
  static const Driver d = open_driver();
  return d;
}

}  // namespace nccl

namespace {

using nccl::api;
using nccl::driver;

void expect_driver(const char* what, int code) {
  if (code == 0) return;
  const char* text = nullptr;
  driver().get_error_string(code, &text);
  fail("{}: CUDA driver error {}: {}", what, code, text != nullptr ? text : "unknown");
}

// The device's context, a stream and two events; made in order and undone in reverse, whatever fails on the way.
class Gpu {
 public:
  explicit Gpu(Device device) {
    expect_driver("cuInit", driver().init(0));
    expect_driver(to_string(device).c_str(), driver().device_get(&device_, device.index));
    expect_driver(to_string(device).c_str(), driver().primary_context_retain(&context_, device_));
    try {
      expect_driver("cuCtxSetCurrent", driver().context_set_current(context_));
      expect_driver("cuStreamCreate", driver().stream_create(&stream, nccl::kStreamNonBlocking));
      expect_driver("cuEventCreate", driver().event_create(&forked, nccl::kEventDisableTiming));
      expect_driver("cuEventCreate", driver().event_create(&joined, nccl::kEventDisableTiming));
    } catch (...) {
      release();
      throw;
    }
  }
  ~Gpu() { release(); }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  std::string bus_id() const {
    std::array<char, 64> text{};
    expect_driver("cuDeviceGetPCIBusId", driver().device_get_pci_bus_id(text.data(), text.size() - 1, device_));
    return text.data();
  }

  // Device memory of at least `bytes`, for host numbers on their way.
  unsigned long long scratch(size_t bytes) {
    if (bytes > scratch_bytes_) {
      if (scratch_ != 0) driver().mem_free(scratch_);
      scratch_ = 0;
      scratch_bytes_ = 0;
      expect_driver("cuMemAlloc", driver().mem_alloc(&scratch_, bytes));
      scratch_bytes_ = bytes;
    }
    return scratch_;
  }

  void* stream = nullptr;
  void *forked = nullptr, *joined = nullptr;

 private:
  void release() {
    if (scratch_ != 0) driver().mem_free(scratch_);
    if (joined != nullptr) driver().event_destroy(joined);
    if (forked != nullptr) driver().event_destroy(forked);
    if (stream != nullptr) driver().stream_destroy(stream);
    driver().primary_context_release(device_);
  }
  int device_ = 0;
  void* context_ = nullptr;
  unsigned long long scratch_ = 0;
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
    expect("ncclBroadcast", api().broadcast(t.raw(), t.raw(), t.bytes(), nccl::kUint8, root, comms_[kCaller], stream));
  }

  void all_gather(const Tensor& mine, const Tensor& all, void* stream) override {
    expect_device("all_gather", mine);
    hr::check(all.dtype() == mine.dtype() && all.numel() == mine.numel() * size(),
              "all_gather: {} ranks' {} of {} do not fill {} of {}", size(), mine.numel(), name_of(mine.dtype()),
              all.numel(), name_of(all.dtype()));
    expect("ncclAllGather",
           api().all_gather(mine.raw(), all.raw(), mine.bytes(), nccl::kUint8, comms_[kCaller], stream));
  }

  void start_all_reduce(const Tensor& t, Reduce op, void* stream) override {
    expect_driver("cuEventRecord", driver().event_record(gpu_.forked, stream));
    expect_driver("cuStreamWaitEvent", driver().stream_wait_event(gpu_.stream, gpu_.forked, 0));
    reduce(kBackground, t, op, gpu_.stream);
    started_ = true;
    clock.bytes += static_cast<int64_t>(t.bytes());
  }

  void finish(void* stream) override {
    if (!std::exchange(started_, false)) return;
    expect_driver("cuEventRecord", driver().event_record(gpu_.joined, gpu_.stream));
    expect_driver("cuStreamWaitEvent", driver().stream_wait_event(stream, gpu_.joined, 0));
  }

  void all_reduce(std::span<double> values, Reduce op) override {
    if (values.empty()) return;
    const unsigned long long at = gpu_.scratch(values.size_bytes());
    auto* device_values = reinterpret_cast<void*>(at);  // the driver's addresses are numbers
    if (control_) control_->begin_collective(kCaller);
    expect_driver("cuMemcpyHtoD", driver().copy_to_device(at, values.data(), values.size_bytes(), gpu_.stream));
    expect("ncclAllReduce",
           api().all_reduce(device_values, device_values, values.size(), nccl::kFloat64,
                            op == Reduce::mean ? nccl::kAvg : nccl::kSum, comms_[kCaller], gpu_.stream));
    expect_driver("cuMemcpyDtoH", driver().copy_to_host(values.data(), at, values.size_bytes(), gpu_.stream));
    expect_driver("cuStreamSynchronize", driver().stream_synchronize(gpu_.stream));
    if (control_) control_->end_collective(kCaller);
    check();
  }

  // Results and messages are host memory and rare: by the control connections.
  std::vector<std::string> all_gather(std::string_view mine) override {
    if (!control_) return {std::string(mine)};
    return control_->all_gather(mine);
  }
  void barrier() override {
    if (control_) control_->barrier();
  }

  void check() override {
    if (control_) control_->check();
    for (const nccl::Comm comm : comms_) {
      int code = nccl::kSuccess;
      expect("ncclCommGetAsyncError", api().comm_get_async_error(comm, &code));
      expect("NCCL", code);
    }
  }

  // Kernels that wait for a rank that is gone end, and so does whoever waits for the stream.
  void abort() noexcept override {
    if (aborted_.exchange(true)) return;
    for (const nccl::Comm comm : comms_) {
      if (comm != nullptr) api().comm_abort(comm);
    }
  }

 private:
  enum Which : int { kCaller = 0, kBackground = 1 };

  void expect(const char* what, int code) {
    if (code == nccl::kSuccess) return;
    if (control_) {
      // NCCL notices a lost connection first; the control connection knows whose it was.
      if (const auto failure = control_->await_failure(control_->timeout())) throw RankFailed(*failure);
    }
    fail("{}: {} ({})", what, api().get_error_string(code), api().get_last_error(nullptr));
  }

  static void expect_device(const char* what, const Tensor& t) {
    hr::check(t.device().type == Device::Type::cuda, "{}: NCCL works in GPU memory, the tensor is on {}", what,
              to_string(t.device()));
  }

  void reduce(Which which, const Tensor& t, Reduce op, void* stream) {
    expect_device("all_reduce", t);
    hr::check(t.dtype() == DType::f32 || t.dtype() == DType::f64, "all_reduce: expected f32 or f64 elements, got {}",
              name_of(t.dtype()));
    expect("ncclAllReduce", api().all_reduce(t.raw(), t.raw(), static_cast<size_t>(t.numel()),
                                             t.dtype() == DType::f32 ? nccl::kFloat32 : nccl::kFloat64,
                                             op == Reduce::mean ? nccl::kAvg : nccl::kSum, comms_[which], stream));
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
    const std::vector<std::string> all = control_->all_gather(gpu_.bus_id());
    const auto host = [&](int r) {
      const std::string name = control_->name(r);
      const size_t at = name.find("host ");
      return name.substr(at, name.find(',', at) - at);
    };
    for (int b = 0; b < size(); ++b) {
      for (int a = 0; a < b; ++a) {
        hr::check(
            all[a] != all[b] || host(a) != host(b),
            "{} and {} are on the same GPU {}: NCCL wants one each; start fewer ranks or name GPUs with --devices",
            control_->name(a), control_->name(b), all[a]);
      }
    }
  }

  void destroy() {
    if (aborted_.exchange(true)) return;
    for (nccl::Comm& comm : comms_) {
      if (comm != nullptr) api().comm_destroy(std::exchange(comm, nullptr));
    }
  }

  std::shared_ptr<Control> control_;
  Gpu gpu_;
  std::array<nccl::Comm, 2> comms_{};
  std::atomic<bool> aborted_{false};
  bool started_ = false;
};

}  // namespace

std::unique_ptr<Comm> make_nccl_comm(std::shared_ptr<Control> control, Device device) {
  // Both libraries first: their absence is the message to give, not what follows from it.
  api();
  driver();
  return std::make_unique<NcclComm>(std::move(control), device);
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

#include "core/comm/gloo.h"

#include <gloo/allgatherv.h>
#include <gloo/allreduce.h>
#include <gloo/broadcast.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <numeric>

#include "core/parallel.h"
#include "core/threads.h"

namespace hr {
namespace {

// Gloo exchanges addresses with this store, which uses the control connection.
class ControlStore final : public gloo::rendezvous::Store {
 public:
  ControlStore(Control& control, std::string prefix) : control_(control), prefix_(std::move(prefix)) {}
  void set(const std::string& key, const std::vector<char>& data) override {
    control_.put(prefix_ + key, {data.data(), data.size()});
  }
  std::vector<char> get(const std::string& key) override {
    const auto [it, is_new] = known_.try_emplace(key);
    if (is_new) it->second = control_.get(prefix_ + key);
    return {it->second.begin(), it->second.end()};
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) get(key);
  }
  void wait(const std::vector<std::string>& keys, const Milliseconds&) override { wait(keys); }

 private:
  Control& control_;
  std::string prefix_;
  std::map<std::string, std::string> known_;
};

template <class T>
void add(void* out, const void* a, const void* b, size_t n) {
  auto* to = static_cast<T*>(out);
  const auto *x = static_cast<const T*>(a), *y = static_cast<const T*>(b);
  for (size_t i = 0; i < n; ++i) to[i] = x[i] + y[i];
}

template <class T>
void scale(T* values, size_t n, T factor) {
  for (size_t i = 0; i < n; ++i) values[i] *= factor;
}

// Two sequences of collectives run in parallel, each over its own connections.
enum ChannelNumber : int { kCaller = 0, kBackground = 1 };

class GlooComm final : public Comm {
 public:
  explicit GlooComm(std::shared_ptr<Control> control)
      : Comm(control->ranks().rank, control->ranks().size), control_(std::move(control)) {
    guarded([&] {
      for (const ChannelNumber channel : {kCaller, kBackground}) connect(channel);
    });
    control_->on_failure([this] { abort(); });
    worker_ = std::thread([this] { work(); });
  }

  ~GlooComm() override {
    control_->on_failure({});
    bool under_way = false;
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      under_way = !queue_.empty();
    }
    changed_.notify_all();
    if (under_way) abort();  // The caller is leaving with an exception.
    worker_.join();
  }

  std::string_view engine() const override { return "gloo"; }

  void all_reduce(const Tensor& values, Reduce op, void*) override {
    expect_host("all_reduce", values);
    collective(kCaller, [&](const Mesh& mesh, uint32_t tag) { reduce(mesh, values, op, tag); });
  }

  void all_reduce(std::span<double> values, Reduce op) override {
    if (values.empty()) return;
    collective(kCaller, [&](const Mesh& mesh, uint32_t tag) { reduce(mesh, values.data(), values.size(), op, tag); });
  }

  void broadcast(const Tensor& values, int root, void*) override {
    expect_host("broadcast", values);
    if (values.bytes() == 0) return;
    collective(kCaller, [&](const Mesh& mesh, uint32_t tag) {
      gloo::BroadcastOptions options(mesh);
      options.setOutput(values.data<char>(), values.bytes());
      options.setRoot(root);
      options.setTag(tag);
      gloo::broadcast(options);
    });
  }

  void all_gather(const Tensor& mine, const Tensor& all, void*) override {
    expect_host("all_gather", mine);
    hr::check(all.dtype() == mine.dtype() && all.numel() == mine.numel() * size(),
              "all_gather: {} ranks with {} of {} each do not fill {} of {}", size(), mine.numel(),
              name_of(mine.dtype()), all.numel(), name_of(all.dtype()));
    gather(mine.data<char>(), all.data<char>(), std::vector<size_t>(size(), mine.bytes()));
  }

  std::vector<std::string> all_gather(std::string_view mine) override {
    std::vector<uint64_t> sizes(size());
    const uint64_t own = mine.size();
    gather(reinterpret_cast<const char*>(&own), reinterpret_cast<char*>(sizes.data()),
           std::vector<size_t>(size(), sizeof own));
    std::string all(std::accumulate(sizes.begin(), sizes.end(), uint64_t{0}), '\0');
    if (!all.empty()) gather(mine.data(), all.data(), {sizes.begin(), sizes.end()});
    std::vector<std::string> parts;
    size_t at = 0;
    for (const uint64_t n : sizes) {
      parts.push_back(all.substr(at, n));
      at += n;
    }
    return parts;
  }

  void start_all_reduce(const Tensor& values, Reduce op, void*) override {
    expect_host("all_reduce", values);
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back({values, op});
    }
    changed_.notify_all();
  }

  void finish(void*) override {
    const auto started = Clock::now();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.empty() || error_; });
    clock.exposed += std::chrono::duration<double>(Clock::now() - started).count();
    clock.busy += std::exchange(busy_, 0.0);
    clock.bytes += std::exchange(bytes_, 0);
    if (error_) {
      queue_.clear();
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }

  void barrier() override { control_->barrier(); }
  void check() override { control_->check(); }

  // Gloo has no call for this. But a wait that times out reports an error to every connection of the context, and the
  // connections wake the threads that wait for them. Therefore this waits for a message that is never sent.
  void abort() noexcept override {
    for (const auto& context : contexts_) {
      try {
        char nothing = 0;
        if (context) context->createUnboundBuffer(&nothing, 1)->waitRecv(Milliseconds(1));
      } catch (const std::exception&) {
        continue;
      }
    }
  }

 private:
  using Mesh = std::shared_ptr<gloo::rendezvous::Context>;
  // The limit, in bytes from all ranks together, below which gathering is faster than a ring.
  static constexpr size_t kSmall = 64 << 10;

  struct Work {
    Tensor values;
    Reduce op;
  };

  void connect(ChannelNumber channel) {
    gloo::transport::tcp::attr attr(control_->address().c_str());
    if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface != nullptr) attr.iface = interface;
    std::shared_ptr<gloo::transport::Device> device;
    call_on_new_thread([&] {
      unpin_this_thread();
      // The device's thread inherits this. Gloo's threads spin while another one holds the lock of a connection. On a
      // busy core the device's thread, woken by an answer, would preempt the caller in the middle of its request and
      // spin for a time slice: every small collective would take 4 ms in place of 0.1 ms. A thread of the batch class
      // does not preempt.
      const sched_param none{};
      if (channel == kCaller) ::sched_setscheduler(0, SCHED_BATCH, &none);
      device = gloo::transport::tcp::CreateDevice(attr);
    });
    const auto context = std::make_shared<gloo::rendezvous::Context>(rank(), size());
    context->setTimeout(control_->timeout());
    ControlStore store(*control_, fmt::format("gloo/{}/", static_cast<int>(channel)));
    context->connectFullMesh(store, device);
    // The control connection decides which rank is late and can name it. Gloo's own limit only matters if that fails.
    context->setTimeout(20 * control_->timeout());
    contexts_[channel] = context;
  }

  static void expect_host(const char* what, const Tensor& t) {
    hr::check(t.device().type == Device::Type::cpu, "{}: Gloo works in host memory, the tensor is on {}", what,
              to_string(t.device()));
  }

  // Turns Gloo's exceptions into ours. Gloo only notices that a connection was closed; the control connection knows
  // which rank caused it, or will know soon.
  template <class Body>
  void guarded(const Body& body) {
    try {
      body();
    } catch (const RankFailed&) {
      throw;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      if (const auto failure = control_->await_failure(control_->timeout())) throw RankFailed(*failure);
      std::string reason = e.what();
      if (const size_t end = reason.find("] "); reason.starts_with('[') && end != std::string::npos)
        reason = reason.substr(end + 2);  // Removes Gloo's source file and line.
      fail("the connections between the ranks failed: {}", reason);
    }
  }

  template <class Body>
  void collective(ChannelNumber channel, const Body& body) {
    control_->begin_collective(channel);
    guarded([&] { body(contexts_[channel], ++serial_[channel]); });
    control_->end_collective(channel);
  }

  void gather(const Mesh& mesh, const char* mine, char* all, std::vector<size_t> sizes, uint32_t tag) {
    gloo::AllgathervOptions options(mesh);
    options.setInput(const_cast<char*>(mine), sizes[rank()]);
    options.setOutput(all, std::move(sizes));
    options.setTag(tag);
    gloo::allgatherv(options);
  }

  void gather(const char* mine, char* all, const std::vector<size_t>& sizes) {
    collective(kCaller, [&](const Mesh& mesh, uint32_t tag) { gather(mesh, mine, all, sizes, tag); });
  }

  template <class T>
  void reduce(const Mesh& mesh, T* values, size_t n, Reduce op, uint32_t tag) {
    if (n * sizeof(T) * static_cast<size_t>(size()) <= kSmall) {
      // This takes a third of the messages that a ring needs, and for small sizes the number of messages decides the
      // time.
      std::vector<T> all(n * static_cast<size_t>(size()));
      gather(mesh, reinterpret_cast<const char*>(values), reinterpret_cast<char*>(all.data()),
             std::vector<size_t>(size(), n * sizeof(T)), tag);
      std::copy_n(all.begin(), n, values);
      for (int r = 1; r < size(); ++r) add<T>(values, values, all.data() + static_cast<size_t>(r) * n, n);
    } else {
      gloo::AllreduceOptions options(mesh);
      options.setOutput(values, n);
      options.setReduceFunction(&add<T>);
      options.setTag(tag);
      options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
      gloo::allreduce(options);
    }
    if (op == Reduce::mean) scale(values, n, T{1} / static_cast<T>(size()));
  }

  void reduce(const Mesh& mesh, const Tensor& t, Reduce op, uint32_t tag) {
    const auto n = static_cast<size_t>(t.numel());
    if (n == 0) return;
    if (t.dtype() == DType::f32) return reduce(mesh, t.data<float>(), n, op, tag);
    if (t.dtype() == DType::f64) return reduce(mesh, t.data<double>(), n, op, tag);
    fail("all_reduce: expected f32 or f64 elements, got {}", name_of(t.dtype()));
  }

  void work() {
    unpin_this_thread();
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || (!queue_.empty() && !error_); });
      if (stop_) return;
      const Work next = queue_.front();
      lock.unlock();
      const auto started = Clock::now();
      std::exception_ptr error;
      try {
        collective(kBackground, [&](const Mesh& mesh, uint32_t tag) { reduce(mesh, next.values, next.op, tag); });
      } catch (...) {
        error = std::current_exception();
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
      lock.lock();
      busy_ += seconds;
      bytes_ += static_cast<int64_t>(next.values.bytes());
      error_ = error;
      if (!error_) queue_.pop_front();
      changed_.notify_all();
    }
  }

  std::shared_ptr<Control> control_;
  std::shared_ptr<gloo::rendezvous::Context> contexts_[Control::kChannels];
  uint32_t serial_[Control::kChannels] = {};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;  // The first one is in progress.
  std::exception_ptr error_;
  bool stop_ = false;
  double busy_ = 0;
  int64_t bytes_ = 0;
  std::thread worker_;
};

}  // namespace

std::unique_ptr<Comm> make_gloo_comm(std::shared_ptr<Control> control) {
  return std::make_unique<GlooComm>(std::move(control));
}

}  // namespace hr

#include "core/comm/local.h"

#include <cstring>

#include "core/error.h"

namespace hr {
namespace {

class LocalComm final : public Comm {
 public:
  LocalComm() : Comm(0, 1) {}
  std::string_view engine() const override { return "local"; }
  void all_reduce(const Tensor&, Reduce, void*) override {}
  void broadcast(const Tensor&, int, void*) override {}
  void all_gather(const Tensor& mine, const Tensor& all, void*) override {
    check_gather(mine, all);
    std::memcpy(all.raw(), mine.raw(), mine.bytes());
  }
  void start_all_reduce(const Tensor&, Reduce, void*) override {}
  void finish(void*) override {}
  void all_reduce(std::span<double>, Reduce) override {}
  std::vector<std::string> all_gather(std::string_view mine) override { return {std::string(mine)}; }
  void barrier() override {}
  void check() override {}
  void abort() noexcept override {}

 private:
  static void check_gather(const Tensor& mine, const Tensor& all) {
    hr::check(all.numel() == mine.numel() && all.dtype() == mine.dtype(),
              "all_gather: one rank with {} of {} does not fill {} of {}", mine.numel(), name_of(mine.dtype()),
              all.numel(), name_of(all.dtype()));
    hr::check(mine.device().type == Device::Type::cpu, "all_gather: the local engine works in host memory");
  }
};

}  // namespace

std::unique_ptr<Comm> make_local_comm() { return std::make_unique<LocalComm>(); }

}  // namespace hr

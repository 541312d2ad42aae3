#include "tools/programs/train.h"

#include <csignal>

#include "hrnet/train/trainer.h"
#include "tools/cli/data_options.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/model_options.h"
#include "tools/train/train_output.h"

namespace hr {
namespace {

StopRequest stop;

// The first Ctrl-C (or SIGTERM) asks for an orderly end; the second one ends at once.
void on_interrupt(int signal) {
  stop.request(signal);
  std::signal(signal, SIG_DFL);
}

// While it lives, Ctrl-C and SIGTERM ask for an orderly end. After such an end they keep ending the program at once.
class OrderlyEnd {
 public:
  OrderlyEnd() {
    stop.clear();
    before_interrupt_ = std::signal(SIGINT, on_interrupt);
    before_terminate_ = std::signal(SIGTERM, on_interrupt);
  }
  void restore() {
    std::signal(SIGINT, before_interrupt_);
    std::signal(SIGTERM, before_terminate_);
  }

 private:
  void (*before_interrupt_)(int);
  void (*before_terminate_)(int);
};

int run(Trainer& trainer, TrainOutput& output) {
  OrderlyEnd orderly_end;
  const TrainEnd end = trainer.run(stop);
  if (!end.stopped()) orderly_end.restore();
  output.ended(end, trainer.folder());
  return end.stopped() ? 128 + (end.stop_reason == SIGTERM ? SIGTERM : SIGINT) : 0;
}

int test(Trainer& trainer, TrainOutput& output, bool first) {
  const ValidationRun result = trainer.test();
  if (first) output.tested(result, trainer.model().name(), trainer.folder());
  return 0;
}

}  // namespace

int train(const TrainOptions& o, World& world) {
  if (world.first()) {
    for (const std::string& remark : o.config.remarks) print_note(remark);
  }
  TrainOutput output(o.print_freq);
  Trainer trainer(o, world, output, print_remark);
  std::fflush(stdout);
  return o.test_only ? test(trainer, output, world.first()) : run(trainer, output);
}

int train(const TrainOptions& options) {
  World alone = lone_world();
  return train(options, alone);
}

}  // namespace hr

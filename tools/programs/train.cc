#include "tools/programs/train.h"

#include <csignal>

#include "hrnet/train/precision.h"
#include "hrnet/train/trainer.h"
#include "tools/cli/data_options.h"
#include "tools/cli/model_options.h"
#include "tools/cli/orderly_end.h"
#include "tools/train/train_output.h"

namespace hr {
namespace {

int run(Trainer& trainer, TrainOutput& output) {
  OrderlyEnd orderly_end;
  const TrainEnd end = [&] {
    try {
      return trainer.run(OrderlyEnd::stop());
    } catch (const std::exception& error) {
      output.failed(error.what(), trainer.folder());
      throw;
    }
  }();
  if (!end.stopped()) orderly_end.restore();
  output.ended(end, trainer);
  return end.stopped() ? 128 + (end.stop_reason == SIGTERM ? SIGTERM : SIGINT) : 0;
}

int test(Trainer& trainer, TrainOutput& output, bool first) {
  const ValidationRun result = trainer.test();
  if (first) output.tested(result, trainer);
  return 0;
}

}  // namespace

int train(const TrainOptions& options, World& world) {
  TrainOptions o = options;
  if (world.first()) {
    for (const std::string& remark : o.config.remarks) print_note(remark);
  }
  settle_precision(o, {.training = !o.test_only, .h = o.input_h(), .w = o.input_w(), .ranks = world.size()},
                   [&](const std::string& text) {
                     if (world.first()) print_note(text);
                   });
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

#include "tools/launch/rank_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "core/comm/nccl.h"
#include "core/parallel.h"
#include "tools/cli/cli.h"
#include "tools/launch/spawn.h"

namespace hr {
namespace {

int held_stderr = -1;

void redirect(int fd, const char* path) {
  const int other = ::open(path, O_WRONLY | O_CLOEXEC);
  if (other < 0) return;
  ::dup2(other, fd);
  ::close(other);
}

void release_stderr() {
  if (held_stderr < 0) return;
  std::fflush(stderr);
  ::dup2(held_stderr, STDERR_FILENO);
  ::close(held_stderr);
  held_stderr = -1;
}

// Reports how the run failed and returns its exit status. Rank 0 prints the lines that all ranks have agreed on.
int conclude(const std::string& program, Control& control, const std::optional<Failure>& own,
             const fs::path& checkpoint) {
  const Control::Settlement end = control.settle(own);
  control.close();
  for (std::string line : end.lines) {
    const bool resumable = end.status == kExitRankLost && !checkpoint.empty() && fs::exists(checkpoint);
    if (resumable) line += fmt::format("; go on with the same flags and --resume {}", checkpoint.string());
    print_error(program, line);
  }
  return end.status;
}

// Turns an exception of the body into this rank's failure. The result is empty if the exception only reports the
// failure of another rank.
std::optional<Failure> failure_of(int rank, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const RankFailed&) {
    return {};  // another rank reports it
  } catch (const Error& e) {
    return Failure{.rank = rank, .status = kExitUsage, .what = e.what()};
  } catch (const std::bad_alloc&) {
    return Failure{.rank = rank, .status = kExitUsage, .what = "out of memory; try a smaller batch or --fixed-size"};
  } catch (const std::system_error& e) {
    return Failure{.rank = rank, .status = kExitUsage, .what = e.what()};
  } catch (const std::exception& e) {
    return Failure{.rank = rank,
                   .status = kExitInternal,
                   .what = fmt::format("internal error: {}; this is a bug, please report it", e.what())};
  }
}

int run_one(const std::string& program, World& world, Milliseconds timeout, const fs::path& checkpoint,
            const std::function<int(World&)>& body) {
  try {
    world.control = std::make_shared<Control>(world.ranks, timeout);
  } catch (const Error&) {
    // The control connection does not exist, so the error cannot be sent to rank 0. The first rank of each host prints
    // it; the others exit silently.
    if (world.ranks.local_rank == 0) throw;
    return kExitUsage;
  }
  const std::shared_ptr<Control> control = world.control;
  control->set_last_resort([&program, control = control.get()](const Control::Settlement& end) {
    control->close();
    for (const std::string& line : end.lines) print_error(program, line);
    std::_Exit(end.status);
  });
  int status = 0;
  try {
    control->join();
    status = body(world);
    control->leave();
    return status;
  } catch (...) {
    status = conclude(program, *control, failure_of(world.rank(), std::current_exception()), checkpoint);
  }
  // The program ends without destructors, because threads of the engine may still wait for lost ranks.
  std::fflush(nullptr);
  std::_Exit(status);
}

}  // namespace

void add_rank_options(CLI::App& app, RankOptions& o) {
  app.add_option("--nproc", o.nproc, "number of ranks to start on this host")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  app.add_option("--devices", o.devices, "start one rank on each of these GPUs of this host, for example 0,3")
      ->type_name("LIST");
  app.add_option(
         "--max-restarts", o.max_restarts,
         "with --nproc or --devices: how often all ranks are restarted from the last checkpoint after the loss of one")
      ->type_name("K")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--dist-timeout", o.dist_timeout, "seconds after which all ranks have noticed the loss of one")
      ->type_name("S")
      ->check(CLI::Range(0.5, 86400.0));
  app.add_option("--dist-url", o.dist_url, "address of rank 0: env:// (MASTER_ADDR, MASTER_PORT) or tcp://host:port")
      ->type_name("URL");
  app.add_option("--world-size", o.world_size, "number of ranks that the launcher must have started; 0: any number")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
}

void hold_output_of_other_ranks() {
  Ranks ranks;
  try {
    ranks = ranks_from(process_environment());
  } catch (const Error&) {
    return;  // reported by run_ranks(), when the flags are known
  }
  if (ranks.rank == 0) return;
  redirect(STDOUT_FILENO, "/dev/null");
  if (ranks.local_rank == 0) return;
  held_stderr = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  redirect(STDERR_FILENO, "/dev/null");
}

int run_ranks(const std::string& program, const RankOptions& o, int threads, const fs::path& checkpoint,
              const std::function<int(World&)>& body) {
  const Environment environment = process_environment();
  World world = lone_world();
  const bool start = o.nproc > 0 || !o.devices.empty();
  try {
    // The process that starts the ranks is not a rank itself. The ranks that it starts check --world-size.
    const bool starter = start && environment.find("HR_RUN") == environment.end();
    world.ranks = ranks_from(environment, {.dist_url = o.dist_url, .world_size = starter ? 0 : o.world_size});
  } catch (const SharedRankError&) {
    for (const char* name : {"RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"}) {
      const auto it = environment.find(name);
      if (it != environment.end() && it->second != "0") return kExitUsage;  // rank 0 reports it
    }
    throw;
  }
  if (start && world.ranks.launcher != kOwnLauncher) {
    check(world.ranks.launcher.empty(),
          "--{} inside {} (rank {} of {}): the ranks are started already; leave out the flag",
          o.devices.empty() ? "nproc" : "devices", world.ranks.launcher, world.ranks.rank, world.ranks.size);
    LaunchOptions launch_options{.ranks = o.nproc,
                                 .max_restarts = o.max_restarts,
                                 .dist_timeout = o.dist_timeout,
                                 .divide_cpus = threads == 0,
                                 .checkpoint = checkpoint};
    if (!o.devices.empty()) {
      launch_options.devices = parse_devices(o.devices);
      const auto count = static_cast<int>(launch_options.devices.size());
      check(o.nproc == 0 || o.nproc == count, "--nproc {} and --devices {} contradict each other", o.nproc, o.devices);
      launch_options.ranks = count;
    }
    return launch(program, launch_options);
  }
  check(start || o.max_restarts == 0,
        "--max-restarts {} needs --nproc or --devices, because only ranks that this program starts can be restarted by "
        "it",
        o.max_restarts);
  release_stderr();
  if (world.ranks.size == 1) return body(world);
  if (threads == 0 && world.ranks.launcher != kOwnLauncher && std::getenv("OMP_NUM_THREADS") == nullptr)
    set_compute_threads(std::max(1, compute_threads() / world.ranks.local_size));
  choose_nccl_interface(world.ranks);
  const auto timeout = Milliseconds(static_cast<int64_t>(o.dist_timeout * 1000));
  return run_one(program, world, timeout, checkpoint, body);
}

}  // namespace hr

#include "core/comm/ranks.h"

#include <charconv>
#include <optional>
#include <vector>

#include "core/error.h"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace hr {
namespace {

constexpr int kDefaultPort = 29500;  // torch's default.

template <class... Args>
void check_shared(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw SharedRankError(fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error with the field of a setting, unless the condition holds.
template <class... Args>
void check_shared_field(bool condition, const char* field, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw SharedRankError(field, fmt::format(format, std::forward<Args>(args)...));
}

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  bool has(std::string_view name) const { return !text(name).empty(); }
  std::string text(std::string_view name) const {
    const auto it = environment_.find(name);
    return it == environment_.end() ? "" : it->second;
  }
  // Returns a whole number of at least `low`; empty if the variable is not set or empty.
  std::optional<int> number(std::string_view name, int low) const {
    const std::string value = text(name);
    if (value.empty()) return {};
    int n = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), n);
    check(code == std::errc() && end == value.data() + value.size() && n >= low,
          "{}={}: expected a whole number from {} on", name, value, low);
    return n;
  }

 private:
  const Environment& environment_;
};

// The variables in which one launcher passes the four numbers.
struct Names {
  const char *launcher, *rank, *size, *local_rank, *local_size;
};
constexpr Names kTorch{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                         "OMPI_COMM_WORLD_LOCAL_SIZE"};
// SLURM_NTASKS is not used, because a batch script, which is not a rank, has that variable too. The number of tasks on
// this host is not taken from Slurm.
constexpr Names kSlurm{"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""};

std::optional<Ranks> read(const Reader& env, const Names& names) {
  // A batch script has SLURM_PROCID but not the number of tasks in a step.
  const bool complete_by_size = &names == &kSlurm;
  if (!env.has(names.size) && (complete_by_size || !env.has(names.rank))) return {};
  Ranks r{.launcher = names.launcher};
  std::vector<std::string> found, missing;
  for (const char* name : {names.rank, names.size, names.local_rank}) {
    if (env.has(name)) {
      found.push_back(fmt::format("{}={}", name, env.text(name)));
    } else {
      missing.emplace_back(name);
    }
  }
  check_shared(missing.empty(), "{} is set, but not {}; {} sets all three", fmt::join(found, ", "),
               fmt::join(missing, ", "), names.launcher);
  r.rank = *env.number(names.rank, 0);
  r.size = *env.number(names.size, 1);
  r.local_rank = *env.number(names.local_rank, 0);
  check(r.rank < r.size, "{}={} and {}={} contradict each other: ranks count from 0 to {}", names.rank, r.rank,
        names.size, r.size, r.size - 1);
  check(r.local_rank <= r.rank,
        "{}={} and {}={} contradict each other: the number on the host cannot be the larger one", names.local_rank,
        r.local_rank, names.rank, r.rank);
  r.local_size = r.local_rank + 1;  // At least this many; the launcher may give the exact number below.
  if (const auto n = env.number(names.local_size, 1)) {
    check(r.local_rank < *n && *n <= r.size, "{}={} contradicts {}={} and {}={}", names.local_size, *n,
          names.local_rank, r.local_rank, names.size, r.size);
    r.local_size = *n;
  }
  return r;
}

void expect_agreement(const Ranks& used, const Names& names, const Ranks& other, const Names& other_names) {
  const auto differ = [&](const char* a, int left, const char* b, int right) {
    check(left == right, "{}={} and {}={} contradict each other: this process was started by {}; unset {}", a, left, b,
          right, other_names.launcher, a);
  };
  differ(names.rank, used.rank, other_names.rank, other.rank);
  differ(names.size, used.size, other_names.size, other.size);
}

struct Address {
  std::string host;
  int port = 0;
};

// Parses "tcp://host:port" and "tcp://[::1]:port".
Address parse_url(const std::string& url) {
  constexpr std::string_view prefix = "tcp://";
  const size_t colon = url.rfind(':');
  const bool form = url.starts_with(prefix) && colon != std::string::npos && colon > prefix.size();
  Address a;
  const char* begin = form ? url.data() + colon + 1 : nullptr;
  const char* end = url.data() + url.size();
  const bool port = form && std::from_chars(begin, end, a.port).ptr == end && a.port >= 1 && a.port <= 65535;
  check_shared_field(port, "dist_url", "{}: expected env:// or tcp://host:port with a port from 1 to 65535", url);
  a.host = url.substr(prefix.size(), colon - prefix.size());
  if (a.host.size() > 2 && a.host.front() == '[' && a.host.back() == ']') a.host = a.host.substr(1, a.host.size() - 2);
  return a;
}

// Returns the same port on every rank of a job, and almost always another one for other jobs on the same hosts.
int port_of_job(std::string_view job) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 20000 + static_cast<int>(hash % 10000);
}

void find_address(const Reader& env, const RankFlags& flags, Ranks& r) {
  const std::string address = env.text("MASTER_ADDR");
  const auto port = env.number("MASTER_PORT", 1);
  check_shared(!port || *port <= 65535, "MASTER_PORT={}: ports end at 65535", port.value_or(0));
  if (flags.dist_url != "env://") {
    const Address url = parse_url(flags.dist_url);
    check_shared_field(address.empty() || address == url.host, "dist_url",
                       "{} and MASTER_ADDR={} contradict each other", flags.dist_url, address);
    check_shared_field(!port || *port == url.port, "dist_url", "{} and MASTER_PORT={} contradict each other",
                       flags.dist_url, port.value_or(0));
    r.address = url.host;
    r.port = url.port;
    r.port_name = fmt::format("`dist_url` {}", flags.dist_url);
    return;
  }
  if (r.size == 1) return;
  if (!address.empty()) r.address = address;
  if (port) r.port = *port;
  r.port_name = fmt::format("MASTER_PORT={}", env.text("MASTER_PORT"));
  if (port && env.text("TORCHELASTIC_USE_AGENT_STORE") == "True") {
    r.port = *port < 65535 ? *port + 1 : *port - 1;
    r.port_name = fmt::format("port {}, because torchrun listens on MASTER_PORT={}", r.port, *port);
  }
  if (r.launcher == kOpenMpi.launcher) {
    check_shared(
        !address.empty() || r.local_size == r.size,
        "OMPI_COMM_WORLD_SIZE={} and OMPI_COMM_WORLD_LOCAL_SIZE={}: on several hosts mpirun does not say where rank 0 "
        "is; name its host with -x MASTER_ADDR=<host>",
        r.size, r.local_size);
    if (!port) {
      r.port = port_of_job(env.text("PMIX_NAMESPACE"));
      r.port_name = fmt::format("port {} for this job, in place of MASTER_PORT", r.port);
    }
  } else if (r.launcher == kSlurm.launcher) {
    if (address.empty()) {
      const char* list = env.has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST";
      check_shared(env.has(list),
                   "SLURM_STEP_NUM_TASKS={} is set, but neither SLURM_STEP_NODELIST nor SLURM_JOB_NODELIST; "
                   "name rank 0's host with MASTER_ADDR",
                   r.size);
      r.address = first_slurm_host(env.text(list));
    }
    if (!port) {
      r.port = port_of_job(env.text("SLURM_JOB_ID") + "." + env.text("SLURM_STEP_ID"));
      r.port_name = fmt::format("port {} for this job step, in place of MASTER_PORT", r.port);
    }
  } else {
    check_shared(!address.empty(),
                 "WORLD_SIZE={} is set, but MASTER_ADDR is missing: the host of rank 0 (or `dist_url` tcp://"
                 "host:port)",
                 r.size);
    check_shared(port.has_value(),
                 "WORLD_SIZE={} and MASTER_ADDR={} are set, but MASTER_PORT is missing: a free port on that "
                 "host, for example {}",
                 r.size, address, kDefaultPort);
  }
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos) environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Ranks ranks_from(const Environment& environment, const RankFlags& flags) {
  const Reader env(environment);
  // Launchers that start several ranks set a variable of their own. RANK and WORLD_SIZE alone may be left over in a
  // shell.
  const bool ours = env.has("HR_RUN"), elastic = env.has("TORCHELASTIC_RUN_ID");
  const auto torch = read(env, kTorch), mpi = read(env, kOpenMpi), slurm = read(env, kSlurm);
  Ranks r;
  if (torch) {
    r = *torch;
    if (mpi && !ours && !elastic) expect_agreement(r, kTorch, *mpi, kOpenMpi);
    if (slurm && slurm->size > 1 && !mpi && !ours && !elastic) expect_agreement(r, kTorch, *slurm, kSlurm);
    r.run = ours ? env.text("HR_RUN") : env.text("TORCHELASTIC_RUN_ID") + env.text("TORCHELASTIC_RESTART_COUNT");
    if (ours) {
      r.launcher = kOwnLauncher;
      r.listen_fd = env.number("HR_LISTEN_FD", 0).value_or(-1);
      r.restarts = env.number("HR_RESTARTS", 0).value_or(0);
      r.resume = env.text("HR_RESUME");
    }
  } else if (mpi) {
    r = *mpi;
    r.run = env.text("PMIX_NAMESPACE");
  } else if (slurm) {
    r = *slurm;
    r.run = env.text("SLURM_JOB_ID") + "." + env.text("SLURM_STEP_ID");
  }
  const char* size_name = mpi && !torch ? kOpenMpi.size : slurm && !torch ? kSlurm.size : kTorch.size;
  check_shared_field(flags.world_size == 0 || flags.world_size == r.size || r.launcher.empty(), "world_size",
                     "{} and {}={} contradict each other; the launcher's number is the one that counts",
                     flags.world_size, size_name, r.size);
  check_shared_field(!r.launcher.empty() || flags.world_size <= 1, "world_size",
                     "{}: RANK and WORLD_SIZE are missing; start the ranks with `nproc` {}, torchrun, mpirun or srun",
                     flags.world_size, flags.world_size);
  find_address(env, flags, r);
  return r;
}

std::string first_slurm_host(std::string_view list) {
  std::string host;
  size_t at = 0;
  while (at < list.size() && list[at] != ',') {
    if (list[at] != '[') {
      host += list[at++];
      continue;
    }
    const size_t close = list.find(']', at);
    check(close != std::string_view::npos, "SLURM_STEP_NODELIST={}: a '[' without its ']'", list);
    const std::string_view inside = list.substr(at + 1, close - at - 1);
    host += inside.substr(0, inside.find_first_of(",-"));
    at = close + 1;
  }
  check(!host.empty(), "SLURM_STEP_NODELIST={}: names no host", list);
  return host;
}

}  // namespace hr

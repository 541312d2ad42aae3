// Which rank this process is, and where rank 0 is to be found: from the variables that torchrun, Open MPI's mpirun,
// Slurm's srun and our own launcher set.
//
//   torchrun  RANK WORLD_SIZE LOCAL_RANK [LOCAL_WORLD_SIZE] MASTER_ADDR MASTER_PORT
//   mpirun    OMPI_COMM_WORLD_{RANK,SIZE,LOCAL_RANK,LOCAL_SIZE}; on one host the address is 127.0.0.1, on several hosts
//             MASTER_ADDR (and MASTER_PORT) must be passed with -x
//   srun      SLURM_PROCID SLURM_STEP_NUM_TASKS SLURM_LOCALID; the address is the first host of SLURM_STEP_NODELIST
//
// torchrun listens on MASTER_PORT itself (TORCHELASTIC_USE_AGENT_STORE=True); rank 0 then takes the port after it.
//
// torchrun's come first: it is often started by mpirun or srun, once per host. MASTER_ADDR and MASTER_PORT, where set,
// win over what mpirun or srun say.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "core/error.h"

namespace hr {

// How Ranks::launcher names the launcher of this project, in which `nproc` says how many ranks there are.
constexpr const char* kOwnLauncher = "`nproc`";

struct Ranks {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this host
  std::string address = "127.0.0.1";   // of rank 0
  int port = 29500;
  std::string port_name = "MASTER_PORT=29500";  // where it comes from
  std::string launcher;  // "torchrun", "mpirun", "srun" or kOwnLauncher; empty: this process was started by itself
  std::string run;       // one start of one job; processes of another start are turned away
  int listen_fd =
      -1;  // rank 0 of our own launcher inherits a listening socket, so that no other program can take the port
  int restarts = 0;    // how often our own launcher has started the ranks again,
  std::string resume;  // and the checkpoint they then resume
};

// What is wrong with the variables that all ranks of a job share: the message of one of them is enough.
struct SharedRankError : Error {
  using Error::Error;
};

using Environment = std::map<std::string, std::string, std::less<>>;
Environment process_environment();

// The flags of the seed that touch it: `dist_url` "env://" or "tcp://host:port"; `world_size` 0: not given.
struct RankFlags {
  std::string dist_url = "env://";
  int world_size = 0;
};

// Error (SharedRankError where all ranks see the same) names the variables or the flag and both values when something
// is missing or contradicts. A process without any such variable is rank 0 of 1.
Ranks ranks_from(const Environment& environment, const RankFlags& flags = {});

// The first host of a Slurm list: "node[03-07,09],login1" -> "node03". Error when it is malformed.
std::string first_slurm_host(std::string_view list);

}  // namespace hr

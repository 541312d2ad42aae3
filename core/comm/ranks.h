// Determines which rank this process is and where rank 0 is reached, from the variables that torchrun, Open MPI's
// mpirun, Slurm's srun and our own launcher set.
//
//   torchrun  RANK WORLD_SIZE LOCAL_RANK [LOCAL_WORLD_SIZE] MASTER_ADDR MASTER_PORT
//   mpirun    OMPI_COMM_WORLD_{RANK,SIZE,LOCAL_RANK,LOCAL_SIZE}; on one host the address is 127.0.0.1, on several hosts
//             MASTER_ADDR (and MASTER_PORT) must be passed with -x
//   srun      SLURM_PROCID SLURM_STEP_NUM_TASKS SLURM_LOCALID; the address is the first host of SLURM_STEP_NODELIST
//
// torchrun listens on MASTER_PORT itself (TORCHELASTIC_USE_AGENT_STORE=True); rank 0 then uses the next port.
//
// torchrun's variables take precedence, because torchrun is often started by mpirun or srun, once per host. MASTER_ADDR
// and MASTER_PORT, where they are set, take precedence over the address of mpirun or srun.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "core/error.h"

namespace hr {

// Ranks::launcher has this value if the ranks were started by the launcher of this project (setting `nproc`).
constexpr const char* kOwnLauncher = "`nproc`";

struct Ranks {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // The number among the ranks of this host, and how many there are.
  std::string address = "127.0.0.1";   // The address of rank 0.
  int port = 29500;
  std::string port_name = "MASTER_PORT=29500";  // Error messages name this setting as the source of the port.
  // One of "torchrun", "mpirun", "srun" and kOwnLauncher; empty if this process was started by itself.
  std::string launcher;
  std::string run;     // Identifies one start of one job; processes of another start are turned away.
  int listen_fd = -1;  // Rank 0 of our own launcher inherits a listening socket, so that nobody else takes the port.
  int restarts = 0;    // Our own launcher has started the ranks again this many times.
  std::string resume;  // Ranks that were started again resume this checkpoint.
};

// An error in the variables that all ranks of a job share. All ranks see it, so one of them prints it.
struct SharedRankError : Error {
  using Error::Error;
};

using Environment = std::map<std::string, std::string, std::less<>>;
Environment process_environment();

// The seed's flags about ranks: `dist_url` is "env://" or "tcp://host:port"; a `world_size` of 0 means not given.
struct RankFlags {
  std::string dist_url = "env://";
  int world_size = 0;
};

// Throws Error that names the variables or the flag with both values if something is missing or contradictory; a
// SharedRankError if all ranks see the same values. A process without any such variable is rank 0 of 1.
Ranks ranks_from(const Environment& environment, const RankFlags& flags = {});

// Returns the first host of a Slurm list: "node[03-07,09],login1" gives "node03". Throws Error if the list is
// malformed.
std::string first_slurm_host(std::string_view list);

}  // namespace hr

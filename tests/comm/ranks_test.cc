// Tests how a process determines its rank from the variables of torchrun, mpirun and srun.
#include "core/comm/ranks.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hr {
namespace {

const Environment kTorchrun{{"RANK", "5"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "node-a"},
                            {"MASTER_PORT", "29400"}};

Environment with(Environment e, std::initializer_list<std::pair<const char*, const char*>> changes) {
  for (const auto& [name, value] : changes) {
    if (value == nullptr) {
      e.erase(name);
    } else {
      e[name] = value;
    }
  }
  return e;
}

void expect_refused(const Environment& e, std::initializer_list<const char*> words, const RankFlags& flags = {}) {
  try {
    ranks_from(e, flags);
    ADD_FAILURE() << "accepted; expected an error with " << *words.begin();
  } catch (const Error& error) {
    for (const char* word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(Ranks, WithoutVariablesAProcessIsAlone) {
  const Ranks r = ranks_from({{"HOME", "/root"}});
  EXPECT_EQ(r.rank, 0);
  EXPECT_EQ(r.size, 1);
  EXPECT_EQ(r.launcher, "");
}

TEST(Ranks, Torchrun) {
  const Ranks r = ranks_from(kTorchrun);
  EXPECT_EQ(r.rank, 5);
  EXPECT_EQ(r.size, 8);
  EXPECT_EQ(r.local_rank, 1);
  EXPECT_EQ(r.local_size, 4);
  EXPECT_EQ(r.address, "node-a");
  EXPECT_EQ(r.port, 29400);
  EXPECT_EQ(r.launcher, "torchrun");
}

// The agent of torchrun listens on MASTER_PORT and expects the ranks to connect as clients.
TEST(Ranks, TorchrunsOwnPortIsLeftToIt) {
  Ranks r = ranks_from(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}}));
  EXPECT_EQ(r.port, 29401);
  EXPECT_NE(r.port_name.find("29401"), std::string::npos);
  EXPECT_NE(r.port_name.find("MASTER_PORT=29400"), std::string::npos);
  r = ranks_from(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"MASTER_PORT", "65535"}}));
  EXPECT_EQ(r.port, 65534);
  EXPECT_EQ(ranks_from(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}})).port, 29400);
}

TEST(Ranks, MpirunOnOneHostNeedsNoAddress) {
  const Ranks r = ranks_from({{"OMPI_COMM_WORLD_RANK", "2"},
                              {"OMPI_COMM_WORLD_SIZE", "3"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"},
                              {"PMIX_NAMESPACE", "123@1"}});
  EXPECT_EQ(r.rank, 2);
  EXPECT_EQ(r.size, 3);
  EXPECT_EQ(r.address, "127.0.0.1");
  EXPECT_GE(r.port, 20000);
  EXPECT_LT(r.port, 30000);
  EXPECT_EQ(r.launcher, "mpirun");
}

TEST(Ranks, MpirunOnSeveralHostsNeedsOne) {
  const Environment two{{"OMPI_COMM_WORLD_RANK", "3"},
                        {"OMPI_COMM_WORLD_SIZE", "4"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  expect_refused(two, {"OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_LOCAL_SIZE=2", "MASTER_ADDR"});
  const Ranks r = ranks_from(with(two, {{"MASTER_ADDR", "10.0.0.7"}, {"MASTER_PORT", "4000"}}));
  EXPECT_EQ(r.address, "10.0.0.7");
  EXPECT_EQ(r.port, 4000);
}

TEST(Ranks, SrunTakesTheFirstHostOfTheList) {
  const Environment step{{"SLURM_PROCID", "6"},
                         {"SLURM_STEP_NUM_TASKS", "8"},
                         {"SLURM_LOCALID", "2"},
                         {"SLURM_JOB_ID", "4242"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_NTASKS", "8"},
                         {"SLURM_STEP_NODELIST", "gpu[07-08]"}};
  const Ranks r = ranks_from(step);
  EXPECT_EQ(r.rank, 6);
  EXPECT_EQ(r.size, 8);
  EXPECT_EQ(r.local_rank, 2);
  EXPECT_EQ(r.address, "gpu07");
  EXPECT_EQ(r.launcher, "srun");
  // All ranks of a Slurm step find the same port, and another step finds another one.
  EXPECT_EQ(ranks_from(with(step, {{"SLURM_PROCID", "2"}})).port, r.port);
  EXPECT_NE(ranks_from(with(step, {{"SLURM_STEP_ID", "1"}})).port, r.port);
  expect_refused(with(step, {{"SLURM_STEP_NODELIST", nullptr}}), {"SLURM_STEP_NODELIST", "MASTER_ADDR"});
}

TEST(Ranks, ABatchScriptIsNoRank) {
  const Ranks r = ranks_from({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "0"}});
  EXPECT_EQ(r.size, 1);
  EXPECT_EQ(r.launcher, "");
}

TEST(Ranks, SlurmHostLists) {
  EXPECT_EQ(first_slurm_host("login1"), "login1");
  EXPECT_EQ(first_slurm_host("login1,node[3-4]"), "login1");
  EXPECT_EQ(first_slurm_host("node[003-007,009]"), "node003");
  EXPECT_EQ(first_slurm_host("node[009,003]"), "node009");
  EXPECT_EQ(first_slurm_host("rack[2-3]node[05-06],x"), "rack2node05");
  EXPECT_EQ(first_slurm_host("a[1]b"), "a1b");
  EXPECT_THROW(first_slurm_host("node[1-2"), Error);
  EXPECT_THROW(first_slurm_host(""), Error);
}

TEST(Ranks, MissingOnesAreNamed) {
  expect_refused(with(kTorchrun, {{"WORLD_SIZE", nullptr}}), {"RANK=5", "WORLD_SIZE", "torchrun"});
  expect_refused(with(kTorchrun, {{"RANK", nullptr}}), {"WORLD_SIZE=8", "not RANK"});
  expect_refused(with(kTorchrun, {{"LOCAL_RANK", nullptr}}), {"RANK=5", "LOCAL_RANK"});
  expect_refused(with(kTorchrun, {{"MASTER_ADDR", nullptr}}), {"WORLD_SIZE=8", "MASTER_ADDR"});
  expect_refused(with(kTorchrun, {{"MASTER_PORT", nullptr}}), {"MASTER_ADDR=node-a", "MASTER_PORT"});
}

TEST(Ranks, ContradictoryOnesAreNamedWithBothValues) {
  expect_refused(with(kTorchrun, {{"RANK", "8"}}), {"RANK=8", "WORLD_SIZE=8"});
  expect_refused(with(kTorchrun, {{"RANK", "-1"}}), {"RANK=-1"});
  expect_refused(with(kTorchrun, {{"RANK", "five"}}), {"RANK=five", "whole number"});
  expect_refused(with(kTorchrun, {{"WORLD_SIZE", "0"}}), {"WORLD_SIZE=0"});
  expect_refused(with(kTorchrun, {{"LOCAL_RANK", "4"}}), {"LOCAL_RANK=4", "LOCAL_WORLD_SIZE=4"});
  expect_refused(with(kTorchrun, {{"LOCAL_RANK", "6"}}), {"LOCAL_RANK=6", "RANK=5"});
  expect_refused(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}), {"LOCAL_WORLD_SIZE=9", "WORLD_SIZE=8"});
  expect_refused(with(kTorchrun, {{"MASTER_PORT", "70000"}}), {"MASTER_PORT=70000"});
  expect_refused(with(kTorchrun, {{"MASTER_PORT", "http"}}), {"MASTER_PORT=http"});
  // A RANK is left over in the shell, under mpirun.
  const Environment mpi{{"OMPI_COMM_WORLD_RANK", "1"},
                        {"OMPI_COMM_WORLD_SIZE", "8"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "8"}};
  Environment both = kTorchrun;
  both.insert(mpi.begin(), mpi.end());
  expect_refused(both, {"RANK=5", "OMPI_COMM_WORLD_RANK=1"});
  // If mpirun starts torchrun once per host, torchrun's variables count.
  both["TORCHELASTIC_RUN_ID"] = "x";
  EXPECT_EQ(ranks_from(both).rank, 5);
}

TEST(Ranks, TheSeedsFlags) {
  EXPECT_EQ(ranks_from(kTorchrun, {.world_size = 8}).size, 8);
  expect_refused(kTorchrun, {"`world_size` 4", "WORLD_SIZE=8"}, {.world_size = 4});
  expect_refused({}, {"`world_size` 4", "`nproc` 4"}, {.world_size = 4});
  const Environment bare = with(kTorchrun, {{"MASTER_ADDR", nullptr}, {"MASTER_PORT", nullptr}});
  const Ranks r = ranks_from(bare, {.dist_url = "tcp://10.1.2.3:1234"});
  EXPECT_EQ(r.address, "10.1.2.3");
  EXPECT_EQ(r.port, 1234);
  EXPECT_EQ(ranks_from(bare, {.dist_url = "tcp://[::1]:1234"}).address, "::1");
  expect_refused(kTorchrun, {"tcp://10.1.2.3:1234", "MASTER_ADDR=node-a"}, {.dist_url = "tcp://10.1.2.3:1234"});
  expect_refused(kTorchrun, {"`dist_url`", "MASTER_PORT=29400"}, {.dist_url = "tcp://node-a:1"});
  for (const char* bad : {"tcp://", "tcp://host", "tcp://:80", "file:///x", "tcp://host:0", "tcp://host:99999"}) {
    expect_refused(bare, {"`dist_url`", bad}, {.dist_url = bad});
  }
}

TEST(Ranks, OurOwnLauncherHandsOverASocket) {
  const Ranks r = ranks_from(with(kTorchrun, {{"HR_RUN", "abc"}, {"HR_LISTEN_FD", "7"}, {"HR_RESTARTS", "2"}}));
  EXPECT_EQ(r.launcher, kOwnLauncher);
  EXPECT_EQ(r.listen_fd, 7);
  EXPECT_EQ(r.restarts, 2);
  EXPECT_EQ(r.run, "abc");
}

}  // namespace
}  // namespace hr

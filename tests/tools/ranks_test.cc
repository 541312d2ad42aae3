// Tests train as several ranks, which the tests start, stop and kill as a user might.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <sstream>
#include <thread>

#include "core/comm/nccl.h"
#include "core/comm/socket.h"
#include "core/file.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/coco.h"
#include "tests/support/oracle.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

using Variables = std::map<std::string, std::string>;

// A running program, whose output goes to a file.
class Process {
 public:
  Process(std::vector<std::string> command, const Variables& variables = {})
      : log_(test::temporary_folder() / "output.txt"), started_(Clock::now()) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::setpgid(0, 0);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ~Process() {
    if (status_ < 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  std::string output() const { return fs::exists(log_) ? read_file(log_) : ""; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - started_).count(); }

  // Returns the exit status (128 + n for signal n), or -1 if the program does not end within `limit` seconds.
  int wait(double limit = 120) {
    const auto until = Clock::now() + Milliseconds(static_cast<int64_t>(limit * 1000));
    int status = 0;
    while (status_ < 0 && Clock::now() < until) {
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      } else {
        std::this_thread::sleep_for(Milliseconds(5));
      }
    }
    return status_;
  }

  // Returns the ranks of a launcher, in the order of their start.
  std::vector<pid_t> children() const {
    std::istringstream list(read_file(fmt::format("/proc/{}/task/{}/children", pid_, pid_)));
    std::vector<pid_t> pids;
    for (pid_t pid = 0; list >> pid;) pids.push_back(pid);
    return pids;
  }

 private:
  fs::path log_;
  Clock::time_point started_;
  pid_t pid_ = 0;
  int status_ = -1;
};

size_t count(const std::string& text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

const fs::path& data() {
  static const fs::path folder = [] {
    fs::path path = test::temporary_folder() / "data";
    synth(
        {.output = path.string(), .train_images = 12, .val_images = 5, .seed = 5, .sizes = {{160, 120}}, .threads = 1});
    return path;
  }();
  return folder;
}

using Flags = std::vector<std::string>;

std::vector<std::string> train_command(const fs::path& output, const Flags& more) {
  std::vector<std::string> command{std::string(HR_PROGRAMS) + "/train",
                                   "--data-path",
                                   data().string(),
                                   "--output-dir",
                                   output.string(),
                                   "--model",
                                   "hrnet_w2",
                                   "--fixed-size",
                                   "64",
                                   "64",
                                   "--init",
                                   "torch",
                                   "--no-flip",
                                   "--workers",
                                   "1",
                                   "--batch-size",
                                   "1",
                                   "--eval-every",
                                   "1000"};
  if (std::find(more.begin(), more.end(), "--eval-every") != more.end()) command.resize(command.size() - 2);
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

// The variables of rank r, as torchrun sets them.
Variables torchrun(int rank, int size, int port) {
  return {{"RANK", std::to_string(rank)},       {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)}, {"LOCAL_WORLD_SIZE", std::to_string(size)},
          {"MASTER_ADDR", "127.0.0.1"},         {"MASTER_PORT", std::to_string(port)}};
}

int free_port() { return port_of(listen_on(0, true)); }

void wait_for_checkpoint(const fs::path& folder) {
  for (int i = 0; i < 12000 && !fs::exists(folder / "last.safetensors"); ++i)
    std::this_thread::sleep_for(Milliseconds(5));
  ASSERT_TRUE(fs::exists(folder / "last.safetensors"));
}

// Returns true when `file` is written again after `before`, or false if the program ends first.
bool written_again(Process& program, const fs::path& file, fs::file_time_type before) {
  while (program.seconds() < 120 && program.wait(0.005) < 0) {
    if (fs::last_write_time(file) != before) return true;
  }
  return false;
}

TEST(RankProgram, SharedValidationGivesTheResultsOfOneProcess) {
  const fs::path root = test::temporary_folder();
  Process trained(train_command(root / "weights", {"--epochs", "1"}));
  ASSERT_EQ(trained.wait(), 0) << trained.output();
  std::vector<std::string> results, printed;
  for (const char* ranks : {"1", "2", "3"}) {
    const fs::path folder = root / ranks;
    Process p(train_command(
        folder, {"--test-only", "--weights", (root / "weights/last.safetensors").string(), "--nproc", ranks}));
    ASSERT_EQ(p.wait(), 0) << p.output();
    results.push_back(read_file(folder / "key_results.json"));
    printed.push_back(p.output().substr(p.output().find(" Average Precision")));
    printed.back().resize(printed.back().find("wrote"));
  }
  const auto people = parse_json(results[0], "results");
  EXPECT_GT(people.Size(), 2u);
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(results[2], results[0]);
  EXPECT_EQ(printed[1], printed[0]);
  EXPECT_EQ(printed[2], printed[0]);
}

TEST(RankProgram, OnlyRankZeroPrintsAndWrites) {
  const fs::path folder = test::temporary_folder() / "run";
  const int port = free_port();
  Process other(train_command(test::temporary_folder() / "elsewhere", {"--epochs", "1"}), torchrun(1, 2, port));
  Process first(train_command(folder, {"--epochs", "1", "--print-freq", "2"}), torchrun(0, 2, port));
  EXPECT_EQ(first.wait(), 0) << first.output();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(other.output(), "");
  EXPECT_EQ(count(first.output(), "ranks      2 over gloo"), 1u) << first.output();
  EXPECT_GE(count(first.output(), "epoch 1/1 ["), 1u) << first.output();
  for (const char* name : {"last.safetensors", "best.safetensors", "config.json", "key_results.json", "curves.png",
                           "metrics.jsonl", "report.html"})
    EXPECT_TRUE(fs::exists(folder / name)) << name;
}

// torchrun, Open MPI and Slurm pass the same information under different names.
TEST(RankProgram, EveryLaunchersVariablesAreUnderstood) {
  const fs::path root = test::temporary_folder();
  const int port = free_port();
  const std::vector<std::pair<const char*, std::function<Variables(int)>>> launchers{
      {"torchrun", [&](int r) { return torchrun(r, 2, port); }},
      {"mpirun",
       [&](int r) -> Variables {
         return {{"OMPI_COMM_WORLD_RANK", std::to_string(r)},
                 {"OMPI_COMM_WORLD_SIZE", "2"},
                 {"OMPI_COMM_WORLD_LOCAL_RANK", std::to_string(r)},
                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                 {"PMIX_NAMESPACE", fmt::format("{}@1", ::getpid())}};
       }},
      {"srun", [&](int r) -> Variables {
         return {{"SLURM_PROCID", std::to_string(r)},          {"SLURM_STEP_NUM_TASKS", "2"},
                 {"SLURM_LOCALID", std::to_string(r)},         {"SLURM_STEP_NODELIST", "localhost"},
                 {"SLURM_JOB_ID", std::to_string(::getpid())}, {"SLURM_STEP_ID", "0"}};
       }}};
  std::string weights;
  for (const auto& [name, variables] : launchers) {
    SCOPED_TRACE(name);
    Process a(train_command(root / name, {"--epochs", "1"}), variables(0)),
        b(train_command(root / name, {"--epochs", "1"}), variables(1));
    EXPECT_EQ(a.wait(), 0) << a.output();
    EXPECT_EQ(b.wait(), 0) << b.output();
    const std::string file = read_file(root / name / "last.safetensors");
    if (weights.empty()) weights = file;
    EXPECT_EQ(file, weights);
  }
}

// Starts all ranks of a job that must not start, and returns their statuses and their messages.
struct Refusal {
  std::vector<int> statuses;
  std::string said;
};
Refusal refuse(const std::vector<std::pair<Flags, Variables>>& ranks) {
  const fs::path folder = test::temporary_folder() / "run";
  std::vector<std::unique_ptr<Process>> processes;
  processes.reserve(ranks.size());
  for (const auto& [flags, variables] : ranks)
    processes.push_back(std::make_unique<Process>(train_command(folder, flags), variables));
  Refusal r;
  for (auto& p : processes) {
    r.statuses.push_back(p->wait(60));
    r.said += p->output();
  }
  EXPECT_FALSE(fs::exists(folder / "last.safetensors"));
  return r;
}
void expect_one_message(const Refusal& r, std::initializer_list<const char*> words) {
  for (const int status : r.statuses) EXPECT_EQ(status, 2) << r.said;
  EXPECT_EQ(count(r.said, "error: "), 1u) << r.said;
  for (const char* word : words) EXPECT_NE(r.said.find(word), std::string::npos) << word << " in: " << r.said;
}

TEST(RankProgram, BadInputIsOneMessageAndStatus2OnAllRanks) {
  const auto all = [](const Flags& flags, int n = 3) {
    const int port = free_port();
    std::vector<std::pair<Flags, Variables>> ranks;
    ranks.reserve(n);
    for (int r = 0; r < n; ++r) ranks.push_back({flags, torchrun(r, n, port)});
    return ranks;
  };
  expect_one_message(refuse(all({"--frobnicate"})), {"--frobnicate"});
  expect_one_message(refuse(all({"--train-annotations", "/nowhere.json"})), {"/nowhere.json"});
  expect_one_message(refuse(all({"--weights", "/nowhere.safetensors"})), {"/nowhere.safetensors"});
  expect_one_message(refuse(all({"--nproc", "2"}, 1)), {"--nproc inside torchrun"});
  expect_one_message(refuse(all({"--world-size", "4"})), {"--world-size 4", "WORLD_SIZE=3"});

  auto ranks = all({});
  ranks[2].first = {"--lr", "0.002"};
  expect_one_message(refuse(ranks), {"--lr: rank 0", "has 0.001, rank 2", "has 0.002"});
  ranks = all({"--dist-timeout", "5"});
  ranks[2].second["RANK"] = "1";
  ranks[2].second["LOCAL_RANK"] = "1";
  expect_one_message(refuse(ranks), {"RANK=1", "process"});
  ranks = all({"--dist-timeout", "5"});
  ranks[1].second["WORLD_SIZE"] = "4";
  expect_one_message(refuse(ranks), {"WORLD_SIZE=4", "WORLD_SIZE=3"});
  ranks = all({});
  for (auto& [flags, variables] : ranks) variables.erase("WORLD_SIZE"), variables["WORLD_SIZE"] = "";
  expect_one_message(refuse(ranks), {"RANK=0", "WORLD_SIZE"});
  ranks = all({});
  for (auto& [flags, variables] : ranks) variables["MASTER_ADDR"] = "";
  expect_one_message(refuse(ranks), {"MASTER_ADDR"});
  ranks = all({"--dist-timeout", "2"});
  ranks.pop_back();
  expect_one_message(refuse(ranks), {"of 3 ranks, 1 did not come", ": 2"});
  ranks = all({"--dist-timeout", "1"});
  ranks[1].second["LOCAL_RANK"] = "0";
  expect_one_message(refuse({ranks[1]}), {"cannot reach rank 0", "MASTER_PORT"});

  const Descriptor taken = listen_on(0);
  ranks = all({"--dist-timeout", "2"});
  for (auto& [flags, variables] : ranks) variables["MASTER_PORT"] = std::to_string(port_of(taken));
  expect_one_message(refuse(ranks), {"MASTER_PORT=", "in use"});
}

TEST(RankProgram, OtherDataOrWeightsOnOneRankAreNamed) {
  const fs::path root = test::temporary_folder();
  fs::copy(data(), root / "other", fs::copy_options::recursive);
  const fs::path annotations = root / "other/annotations/person_keypoints_train2017.json";
  write_file(annotations, read_file(annotations) + " ");
  int port = free_port();
  expect_one_message(
      refuse({{{}, torchrun(0, 2, port)}, {{"--train-annotations", annotations.string()}, torchrun(1, 2, port)}}),
      {"the training annotations: rank 0", "rank 1"});
  Process trained(train_command(root / "weights", {"--epochs", "1"}));
  ASSERT_EQ(trained.wait(), 0) << trained.output();
  const std::string good = (root / "weights/last.safetensors").string(), bad = (root / "bad.safetensors").string();
  std::string bytes = read_file(good);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(bad, bytes);
  port = free_port();
  expect_one_message(refuse({{{"--weights", good}, torchrun(0, 2, port)}, {{"--weights", bad}, torchrun(1, 2, port)}}),
                     {"the contents of --weights: rank 0", "rank 1"});
}

// The broken picture of one rank is reported once, with the rank, and no rank hangs.
TEST(RankProgram, ABrokenPictureOfOneRankEndsAll) {
  const fs::path copy = test::temporary_folder() / "data";
  fs::copy(data(), copy, fs::copy_options::recursive);
  const CocoAnnotations annotations = read_coco(copy / "annotations/person_keypoints_train2017.json");
  for (const CocoImage& image : annotations.images) {
    const fs::path path = copy / "train2017" / image.file_name;
    fs::resize_file(path, fs::file_size(path) / 2);
  }
  auto command = train_command(copy / "run", {"--epochs", "1", "--nproc", "2"});
  command[2] = copy.string();
  Process q(command);
  EXPECT_EQ(q.wait(60), 2) << q.output();
  EXPECT_GE(count(q.output(), "error: rank "), 1u) << q.output();
  EXPECT_LE(count(q.output(), "error: "), 2u) << q.output();
  EXPECT_NE(q.output().find(".jpg"), std::string::npos) << q.output();
}

TEST(RankProgram, AKilledRankEndsAllWithOneMessageAndItsStatus) {
  for (const size_t victim : {0, 2}) {
    SCOPED_TRACE(victim);
    const fs::path folder = test::temporary_folder() / "run";
    Process p(train_command(folder, {"--epochs", "500", "--nproc", "3"}));
    wait_for_checkpoint(folder);
    const std::vector<pid_t> ranks = p.children();
    ASSERT_EQ(ranks.size(), 3u);
    ::kill(ranks[victim], SIGKILL);
    EXPECT_EQ(p.wait(20), 128 + SIGKILL);
    EXPECT_EQ(count(p.output(), "error: "), 1u) << p.output();
    EXPECT_NE(p.output().find(fmt::format("rank {} (host", victim)), std::string::npos) << p.output();
    EXPECT_NE(p.output().find(fmt::format("process {}", ranks[victim])), std::string::npos) << p.output();
    EXPECT_NE(p.output().find("--resume"), std::string::npos) << p.output();
    EXPECT_NO_THROW(SafetensorsFile(folder / "last.safetensors"));
    for (const pid_t pid : ranks) EXPECT_NE(::kill(pid, 0), 0) << "process " << pid << " is still there";
  }
}

TEST(RankProgram, AStoppedRankIsNoticedWithinTheTimeLimit) {
  const fs::path folder = test::temporary_folder() / "run";
  Process p(train_command(folder, {"--epochs", "500", "--nproc", "3", "--dist-timeout", "3"}));
  wait_for_checkpoint(folder);
  const std::vector<pid_t> ranks = p.children();
  ASSERT_EQ(ranks.size(), 3u);
  const auto stopped = Clock::now();
  ::kill(ranks[1], SIGSTOP);
  // The others notice it within 3 s and end. Then the launcher kills the stopped rank.
  EXPECT_EQ(p.wait(20), 75) << p.output();
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - stopped).count(), 9);
  EXPECT_EQ(count(p.output(), "error: "), 1u) << p.output();
  EXPECT_NE(p.output().find("rank 1 (host"), std::string::npos) << p.output();
  EXPECT_NE(p.output().find("silent"), std::string::npos) << p.output();
  for (const pid_t pid : ranks) EXPECT_NE(::kill(pid, 0), 0) << "process " << pid << " is still there";
}

TEST(RankProgram, RestartsFromTheLastCheckpointAndEndsWithTheSameBytes) {
  const fs::path root = test::temporary_folder();
  const Flags flags{"--epochs", "4", "--nproc", "2", "--checkpoint-every", "2", "--max-restarts", "2"};
  Process whole(train_command(root / "whole", flags));
  ASSERT_EQ(whole.wait(), 0) << whole.output();
  // A restart does not resume a checkpoint that an older run has left in the folder.
  fs::create_directories(root / "hurt");
  write_file(root / "hurt/last.safetensors", "left over");
  const fs::path checkpoint = root / "hurt/last.safetensors";
  auto before = fs::last_write_time(checkpoint);
  Process hurt(train_command(root / "hurt", flags));
  int kills = 0;
  for (size_t rank = 0; rank < 2 && written_again(hurt, checkpoint, before); ++rank) {
    before = fs::last_write_time(checkpoint);
    const std::vector<pid_t> ranks = hurt.children();
    if (rank < ranks.size() && ::kill(ranks[rank], SIGKILL) == 0) ++kills;
  }
  EXPECT_GT(kills, 0) << hurt.output();
  EXPECT_EQ(hurt.wait(), 0) << hurt.output();
  EXPECT_EQ(read_file(root / "hurt/last.safetensors"), read_file(root / "whole/last.safetensors"));
}

TEST(RankProgram, NeverRestartsAfterBadInput) {
  Process p(
      train_command(test::temporary_folder() / "run", {"--nproc", "2", "--max-restarts", "3", "--weights", "/no"}));
  EXPECT_EQ(p.wait(30), 2);
  EXPECT_EQ(count(p.output(), "error: "), 1u) << p.output();
  EXPECT_EQ(count(p.output(), "again"), 0u) << p.output();
}

TEST(RankProgram, CtrlCStopsAllRanksAfterTheSameStepAndResumesExactly) {
  const fs::path root = test::temporary_folder();
  const Flags flags{"--epochs", "12", "--nproc", "3"};
  Process whole(train_command(root / "whole", flags));
  ASSERT_EQ(whole.wait(), 0) << whole.output();
  Process cut(train_command(root / "cut", flags));
  wait_for_checkpoint(root / "cut");
  ::kill(cut.pid(), SIGINT);
  EXPECT_EQ(cut.wait(30), 130) << cut.output();
  EXPECT_EQ(count(cut.output(), "stopped by Ctrl-C"), 1u) << cut.output();
  EXPECT_EQ(count(cut.output(), "error"), 0u) << cut.output();
  Flags again = flags;
  again.insert(again.end(), {"--resume", "auto"});
  Process rest(train_command(root / "cut", again));
  EXPECT_EQ(rest.wait(), 0) << rest.output();
  EXPECT_EQ(read_file(root / "cut/last.safetensors"), read_file(root / "whole/last.safetensors"));
}

// The ranks stop at the end of a group of steps, and only rank 0's averages and patience count.
TEST(RankProgram, CtrlCWithEverythingAddedToTheRecipeResumesExactly) {
  const fs::path root = test::temporary_folder();
  const Flags flags{"--epochs",     "6",    "--nproc",        "2",          "--recipe", "modern",
                    "--accumulate", "2",    "--warmup-steps", "4",          "--freeze", "layer1.*",
                    "bn1.*",        "--lr", "1e-3",           "--patience", "50",       "--clip-norm",
                    "0.01"};
  Process whole(train_command(root / "whole", flags));
  ASSERT_EQ(whole.wait(), 0) << whole.output();
  Process cut(train_command(root / "cut", flags));
  wait_for_checkpoint(root / "cut");
  ::kill(cut.pid(), SIGINT);
  EXPECT_EQ(cut.wait(30), 130) << cut.output();
  Flags again = flags;
  again.insert(again.end(), {"--resume", "auto"});
  Process rest(train_command(root / "cut", again));
  EXPECT_EQ(rest.wait(), 0) << rest.output();
  EXPECT_EQ(read_file(root / "cut/last.safetensors"), read_file(root / "whole/last.safetensors"));
  EXPECT_EQ(read_file(root / "cut/best.safetensors"), read_file(root / "whole/best.safetensors"));
}

TEST(RankProgram, PatienceEndsAllRanksTogether) {
  const fs::path folder = test::temporary_folder() / "run";
  Process p(train_command(folder,
                          {"--epochs", "40", "--nproc", "2", "--lr", "1e-30", "--patience", "2", "--eval-every", "1"}));
  EXPECT_EQ(p.wait(), 0) << p.output();
  EXPECT_EQ(count(p.output(), "ended after epoch 3"), 1u) << p.output();
}

TEST(RankProgram, AnotherNumberOfRanksKeepsTheGlobalBatchOrAsks) {
  const fs::path folder = test::temporary_folder() / "run";
  const auto resume = [&](const Flags& more) {
    Flags flags{"--resume", "auto"};
    flags.insert(flags.end(), more.begin(), more.end());
    return train_command(folder, flags);
  };
  Process four(train_command(folder, {"--epochs", "1", "--nproc", "4"}));  // 4 x 1 people per step
  ASSERT_EQ(four.wait(), 0) << four.output();
  Process two(resume({"--epochs", "2", "--nproc", "2"}));
  EXPECT_EQ(two.wait(), 0) << two.output();
  EXPECT_NE(two.output().find("each rank takes 2 people per step instead of 1"), std::string::npos) << two.output();
  Process three(resume({"--epochs", "3", "--nproc", "3"}));
  EXPECT_EQ(three.wait(), 2) << three.output();
  EXPECT_NE(three.output().find("--new-global-batch"), std::string::npos) << three.output();
  EXPECT_EQ(count(three.output(), "error: "), 1u) << three.output();
  Process anyway(resume({"--epochs", "3", "--nproc", "3", "--new-global-batch"}));
  EXPECT_EQ(anyway.wait(), 0) << anyway.output();
}

TEST(RankProgram, DevicesThatAreNotVisibleAreRefusedBeforeARankStarts) {
  Process p(train_command(test::temporary_folder(), {"--device", "cuda", "--devices", "0,2"}),
            {{"CUDA_VISIBLE_DEVICES", "4,5"}});
  EXPECT_EQ(p.wait(), 2) << p.output();
  EXPECT_NE(p.output().find("--devices 0,2: there is no GPU 2 under CUDA_VISIBLE_DEVICES=4,5"), std::string::npos)
      << p.output();
  EXPECT_EQ(count(p.output(), "error: "), 1u) << p.output();
}

// NCCL looks for a network interface and ignores the loopback, so without another interface it fails.
TEST(RankProgram, NcclTalksOverTheLoopbackWhereAllRanksAreOnOneHost) {
  const auto chosen = [](const Ranks& ranks, const char* users) {
    users != nullptr ? ::setenv("NCCL_SOCKET_IFNAME", users, 1) : ::unsetenv("NCCL_SOCKET_IFNAME");
    choose_nccl_interface(ranks);
    const char* value = std::getenv("NCCL_SOCKET_IFNAME");
    const std::string text = value != nullptr ? value : "(unset)";
    ::unsetenv("NCCL_SOCKET_IFNAME");
    return text;
  };
  EXPECT_EQ(chosen({.rank = 1, .size = 4, .local_rank = 1, .local_size = 4}, nullptr), "lo");
  EXPECT_EQ(chosen({.rank = 1, .size = 4, .local_rank = 1, .local_size = 4}, "eth7"), "eth7");
  EXPECT_EQ(chosen({.rank = 1, .size = 4, .local_rank = 1, .local_size = 2}, nullptr), "(unset)") << "two hosts";
  EXPECT_EQ(chosen({}, nullptr), "(unset)") << "one process";
}

}  // namespace
}  // namespace hr

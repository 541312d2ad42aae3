"""The part of gpu_check.py that runs programs and phases and keeps their results. gpu_check.py has the overview."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tarfile
import threading
import time
import traceback

import gpu_check_report
from gpu_check_common import (TREE, FULL, REHEARSAL, LEAST, LIMITS, FILES, Failed, LeftOut, Outcome, last_line,
                              json_lines, start, kill_group, describe_rc, nvidia_folders)


class Runner:
    """The time, the messages, the results and the processes of a run. The phases are in gpu_check_phases.Check."""

    def __init__(self, options):
        self.options = options
        self.size = REHEARSAL if options.rehearsal else FULL
        self.build = os.path.abspath(os.environ.get("HR_BUILD", os.path.join(TREE, "build-gpu")))
        self.out = os.path.abspath(options.out or os.environ.get("OUT") or os.path.join(self.build, "out"))
        self.logs = os.path.join(self.build, "logs")
        self.cache = os.path.join(self.build, "cache")
        self.started = time.monotonic()
        self.programs = None  # folder of --programs, with bin/ and lib/; None: the programs of the build folder
        self.children = set()
        self.lock = threading.RLock()
        self.background = {}
        self.before = {}
        self.results = {"which": options.which, "rehearsal": options.rehearsal, "limit": options.limit, "phases": {},
                        "bench": {}, "tests": {}, "torch": {}, "sanitizers": {}, "switches": {}}
        shutil.rmtree(self.logs, ignore_errors=True)
        for folder in (self.logs, self.cache, self.out):
            os.makedirs(folder, exist_ok=True)
        for name in FILES:  # files of an earlier run must not be mistaken for results of this one
            if os.path.exists(os.path.join(self.out, name)):
                os.remove(os.path.join(self.out, name))

    # ---- time, messages, results ------------------------------------------------------------------------------------

    def left(self):
        return self.options.limit - (time.monotonic() - self.started)

    def most(self, phase):
        """Returns the time limit of a phase, or of one run of it, in seconds."""
        limit = LIMITS.get(phase, 60)
        if phase == "build":  # the limit is for 16 cores; fewer cores need more time in proportion
            limit *= max(1, 16 / len(os.sched_getaffinity(0)))
        return min(limit, self.options.phase_limit)

    def say(self, text):
        line = f"[{time.monotonic() - self.started:4.0f} s] {text}"
        with self.lock:
            print(line, flush=True)
            with open(os.path.join(self.out, "log.txt"), "a") as f:
                f.write(line + "\n")

    def log(self, name):
        return os.path.join(self.logs, name)

    def place(self, name, write):
        """Replaces a file in $OUT in one step, so that a run that is killed meanwhile leaves the old file complete."""
        fresh = os.path.join(self.build, name + ".new")
        write(fresh)
        target = os.path.join(self.out, name)
        try:
            os.replace(fresh, target)
        except OSError:  # $OUT is on another file system
            shutil.copyfile(fresh, target)
            os.remove(fresh)

    def keep(self):
        """Writes all results so far into $OUT."""
        def text(content):
            def write(path):
                with open(path, "w") as f:
                    f.write(content)
            return write

        def logs(path):
            with tarfile.open(path, "w:gz", compresslevel=3) as tar:
                tar.add(self.logs, arcname="logs")

        with self.lock:
            self.results["seconds"] = round(time.monotonic() - self.started, 1)
            self.place("results.json", text(json.dumps(self.results, indent=1) + "\n"))
            self.place("table.md", text(gpu_check_report.table(self.results)))
            self.place("logs.tgz", logs)
            plans = os.path.join(self.cache, "conv_plans.txt")
            if os.path.exists(plans):
                self.place("conv_plans.txt", lambda path: shutil.copyfile(plans, path))

    # ---- running programs -------------------------------------------------------------------------------------------

    def environment(self, **more):
        """Returns the environment of the programs under test."""
        env = dict(os.environ)
        env.pop("HRNET_TEST_DEVICE", None)  # with it the tests would compare the CPU with itself
        cuda = [d for d in ("/usr/local/cuda/bin",) if os.path.isdir(d)]
        env["PATH"] = os.pathsep.join(cuda + [env.get("PATH", "")])
        env["GOMP_SPINCOUNT"] = "10000"  # otherwise a program starts itself again, which profilers may not follow
        env["HRNET_CACHE"] = self.cache
        env["HRNET_CONV_LOG"] = self.log("conv_candidates.txt")
        env["NCCL_SOCKET_IFNAME"] = "lo"  # NCCL needs an interface, and there may be no other
        env["NCCL_DEBUG"] = "WARN"
        env["CUDA_MODULE_LOADING"] = "LAZY"
        if self.programs and os.path.isdir(os.path.join(self.programs, "oracle")):
            env.setdefault("HR_ORACLE", os.path.join(self.programs, "oracle"))
        folders = [os.path.join(self.programs, "lib")] if self.programs else []
        folders += nvidia_folders()
        if env.get("LD_LIBRARY_PATH"):
            folders.append(env["LD_LIBRARY_PATH"])
        if folders:
            env["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
        env.update({name: value for name, value in more.items() if value is not None})
        return env

    def execute(self, command, limit, log, stdout=None, env=None, cores=None, cwd=TREE):
        """Runs a command for at most `limit` seconds and within the limit of the whole run. Kills all processes that it
        started."""
        limit = min(limit, self.left() - 3)
        if limit <= 0:
            return Outcome(-1, 0, True)
        begin = time.monotonic()
        with open(log, "ab") as error, open(stdout or log, "wb" if stdout else "ab") as output:
            error.write(("$ " + " ".join(command) + "\n").encode())
            error.flush()
            try:
                child = start(command, cores, stdout=output, stderr=error, cwd=cwd, env=env or self.environment())
            except OSError as e:
                error.write(f"{e}\n".encode())
                return Outcome(127, 0, False)
            with self.lock:
                self.children.add(child.pid)
            timed_out = False
            try:
                child.wait(limit)
            except subprocess.TimeoutExpired:
                timed_out = True
                kill_group(child.pid, signal.SIGTERM)
                try:
                    child.wait(2)
                except subprocess.TimeoutExpired:
                    pass
            kill_group(child.pid, signal.SIGKILL)  # also kills processes that the command left behind
            child.wait()
            with self.lock:
                self.children.discard(child.pid)
        return Outcome(child.returncode, time.monotonic() - begin, timed_out)

    def stop(self):
        with self.lock:
            for pid in self.children:
                kill_group(pid, signal.SIGKILL)

    def program(self, name):
        if self.programs:
            return os.path.join(self.programs, "bin", name)
        return os.path.join(self.build, "tests" if name.endswith("_tests") else "tools", name)

    def demand(self, outcome, log, what):
        if outcome.timed_out:
            raise Failed(f"{what} did not finish in {outcome.seconds:.0f} s")
        if outcome.rc != 0:
            raise Failed(f"{what} ended with {describe_rc(outcome.rc)}: {last_line(log)}")

    def bench(self, name, *arguments, limit=None, **env):
        """Runs bench once. Its JSON becomes results["bench"][name]."""
        out, log = self.log(f"{name}.json"), self.log(f"{name}.log")
        command = [self.program("bench"), "--device", "cuda", "--json", "--model", self.size.model, "--fixed-size",
                   str(self.size.height), str(self.size.width), *map(str, arguments)]
        outcome = self.execute(command, limit or self.most(name), log, stdout=out, env=self.environment(**env))
        found = json_lines(out)
        self.demand(outcome, log, "bench")
        if not found:
            raise Failed("bench printed no JSON")
        with self.lock:
            self.results["bench"][name] = found[-1]
        return found[-1]

    def repeats(self, count):
        return max(2, int(count * self.size.repeats))

    # ---- phases -----------------------------------------------------------------------------------------------------

    def phase(self, name):
        """Runs one phase. An error in it is recorded, and the next phase follows."""
        if name in self.background:
            self.background.pop(name).join()
            return
        if self.left() < LEAST and name != "machine":
            self.results["phases"][name] = {"status": "left out", "note": "no time left"}
            self.say(f"{name}: left out, no time left")
            return
        begin, clock = time.monotonic(), self.clock_position()
        try:
            note, status = getattr(self, "phase_" + name)() or "", "ok"
        except Failed as e:
            note, status = str(e), "failed"
        except LeftOut as e:
            note, status = str(e), "left out"
        except Exception as e:  # a bug in one phase of this script must not stop the others
            note, status = f"{type(e).__name__}: {e}", "failed"
            with open(self.log(f"{name}.log"), "a") as f:
                traceback.print_exc(file=f)
        record = {"status": status, "note": note, "seconds": round(time.monotonic() - begin, 1)}
        record.update(self.clocks_since(clock))
        with self.lock:
            self.results["phases"][name] = record
        clocks = f", {record['sm_mhz']:.0f} MHz, {record['watts']:.0f} W" if "sm_mhz" in record else ""
        self.say(f"{name}: {status}, {record['seconds']:.0f} s{clocks}" + (f"; {note}" if note else ""))
        try:
            self.keep()
        except Exception as e:
            self.say(f"$OUT could not be written: {type(e).__name__}: {e}")

    def beside(self, name):
        """Starts a phase in the background. It is joined when its turn in the plan comes."""
        if name in self.plan and name not in self.background and name not in self.results["phases"]:
            thread = threading.Thread(target=self.phase, args=(name,), daemon=True)
            thread.start()
            self.background[name] = thread

    def run(self, plan):
        self.plan = list(plan)
        for name in self.plan:
            if name not in self.results["phases"] or name in self.background:
                self.phase(name)
            if name in ("tests", "failed_tests") and self.most_tests_failed() and "diagnose" in self.plan:
                # Figures of a backend that computes wrong results are worthless, so the reason is looked for first.
                self.phase("diagnose")

    def clock_position(self):
        try:
            return os.path.getsize(self.log("smi.csv"))
        except OSError:
            return 0

    def clocks_since(self, position):
        """Returns the medians of the multiprocessors' clock and of the power while the GPU was busy."""
        mhz, watts = [], []
        try:
            with open(self.log("smi.csv"), errors="replace") as f:
                f.seek(position)
                for line in f:
                    fields = [re.sub(r"[^0-9.]", "", field) for field in line.split(",")]
                    if len(fields) >= 6 and fields[1] and fields[3] and float(fields[5] or 0) >= 50:
                        mhz.append(float(fields[1]))
                        watts.append(float(fields[3]))
        except (OSError, ValueError):
            pass
        return {"sm_mhz": statistics.median(mhz), "watts": statistics.median(watts)} if mhz else {}

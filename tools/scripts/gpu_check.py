#!/usr/bin/env python3
"""Everything that can be learnt from a GPU in a few minutes, in the order of its worth.

The GPU may be lent for minutes, on a machine without a network that forgets everything. Therefore each phase has a time
limit of its own, a phase that hangs or crashes costs only itself, and after every phase all that is known lies in $OUT:

    log.txt         what this script said             conv_plans.txt   the convolution kernels that were chosen
    results.json    all figures                       trace.txt        one launched training step by kernel
    table.md        figures beside goals and floors   trace.csv.gz     its time line, every kernel with start and end
    logs.tgz        the output of every program, the tests' XML, clocks and power, all candidates of convolutions

    tools/gpu_check.sh carry DIR|FILE.tar.xz      without a GPU: programs and libraries to carry along
    tools/gpu_check.sh first [--programs DIR]     the first minutes: build, tests, measurements, sanitizers
    tools/gpu_check.sh second [--before OUT]      later minutes: what failed again, then switches on and off
    tools/gpu_check.sh report OUT [OUT...]        anywhere: puts the table into docs/measured/gpu.md

docs/guide/gpu.md says more. The exit status is 0 when every phase did its work and every test passed, 1 when something failed
or was not measured, and 2 when nothing could be tried.
"""
import argparse
import concurrent.futures
import dataclasses
import glob
import gzip
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gpu_check_carry
import gpu_check_report
import trace_report

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIB = 1 << 20


@dataclasses.dataclass
class Switch:
    """An environment variable of the programs that `second` measures at several values, the default (None) first."""
    name: str
    values: list
    plans: bool = False  # whether the values choose different convolution kernels, so that each needs a plan cache of its own


SWITCHES = [
    Switch("HRNET_SIDE_STREAMS", [None, "0", "1"]),
    Switch("HRNET_CONV_CANDIDATES", [None, "10"], plans=True),
]


@dataclasses.dataclass
class Size:
    """The work that is measured. The figures of docs/measured/gpu.md are those of `full`."""
    model: str = "hrnet_w32"
    batch: int = 128
    height: int = 256
    width: int = 192
    pictures: int = 8000
    repeats: float = 1.0
    test_filter: str = "*"


FULL = Size()
# For trying this script where a GPU is only simulated, or none is there.
REHEARSAL = Size(model="hrnet_w8", batch=2, height=64, width=64, pictures=16, repeats=0.05, test_filter="GpuOps.*:GpuStep.OutOfMemory*")

# Phases and the most seconds that each may take. A phase is left out when less than `LEAST` seconds remain.
LEAST = 8
LIMITS = {
    "machine": 20, "build": 240, "torch": 150, "tests": 130, "train128": 75, "trace": 45, "train256": 60, "infer128": 45,
    "infer1": 45, "kernels": 45, "diagnose": 100, "out_of_memory": 60, "synth": 45, "jpegs": 75, "ranks": 60, "memcheck": 90,
    "racecheck": 60, "ncu": 60, "failed_tests": 60, "switches": 140, "final": 60, "float32": 40,
}
FIRST = ["machine", "build", "tests", "train128", "trace", "torch", "train256", "infer128", "infer1", "kernels", "diagnose",
         "out_of_memory", "synth", "jpegs", "ranks", "memcheck", "racecheck", "ncu"]
# What `second` does; phases of `first` that failed there or were left out are put in before "final".
SECOND = ["machine", "build", "failed_tests", "train128", "switches", "trace", "final", "float32", "racecheck"]
DEFAULT_SECONDS = {"first": 440, "second": 290}

NCU_METRICS = ("gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum,lts__t_sector_hit_rate.pct,"
               "l1tex__throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active")


# What lies in $OUT in the end. At most eight files are brought back from a lent machine: one is left to the caller.
FILES = ["log.txt", "results.json", "table.md", "logs.tgz", "conv_plans.txt", "trace.txt", "trace.csv.gz"]


class Failed(Exception):
    """A phase did not reach its aim. The text is the reason, in one line."""


class LeftOut(Exception):
    """A phase had nothing to do. The text says why."""


@dataclasses.dataclass
class Outcome:
    rc: int
    seconds: float
    timed_out: bool


def last_line(path, default="no output"):
    try:
        with open(path, errors="replace") as f:
            lines = [line.strip() for line in f if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:200] if lines else default


def json_lines(path):
    """The JSON objects among the lines of a file."""
    found = []
    try:
        with open(path, errors="replace") as f:
            for line in f:
                if line.startswith("{"):
                    try:
                        found.append(json.loads(line))
                    except ValueError:
                        pass
    except OSError:
        pass
    return found


def read_test_xml(path):
    """passed, failed or skipped; None when the file does not tell, as after a crash."""
    try:
        cases = xml.etree.ElementTree.parse(path).getroot().findall(".//testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        return None
    if not cases:
        return None
    if any(case.find("failure") is not None for case in cases):
        return "failed"
    if any(case.find("skipped") is not None or case.get("result") == "skipped" or case.get("status") == "notrun"
           for case in cases):
        return "skipped"
    return "passed"


def list_tests(text):
    """Full names out of what --gtest_list_tests prints."""
    names, suite = [], ""
    for line in text.splitlines():
        name = line.split("#")[0].rstrip()
        if not name:
            continue
        if line.startswith(" "):
            names.append(suite + name.strip())
        elif name.endswith("."):
            suite = name
    return names


class Check:
    def __init__(self, options):
        self.options = options
        self.size = REHEARSAL if options.rehearsal else FULL
        self.build = os.path.abspath(os.environ.get("HR_BUILD", os.path.join(TREE, "build-gpu")))
        self.out = os.path.abspath(options.out or os.environ.get("OUT") or os.path.join(self.build, "out"))
        self.logs = os.path.join(self.build, "logs")
        self.cache = os.path.join(self.build, "cache")
        self.started = time.monotonic()
        self.programs = None  # folder with bin/ and lib/ that was carried along; None: programs of the build folder
        self.children = set()
        self.lock = threading.RLock()
        self.background = {}
        self.before = {}
        self.results = {"which": options.which, "rehearsal": options.rehearsal, "limit": options.limit, "phases": {},
                        "bench": {}, "tests": {}, "torch": {}, "sanitizers": {}, "switches": {}}
        shutil.rmtree(self.logs, ignore_errors=True)
        for folder in (self.logs, self.cache, self.out):
            os.makedirs(folder, exist_ok=True)
        for name in FILES:  # what an earlier run left must not be taken for this one's
            if os.path.exists(os.path.join(self.out, name)):
                os.remove(os.path.join(self.out, name))

    # ---- time, messages, results ------------------------------------------------------------------------------------

    def left(self):
        return self.options.limit - (time.monotonic() - self.started)

    def most(self, phase):
        """The most seconds that a phase, or one run of it, may take."""
        limit = LIMITS.get(phase, 60)
        if phase == "build":  # the limit is for the 16 cores of a lent machine; fewer cores need as much longer
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
        """Puts a file into $OUT at once: a run that is killed meanwhile leaves the old one whole."""
        fresh = os.path.join(self.build, name + ".new")
        write(fresh)
        target = os.path.join(self.out, name)
        try:
            os.replace(fresh, target)
        except OSError:  # $OUT lies in another file system
            shutil.copyfile(fresh, target)
            os.remove(fresh)

    def keep(self):
        """Brings everything that is known into $OUT."""
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
        """That of the programs under test."""
        env = dict(os.environ)
        env.pop("HRNET_TEST_DEVICE", None)  # with it the tests would compare the CPU with itself
        cuda = [d for d in ("/usr/local/cuda/bin",) if os.path.isdir(d)]
        env["PATH"] = os.pathsep.join(cuda + [env.get("PATH", "")])
        env["GOMP_SPINCOUNT"] = "10000"  # without it a program starts itself again, which profilers may not follow
        env["HRNET_CACHE"] = self.cache
        env["HRNET_CONV_LOG"] = self.log("conv_candidates.txt")
        env["NCCL_SOCKET_IFNAME"] = "lo"  # NCCL wants an interface, and there may be no other
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
        """Runs a command at most `limit` seconds, and never beyond the whole run's limit. Kills all that it started."""
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
            kill_group(child.pid, signal.SIGKILL)  # also what the command left behind
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
        """One run of bench; its JSON becomes results["bench"][name]."""
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
        """Runs one phase; whatever goes wrong in it is written down and the next one begins."""
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
        except Exception as e:  # a mistake of this script must not cost the phases after it
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
        """Starts a phase that runs beside those that follow, until its own turn comes."""
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
                # Figures of a backend that computes nonsense are worth nothing: the reason comes first.
                self.phase("diagnose")

    def clock_position(self):
        try:
            return os.path.getsize(self.log("smi.csv"))
        except OSError:
            return 0

    def clocks_since(self, position):
        """Medians of the multiprocessors' clock and of the power while the GPU was busy."""
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

    def cores(self):
        """(of the build, of PyTorch beside it); (None, None) where there are too few to share."""
        available = sorted(os.sched_getaffinity(0))
        return (set(available[2:]), set(available[:2])) if len(available) >= 6 else (None, None)

    def phase_machine(self):
        log = self.log("machine.log")
        query = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap",
                                "--format=csv,noheader"], capture_output=True, text=True, timeout=15)
        fields = [field.strip() for field in query.stdout.splitlines()[0].split(",")] if query.stdout.strip() else []
        facts = dict(zip(("card", "driver", "memory", "capability"), fields))
        facts["gpus"] = len(self.options.gpus)
        facts["cores"] = len(os.sched_getaffinity(0))
        facts["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        facts["commit"] = commit(None)
        nvcc = shutil.which("nvcc", path=self.environment()["PATH"])
        if nvcc:
            text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=15).stdout
            release = re.search(r"release ([0-9.]+)", text)
            facts["cuda"] = release.group(1) if release else "?"
        self.results["facts"] = facts
        smi = open(self.log("smi.csv"), "wb")
        child = start(["nvidia-smi", "--query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu",
                       "--format=csv", "-lms", "500"], stdout=smi, stderr=subprocess.STDOUT)
        self.children.add(child.pid)
        self.execute(["bash", "-c", """nvidia-smi; nvidia-smi -q -d CLOCK,PERFORMANCE,POWER,ECC
            nvcc --version; g++ --version; cmake --version; ninja --version; python3 --version; ncu --version; compute-sanitizer --version
            lscpu | head -n 20; free -g; df -h . /tmp; uname -a; cat /etc/os-release
            ldconfig -p | grep -E 'libcuda|cudnn|nccl|cublasLt|cupti'; env | grep -vi -E 'token|secret|password|key' | sort
            ls -l """ + " ".join(nvidia_folders())], self.most("machine"), log)
        return f"{facts.get('card', 'card unknown')}, driver {facts.get('driver', '?')}, {facts['cores']} cores"

    def phase_build(self):
        plans = os.path.join(self.before.get("folder", ""), "conv_plans.txt")
        if self.before and os.path.exists(plans):
            shutil.copyfile(plans, os.path.join(self.cache, "conv_plans.txt"))
        if self.options.programs:
            reason = self.use_programs(self.options.programs)
            if not reason:
                self.beside("synth")
                return f"the programs of {self.options.programs} run here"
            self.say(f"the programs of {self.options.programs} do not run here ({reason}); they are built instead")
        self.beside("torch")
        begin = time.monotonic()
        rest = lambda: self.most("build") - (time.monotonic() - begin)
        log = self.log("build.log")
        env = self.environment(**packages(self))
        many, _ = self.cores()
        capability = re.sub(r"[^0-9]", "", self.results.get("facts", {}).get("capability", "")) or "90"
        configure = ["cmake", "-S", TREE, "-B", self.build, *(["-G", "Ninja"] if shutil.which("ninja", path=env["PATH"]) else []),
                     "-DCMAKE_BUILD_TYPE=Release", "-DHR_CUDA=" + ("AUTO" if self.options.rehearsal else "ON"), "-DHR_TESTS=ON",
                     "-DHR_GLOO=OFF", "-DHR_WERROR=OFF", f"-DCMAKE_CUDA_ARCHITECTURES={capability}"]
        self.demand(self.execute(configure, min(60, rest()), log, env=env), log, "cmake")
        # What fails to compile costs only the programs that need it (-k).
        jobs = str(len(many or os.sched_getaffinity(0)))
        going_on = ["--", "-k", "0"] if "-G" in configure else ["--", "-k"]
        outcome = self.execute(["cmake", "--build", self.build, "-j", jobs, "--target", "hr_gpu_tests", "bench", "train", "synth",
                                *going_on], rest(), log, env=env, cores=many)
        # The tests must not disturb PyTorch's figures.
        if "torch" in self.background:
            self.background["torch"].join()
        self.execute(["cmake", "--build", self.build, "--target", "cupti_trace"], max(rest(), 20), self.log("build_trace.log"), env=env)
        if outcome.timed_out:
            raise Failed(f"the build did not finish in {outcome.seconds:.0f} s")
        missing = [name for name in ("hr_gpu_tests", "bench", "train", "synth") if not os.path.exists(self.program(name))]
        if missing:
            with open(log, errors="replace") as f:
                errors = [line.strip() for line in f if re.search(r"(error|FAILED):", line)]
            for line in errors[:20]:
                self.say("  " + line[:200])
            raise Failed(f"not built: {', '.join(missing)}; {last_line(log)}")
        self.beside("synth")
        return f"{outcome.seconds:.0f} s on {jobs} cores"

    def use_programs(self, path):
        """Takes the programs that were carried along. Returns why they are of no use here, or ''."""
        try:
            folder = gpu_check_carry.unpack(path, os.path.join(self.build, "programs"))
        except Exception as e:
            return f"{type(e).__name__}: {e}"
        self.programs = folder
        log = self.log("programs.log")
        for name in ("bench", "hr_gpu_tests"):
            if not os.path.exists(self.program(name)):
                self.programs = None
                return f"there is no bin/{name}"
        outcome = self.execute([self.program("bench"), "--version"], 20, log)
        if outcome.rc != 0 or outcome.timed_out:
            self.programs = None
            return f"bench --version: {describe_rc(outcome.rc)}, {last_line(log)}"
        self.results.setdefault("facts", {})["commit"] = commit(folder)
        return ""

    def phase_torch(self):
        if not self.options.torch:
            raise LeftOut("--no-torch")
        _, few = self.cores()
        log = self.log("torch.log")
        env = dict(os.environ)
        probe = self.execute([sys.executable, "-c", "import torch; assert torch.cuda.is_available(), 'PyTorch sees no GPU'"], 60, log, env=env)
        if probe.rc != 0:
            raise LeftOut(f"no PyTorch with a GPU: {last_line(log)}")
        notes = []
        for mode in ("train", "infer"):
            out = self.log(f"torch_{mode}.json")
            outcome = self.execute(
                [sys.executable, os.path.join(TREE, "tools", "scripts", "bench_torch.py"), "--model", self.size.model, "--mode", mode, "--batch",
                 str(self.size.batch), "--size", str(self.size.height), str(self.size.width), "--device", "cuda", "--variant",
                 "channels_last", "graph", "--warmup", "5", "--steps", "15"], 90 if mode == "train" else 60, log, stdout=out, env=env, cores=few)
            for found in json_lines(out):
                self.results["torch"][f"{mode} {found['variant']}"] = found
                notes.append(f"{mode} {found['variant']} {found['img_per_s']:,.0f} img/s")
            if outcome.rc != 0:
                notes.append(f"{mode}: {'not finished' if outcome.timed_out else last_line(log)}")
        if not self.results["torch"]:
            raise Failed("; ".join(notes))
        return "; ".join(notes)

    def test_names(self):
        if not hasattr(self, "names"):
            out = self.log("test_list.txt")
            outcome = self.execute([self.program("hr_gpu_tests"), "--gtest_list_tests", f"--gtest_filter={self.size.test_filter}"], 30,
                                   self.log("test_list.log"), stdout=out)
            with open(out, errors="replace") as f:
                self.names = list_tests(f.read())
            if not self.names:
                raise Failed(f"hr_gpu_tests lists no tests: {describe_rc(outcome.rc)}, {last_line(self.log('test_list.log'))}")
        return self.names

    def one_test(self, name, limit, label="test", prefix=(), **env):
        """One test in a process of its own, since after a GPU error nothing else in the process works."""
        safe = name.replace("/", "_")
        log, report = self.log(f"{label}_{safe}.log"), self.log(f"{label}_{safe}.xml")
        begin = time.monotonic()
        cache = os.path.join(self.build, "cache_tests", safe)  # processes side by side would overwrite each other's plans
        outcome = self.execute([*prefix, self.program("hr_gpu_tests"), f"--gtest_filter={name}", f"--gtest_output=xml:{report}"], limit, log,
                               env=self.environment(HRNET_CACHE=cache,
                                                    HRNET_CONV_LOG=self.log("conv_candidates_tests.txt"), **env))
        told = read_test_xml(report)
        if outcome.timed_out:
            result = "no time" if time.monotonic() - begin < 1 else "timed out"
        elif outcome.rc != 0 or told is None:
            result = "failed" if told == "failed" else "crashed"
        else:
            result = told
        record = {"result": result, "rc": outcome.rc, "seconds": round(outcome.seconds, 2)}
        if result not in ("passed",):
            record["why"] = reason_in(log)
        return record

    def threads(self, side_by_side):
        """For each of several processes: fewer than the cores, or each process would pin its threads to the same ones."""
        return str(max(1, len(os.sched_getaffinity(0)) // side_by_side))

    def several_tests(self, names, limit, side_by_side=6, each=75):
        into = self.results["tests"]
        until = time.monotonic() + limit

        def one(name):
            rest = min(each, until - time.monotonic())
            record = self.one_test(name, rest, OMP_NUM_THREADS=self.threads(side_by_side)) if rest > 1 else {"result": "no time", "rc": -1, "seconds": 0}
            with self.lock:
                into[name] = record
        with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
            list(pool.map(one, names))
        counts = gpu_check_report.count_tests({name: into[name] for name in names})
        for name in names:
            if into[name]["result"] not in ("passed", "skipped"):
                self.say(f"  {into[name]['result']}: {name}: {into[name].get('why', '')}")
        text = gpu_check_report.tests_text(counts)
        if counts["passed"] == 0 or counts["bad"] > 0:
            raise Failed(text)
        return text

    def phase_tests(self):
        return self.several_tests([name for name in self.test_names() if "OutOfMemory" not in name], self.most("tests"))

    def phase_out_of_memory(self):
        """These fill the GPU's memory, which fails what runs beside them."""
        names = [name for name in self.test_names() if "OutOfMemory" in name]
        if not names:
            raise LeftOut("no such test")
        return self.several_tests(names, self.most("out_of_memory"), side_by_side=1, each=self.most("out_of_memory"))

    def phase_failed_tests(self):
        """Those that failed before; all of them when that is not known."""
        tests = self.before.get("results", {}).get("tests", {})
        names = [name for name, record in tests.items() if record["result"] not in ("passed", "skipped")]
        if tests and not names:
            raise LeftOut("every test passed before")
        known = self.test_names()
        names = [name for name in names if name in known] if tests else known
        alone = [name for name in names if "OutOfMemory" in name]
        notes = []
        for group, side_by_side in (([name for name in names if name not in alone], 6), (alone, 1)):
            if group:
                notes.append(self.several_tests(group, self.most("failed_tests"), side_by_side))
        return "; ".join(notes)

    def failing(self):
        """The names of failing tests, the quickest first."""
        tests = self.results["tests"]
        bad = [name for name in tests if tests[name]["result"] in ("failed", "crashed", "timed out")]
        return sorted(bad, key=lambda name: (tests[name]["result"] == "timed out", tests[name]["seconds"]))

    def most_tests_failed(self):
        ran = [r for r in self.results["tests"].values() if r["result"] != "no time"]
        return len(self.failing()) * 2 > max(len(ran), len(self.before.get("results", {}).get("tests", {})))

    def phase_diagnose(self):
        names = self.failing()[:6 if self.most_tests_failed() else 3]
        if not names:
            raise LeftOut("no test failed")
        ways = {"blocking": ((), {"CUDA_LAUNCH_BLOCKING": "1"}), "one_stream": ((), {"HRNET_SIDE_STREAMS": "0"})}
        if self.sanitizer():
            ways["memcheck"] = ((self.sanitizer(), "--tool", "memcheck", "--error-exitcode", "9"), {})
        found = {}

        def one(job):
            name, way = job
            prefix, env = ways[way]
            record = self.one_test(name, self.most("diagnose") / 2, f"diagnose_{way}", prefix, OMP_NUM_THREADS=self.threads(5), **env)
            with self.lock:
                found.setdefault(name, {})[way] = record
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            list(pool.map(one, [(name, way) for name in names for way in ways]))
        self.results["diagnose"] = found
        for name in names:
            self.say(f"  {name}: " + ", ".join(f"{way} {record['result']}" for way, record in found[name].items()))
        return f"{len(names)} failing tests"

    def sanitizer(self):
        return shutil.which("compute-sanitizer", path=self.environment()["PATH"])

    def step_note(self, found):
        return f"{1e3 * found['seconds']:.2f} ms, {found['img_per_s']:,.0f} img/s, {found['peak_bytes'] / MIB:,.0f} MiB"

    def phase_train128(self):
        return self.step_note(self.bench("train128", "--mode", "train", "--dtype", "bf16", "--batch-size", self.size.batch, "--repeats",
                                         self.repeats(40)))

    def phase_train256(self):
        return self.step_note(self.bench("train256", "--mode", "train", "--dtype", "bf16", "--batch-size", 2 * self.size.batch, "--repeats",
                                         self.repeats(20)))

    def phase_infer128(self):
        return self.step_note(self.bench("infer128", "--mode", "inference", "--dtype", "bf16", "--batch-size", self.size.batch, "--repeats",
                                         self.repeats(50)))

    def phase_infer1(self):
        return self.step_note(self.bench("infer1", "--mode", "inference", "--dtype", "bf16", "--batch-size", 1, "--repeats",
                                         self.repeats(300)))

    def phase_kernels(self):
        found = self.bench("kernels", "--mode", "kernels", "--dtype", "bf16", "--batch-size", self.size.batch)
        return f"{found['bandwidth'] / 1e12:.2f} TB/s copied, {len(found['kinds'])} kinds of kernel"

    def phase_trace(self):
        library = os.path.join(self.programs, "lib", "libcupti_trace.so") if self.programs else os.path.join(
            self.build, "tools", "libcupti_trace.so")
        if not os.path.exists(library):
            raise Failed("there is no libcupti_trace.so: cupti.h or libcupti was not found where it was built")
        csv = os.path.join(self.build, "trace.csv")
        if os.path.exists(csv):
            os.remove(csv)
        try:
            self.bench("trace", "--mode", "train", "--dtype", "bf16", "--batch-size", self.size.batch, "--repeats", "6",
                       CUDA_INJECTION64_PATH=library, TRACE_OUT=csv)
        finally:
            if os.path.exists(csv):
                def packed(path):
                    with open(csv, "rb") as source, gzip.open(path, "wb", compresslevel=5) as target:
                        shutil.copyfileobj(source, target)
                self.place("trace.csv.gz", packed)
        if not os.path.exists(csv):
            raise Failed("no trace was written; did the driver load libcupti_trace.so? See trace.log")
        text = trace_report.report(csv, 60)

        def write(path):
            with open(path, "w") as f:
                f.write(text)
        self.place("trace.txt", write)
        return text.splitlines()[0]

    def phase_synth(self):
        many, _ = self.cores()
        log = self.log("synth.log")
        outcome = self.execute([self.program("synth"), "--output", os.path.join(self.build, "data"), "--train-images",
                                str(self.size.pictures), "--val-images", "8"], self.most("synth"), log, cores=many)
        self.demand(outcome, log, "synth")
        return last_line(log)

    def phase_jpegs(self):
        log, folder = self.log("jpegs.log"), os.path.join(self.build, "run")
        shutil.rmtree(folder, ignore_errors=True)
        workers = max(2, min(14, len(os.sched_getaffinity(0)) - 2))
        outcome = self.execute(
            [self.program("train"), "--device", "cuda", "--amp", "--data-path", os.path.join(self.build, "data"), "--model", self.size.model,
             "--fixed-size", str(self.size.height), str(self.size.width), "--batch-size", str(self.size.batch), "--epochs", "2", "--workers",
             str(workers), "--eval-every", "2", "--output-dir", folder], self.most("jpegs"), log)
        with open(log, errors="replace") as f:
            epochs = re.findall(r"([0-9.]+) img/s +data wait ([0-9]+)%", f.read())
        if epochs:  # also when the validation after the epochs did not finish
            self.results["jpegs"] = {"img_per_s": float(epochs[-1][0]), "data_wait": float(epochs[-1][1]) / 100, "workers": workers}
        self.demand(outcome, log, "train")
        if not epochs:
            raise Failed("train named no img/s")
        return f"{epochs[-1][0]} img/s in the last epoch, data wait {epochs[-1][1]} %"

    def phase_ranks(self):
        gpus = len(self.options.gpus)
        if gpus < 2:
            raise LeftOut(f"this machine has {gpus} GPU")
        notes = []
        for count in sorted({2, gpus}):
            found = self.bench(f"ranks{count}", "--mode", "comm", "--devices", ",".join(map(str, range(count))), "--dtype", "bf16",
                               "--batch-size", self.size.batch, "--repeats", self.repeats(20))
            notes.append(f"{count} GPUs: {found['seconds_alone'] / found['seconds']:.3f} of {count} times one")
        return "; ".join(notes)

    def sanitize(self, tool, names, side_by_side):
        sanitizer = self.sanitizer()
        if not sanitizer:
            raise LeftOut("there is no compute-sanitizer")
        until = time.monotonic() + self.most(tool)
        found = {}
        self.results["sanitizers"][tool] = found

        def one(name):
            rest = min(60, until - time.monotonic())
            result = {"result": "no time"}
            if rest > 3:
                log = self.log(f"{tool}_{name.replace('/', '_')}.log")
                cache = os.path.join(self.build, "cache_tests", name.replace("/", "_"))
                outcome = self.execute([sanitizer, "--tool", tool, "--error-exitcode", "9", self.program("hr_gpu_tests"), f"--gtest_filter={name}"],
                                       rest, log, env=self.environment(HRNET_CACHE=cache, OMP_NUM_THREADS=self.threads(side_by_side)))
                skipped = outcome.rc == 0 and "[  SKIPPED ]" in open(log, errors="replace").read()
                result = {"result": "no time" if outcome.timed_out else "skipped" if skipped else "clean" if outcome.rc == 0 else "errors",
                          "rc": outcome.rc, "seconds": round(outcome.seconds, 1)}
                if result["result"] == "errors":
                    result["why"] = reason_in(log)
            with self.lock:
                found[name] = result
        with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
            list(pool.map(one, names))
        text = gpu_check_report.sanitizer_text(found)
        if any(r["result"] == "errors" for r in found.values()):
            raise Failed(text)
        if not any(r["result"] == "clean" for r in found.values()):
            raise Failed(f"nothing was checked: {text}")
        return text

    def quick_first(self, names):
        tests = self.results["tests"] or self.before.get("results", {}).get("tests", {})
        return sorted(names, key=lambda name: tests.get(name, {}).get("seconds", 1e9))

    def phase_memcheck(self):
        return self.sanitize("memcheck", self.quick_first(n for n in self.test_names() if re.match(r"Gpu(Ops|Conv|Tile\w*)\.", n)), 5)

    def phase_racecheck(self):
        return self.sanitize("racecheck", self.quick_first(n for n in self.test_names() if re.match(r"Gpu(Ops|Tile\w*)\.", n)), 5)

    def phase_ncu(self):
        """Counters of the forward pass's own kernels. The first step, which is not looked at, has about 2,100 of them."""
        ncu = shutil.which("ncu", path=self.environment()["PATH"])
        if not ncu:
            raise LeftOut("there is no ncu")
        csv, log = self.log("ncu.csv"), self.log("ncu.log")
        outcome = self.execute(
            [ncu, "--clock-control", "none", "--target-processes", "all", "--launch-skip", "2100", "--launch-count", "500", "--csv", "--page",
             "raw", "--metrics", NCU_METRICS, "-k", "regex:for_each|reduce_rows|for_columns|tile_", "--log-file", csv, self.program("bench"),
             "--device", "cuda", "--mode", "kernels", "--model", self.size.model, "--fixed-size", str(self.size.height), str(self.size.width),
             "--dtype", "bf16", "--batch-size", str(self.size.batch), "--repeats", "1"], self.most("ncu"), log)
        self.demand(outcome, log, "ncu")
        with open(csv, errors="replace") as f:
            rows = sum(1 for line in f if line.startswith('"'))
        if rows < 2:
            raise Failed(f"ncu saw no kernel: {last_line(csv)}")
        return f"{rows - 2} kernels"

    def phase_switches(self):
        """Each switch at each of its values, again and again in turn, so that a drift of the clock meets all of them."""
        switches = SWITCHES + self.options.switch
        until = time.monotonic() + self.most("switches")
        table = self.results["switches"]
        for round_number in range(self.options.rounds):
            for switch in switches:
                for value in switch.values:
                    rest = min(until - time.monotonic(), self.left() - 40)
                    if rest < 10:
                        return f"{sum(len(v) for s in table.values() for v in s.values())} runs"
                    env = {switch.name: value}
                    if switch.plans and value is not None:
                        env["HRNET_CACHE"] = os.path.join(self.build, f"cache_{switch.name}_{value}")
                        os.makedirs(env["HRNET_CACHE"], exist_ok=True)
                    name = f"switch_{switch.name}_{value or 'default'}_{round_number}"
                    times = table.setdefault(switch.name, {}).setdefault(value or "default", [])
                    try:
                        times.append(self.bench(name, "--mode", "train", "--dtype", "bf16", "--batch-size", self.size.batch, "--repeats",
                                                self.repeats(40), limit=min(40, rest), **env)["seconds"])
                    except Failed as e:
                        self.say(f"  {name}: {e}")
                    self.results["bench"].pop(name, None)
            self.keep()
        return f"{sum(len(v) for s in table.values() for v in s.values())} runs"

    def phase_final(self):
        """The figures to quote, three times each for their spread."""
        runs = self.results.setdefault("final", {})
        for number in range(3):
            for name, batch in (("train128", self.size.batch), ("train256", 2 * self.size.batch)):
                found = self.bench(name, "--mode", "train", "--dtype", "bf16", "--batch-size", batch, "--repeats", self.repeats(40), limit=30)
                runs.setdefault(name, []).append(found["seconds"])
        return "; ".join(f"{name} " + " ".join(f"{1e3 * s:.2f}" for s in seconds) + " ms" for name, seconds in runs.items())

    def phase_float32(self):
        batch = max(1, self.size.batch // 2)
        plain = self.bench("train_f32", "--mode", "train", "--dtype", "f32", "--batch-size", batch, "--repeats", self.repeats(10), limit=40)
        tf32 = self.bench("train_tf32", "--mode", "train", "--dtype", "f32", "--tf32", "--batch-size", batch, "--repeats", self.repeats(10), limit=40)
        return f"float32 {plain['img_per_s']:,.0f}, TF32 {tf32['img_per_s']:,.0f} img/s"


def start(command, cores=None, **options):
    """A process that leads a group of its own, so that all it starts can be ended with it, on the given cores."""
    if cores and shutil.which("taskset"):
        command = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options)


def kill_group(pid, number):
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def describe_rc(rc):
    if rc < 0:
        try:
            return signal.Signals(-rc).name
        except ValueError:
            pass
    return f"status {rc}"


def reason_in(log):
    """The line of a test's log that says most."""
    try:
        with open(log, errors="replace") as f:
            lines = f.read().splitlines()[1:]
    except OSError:
        return ""
    for pattern in (r"========= (Invalid|Race|Error|Program hit)", r"CUDA:|cuDNN:|cuBLASLt:|NCCL:|NCCL WARN", r"[Ee]rror|C\+\+ exception", r"[Ss]kipped$|SKIPPED", r"Failure"):
        for i, line in enumerate(lines):
            if re.search(pattern, line):
                after = lines[i + 1].strip() if i + 1 < len(lines) and re.search("Failure$|Skipped$", line) else ""
                return f"{line.strip()} {after}".strip()[:200]
    return lines[-1].strip()[:200] if lines else ""


def nvidia_folders():
    """Where the wheels of a Python environment keep cuDNN, cuBLAS, NCCL and CUPTI."""
    python = shutil.which("python3") or sys.executable
    roots = {sys.prefix, os.path.dirname(os.path.dirname(python)), os.environ.get("VIRTUAL_ENV", ""), "/opt/torch/.venv"}
    found = []
    for root in sorted(filter(None, roots)):
        found += sorted(glob.glob(os.path.join(root, "lib", "python3*", "*-packages", "nvidia", "*", "lib")))
    return list(dict.fromkeys(found))


def packages(check):
    """The environment with which the packages of tools/scripts/packages.sh are found."""
    prefix = os.environ.get("CMAKE_PREFIX_PATH")
    if not prefix:
        folder = os.path.join(TREE, "build-deps")
        packed = folder + ".tar.xz"
        if not os.path.isdir(folder) and os.path.exists(packed):
            with tarfile.open(packed) as tar:
                tar.extractall(TREE)
        if os.path.isdir(os.path.join(folder, "usr")):
            prefix = os.path.join(folder, "usr")
    if not prefix:
        log = check.log("packages.log")
        outcome = check.execute(["bash", "-c", "source tools/scripts/packages.sh; install_packages"], 120, log)
        if outcome.rc != 0:
            raise Failed(f"the packages could not be installed ({last_line(log)}). Where there is no root or no network, run "
                         "tools/scripts/packages.sh --into build-deps elsewhere and carry build-deps along")
        return {}
    return {"CMAKE_PREFIX_PATH": prefix, "LDFLAGS": (os.environ.get("LDFLAGS", "") + " -Wl,--disable-new-dtags").strip()}


def commit(programs):
    """HR_COMMIT, the commit that the carried programs were built from, or that of the working tree."""
    if os.environ.get("HR_COMMIT"):
        return os.environ["HR_COMMIT"]
    for folder in (programs, TREE):
        path = folder and os.path.join(folder, "HR_COMMIT")
        if path and os.path.isfile(path):
            with open(path) as f:
                return f.read().strip()
    return gpu_check_carry.git_commit(TREE) or "unknown"


def read_before(folder):
    """What an earlier run brought back."""
    if not folder:
        return {}
    try:
        with open(os.path.join(folder, "results.json")) as f:
            return {"folder": os.path.abspath(folder), "results": json.load(f)}
    except (OSError, ValueError) as e:
        raise SystemExit(f"gpu_check: --before {folder}: {e}")


def plan_of(options, before):
    if options.which == "first":
        plan = list(FIRST)
    else:
        plan = list(SECOND)
        done = before.get("results", {}).get("phases", {})
        again = [name for name in FIRST if done and name not in plan and name not in ("tests", "out_of_memory", "diagnose") and
                 done.get(name, {}).get("status") != "ok" and done.get(name, {}).get("note", "") not in ("--no-torch",)]
        at = plan.index("trace")
        plan[at:at] = again
        plan.append("diagnose")
    if options.only:
        unknown = [name for name in options.only if name not in LIMITS]
        if unknown:
            raise SystemExit(f"gpu_check: --only {','.join(unknown)}: the phases are {', '.join(LIMITS)}")
        plan = [name for name in dict.fromkeys(FIRST + SECOND) if name in options.only or name in ("machine", "build")]
    return [name for name in plan if name not in options.skip]


def switch_of(text):
    name, _, values = text.partition("=")
    if not values:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=VALUE[,VALUE...]")
    return Switch(name, [None, *values.split(",")])


def parse(arguments):
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(dest="which", required=True, metavar="first|second|carry|report")
    comma = lambda text: [name for name in text.split(",") if name]
    for name, says in (("first", "the first minutes on a GPU"), ("second", "later minutes on the same kind of GPU")):
        sub = which.add_parser(name, help=says)
        sub.add_argument("--programs", metavar="DIR", help="programs and libraries that `carry` made, a folder or a .tar.xz")
        sub.add_argument("--out", metavar="DIR", help="folder of what is brought back [$OUT, else build-gpu/out]")
        sub.add_argument("--limit", type=float, default=DEFAULT_SECONDS[name], metavar="SECONDS", help="for all phases together [%(default)s]")
        sub.add_argument("--phase-limit", type=float, default=1e9, metavar="SECONDS", help="for each phase, where its own is longer")
        sub.add_argument("--only", type=comma, default=[], metavar="PHASE,PHASE", help="these phases, after machine and build")
        sub.add_argument("--skip", type=comma, default=[], metavar="PHASE,PHASE", help="all phases but these")
        sub.add_argument("--no-torch", dest="torch", action="store_false", help="do not measure PyTorch")
        sub.add_argument("--before", metavar="DIR", help="what an earlier run brought back: its plans are used, its failures repeated")
        sub.add_argument("--switch", type=switch_of, action="append", default=[], metavar="NAME=VALUE,VALUE",
                         help="one more environment switch for `second`, beside the default")
        sub.add_argument("--rounds", type=int, default=4, metavar="N", help="runs of each value of a switch, if there is time [%(default)s]")
        sub.add_argument("--rehearsal", action="store_true", help="tiny sizes, to try this script without a GPU's speed")
    sub = which.add_parser("carry", help="make the folder for --programs on a machine without a GPU")
    gpu_check_carry.add_arguments(sub)
    sub = which.add_parser("report", help="write the table of brought-back results into docs/measured/gpu.md")
    sub.add_argument("out", nargs="+", metavar="DIR", help="what runs brought back; later ones replace figures of earlier ones")
    sub.add_argument("--document", default=os.path.join(TREE, "docs", "measured", "gpu.md"), metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    if options.which == "carry":
        return gpu_check_carry.carry(options)
    if options.which == "report":
        return gpu_check_report.merge(options.out, options.document)
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        listed = ""
    options.gpus = [line for line in listed.splitlines() if line.startswith("GPU")]
    if not options.gpus:
        print("gpu_check: nvidia-smi shows no GPU on this machine; every row of docs/measured/gpu.md stays as it is", file=sys.stderr)
        return 2
    before = read_before(options.before)
    plan = plan_of(options, before)
    check = Check(options)
    check.before = before

    def stopped(number, _):
        check.stop()
        check.say(f"stopped by {signal.Signals(number).name}")
        check.keep()
        os._exit(1)
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, stopped)
    try:
        check.run(plan)
    finally:
        check.stop()
    check.keep()
    print(gpu_check_report.table(check.results))
    failed = [name for name, record in check.results["phases"].items() if record["status"] == "failed"]
    idle = [name for name, record in check.results["phases"].items() if record.get("note") == "no time left"]
    measured = bool(check.results["bench"]) or any(r["result"] == "passed" for r in check.results["tests"].values())
    check.say(f"done, {check.out} has everything" + (f"; failed: {', '.join(failed)}" if failed else "") +
              (f"; no time for: {', '.join(idle)}" if idle else ""))
    return 0 if measured and not failed and not idle else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Shared by the parts of gpu_check.py: sizes, limits, processes, and functions that read the output of programs."""
import dataclasses
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import xml.etree.ElementTree

import gpu_check_carry

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIB = 1 << 20


@dataclasses.dataclass
class Switch:
    """An environment variable of the programs that `second` measures at several values, the default (None) first."""
    name: str
    values: list
    plans: bool = False  # the values choose different convolution kernels, so each needs a plan cache of its own


SWITCHES = [
    Switch("HRNET_SIDE_STREAMS", [None, "0", "1"]),
    Switch("HRNET_TILE_EPILOGUES", [None, "statistics", "gradient", "all"]),
    Switch("HRNET_CONV_CANDIDATES", [None, "10"], plans=True),
    # Changes whose gain is only predicted (docs/design/gpu.md, "Switched changes").
    Switch("HRNET_REVERSE", [None, "elements", "sums", "both"]),
    Switch("HRNET_COEFFICIENTS", [None, "registers"]),
    Switch("HRNET_DEPENDENT_LAUNCH", [None, "end", "start"]),
    Switch("HRNET_FILTER_SLAB", [None, "on"], plans=True),
    Switch("HRNET_RELU_BITS", [None, "on"]),
    Switch("HRNET_NORM_BACKWARD", [None, "folded"]),
    Switch("HRNET_ADAM_ROUNDS", [None, "on"]),
    # HRNET_BF16_CROPS and HRNET_EARLY_CROPS change nothing here, because the batches of `bench` are pictures.
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
# Used to try this script where a GPU is only simulated, or where there is none.
REHEARSAL = Size(model="hrnet_w8", batch=2, height=64, width=64, pictures=16, repeats=0.05, test_filter="GpuOps.*:GpuStep.OutOfMemory*")

# The phases and the time limit of each in seconds. A phase is left out if less than `LEAST` seconds remain.
LEAST = 8
LIMITS = {
    "machine": 20, "build": 240, "torch": 150, "tests": 130, "train128": 75, "trace": 45, "train256": 60, "infer128": 45,
    "infer1": 45, "kernels": 45, "diagnose": 100, "out_of_memory": 60, "synth": 45, "jpegs": 75, "ranks": 60, "memcheck": 90,
    "racecheck": 60, "ncu": 60, "failed_tests": 60, "switches": 140, "final": 60, "float32": 40,
}
FIRST = ["machine", "build", "tests", "train128", "trace", "torch", "train256", "infer128", "infer1", "kernels", "diagnose",
         "out_of_memory", "synth", "jpegs", "ranks", "memcheck", "racecheck", "ncu"]
# The phases of `second`. Phases of `first` that failed or were left out are inserted before "trace".
SECOND = ["machine", "build", "failed_tests", "train128", "switches", "trace", "final", "float32", "racecheck"]
DEFAULT_SECONDS = {"first": 440, "second": 290}

NCU_METRICS = ("gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum,lts__t_sector_hit_rate.pct,"
               "l1tex__throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active")


# The files in $OUT at the end. At most eight files are brought back from a lent machine; the caller may add one.
FILES = ["log.txt", "results.json", "table.md", "logs.tgz", "conv_plans.txt", "trace.txt", "trace.csv.gz"]


class Failed(Exception):
    """Raised when a phase fails. The text is the reason, in one line."""


class LeftOut(Exception):
    """Raised when a phase has nothing to do. The text is the reason."""


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
    """Returns the JSON objects among the lines of a file."""
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
    """Returns "passed", "failed" or "skipped", or None if the file does not contain a result, as after a crash."""
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
    """Returns the full names of the tests in the output of --gtest_list_tests."""
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


def start(command, cores=None, **options):
    """Starts a process on the given cores. It leads a process group, so that its children can be ended with it."""
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
    """Returns the most informative line of a test's log."""
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
    """Returns the folders in which the wheels of a Python environment keep cuDNN, cuBLAS, NCCL and CUPTI."""
    python = shutil.which("python3") or sys.executable
    roots = {sys.prefix, os.path.dirname(os.path.dirname(python)), os.environ.get("VIRTUAL_ENV", ""), "/opt/torch/.venv"}
    found = []
    for root in sorted(filter(None, roots)):
        found += sorted(glob.glob(os.path.join(root, "lib", "python3*", "*-packages", "nvidia", "*", "lib")))
    return list(dict.fromkeys(found))


def packages(check):
    """Returns environment variables with which the packages of tools/scripts/packages.sh are found."""
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
    """Returns HR_COMMIT, else the commit from which the carried programs were built, else that of the working tree."""
    if os.environ.get("HR_COMMIT"):
        return os.environ["HR_COMMIT"]
    for folder in (programs, TREE):
        path = folder and os.path.join(folder, "HR_COMMIT")
        if path and os.path.isfile(path):
            with open(path) as f:
                return f.read().strip()
    return gpu_check_carry.git_commit(TREE) or "unknown"

#!/usr/bin/env python3
"""Tests tools/gpu_check.sh with stand-ins for the programs, the GPU and its tools. Some of them hang, crash or fail.
The tests check that the script goes on, and that nothing is reported as passed or measured that was not."""
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "tools", "scripts"))
sys.dont_write_bytecode = True
import gpu_check_carry
import gpu_check_report

NVIDIA_SMI = """#!/bin/sh
case "$*" in
  -L) echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)" ;;
  *compute_cap*) echo "NVIDIA H100 80GB HBM3, 580.159.04, 81559 MiB, 9.0" ;;
  *-lms*) echo "timestamp, sm, mem, power, temperature, utilization"
    while :; do echo "now, 1755 MHz, 2619 MHz, 612.5 W, 60, 97 %"; sleep 0.05; done ;;
  *) echo "a pretended GPU" ;;
esac
"""
# Imitates bench: prints a result for its arguments. FAULT_<what> makes one run of it hang or crash.
BENCH = """#!/usr/bin/env python3
import json, os, signal, sys, time
if sys.argv[1:] == ["--version"]:
    sys.exit("bench: the loader finds no libdnnl.so.2" if os.environ.get("FAULT_VERSION") else print("bench 0.1.0"))
o = dict(zip(sys.argv[1::1], sys.argv[2::1]))
batch, mode = int(o["--batch-size"]), o["--mode"]
fault = os.environ.get("FAULT_" + mode.upper())
if fault == "hang":
    if os.fork() == 0: time.sleep(1000)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
if fault == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if os.environ.get("HRNET_CACHE"): open(os.environ["HRNET_CACHE"] + "/conv_plans.txt", "a").write("plan\\n")
if os.environ.get("TRACE_OUT"): open(os.environ["TRACE_OUT"], "w").write(open(os.environ["MADE_TRACE"]).read())
if mode == "kernels":
    kinds = {"fuse: forward": {"launches": 261, "bytes": 11.983e9, "operations": 0, "seconds": 5e-3},
             "convolution: forward": {"launches": 293, "bytes": 10.3e9, "operations": 1957e9, "seconds": 6e-3}}
    print(json.dumps({"bandwidth": 3.0e12, "kinds": kinds}))
else:
    seconds = (0.04 if os.environ.get("HRNET_SIDE_STREAMS") == "0" else 0.032) * batch / 128
    print(json.dumps({"mode": mode, "seconds": seconds, "img_per_s": batch / seconds, "peak_bytes": 5 << 30, "batch_size": batch,
                      "library": "cuDNN 9.19"}))
"""
TESTS = """#!/usr/bin/env python3
import os, signal, sys, time
names = os.environ.get("TEST_NAMES", "GpuOps.Passes GpuOps.Fails GpuOps.Skips GpuStep.Crashes GpuStep.Hangs GpuStep.OutOfMemorySays").split()
flags = dict(a.partition("=")[::2] for a in sys.argv[1:])
if "--gtest_list_tests" in flags:
    last = None
    for name in names:
        suite, test = name.split(".")
        if suite != last: print(suite + ".")
        last = suite
        print("  " + test + "  # GetParam() = 3")
    sys.exit(0)
name = flags["--gtest_filter"]
assert name in names, name
def xml(body, result="completed"):
    path = flags.get("--gtest_output", "")[4:]
    if path: open(path, "w").write(f'<testsuites><testsuite><testcase name="{name}" status="run" result="{result}">{body}</testcase></testsuite></testsuites>')
if "Hangs" in name: time.sleep(1000)
if "Crashes" in name:
    print("CUDA: an illegal memory access was encountered"); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGABRT)
if "Skips" in name: print("pair.h:33: Skipped\\nno GPU\\n[  SKIPPED ] " + name); xml('<skipped message="no GPU"/>', "skipped")
elif "Fails" in name: print("ops_test.cc:7: Failure\\nvalues differ"); xml('<failure message="differ"/>'); sys.exit(1)
else: xml("")
"""
SYNTH = "#!/bin/sh\necho '8000 pictures'\n"
TRAIN = "#!/bin/sh\necho 'epoch 2/2  loss 0.001  lr 1e-3  3900.0 img/s  data wait 2%'\n"
SANITIZER = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do case $1 in --tool|--error-exitcode) shift ;; esac; shift; done
[ -z "$FAULT_SANITIZER" ] || { echo '========= Invalid __global__ read of size 4 bytes'; exit 9; }
exec "$@"
"""
NCU = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --log-file ] && printf '"ID","Kernel"\\n"","ns"\\n"0","for_each_kernel"\\n' >"$2"; shift; done
"""


def made_trace(launches=4, kernels=200):
    """Makes a trace of launches that follow each other. Some kernels run in parallel, so that their order differs from
    launch to launch."""
    lines = [f"n\t{i}\tvoid hr::gpu::detail::for_each_kernel<hr::F{i % 20}>(int)" for i in range(kernels)]
    at = 1000
    for launch in range(launches):
        order = [0] + list(range(1, kernels))
        if launch % 2: order[10], order[11] = order[11], order[10]
        for i, name in enumerate(order):
            # The first kernel of a launch may be used again within the launch, so its name occurs twice here.
            number = 0 if name in (0, 50) else 1 + name * name % 19
            lines.append(f"k\t{at}\t{at + 1500}\t{7 + i % 2}\t1\t{number}\t1\t1\t1\t1\t0")
            at += 1000
    return "\n".join(lines) + "\n"


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = os.path.join(self.folder, "out")
        for place, programs in (("programs/bin", {"bench": BENCH, "hr_gpu_tests": TESTS, "synth": SYNTH, "train": TRAIN}),
                                ("bin", {"nvidia-smi": NVIDIA_SMI, "compute-sanitizer": SANITIZER, "ncu": NCU})):
            for name, text in programs.items():
                self.write(os.path.join(place, name), text)
        self.write("programs/lib/libcupti_trace.so", "")
        self.write("programs/HR_COMMIT", "abc1234\n")
        self.write("made.csv", made_trace())

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def run_check(self, *arguments, which="first", **env):
        self.wall = time.monotonic()
        environment = {**os.environ, "PATH": os.path.join(self.folder, "bin") + ":" + os.environ["PATH"], "OUT": self.out,
                       "HR_BUILD": os.path.join(self.folder, "build"), "MADE_TRACE": os.path.join(self.folder, "made.csv"), **env}
        environment.pop("HR_COMMIT", None)
        done = subprocess.run([os.path.join(TREE, "tools", "gpu_check.sh"), which, "--no-torch", "--programs",
                               os.path.join(self.folder, "programs"), "--limit", "100", *arguments], env=environment, capture_output=True, text=True, timeout=100)
        self.wall = time.monotonic() - self.wall
        self.said = done.stdout + done.stderr
        try:
            with open(os.path.join(self.out, "results.json")) as f:
                self.results = json.load(f)
        except OSError:
            self.results = None
        return done.returncode

    def status(self, phase):
        return self.results["phases"][phase]["status"]

    def rows(self):
        with open(os.path.join(self.out, "table.md")) as f:
            return {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in f if line.startswith("| ")}

    def test_every_phase_leaves_its_figures(self):
        rc = self.run_check(TEST_NAMES="GpuOps.Passes GpuOps.Too GpuStep.OutOfMemorySays GpuStep.TenStepsHold")
        self.assertEqual(rc, 0, self.said)
        self.assertEqual({p: r["status"] for p, r in self.results["phases"].items() if r["status"] != "ok"},
                         {"torch": "left out", "diagnose": "left out", "ranks": "left out"}, self.said)
        files = sorted(os.listdir(self.out))
        self.assertEqual(files, ["conv_plans.txt", "log.txt", "logs.tgz", "results.json", "table.md", "trace.csv.gz", "trace.txt"])
        with tarfile.open(os.path.join(self.out, "logs.tgz")) as tar:
            inside = tar.getnames()
        for name in ("logs/test_GpuOps.Passes.xml", "logs/test_GpuOps.Passes.log", "logs/smi.csv", "logs/train128.json", "logs/ncu.csv", "logs/machine.log"):
            self.assertIn(name, inside)
        rows = self.rows()
        self.assertEqual(rows["tests labelled gpu"][2:], ["4 passed", "met"])
        self.assertEqual(rows["training step bf16, batch 128"][0], "3,600 img/s")  # the goal of an H100
        self.assertIn("4,000 img/s", rows["training step bf16, batch 128"][2])
        self.assertEqual(rows["training step bf16, batch 128"][3], "met")
        self.assertEqual(rows["training from JPEGs over the step alone"][2:], ["0.975 (3,900 img/s, %d workers, data wait 2%%)" % self.results["jpegs"]["workers"], "met"])
        self.assertEqual(rows["inference bf16, batch 128"][3], "missed")
        self.assertEqual(rows["training step over the best PyTorch mode, batch 128"][2:], ["open", "open"])
        self.assertEqual(rows["10 steps: float32 follows the CPU, bf16 within 1 % of float32"][3], "met")
        self.assertEqual(rows["float32 within 1e-4, bf16 within 3e-2 of the CPU"][3], "open")
        self.assertEqual(rows["fuse: forward"][5], "1.25")  # 5 ms over 11.983 GB at 3 TB/s
        self.assertEqual(self.results["facts"]["commit"], "abc1234")
        self.assertEqual(self.results["phases"]["tests"].get("sm_mhz"), 1755.0)
        with open(os.path.join(self.out, "trace.txt")) as f:
            self.assertIn("4 launches seen; one of them: 200 records", f.readline())

    def test_what_hangs_or_crashes_costs_only_itself(self):
        rc = self.run_check("--phase-limit", "1.5", "--only", "tests,train128,infer128,kernels,jpegs", FAULT_INFERENCE="hang", FAULT_KERNELS="crash")
        self.assertEqual(rc, 1)
        self.assertEqual([self.status(p) for p in ("tests", "train128", "infer128", "kernels", "jpegs")], ["failed", "ok", "failed", "failed", "ok"], self.said)
        self.assertIn("did not finish", self.results["phases"]["infer128"]["note"])
        self.assertIn("SIGSEGV", self.results["phases"]["kernels"]["note"])
        self.assertLess(self.wall, 20)
        results = {name: r["result"] for name, r in self.results["tests"].items()}
        self.assertEqual(results, {"GpuOps.Passes": "passed", "GpuOps.Fails": "failed", "GpuOps.Skips": "skipped", "GpuStep.Crashes": "crashed", "GpuStep.Hangs": "timed out"})
        self.assertIn("illegal memory access", self.results["tests"]["GpuStep.Crashes"]["why"])
        self.assertIn("values differ", self.results["tests"]["GpuOps.Fails"]["why"])
        self.assertEqual(self.rows()["tests labelled gpu"][2:], ["1 passed, 1 failed, 1 crashed, 1 timed out, 1 skipped", "missed"])
        left = subprocess.run(["pgrep", "-f", os.path.join(self.folder, "programs")], capture_output=True, text=True).stdout
        self.assertEqual(left, "", "processes were left running")

    def test_only_skipped_tests_are_no_success(self):
        self.write("out/trace.txt", "an earlier run's")
        rc = self.run_check("--only", "tests", TEST_NAMES="GpuOps.Skips GpuModel.ForwardEqualsTheCpusSkips")
        self.assertEqual(rc, 1)
        self.assertFalse(os.path.exists(os.path.join(self.out, "trace.txt")))
        self.assertEqual(self.rows()["tests labelled gpu"][2:], ["0 passed, 2 skipped", "open"])
        self.assertEqual(self.rows()["float32 within 1e-4, bf16 within 3e-2 of the CPU"][3], "open")

    def test_when_most_tests_fail_their_reasons_come_first(self):
        self.run_check("--only", "tests,train128,diagnose", TEST_NAMES="GpuOps.Fails GpuOps.CrashesToo GpuOps.Passes", FAULT_SANITIZER="1")
        self.assertEqual(list(self.results["phases"]), ["machine", "build", "tests", "diagnose", "train128"], self.said)
        self.assertEqual(set(self.results["diagnose"]), {"GpuOps.Fails", "GpuOps.CrashesToo"})
        ways = self.results["diagnose"]["GpuOps.Fails"]
        self.assertEqual(set(ways), {"blocking", "one_stream", "memcheck"})
        self.assertIn("Invalid __global__ read", ways["memcheck"]["why"])

    def test_the_whole_limit_holds(self):
        rc = self.run_check("--limit", "4", "--only", "train128,infer128", FAULT_TRAIN="hang")
        self.assertEqual(rc, 1)
        self.assertLess(self.wall, 12)
        self.assertEqual(self.status("infer128"), "left out", self.said)
        self.assertEqual(self.rows()["inference bf16, batch 128"][2:], ["open", "open"])

    def test_sanitizer_errors_are_told(self):
        self.run_check("--only", "memcheck", FAULT_SANITIZER="1", TEST_NAMES="GpuOps.Passes")
        self.assertEqual(self.rows()["compute-sanitizer memcheck"][2:], ["0 of 1 tests without an error, 1 with errors", "missed"])
        self.run_check("--only", "memcheck", TEST_NAMES="GpuOps.Passes GpuOps.Skips")
        self.assertEqual(self.rows()["compute-sanitizer memcheck"][2:], ["1 of 2 tests without an error", "open"])

    def test_second_repeats_what_failed_and_measures_switches(self):
        self.run_check("--phase-limit", "2", "--skip", "memcheck,racecheck,ncu,trace,train256", FAULT_INFERENCE="crash", TEST_NAMES="GpuOps.Passes GpuOps.Fails")
        before = os.path.join(self.folder, "before")
        shutil.copytree(self.out, before)
        self.run_check("--before", before, "--switch", "HRNET_PDL=1", "--rounds", "1", "--skip", "memcheck,racecheck,ncu,trace", which="second", TEST_NAMES="GpuOps.Passes GpuOps.Fails")
        self.assertEqual(set(self.results["tests"]), {"GpuOps.Fails"})
        for phase in ("infer128", "infer1", "train256", "final", "float32"):
            self.assertEqual(self.status(phase), "ok", self.said)
        self.assertEqual(set(self.results["switches"]["HRNET_SIDE_STREAMS"]), {"default", "0", "1"})
        self.assertEqual(set(self.results["switches"]["HRNET_PDL"]), {"default", "1"})
        with open(os.path.join(self.out, "table.md")) as f:
            self.assertIn("| HRNET_SIDE_STREAMS | 0 | 40.00 | 40.00 to 40.00 (1) | +25.0% |", f.read())

    def test_report_fills_the_document(self):
        self.run_check("--only", "tests,train128", TEST_NAMES="GpuOps.Passes")
        document = os.path.join(self.folder, "gpu.md")
        with open(document, "w") as f:
            f.write(f"before\n{gpu_check_report.BEGIN}\nold\n{gpu_check_report.END}\nafter\n")
        command = [os.path.join(TREE, "tools", "gpu_check.sh"), "report", self.out, "--document", document]
        subprocess.run(command, check=True, capture_output=True)
        with open(document) as f:
            text = f.read()
        self.assertTrue(text.startswith("before\n") and text.endswith("after\n") and "old" not in text)
        self.assertIn("at commit abc1234 by `tools/gpu_check.sh` on one NVIDIA H100 80GB HBM3", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 120)
        # A later run on the same card replaces figures. One on another card has a table of its own.
        again, other = (os.path.join(self.folder, name) for name in ("again", "other"))
        for folder, card, speed in ((again, "NVIDIA H100 80GB HBM3", 4100.0), (other, "NVIDIA H200", 4200.0)):
            os.mkdir(folder)
            with open(os.path.join(folder, "results.json"), "w") as f:
                json.dump({**self.results, "facts": {"card": card}, "tests": {}, "bench": {"train128": {**self.results["bench"]["train128"], "img_per_s": speed}}}, f)
        subprocess.run([*command[:3], again, other, *command[3:]], check=True, capture_output=True)
        with open(document) as f:
            lines = f.read().splitlines()
        self.assertEqual([line.split("|")[4:6] for line in lines if "step bf16, batch 128" in line],
                         [[" 4,100 img/s (32.00 ms) ", " met "], [" 4,200 img/s (32.00 ms) ", " missed "]])
        self.assertEqual([line.split("|")[4].strip() for line in lines if "tests labelled gpu" in line], ["1 passed", "open"])
        self.results["rehearsal"] = True
        with open(os.path.join(self.out, "results.json"), "w") as f:
            json.dump(self.results, f)
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 2)

    def test_programs_that_do_not_start_are_built(self):
        self.run_check("--only", "train128", "--phase-limit", "1", FAULT_VERSION="1", CMAKE_PREFIX_PATH="/nonexistent")
        self.assertIn("do not run here (bench --version: status 1, bench: the loader finds no libdnnl.so.2)", self.said)
        self.assertEqual(self.status("build"), "failed")

    def test_carried_programs_bring_their_libraries(self):
        build = os.path.join(self.folder, "carry")
        for name in ("tests/hr_gpu_tests", "tools/bench", "tools/train", "tools/synth"):  # any program with --version
            os.makedirs(os.path.dirname(os.path.join(build, name)), exist_ok=True)
            shutil.copy("/bin/ls", os.path.join(build, name))
        self.write("oracle/train/train.json", "{}")
        self.write("oracle/train/main_batch.safetensors", "")
        self.write("oracle/weights/w8.safetensors", "")
        packed = os.path.join(self.folder, "packed.tar.xz")
        done = subprocess.run([os.path.join(TREE, "tools", "gpu_check.sh"), "carry", packed, "--no-build", "--build", build, "--oracle",
                               os.path.join(self.folder, "oracle")], env={**os.environ, "HR_COMMIT": "c0ffee"}, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("without validate, predict, forward, libcupti_trace.so", done.stdout)
        self.run_check("--only", "train128", "--programs", packed)
        self.assertIn("packed.tar.xz run here", self.results["phases"]["build"]["note"])
        self.assertEqual(self.results["facts"]["commit"], "c0ffee")
        folder = os.path.join(self.folder, "build", "programs", "programs")
        self.assertEqual(set(os.listdir(os.path.join(folder, "lib"))), set(gpu_check_carry.needed_libraries("/bin/ls")[0]))
        self.assertTrue(os.path.exists(os.path.join(folder, "oracle", "train", "train.json")))

    def test_no_gpu_is_said(self):
        self.write("bin/nvidia-smi", "#!/bin/sh\nexit 9\n")
        self.assertEqual(self.run_check(), 2)
        self.assertIn("shows no GPU", self.said)
        self.assertIsNone(self.results)


class Floors(unittest.TestCase):
    def test_the_review_s_figures_come_out(self):
        for bandwidth, milliseconds in ((3.0e12, 11.8), (4.3e12, 9.4)):
            self.assertAlmostEqual(1e3 * gpu_check_report.convolution_floor(bandwidth), milliseconds, delta=0.05)


if __name__ == "__main__":
    unittest.main()

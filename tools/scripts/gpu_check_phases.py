"""The phases of gpu_check.py, which has the overview."""
import concurrent.futures
import gzip
import os
import re
import shutil
import subprocess
import sys
import time

import gpu_check_carry
import gpu_check_report
import trace_report
from gpu_check_common import (TREE, MIB, SWITCHES, NCU_METRICS, Failed, LeftOut, last_line, json_lines, read_test_xml,
                              list_tests, start, describe_rc, reason_in, nvidia_folders, packages, commit)
from gpu_check_run import Runner


class Check(Runner):
    """The phases. Each is a method phase_NAME that returns a note, or raises Failed or LeftOut."""

    def cores(self):
        """Returns (cores for the build, cores for PyTorch beside it), or (None, None) if there are too few."""
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
        # With -k, a source that does not compile stops only the programs that need it.
        jobs = str(len(many or os.sched_getaffinity(0)))
        going_on = ["--", "-k", "0"] if "-G" in configure else ["--", "-k"]
        outcome = self.execute(["cmake", "--build", self.build, "-j", jobs, "--target", "hr_gpu_tests", "bench", "train", "synth",
                                *going_on], rest(), log, env=env, cores=many)
        # PyTorch's measurement ends first, because the tests would disturb it.
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
        """Uses the programs of --programs. Returns the reason if they do not run here, else ''."""
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
        """Runs one test in a process of its own, because after a GPU error nothing else in the process works."""
        safe = name.replace("/", "_")
        log, report = self.log(f"{label}_{safe}.log"), self.log(f"{label}_{safe}.xml")
        begin = time.monotonic()
        cache = os.path.join(self.build, "cache_tests", safe)  # parallel processes would overwrite each other's plans
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
        """Returns the number of threads for each of several processes. If each used as many threads as there are cores,
        all processes would pin their threads to the same cores."""
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
        """Runs the tests that fill the GPU's memory, one by one, because other tests would fail meanwhile."""
        names = [name for name in self.test_names() if "OutOfMemory" in name]
        if not names:
            raise LeftOut("no such test")
        return self.several_tests(names, self.most("out_of_memory"), side_by_side=1, each=self.most("out_of_memory"))

    def phase_failed_tests(self):
        """Runs the tests that failed before, or all tests if that is not known."""
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
        """Returns the names of failing tests, the fastest first."""
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
        if epochs:  # the figures count even if the validation after the epochs did not finish
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
        """Reads hardware counters of our kernels in the forward pass. The launches of the first step are skipped."""
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
        """Measures each switch at each of its values, several times in turn, so that a drift of the GPU's clock affects
        all values alike."""
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
        """Measures the figures to quote, three times each to show their spread."""
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

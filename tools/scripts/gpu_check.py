#!/usr/bin/env python3
"""Tests and measures as much on a GPU as a few minutes allow, the most important things first.

The GPU may be lent for minutes only, on a machine without a network that keeps no files. Therefore each phase has a
time limit of its own, a phase that hangs or crashes does not stop the others, and after every phase all results are in
$OUT:

    log.txt         the messages of this script       conv_plans.txt   the convolution kernels that were chosen
    results.json    all figures                       trace.txt        one launched training step by kernel
    table.md        figures beside goals and floors   trace.csv.gz     its time line, every kernel with start and end
    logs.tgz        the output of every program, the tests' XML, clocks and power, all candidates of convolutions

    tools/gpu_check.sh carry DIR|FILE.tar.xz      without a GPU: gathers programs and libraries to take along
    tools/gpu_check.sh first [--programs DIR]     the first minutes: build, tests, measurements, sanitizers
    tools/gpu_check.sh second [--before OUT]      later minutes: repeats what failed, then measures switches on and off
    tools/gpu_check.sh report OUT [OUT...]        anywhere: puts the table into docs/measured/gpu.md

For example: tools/gpu_check.sh first --programs build-carry.tar.xz --limit 440

docs/guide/gpu.md has the details. The exit status is 0 if every phase succeeded and every test passed, 1 if something
failed or was not measured, and 2 if nothing could be tried.
"""
import argparse
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gpu_check_carry
import gpu_check_report
from gpu_check_common import (TREE, Switch, LIMITS, FIRST, SECOND, DEFAULT_SECONDS)
from gpu_check_phases import Check


def read_before(folder):
    """Reads the results of an earlier run."""
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
        sub.add_argument("--out", metavar="DIR", help="folder for the results [$OUT, else build-gpu/out]")
        sub.add_argument("--limit", type=float, default=DEFAULT_SECONDS[name], metavar="SECONDS", help="time limit for all phases together [%(default)s]")
        sub.add_argument("--phase-limit", type=float, default=1e9, metavar="SECONDS", help="time limit for each phase, if its own is longer")
        sub.add_argument("--only", type=comma, default=[], metavar="PHASE,PHASE", help="run only these phases, after machine and build")
        sub.add_argument("--skip", type=comma, default=[], metavar="PHASE,PHASE", help="run all phases except these")
        sub.add_argument("--no-torch", dest="torch", action="store_false", help="do not measure PyTorch")
        sub.add_argument("--before", metavar="DIR", help="results of an earlier run: its plans are used and its failures are repeated")
        sub.add_argument("--switch", type=switch_of, action="append", default=[], metavar="NAME=VALUE,VALUE",
                         help="measure one more environment variable in `second`, at these values and unset")
        sub.add_argument("--rounds", type=int, default=4, metavar="N", help="how often each value of a switch is measured, if there is time [%(default)s]")
        sub.add_argument("--rehearsal", action="store_true", help="use tiny sizes, to try this script without a fast GPU")
    sub = which.add_parser("carry", help="gather the programs for --programs, on a machine without a GPU")
    gpu_check_carry.add_arguments(sub)
    sub = which.add_parser("report", help="write the table of results into docs/measured/gpu.md")
    sub.add_argument("out", nargs="+", metavar="DIR", help="results of runs; figures of later ones replace those of earlier ones")
    sub.add_argument("--document", default=os.path.join(TREE, "docs", "measured", "gpu.md"), metavar="FILE",
                     help="document to write the table into [docs/measured/gpu.md]")
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
        print("gpu_check: nvidia-smi shows no GPU on this machine, so nothing was measured; run it where there is one", file=sys.stderr)
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

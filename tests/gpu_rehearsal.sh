#!/usr/bin/env bash
# Rehearses tools/gpu_check.sh as it will run on a lent GPU machine: in a bare Debian root without a network, from a
# tree without .git, with a fake nvidia-smi. It needs no GPU, but root, debootstrap and a CUDA toolkit.
#
#   tests/gpu_rehearsal.sh [FOLDER]    FOLDER [build-rehearsal] receives the root and the results of each stage
#
# There are four stages, and the results of each are checked at its end:
#   build    `first` builds everything with nvcc and the carried packages; it must report that nothing can run
#   whole    `first` with programs that contain the simulated GPU: every phase runs
#   faults   the same while bench hangs in one phase and crashes in another: only these two phases may fail
#   second   `second --before whole` with the same programs
# compute-sanitizer, ncu and the tracer need a real driver, so they are faked: the first two start the program, and the
# files of ncu and of the tracer are written by hand in their formats. PyTorch is missing and must be left out.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD
folder=$(realpath -m "${1:-build-rehearsal}")
build=${HR_BUILD:-build}
cuda=$(realpath "${CUDA_HOME:-/usr/local/cuda}")
root=$folder/root
mkdir -p "$folder"

[ -x "$cuda/bin/nvcc" ] || { echo "gpu_rehearsal: there is no nvcc below $cuda; set CUDA_HOME" >&2; exit 2; }
[ -x "$build/tests/hr_simulated_gpu_tests" ] || { echo "gpu_rehearsal: build the tests first (tests/run.sh)" >&2; exit 2; }

if [ ! -x "$root/usr/bin/g++" ]; then
  mirror=$(find /etc/apt -name '*.list' -o -name '*.sources' | sort |
    xargs sed -n 's/^URIs: *//p;s/^deb  *\(http[^ ]*\).*/\1/p' | sed -n 1p)
  debootstrap --variant=minbase --include=g++,cmake,ninja-build,python3,xz-utils,pkg-config \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" "$mirror" >"$folder/debootstrap.log"
fi
if [ ! -f "$folder/build-deps.tar.xz" ]; then
  rm -rf "$folder/build-deps"
  tools/scripts/packages.sh --into "$folder/build-deps" --no-gloo
  tar -C "$folder" -cJf "$folder/build-deps.tar.xz" build-deps
fi

# Copies the tracked files with their uncommitted changes.
rm -rf "$root/tree" && mkdir -p "$root/tree"
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$root/tree"
cp "$folder/build-deps.tar.xz" "$root/tree/"

# Packs programs that contain the simulated GPU as `carry` packs the real ones.
sim=$folder/simulated
rm -rf "$sim" && mkdir -p "$sim/tests" "$sim/tools"
cp "$build/tests/hr_simulated_gpu_tests" "$sim/tests/hr_gpu_tests"
cp "$build"/tests/simulated/* "$build/tools/synth" "$sim/tools/"
tools/gpu_check.sh carry "$folder/carried.tar.xz" --no-build --build "$sim"
rm -rf "$folder/programs" && tar -C "$folder" -xf "$folder/carried.tar.xz"
# Since the tracer cannot run, the fake bench writes a trace of two launches of a graph with two kernels.
mv "$folder/programs/bin/bench" "$folder/programs/bin/bench.real"
cat >"$folder/programs/bin/bench" <<'BENCH'
#!/bin/sh
"$0.real" "$@" || exit
[ -z "${TRACE_OUT:-}" ] && exit
printf 'n\t0\tvoid hr::gpu::detail::for_each<int>(int)\nn\t1\tsome_library_kernel(int)\n' >"$TRACE_OUT"
for start in 1000000 2000000; do
  printf 'k\t%s\t%s\t7\t1\t0\t10\t256\t32\t0\t0\n' "$start" "$((start + 5000))"
  printf 'k\t%s\t%s\t8\t1\t1\t10\t256\t32\t0\t0\n' "$((start + 6000))" "$((start + 9000))"
done >>"$TRACE_OUT"
BENCH
chmod +x "$folder/programs/bin/bench"
: >"$folder/programs/lib/libcupti_trace.so"
tar -C "$folder" -cJf "$root/tree/programs.tar.xz" programs

cat >"$root/usr/bin/nvidia-smi" <<'SMI'
#!/bin/sh
case "$*" in
  -L) echo "GPU 0: NVIDIA H200 (UUID: GPU-0)" ;;
  *--query-gpu=name*) echo "NVIDIA H200, 580.00, 143771 MiB, 9.0" ;;
  *-lms*) while :; do echo "2026/01/01 00:00:00.000, 1980 MHz, 3201 MHz, 300.00 W, 40, 99 %"; sleep 0.5; done ;;
  *) echo "a pretended nvidia-smi" ;;
esac
SMI
mkdir -p "$root/pretended"
cat >"$root/pretended/compute-sanitizer" <<'TOOL'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do case "$1" in --tool | --error-exitcode) shift 2 ;; *) shift ;; esac; done
exec "$@"
TOOL
cat >"$root/pretended/ncu" <<'TOOL'
#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in --log-file) log=$2; shift 2 ;; */bench) break ;; *) shift ;; esac
done
"$@" || exit
printf '"ID","Kernel Name"\n"",""\n"0","for_each"\n' >"$log"
TOOL
chmod +x "$root/usr/bin/nvidia-smi" "$root"/pretended/*

# inside LIMIT OUT FAKES... : runs gpu_check.sh in the root, without a network. The function returns its status.
inside() {
  local limit=$1 out=$2 which=$3
  shift 3
  rm -rf "$root/tree/out-$out"
  unshare --net --mount --pid --fork --kill-child bash -euc '
    root=$1 cuda=$2; shift 2
    mount -t proc proc "$root/proc"
    mkdir -p "$root$cuda" && mount --bind -o ro "$cuda" "$root$cuda"
    [ -e "$root/usr/local/cuda" ] || ln -s "$cuda" "$root/usr/local/cuda"
    chroot "$root" env -i PATH="${PRETENDED:+/pretended:}/usr/bin:/bin:/usr/sbin:/sbin" HOME=/root HR_COMMIT=rehearsal \
      HR_BUILD="/tree/build-$BUILD" "$@"
  ' _ "$root" "$cuda" bash /tree/tools/gpu_check.sh "$which" --rehearsal --limit "$limit" --out "/tree/out-$out" "$@" \
    >"$folder/$out.txt" 2>&1
}

# judge OUT EXPRESSION TEXT: checks a claim in Python over phases, a dictionary of name to record.
failures=0
judge() {
  if python3 - "$root/tree/out-$1/results.json" "$2" <<'PY'; then echo "ok: $1: $3"; else echo "FAILED: $1: $3" >&2; failures=$((failures + 1)); fi
import json, sys
results = json.load(open(sys.argv[1]))
phases = results["phases"]
status = {name: record["status"] for name, record in phases.items()}
note = {name: record["note"] for name, record in phases.items()}
sys.exit(0 if eval(sys.argv[2]) else 1)
PY
}
files() {
  for name in log.txt results.json table.md logs.tgz; do
    [ -s "$root/tree/out-$1/$name" ] || { echo "FAILED: $1: there is no $name" >&2; failures=$((failures + 1)); }
  done
}

for stage in ${STAGES:-build whole faults second}; do
  echo "== $stage"
  case $stage in
    build)
      BUILD=gpu PRETENDED='' inside 3600 build first --only build,tests || true
      files build
      judge build 'status["machine"] == "ok" and status["build"] == "ok"' "everything was built with nvcc and carried packages"
      judge build 'status["tests"] == "failed" and "skipped" in note["tests"]' "no test is said to have passed without a GPU"
      ;;
    whole)
      BUILD=whole PRETENDED=1 inside 3600 whole first --programs /tree/programs.tar.xz || true
      files whole
      for name in trace.txt trace.csv.gz; do
        [ -s "$root/tree/out-whole/$name" ] || { echo "FAILED: whole: there is no $name" >&2; failures=$((failures + 1)); }
      done
      judge whole 'not set(status) ^ {"machine","build","tests","train128","trace","torch","train256","infer128","infer1","kernels","diagnose","out_of_memory","synth","jpegs","ranks","memcheck","racecheck","ncu"}' "every phase was reached"
      judge whole 'not [n for n in status if status[n] == "failed"]' "no phase failed"
      judge whole '{n for n in status if status[n] == "left out"} == {"torch", "diagnose", "ranks"}' "left out: PyTorch, which is not there, the diagnosis of failures, and several GPUs"
      ;;
    faults)
      rm -rf "$folder/faulty" && mkdir "$folder/faulty"
      tar -C "$folder/faulty" -xf "$root/tree/programs.tar.xz"
      mv "$folder/faulty/programs/bin/bench" "$folder/faulty/programs/bin/bench.traced"
      cat >"$folder/faulty/programs/bin/bench" <<'BENCH'
#!/bin/sh
case "$*" in
  *"--mode kernels"*) sleep 1000 ;;
  *"--batch-size 1 "*) kill -SEGV $$ ;;
esac
exec "${0}.traced" "$@"
BENCH
      sed -i 's/"\$0.real"/"${0%.traced}.real"/' "$folder/faulty/programs/bin/bench.traced"
      chmod +x "$folder/faulty/programs/bin/bench"
      rm -rf "$root/tree/faulty" && cp -r "$folder/faulty/programs" "$root/tree/faulty"
      BUILD=faults PRETENDED=1 inside 3600 faults first --programs /tree/faulty --skip memcheck,racecheck || true
      files faults
      judge faults 'set(n for n in status if status[n] == "failed") == {"kernels", "infer1", "ncu"}' "only the phases of the two faults failed (ncu and kernels start the same mode)"
      judge faults '"did not finish" in note["kernels"] and "SIGSEGV" in note["infer1"]' "each failure is named"
      judge faults 'status["train128"] == status["train256"] == status["jpegs"] == "ok"' "the others did their work"
      ;;
    second)
      BUILD=second PRETENDED=1 inside 3600 second second --programs /tree/programs.tar.xz --before /tree/out-whole --rounds 1 || true
      files second
      judge second 'status["train128"] == status["switches"] == status["final"] == status["float32"] == "ok"' "the switches and the figures to quote were measured"
      judge second 'status["failed_tests"] == "left out"' "no test failed before, so none is repeated"
      ;;
  esac
  cp -r "$root/tree/out-$stage" "$folder/" 2>/dev/null || true
done
[ "$failures" -eq 0 ] || { echo "gpu_rehearsal: $failures claims did not hold; see $folder" >&2; exit 1; }
echo "gpu_rehearsal: every claim held"

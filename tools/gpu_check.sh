#!/usr/bin/env bash
# For a machine with an NVIDIA GPU: builds, runs the tests labelled gpu, the benchmarks and, in what time is left,
# compute-sanitizer on the op tests, and writes what was measured into docs/gpu.md. At most 9 minutes on 16 cores. A step that cannot run leaves
# its row open and says why; nothing is filled in that was not measured.
# Usage: tools/gpu_check.sh [--no-sanitizer] [--no-torch]        (HR_BUILD=DIR: build folder, default build-gpu)
set -uo pipefail
cd "$(dirname "$0")/.."
build=${HR_BUILD:-build-gpu}
sanitizer=1 torch=1
for argument in "$@"; do
  case $argument in
    --no-sanitizer) sanitizer=0 ;;
    --no-torch) torch=0 ;;
    *) echo "gpu_check.sh: unknown option $argument; expected --no-sanitizer or --no-torch" >&2; exit 2 ;;
  esac
done
unset HRNET_TEST_DEVICE  # with it the tests would compare the CPU with itself
started=$SECONDS
say() { printf '[%4ds] %s\n' $((SECONDS - started)) "$*"; }
left() { echo $((540 - (SECONDS - started))); }

if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "gpu_check.sh: nvidia-smi shows no GPU on this machine; every row of docs/gpu.md stays as it is" >&2
  exit 2
fi

say "packages"
if [ -z "${CMAKE_PREFIX_PATH:-}" ] && ! (source tools/packages.sh; install_packages) >"$build.log" 2>&1; then
  tail -n 5 "$build.log" >&2
  echo "gpu_check.sh: the packages of tools/packages.sh could not be installed. Where there is no root or no network, run" \
    "tools/packages.sh --into DIR elsewhere, bring DIR here and set CMAKE_PREFIX_PATH=DIR/usr" >&2
  exit 1
fi

[ -z "${CMAKE_PREFIX_PATH:-}" ] || export LDFLAGS="${LDFLAGS:-} -Wl,--disable-new-dtags"  # see tools/packages.sh

say "build"
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DHR_CUDA=ON >"$build.log" 2>&1 &&
  cmake --build "$build" -j "$(nproc)" --target hr_gpu_tests hr_ops_tests bench train synth >>"$build.log" 2>&1 ||
  { tail -n 30 "$build.log" >&2; echo "gpu_check.sh: the build failed, see $build.log" >&2; exit 1; }

say "tests labelled gpu"
tests=$build/tests/hr_gpu_tests
status=0
timeout "$(left)" "$tests" --gtest_brief=1 >"$build/gpu_tests.log" 2>&1 || status=1
passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$build/gpu_tests.log" | head -n 1)
failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$build/gpu_tests.log" | head -n 1)
skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$build/gpu_tests.log" | head -n 1)
test_row="${passed:-0} passed, ${failed:-0} failed, ${skipped:-0} skipped"
[ -n "$passed$failed$skipped" ] || test_row="ended early: $(tail -n 1 "$build/gpu_tests.log")"
say "$test_row"
[ "${passed:-0}" -gt 0 ] || status=1  # only skipped: nothing was checked
[ "$status" -eq 0 ] || grep -E "Failure|FAILED" "$build/gpu_tests.log" | head -n 20

# verdict TEST: what the log says of one test.
verdict() {
  if grep -q "FAILED.*$1" "$build/gpu_tests.log"; then echo fails
  elif [ "${passed:-0}" -eq 0 ] || grep -q "SKIPPED.*$1" "$build/gpu_tests.log"; then echo open
  else echo passes; fi
}

# field FILE NAME: one number of a JSON line.
field() { sed -n "s/.*\"$2\": \([0-9.eE+-]*\).*/\1/p" "$1" | head -n 1; }
bench() { # NAME arguments...: one JSON line in $build/NAME.json
  local name=$1
  shift
  say "bench $name"
  timeout 60 "$build/tools/bench" --device cuda --json "$@" >"$build/$name.json" 2>"$build/$name.err" ||
    { say "bench $name: $(tail -n 1 "$build/$name.err")"; status=1; }
}
bench train128 --mode train --dtype bf16 --batch-size 128 --repeats 30
bench train256 --mode train --dtype bf16 --batch-size 256 --repeats 20
bench train_f32 --mode train --dtype f32 --batch-size 64 --repeats 10
bench infer128 --mode inference --dtype bf16 --batch-size 128 --repeats 50
bench infer1 --mode inference --dtype bf16 --batch-size 1 --repeats 200
# Ranks over NCCL, one per GPU: 2 and all of them. What a step gains over one GPU, of what it could gain.
gpus=$(nvidia-smi -L 2>/dev/null | grep -c GPU)
rank_rows=()
for count in $(printf '%s\n' 2 "$gpus" | sort -nu); do
  [ "$count" -lt 2 ] || [ "$count" -gt "$gpus" ] && continue
  [ "$(left)" -lt 60 ] && { rank_rows+=("| training step on $count GPUs | 0.9 of $count times one | open (no time left) |"); continue; }
  say "bench comm on $count GPUs"
  timeout 60 "$build/tools/bench" --mode comm --json --device cuda --devices "$(seq -s, 0 $((count - 1)))" --dtype bf16 \
    --batch-size 128 --repeats 20 >"$build/comm$count.json" 2>"$build/comm$count.err" ||
    say "bench comm: $(tail -n 1 "$build/comm$count.err")"
  alone=$(field "$build/comm$count.json" seconds_alone) step=$(field "$build/comm$count.json" seconds)
  efficiency=open
  [ -n "$alone" ] && [ -n "$step" ] && efficiency=$(awk "BEGIN { printf \"%.3f (%.0f img/s)\", $alone / $step, $count * 128 / $step }")
  rank_rows+=("| training step on $count GPUs over NCCL, of $count times one | 0.9 | $efficiency |")
done
[ ${#rank_rows[@]} -gt 0 ] || rank_rows=("| training step on several GPUs over NCCL | 0.9 | open (this machine has $gpus) |")
say "bench kernels"
timeout 90 "$build/tools/bench" --device cuda --mode kernels --dtype bf16 --batch-size 128 >"$build/kernels.txt" 2>&1

peer_train= peer_infer= peer_memory=
python=$(command -v python3 || true)
if [ "$torch" -eq 1 ] && [ -n "$python" ] && "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  for variant in eager channels_last compile; do
    [ "$(left)" -lt 70 ] && { say "torch $variant: no time left"; continue; }
    for mode in train infer; do
      say "torch $mode $variant"
      timeout 100 "$python" tools/bench_torch.py --model hrnet_w32 --batch 128 --size 256 192 --mode $mode --device cuda \
        --variant $variant --warmup 5 --steps 20 >"$build/torch_${mode}_$variant.json" 2>"$build/torch.err" ||
        say "torch $mode $variant: $(tail -n 1 "$build/torch.err")"
    done
  done
  best() { cat "$build"/torch_"$1"_*.json 2>/dev/null | sed -n 's/.*"img_per_s": \([0-9.]*\).*/\1/p' | sort -g | tail -n 1; }
  peer_train=$(best train) peer_infer=$(best infer)
  peer_memory=$(cat "$build"/torch_train_*.json 2>/dev/null | sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' | sort -g | head -n 1)
fi

say "training from JPEGs"
jpeg_rate=
if [ "$(left)" -gt 45 ]; then
  "$build/tools/synth" --output "$build/data" --train-images 8000 --val-images 8 >"$build/synth.log" 2>&1 &&
    timeout 100 "$build/tools/train" --device cuda --amp --data-path "$build/data" --model hrnet_w32 --batch-size 128 \
      --epochs 2 --workers 16 --eval-every 2 --output-dir "$build/run" >"$build/train.log" 2>&1
  jpeg_rate=$(grep -o '[0-9.]* img/s' "$build/train.log" 2>/dev/null | tail -n 1 | cut -d' ' -f1)
fi

declare -A sanitized=([memcheck]=open [racecheck]=open)
if [ "$sanitizer" -eq 1 ] && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    limit=$(($(left) < 90 ? $(left) : 90))
    [ "$limit" -lt 20 ] && { sanitized[$tool]="open (no time left)"; continue; }
    say "compute-sanitizer $tool"
    timeout "$limit" compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" \
      --gtest_filter='GpuOps.*:GpuConv.Bias*' >"$build/$tool.log" 2>&1
    case $? in
      0) sanitized[$tool]="no error" ;;
      124) sanitized[$tool]="open (not finished in $limit s)" ;;
      *) sanitized[$tool]=$(tail -n 1 "$build/$tool.log") status=1 ;;
    esac
    say "$tool: ${sanitized[$tool]}"
  done
fi

ratio() { [ -n "${1:-}" ] && [ -n "${2:-}" ] && awk "BEGIN { printf \"%.2f\", $1 / $2 }" || echo open; }
or_open() { [ -n "${1:-}" ] && echo "$1" || echo open; }
t128=$(field "$build/train128.json" img_per_s) t256=$(field "$build/train256.json" img_per_s)
i128=$(field "$build/infer128.json" img_per_s)
one=$(field "$build/infer1.json" seconds) memory=$(field "$build/train128.json" peak_bytes)
{
  echo "Measured $(date -u +%Y-%m-%d) at commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown) by \`tools/gpu_check.sh\`:"
  echo "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1),"
  echo "$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/CUDA \1/p'), $(sed -n 's/.*"library": "\([^"]*\)".*/\1/p' "$build/train128.json" | head -n 1), $(nproc) cores."
  echo
  echo "| work (hrnet_w32, 256x192) | goal | measured |"
  echo "|---|---|---|"
  echo "| tests labelled gpu | all pass | $test_row |"
  echo "| compute-sanitizer memcheck, racecheck on the ops | no error | ${sanitized[memcheck]}; ${sanitized[racecheck]} |"
  echo "| training step bf16, batch 128 | 4,000 img/s | $(or_open "$t128") |"
  echo "| training step bf16, batch 256 | 4,000 img/s | $(or_open "$t256") |"
  echo "| over the best PyTorch mode, batch 128 | 2 | $(ratio "$t128" "$peer_train") (PyTorch $(or_open "$peer_train") img/s) |"
  echo "| of the 7,800 img/s floor | 50 % | $(ratio "$t128" 7800) |"
  echo "| training step float32, batch 64 | | $(or_open "$(field "$build/train_f32.json" img_per_s)") |"
  echo "| inference bf16, batch 128 | 20,000 img/s | $(or_open "$i128") |"
  echo "| over the best PyTorch mode | 2 | $(ratio "$i128" "$peer_infer") (PyTorch $(or_open "$peer_infer") img/s) |"
  echo "| inference, one person | 1.0 ms | $([ -n "$one" ] && awk "BEGIN { printf \"%.3f ms\", 1000 * $one }" || echo open) |"
  echo "| training from JPEGs over the step alone | 0.95 | $(ratio "$jpeg_rate" "$t128") ($(or_open "$jpeg_rate") img/s) |"
  printf '%s\n' "${rank_rows[@]}"
  echo "| memory, training batch 128 bf16, of PyTorch's | 0.60 | $(ratio "$memory" "$peer_memory") |"
  echo "| float32 within 1e-4, bf16 within 3e-2 of the CPU | tests | $(verdict GpuModel.ForwardEqualsTheCpus) |"
  echo "| 10 steps: float32 follows the CPU, bf16 within 1 % of float32 | tests | $(verdict GpuStep.TenSteps) |"
  echo
  cat "$build/kernels.txt" 2>/dev/null
} >"$build/gpu_table.md"
awk -v table="$build/gpu_table.md" '
  /<!-- measured: begin -->/ { print; while ((getline line < table) > 0) print line; skip = 1 }
  /<!-- measured: end -->/ { skip = 0 }
  !skip && !/<!-- measured: begin -->/ { print }' docs/gpu.md >"$build/gpu.md" && mv "$build/gpu.md" docs/gpu.md
cat "$build/gpu_table.md"
say "done; docs/gpu.md has the table$([ "$status" -eq 0 ] || echo ", and something failed or could not be measured: see above")"
exit $status

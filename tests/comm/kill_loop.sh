#!/usr/bin/env bash
# Kills a random rank of a training run at a random moment, again and again, and compares the weights of the restarted
# run with those of an undisturbed one: every byte of last.safetensors must be the same.
#
# Usage: tests/comm/kill_loop.sh BUILD_DIR [RUNS, default 3] [RANKS, default 3]
set -euo pipefail
build=$(cd "$1" && pwd) runs=${2:-3} ranks=${3:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

"$build/tools/synth" --output data --train-images 16 --val-images 2 --seed 5 --size 160x120 --threads 1 >/dev/null 2>&1
flags=(--data-path data --model hrnet_w2 --fixed-size 64 64 --init torch --no-flip --workers 1 --batch-size 1 --epochs 4
  --eval-every 4 --checkpoint-every 1 --nproc "$ranks" --max-restarts 3)
started=$(date +%s%N)
"$build/tools/train" "${flags[@]}" --output-dir undisturbed >undisturbed.log 2>&1
took_ms=$((($(date +%s%N) - started) / 1000000))

hits=0 tries=0 equal=0
while [ "$hits" -lt "$runs" ]; do
  tries=$((tries + 1))
  rm -rf run
  "$build/tools/train" "${flags[@]}" --output-dir run >run.log 2>&1 &
  launcher=$!
  sleep "$(awk -v ms=$((RANDOM * 32768 + RANDOM)) -v range="$took_ms" 'BEGIN { printf "%.3f", ms % range / 1000 }')"
  mapfile -t pids < <(pgrep -P "$launcher" || true)
  victim=${pids[$((RANDOM % (${#pids[@]} > 0 ? ${#pids[@]} : 1)))]:-}
  hit=0
  [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null && hit=1
  status=0
  wait "$launcher" || status=$?
  [ "$hit" -eq 1 ] && grep -q "starting all ranks again" run.log || continue  # the run had ended before the kill
  hits=$((hits + 1))
  if [ "$status" -eq 0 ] && cmp -s undisturbed/last.safetensors run/last.safetensors; then
    equal=$((equal + 1))
  else
    echo "run $hits: status $status, weights differ or are missing" >&2
    cat run.log >&2
    exit 1
  fi
done
echo "$equal of $runs runs with a killed rank ended with the bytes of the undisturbed one ($((tries - hits)) more were over before the kill; one run takes $took_ms ms)"

#!/usr/bin/env bash
# Trains on three hosts with a rank each: network namespaces that are joined by veth pairs and a bridge. Each host has a
# name, an address and a copy of the data of its own. The runs are: undisturbed; a host is cut off in the middle (its
# cable is pulled: no packet, no reset); rank 0's host is cut off; two hosts cannot reach each other.
#
# Usage: tests/comm/hosts.sh BUILD_DIR        The exit status is 77 if namespaces cannot be made here.
set -euo pipefail
build=$(cd "$1" && pwd)
tag=hr$$
timeout=5          # --dist-timeout of the runs that are cut
failures=0

can() { ip netns add "$tag-probe" 2>/dev/null && ip netns del "$tag-probe" && unshare --uts true 2>/dev/null; }
if ! command -v ip >/dev/null || ! can; then
  echo "SKIPPED: network namespaces cannot be made here (needs iproute2, root or CAP_SYS_ADMIN and CAP_NET_ADMIN)"
  exit 77
fi

work=$(mktemp -d)
clean() {
  for h in 0 1 2; do ip netns del "$tag-$h" 2>/dev/null || true; done
  ip netns del "$tag-switch" 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
cd "$work"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

ip netns add "$tag-switch"
ip -n "$tag-switch" link add name bridge type bridge
ip -n "$tag-switch" link set bridge up
for h in 0 1 2; do
  ip netns add "$tag-$h"
  ip -n "$tag-$h" link set lo up
  ip -n "$tag-$h" link add name eth0 type veth peer name "port$h" netns "$tag-switch"
  ip -n "$tag-$h" address add "10.77.0.$((h + 1))/24" dev eth0
  ip -n "$tag-$h" link set eth0 up
  ip -n "$tag-switch" link set "port$h" master bridge
  ip -n "$tag-switch" link set "port$h" up
done
plug() { ip -n "$tag-switch" link set "port$1" "$2"; }  # plug HOST up|down

"$build/tools/synth" --output data --train-images 16 --val-images 2 --seed 5 --size 160x120 --threads 1 >/dev/null 2>&1
for h in 0 1 2; do cp -r data "data$h"; done
flags=(--model hrnet_w2 --fixed-size 64 64 --init torch --no-flip --workers 1 --batch-size 1 --seed 7)

# start RUN HOST flags...: starts one rank on its host, in the background. Sets pids[HOST] and writes RUN.HOST.log and
# RUN.HOST.status.
declare -a pids
start() {
  local run=$1 h=$2
  shift 2
  (
    status=0
    ip netns exec "$tag-$h" unshare --uts bash -c 'hostname "$0"; exec "$@"' "host$h" \
      env RANK="$h" WORLD_SIZE=3 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=10.77.0.1 MASTER_PORT=29400 \
      "$build/tools/train" "${flags[@]}" --data-path "data$h" --output-dir "$run" "$@" >"$run.$h.log" 2>&1 || status=$?
    echo "$status" >"$run.$h.status"
  ) &
  pids[h]=$!
}
start_all() {
  local run=$1
  shift
  for h in 0 1 2; do start "$run" "$h" "$@"; done
}
expect() { # expect WHAT condition...
  local what=$1
  shift
  if "$@"; then echo "  ok    $what"; else
    echo "  WRONG $what"
    failures=$((failures + 1))
  fi
}
status_is() { [ "$(cat "$1.$2.status")" = "$3" ]; }
says() { grep -q "$3" "$1.$2.log"; }             # says RUN HOST TEXT
errors() { grep -c "error: " "$1.$2.log" || true; }
has_errors() { [ "$(errors "$1" "$2")" -eq "$3" ]; } # has_errors RUN HOST COUNT
whole() { "$build/tools/train" "${flags[@]}" --data-path data --output-dir "$work/check" --test-only --resume "$1/last.safetensors" >check.log 2>&1; }

# cut RUN: starts a long run and waits for its first checkpoint. The caller then pulls a cable.
begin_long() {
  start_all "$1" --epochs 2000 --eval-every 2000 --dist-timeout "$timeout"
  for _ in $(seq 600); do
    [ -e "$1/last.safetensors" ] && return 0
    sleep 0.1
  done
  echo "no checkpoint after 60 s"
  cat "$1".*.log
  exit 1
}
# Measures the seconds until all ranks have ended.
ended_within() {
  local from=$1 limit=$2
  wait "${pids[@]}"
  took=$(awk -v a="$from" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  awk -v t="$took" -v l="$limit" 'BEGIN { exit !(t <= l) }'
}

echo "three hosts train undisturbed"
start_all good --epochs 2
wait "${pids[@]}"
for h in 0 1 2; do expect "rank $h ends with status 0" status_is good "$h" 0; done
"$build/tools/train" "${flags[@]}" --data-path data --output-dir one --epochs 2 --nproc 3 >one.log 2>&1
expect "the weights are those of three ranks on one host, byte for byte" cmp -s good/last.safetensors one/last.safetensors

echo "host 2 is cut off"
begin_long cut2
sleep 1
from=$(date +%s.%N)
plug 2 down
# All ranks notice it within --dist-timeout, and have one more second to close their connections.
expect "all ranks end within $((timeout + 1)) s" ended_within "$from" $((timeout + 1))
echo "        (after $took s)"
for h in 0 1 2; do expect "rank $h ends with status 75" status_is cut2 "$h" 75; done
expect "rank 0 names rank 2 and its host" says cut2 0 "rank 2 (host host2, process [0-9]*) has been silent"
expect "rank 0 says it once" has_errors cut2 0 1
expect "rank 1 says nothing" has_errors cut2 1 0
expect "rank 2, alone, says that it may be its own host" says cut2 2 "host2 is cut off from the network"
expect "the last checkpoint is whole" whole cut2
plug 2 up

echo "host 0 is cut off"
begin_long cut0
sleep 1
from=$(date +%s.%N)
plug 0 down
expect "all ranks end within $((timeout + 1)) s" ended_within "$from" $((timeout + 1))
echo "        (after $took s)"
for h in 0 1 2; do expect "rank $h ends with status 75" status_is cut0 "$h" 75; done
for h in 1 2; do expect "rank $h names rank 0 and its host" says cut0 "$h" "rank 0 (host host0, process [0-9]*) has been silent"; done
expect "the last checkpoint is whole" whole cut0
plug 0 up

echo "hosts 1 and 2 cannot reach each other, though both reach host 0"
begin_long split
sleep 1
from=$(date +%s.%N)
ip -n "$tag-1" route add blackhole 10.77.0.3/32
expect "all ranks end within $((2 * timeout)) s" ended_within "$from" $((2 * timeout))
echo "        (after $took s)"
for h in 0 1 2; do expect "rank $h ends with status 75" status_is split "$h" 75; done
expect "rank 0 says that the network is broken, or who is stuck" grep -qE "network between two of them is broken|: stuck" split.0.log
expect "rank 0 says it once" has_errors split 0 1

if [ "$failures" -gt 0 ]; then
  for log in *.log; do echo "--- $log"; tail -n 5 "$log"; done
  echo "$failures checks failed"
  exit 1
fi
echo "all checks passed"

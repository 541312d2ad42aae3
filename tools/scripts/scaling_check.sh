#!/usr/bin/env bash
# Measures training steps on two hosts with a rank each, connected by a link of a chosen speed (network namespaces, a
# veth pair, tc's tbf), and compares them with the prediction (docs/measured/several_devices.md). It needs a quiet
# machine with two cores.
# Usage: tools/scripts/scaling_check.sh [BUILD_DIR, default build]
# GBITS="0 10 2" (0: no limit), BUCKETS="1 25 200" (MiB) and BENCH="--batch-size 4 --repeats 5" choose other points.
set -euo pipefail
cd "$(dirname "$0")/../.."
bench=$(realpath "${1:-build}")/tools/bench
read -ra gbits <<<"${GBITS:-0 10 4 2 1}"
read -ra buckets <<<"${BUCKETS:-1 25 200}"
read -ra flags <<<"${BENCH:---batch-size 4 --repeats 5 --warmup 1}"
tag=hrs$$
work=$(mktemp -d)
clean() {
  for h in 0 1; do ip netns del "$tag-$h" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean EXIT
if ! command -v tc >/dev/null || ! ip netns add "$tag-0" 2>/dev/null; then
  echo "network namespaces cannot be made here (needs iproute2, root or CAP_SYS_ADMIN and CAP_NET_ADMIN)" >&2
  exit 2
fi
ip netns add "$tag-1"
ip -n "$tag-0" link add name eth0 type veth peer name eth0 netns "$tag-1"
for h in 0 1; do
  ip -n "$tag-$h" link set lo up
  ip -n "$tag-$h" address add "10.78.0.$((h + 1))/24" dev eth0
  ip -n "$tag-$h" link set eth0 up
done

# rank HOST flags...: runs one rank with one thread on its own core.
rank() {
  local h=$1
  shift
  ip netns exec "$tag-$h" taskset -c "$h" env RANK="$h" WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 \
    MASTER_ADDR=10.78.0.1 MASTER_PORT=29401 OMP_NUM_THREADS=1 "$bench" --mode comm --threads 1 "${flags[@]}" "$@"
}
value() { sed -n "s/.*\"$1\": \([0-9.e+-]*\).*/\1/p" "$work/out"; }

echo "| link, Gbit/s | MiB per bucket | alone, ms | overlapped, ms | on paper, ms | off by | one after the other, ms |"
echo "|---|---|---|---|---|---|---|"
for gbit in "${gbits[@]}"; do
  for h in 0 1; do
    ip netns exec "$tag-$h" tc qdisc del dev eth0 root 2>/dev/null || true
    [ "$gbit" = 0 ] || ip netns exec "$tag-$h" tc qdisc add dev eth0 root tbf rate "${gbit}gbit" burst 1mb latency 20ms
  done
  for bucket in "${buckets[@]}"; do
    options=(--json --bucket-mib "$bucket" --link-gbit "$gbit")
    rank 1 "${options[@]}" >/dev/null &
    rank 0 "${options[@]}" >"$work/out"
    wait
    awk -v gbit="$gbit" -v bucket="$bucket" -v alone="$(value seconds_alone)" -v step="$(value seconds)" \
      -v paper="$(value predicted_seconds)" -v serial="$(value seconds_without_overlap)" 'BEGIN {
        printf "| %s | %s | %.0f | %.0f | %.0f | %+.1f %% | %.0f |\n", gbit == 0 ? "no limit" : gbit, bucket, 1e3 * alone,
               1e3 * step, 1e3 * paper, 100 * (paper / step - 1), 1e3 * serial }'
  done
done

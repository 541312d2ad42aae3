#!/usr/bin/env bash
# Reports registers, shared memory and spills of every CUDA kernel, as the compiler counts them: a markdown table on
# stdout. The exit status is 1 if any kernel spills registers to memory, and 77 where there is no nvcc.
# Usage: tools/scripts/kernel_report.sh [ARCHITECTURE]      (default sm_90)
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
[ -n "$nvcc" ] || { echo "kernel_report.sh: no nvcc on this machine" >&2; exit 77; }
architecture=${1:-sm_90}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for header in ops/*_kernel.h ops/conv/*_kernel.h; do  # the same list as in ops/CMakeLists.txt
  sed "s|@HR_KERNEL_HEADER@|$header|" ops/kernels.cu.in >"$folder/$(basename "$header" .h).cu"
done
for source in "$folder"/*.cu ops/*.cu ops/conv/*.cu; do
  [ -e "$source" ] || continue
  "$nvcc" -O3 -std=c++20 -arch="$architecture" --expt-relaxed-constexpr --extended-lambda -I. -Xptxas -v -c "$source" \
    -o "$folder/object.o" 2>>"$folder/report"
done
# Writes one line per kernel: name, registers, shared memory, spilled bytes.
awk '
  /Compiling entry function/ { split($0, quoted, "\x27"); name = quoted[2] }
  /bytes spill stores/ { spilled = $5 + $9 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
    shared = 0
    if (match($0, /[0-9]+ bytes smem/)) { shared = substr($0, RSTART, RLENGTH); sub(/ .*/, "", shared) }
    print name, registers, shared, spilled
  }' "$folder/report" | c++filt | sed -E 's/^void hr::gpu::detail::([a-z_]+)_kernel<(.*)>\(.*\) ([0-9]+) ([0-9]+) ([0-9]+)$/\1|\2|\3|\4|\5/
    s/^(void )?hr::gpu::([a-z_]+)_kernel(<(.*)>)?\(.*\) ([0-9]+) ([0-9]+) ([0-9]+)$/\2|\4|\5|\6|\7/
    s/hr::(gpu::)?//g' |
  sort -t'|' -k2,2 >"$folder/kernels"
echo "| loop | functor, lanes | registers | shared memory, bytes | spilled bytes |"
echo "|---|---|---|---|---|"
awk -F'|' '{ printf "| %s | `%s` | %s | %s | %s |\n", $1, $2, $3, $4, $5 }' "$folder/kernels"
unread=$(grep -cvE '^[^|]*[|][^|]*[|][0-9]+[|][0-9]+[|][0-9]+$' "$folder/kernels" || true)
[ "$unread" -eq 0 ] || { echo "kernel_report.sh: $unread lines of the compiler's report do not read as expected" >&2; exit 1; }
spills=$(awk -F'|' '$5 > 0' "$folder/kernels" | wc -l)
echo "kernel_report.sh: $(wc -l <"$folder/kernels") kernels for $architecture, $spills with spills" >&2
[ "$spills" -eq 0 ]

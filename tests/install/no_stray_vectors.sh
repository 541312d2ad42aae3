#!/usr/bin/env bash
# no_stray_vectors.sh LIBRARY: checks that a portable build has AVX instructions only in the functions among which
# core/cpu_level.h chooses, AVX-512 only in those for v4, and that it does have both there.
set -euo pipefail
objdump -d --no-show-raw-insn -C "$1" | awk '
  /^[0-9a-f]+ <.*>:$/ { name = $0; next }
  /\t(v[a-z0-9]+|k(mov|and|or|xor|not|test|ortest|unpck|shift)[a-z]*)[ \t]/ && !/\tver[rw]/ {
    wide = /%zmm|%k[0-7]/
    if (name ~ /call_at_v4/) { v4 += wide; next }
    if (name ~ /call_at_v3|blend_row_avx2/) { v3++; if (wide) stray[name]; next }
    stray[name]
  }
  END {
    for (name in stray) { print "AVX outside of the dispatch: " name; bad = 1 }
    if (!v3) { print "there is no AVX2 code at all"; bad = 1 }
    if (!v4) { print "there is no AVX-512 code at all"; bad = 1 }
    print v3 + 0 " AVX2 and " v4 + 0 " AVX-512 instructions"
    exit bad
  }'

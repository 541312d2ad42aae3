#!/usr/bin/env bash
# Fuzzes the readers of weight files, datasets, pictures and results with libFuzzer, ASan and UBSan.
#   tests/fuzz/run.sh [SECONDS per target, 600] [TARGET ...]
# Targets: pth_zip pth_legacy safetensors onnx coco_json result_json mpii_json skeleton_json mat picture picture_zip pack
# The corpus is kept in build-fuzz/corpus and grows from run to run. It starts with the golden files (../shared/oracle,
# or HR_ORACLE) and with generated files. Findings are kept in build-fuzz/findings, are tried again by the next run, and
# make the exit status 1. Without clang nothing is done and the exit status is 77.
set -euo pipefail
cd "$(dirname "$0")/../.."

main() {
  seconds=${1:-600}
  shift || true
  targets=("$@")
  [ ${#targets[@]} -gt 0 ] || targets=(pth_zip pth_legacy safetensors onnx coco_json result_json mpii_json skeleton_json mat
    picture picture_zip pack)

  clang=""
  for candidate in clang++ clang++-{20,19,18,17,16,15,14}; do
    command -v "$candidate" >/dev/null && { clang=$candidate; break; }
  done
  if [ -z "$clang" ]; then
    echo "skipped: no clang++ here, libFuzzer comes with it (Debian: apt-get install clang)"
    exit 77
  fi
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    "$clang" -x c++ - -fsanitize=fuzzer,address,undefined -o /dev/null 2>/dev/null ||
    { echo "skipped: $clang has no libFuzzer (Debian: apt-get install libclang-rt-14-dev)"; exit 77; }

  cmake --preset fuzz -DCMAKE_CXX_COMPILER="$clang" >/dev/null
  cmake --build --preset fuzz >build-fuzz/build.log || { cat build-fuzz/build.log; exit 1; }

  # Readers that need a path get a file in memory, if there is such a file system.
  memory=/dev/shm
  [ -d $memory ] && [ -w $memory ] || memory=${TMPDIR:-/tmp}
  TMPDIR=$(mktemp -d "$memory/hrnet-fuzz.XXXXXX")
  export TMPDIR
  trap 'rm -rf "$TMPDIR"' EXIT

  largest=32768  # bytes of an input; small inputs run fast and find the same mistakes
  oracle=${HR_ORACLE:-../shared/oracle}/weights
  build-fuzz/tests/fuzz/write_seeds build-fuzz/corpus
  seed_files() {  # prints the golden files of a target
    [ -d "$oracle" ] || return 0
    case $1 in
      safetensors) find "$oracle" -name '*.safetensors' -size "-${largest}c" ;;
      pth_legacy) find "$oracle" -name '*legacy*.pth' -size "-${largest}c" ;;
      pth_zip) find "$oracle" -name '*.pth' ! -name '*legacy*' -size "-${largest}c" ;;
    esac
  }

  status=0
  for target in "${targets[@]}"; do
    corpus=build-fuzz/corpus/$target
    findings=build-fuzz/findings/$target
    mkdir -p "$corpus" "$findings"
    # Earlier findings are tried first: either they are found again, or they are fixed.
    find "$findings" -type f -exec mv -t "$corpus" {} +
    while read -r file; do cp -n --no-preserve=mode "$file" "$corpus/golden_$(basename "$file")"; done < <(seed_files "$target")
    case $target in
      pth_*) words=tests/fuzz/pth.dict ;;
      safetensors) words=tests/fuzz/safetensors.dict ;;
      *_json) words=tests/fuzz/json.dict ;;
      *) words=tests/fuzz/binary.dict ;;
    esac
    log=build-fuzz/$target.log
    # The entry functions limit the processor time of a file to one second; this timeout is for hangs on a busy machine.
    # A reader may use 40 MiB of memory for names, and a file of 32 KiB inflates to 16 MiB; ASan and the corpus need
    # more.
    "build-fuzz/tests/fuzz/${target}_fuzz" "$corpus" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=768 \
      -malloc_limit_mb=64 -max_len=$largest -dict=$words -artifact_prefix="$findings/" -print_final_stats=1 >"$log" 2>&1 ||
      { status=1; tail -n 40 "$log"; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: .*/\1/p' "$log" | tail -n 1)
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    slowest=$(sed -n 's/^slowest: \([0-9.]*\) s.*/\1/p' "$log")
    echo "$target: ${executions:-?} executions, ${coverage:-?} edges, $(find "$corpus" -type f | wc -l) files in the corpus," \
      "slowest ${slowest:-?} s, peak ${peak:-?} MB, $(find "$findings" -type f | wc -l) findings"
  done
  return $status
}

main "$@"
exit

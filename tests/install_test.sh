#!/usr/bin/env bash
# Uses the installed library as a user would: through find_package, pkg-config, a plain C compiler, Python and the
# program `hrnet`. The library is installed and then moved to another folder, because it must be relocatable.
#
#   tests/install_test.sh BUILD FILES    BUILD: a build folder where everything was built; FILES: from make_files
set -euo pipefail  # with pipefail, `| grep -q` would fail now and then, because it ends its producer early
build=$(realpath "$1") files=$(realpath "$2")
source=$(realpath "$(dirname "$0")/..")
examples=$source/docs/examples
version=$(sed -n 's/#define HRNET_VERSION "\(.*\)"/\1/p' "$source/hrnet/version.h")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install_test: FAILED: $*" >&2; exit 1; }

# flags FILE...: checks that none of our flags are in these files.
flags() {
  if grep -nE -e '-Werror|-Wshadow|-march=|-ffp-contract|-fno-semantic-interposition|HR_CPU_DISPATCH|-fopenmp' "$@"; then
    fail "a consumer's compile line carries our flags"
  fi
}

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
prefix=$work/moved
lib=$(dirname "$(find "$prefix" -name libhrnet.so)")
! grep -rnE "$work/first|$build|$source" "$prefix/include" "$lib/cmake" "$lib/pkgconfig" ||
  fail "an installed file names a folder of the build"

# Only namespace hr and the C functions may be visible in the library.
other=$(nm -D --defined-only "$lib/libhrnet.so" | awk '{print $3}' |
  grep -vE '^(hrnet_|_ZN2hr|_ZNK2hr|_ZT[ISVT]N2hr|_ZGVN2hr|_ZTh.*2hr|_ZTv.*2hr)' || true)
[ -z "$other" ] || fail "libhrnet.so exports $other"
objdump -p "$lib/libhrnet.so" | grep "SONAME *libhrnet.so.${version%%.*}\$" >/dev/null ||
  fail "the SONAME has not the major version"
! grep -rlE '#include <(CLI|rapidjson|omp|jpeglib|dnnl|gloo|minizip|yaml-cpp)' "$prefix/include" ||
  fail "a public header needs a library of ours"
[ "$(ls "$prefix/include")" = hrnet ] || fail "headers lie outside of include/hrnet"

cmake -S "$source/tests/install/find_package" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" \
  -DEXAMPLES="$examples" >"$work/log" 2>&1 ||
  { cat "$work/log"; fail "find_package(hrnet)"; }
flags "$work/consumer/compile_commands.json"
cmake --build "$work/consumer" >"$work/log" 2>&1 || { cat "$work/log"; fail "the consumer's build"; }

export PKG_CONFIG_PATH=$lib/pkgconfig
pkg-config --cflags --libs hrnet >"$work/pc"
flags "$work/pc"
[ "$(pkg-config --modversion hrnet)" = "$version" ] || fail "pkg-config's version"
# shellcheck disable=SC2046
g++ -std=c++20 "$examples/pose.cc" $(pkg-config --cflags --libs hrnet) -Wl,-rpath,"$lib" -o "$work/pose_pkg_config"
gcc -std=c99 -Wall -Wextra -Wpedantic -Werror "$examples/pose.c" -I"$prefix/include" -L"$lib" -lhrnet \
  -Wl,-rpath,"$lib" -o "$work/pose_gcc"

arguments=("$files/pose.safetensors" "$files/detector.safetensors" "$files/picture.png")
"$work/consumer/pose" "${arguments[@]}" >"$work/cmake.txt"
"$work/pose_pkg_config" "${arguments[@]}" >"$work/pkg_config.txt"
cmp "$work/cmake.txt" "$work/pkg_config.txt"
grep -q '^left_wrist ' "$work/cmake.txt" || fail "pose.cc prints no joint"
truth=$source/tests/eval/data/coco.gt.json results=$source/tests/eval/data/coco.dt.json
"$work/consumer/evaluate" "$truth" "$results" | grep 'area=   all . maxDets= 20 . = 0.435' >/dev/null ||
  fail "evaluate.cc's AP"
for c in "$work/consumer/pose_c" "$work/pose_gcc"; do
  "$c" "$files/pose.safetensors" "$files/picture.png" "$truth" "$results" >"$work/c.txt"
  grep -q '^AP 0.435$' "$work/c.txt" || fail "pose.c's AP"
done
"$work/pose_gcc" "$files/nothing.pth" "$files/picture.png" 2>"$work/error.txt" && fail "pose.c takes a missing file"
grep -q 'nothing.pth' "$work/error.txt" || fail "the error does not name the file"
if command -v python3 >/dev/null; then
  HRNET_LIBRARY=$lib/libhrnet.so.${version%%.*} python3 "$examples/pose.py" "$files/pose.safetensors" \
    "$files/picture.png" >"$work/py.txt"
  diff "$work/py.txt" <(grep -v '^AP' "$work/c.txt")
fi

# The program finds the library relative to its own place.
hrnet=$prefix/bin/hrnet
[ "$("$hrnet" --version)" = "hrnet.cpp $version" ] || fail "hrnet --version"
"$hrnet" coco_eval --gt "$truth" --dt "$results" | grep 0.435 >/dev/null || fail "hrnet coco_eval"
"$hrnet" predict "$files/picture.png" --weights "$files/pose.safetensors" --output-dir "$work/out" >/dev/null
[ -s "$work/out/poses.json" ] || fail "hrnet predict"
"$hrnet" no_such_verb 2>"$work/error.txt" && fail "hrnet takes any verb"
grep -q 'train' "$work/error.txt" || fail "hrnet does not list its verbs"

# Within another project our options are off and our flags do not reach it. The project is only configured, because the
# sources are the same.
cmake -S "$source/tests/install/add_subdirectory" -B "$work/within" -DHRNET="$source" >"$work/log" 2>&1 ||
  { cat "$work/log"; fail "add_subdirectory"; }
python3 - "$work/within/compile_commands.json" >"$work/line" <<'PY'
import json, sys
print([c["command"] for c in json.load(open(sys.argv[1])) if c["file"].endswith("docs/examples/pose.cc")][0])
PY
flags "$work/line"
echo "install_test: $(stat -Lc %s "$lib/libhrnet.so") bytes of libhrnet.so; every claim held"

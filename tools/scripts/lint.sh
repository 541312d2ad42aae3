#!/usr/bin/env bash
# Runs clang-format and clang-tidy over all of our code, or over some folders or files. It prints nothing if there is
# nothing to change. It needs a configured build folder (build/).
# Usage: tools/scripts/lint.sh [PATH...]      for example: tools/scripts/lint.sh ops tests/ops
set -euo pipefail
cd "$(dirname "$0")/../.."
for path in "$@"; do
  [ -e "$path" ] || { echo "lint.sh: there is no $path here; usage: tools/scripts/lint.sh [PATH...]" >&2; exit 2; }
done
mapfile -t sources < <(git ls-files -- "${@:-.}" | grep -E '[.](cc|h|cu|cuh)$')
clang-format --dry-run --Werror "${sources[@]}"
[ -e build/compile_commands.json ] || cmake --preset release >/dev/null
# The flags in the build folder are GCC's, and clang does not know some of its warnings.
printf '%s\n' "${sources[@]}" | grep '[.]cc$' | xargs -r -P "$(nproc)" -n 4 clang-tidy -p build --quiet \
  --extra-arg=-Wno-unknown-warning-option 2>/dev/null

#!/usr/bin/env bash
# clang-format and clang-tidy over everything of ours; silent when clean. Needs a configured build folder (build/).
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.cc' '*.h')
clang-format --dry-run --Werror "${sources[@]}"
[ -e build/compile_commands.json ] || cmake --preset release >/dev/null
git ls-files '*.cc' | xargs -P "$(nproc)" -n 4 clang-tidy -p build --quiet 2>/dev/null

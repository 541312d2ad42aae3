#!/usr/bin/env bash
# Builds everything and runs every test. Installs missing system packages. Usage: tests/run.sh [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/scripts/packages.sh
install_packages

cmake --preset release -DHR_TESTS=ON >/dev/null
cmake --build --preset release
status=0
ctest --preset release -j "$(nproc)" --output-junit junit.xml "$@" || status=$?

# Skipped tests are counted separately, because a skipped test has not passed.
junit=build/junit.xml
count() { sed -n "s/.*<testsuite[^>]* $1=\"\([0-9]*\)\".*/\1/p;s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$junit" | head -n 1; }
total=$(count tests) failed=$(count failures) disabled=$(count disabled) skipped=$(count skipped)
skipped=$((${skipped:-0} + ${disabled:-0}))
if [ "$skipped" -gt 0 ]; then
  echo "skipped:"
  grep -B 1 -E '<skipped|SKIP_REGULAR' "$junit" | sed -n 's/.*<testcase name="\([^"]*\)".*/  \1/p'
fi
echo "$((total - failed - skipped)) passed, $failed failed, $skipped skipped"
exit $status

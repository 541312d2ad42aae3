#!/usr/bin/env bash
# Makes the Debian packages and uses them as a stranger would. For each release, one bare Debian root installs what
# tools/scripts/packages.sh names, builds the tracked files for any processor and makes the packages. A second bare root
# installs these packages and a compiler, and builds and runs the examples there. Needs root and debootstrap, and takes
# 15 to 30 minutes for a release on two cores.
#
#   tests/package_test.sh [--work DIR] [RELEASE ...]    without a release: bookworm and trixie (Debian 12 and 13)
#
# Everything is made in DIR (default: build-packages) and kept there. The packages are DIR/RELEASE/*.deb.
set -euo pipefail
cd "$(dirname "$0")/.."
work=build-packages
if [ "${1:-}" = --work ]; then work=$2 && shift 2; fi
releases=("$@")
[ $# -gt 0 ] || releases=(bookworm trixie)
[ "$(id -u)" -eq 0 ] && command -v debootstrap >/dev/null ||
  { echo "package_test: needs root and debootstrap" >&2; exit 2; }
mkdir -p "$work"
work=$(realpath "$work")
mirror=$(find /etc/apt -name '*.list' -o -name '*.sources' | sort |
  xargs sed -n 's/^URIs: *//p;s/^deb  *\(http[^ ]*\).*/\1/p' | sed -n 1p)

# bare RELEASE ROOT: makes a new Debian root in which apt-get is configured as on this machine. Each release is unpacked
# only once and copied from then on.
bare() {
  local plain=$work/$1/plain.tar
  mkdir -p "$work/$1"
  if [ ! -f "$plain" ]; then
    rm -rf "$work/$1/plain"
    debootstrap --variant=minbase "$1" "$work/$1/plain" "$mirror" >"$work/$1/debootstrap.log"
    cp /etc/resolv.conf "$work/$1/plain/etc/"
    cp -r /etc/apt/apt.conf.d/. "$work/$1/plain/etc/apt/apt.conf.d/"
    tar -C "$work/$1/plain" -cf "$plain.part" . && mv "$plain.part" "$plain"
    rm -rf "$work/$1/plain"
  fi
  rm -rf "$2" && mkdir -p "$2" && tar -C "$2" -xf "$plain"
}

for release in "${releases[@]}"; do
  echo "== $release: packages are built"
  build=$work/$release/build user=$work/$release/user
  bare "$release" "$build"
  mkdir "$build/tree"
  git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$build/tree"
  chroot "$build" bash -e <<'BUILD' >"$work/$release/build.log" 2>&1 || { tail -n 30 "$work/$release/build.log"; exit 1; }
cd /tree
source tools/scripts/packages.sh
install_packages file dpkg-dev
cmake -S . -B /made -G Ninja -DCMAKE_BUILD_TYPE=Release -DHR_NATIVE=OFF -DHR_CUDA=OFF -DHR_TESTS=OFF -DHR_WERROR=OFF
cmake --build /made
cd /made && cpack -G DEB
BUILD
  rm -f "$work/$release"/*.deb
  cp "$build"/made/*.deb "$work/$release/"
  rm -rf "$build"

  echo "== $release: packages are used"
  bare "$release" "$user"
  cp "$work/$release"/*.deb "$user/tmp/"
  mkdir "$user/examples" && cp docs/examples/* tests/eval/data/coco.[gd]t.json "$user/examples/"
  chroot "$user" bash -e <<'USE' 2>&1 | tee "$work/$release/use.log"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends /tmp/*.deb g++ pkg-config >/tmp/apt.log 2>&1 || { tail /tmp/apt.log; exit 1; }
cd /examples
for example in pose train_my_model evaluate; do
  g++ -std=c++20 -O2 "$example.cc" $(pkg-config --cflags --libs hrnet) -o "$example"
  echo "$example.cc: $(grep -vcE '^ *(//|$)' "$example.cc") lines of code, built"
done
gcc -std=c99 pose.c -lhrnet -o pose_c && echo "pose.c built"
./train_my_model
./evaluate coco.gt.json coco.dt.json | grep 'area=   all . maxDets= 20 . = 0.435'
hrnet --version
hrnet synth --output data --train-images 12 --val-images 4 --size 160x120 --seed 3 >/dev/null 2>&1
hrnet train --data-path data --model hrnet_w2 --init torch --fixed-size 64 64 --epochs 1 --batch-size 4 --no-flip --output-dir run 2>&1 | tail -n 1
picture=$(find data -name '*.jpg' | sort | head -n 1)
hrnet predict "$picture" --weights run/last.safetensors --output-dir poses | tail -n 1
./pose_c run/last.safetensors "$picture" coco.gt.json coco.dt.json | tail -n 2
dpkg -L libhrnet0 hrnet-tools | grep -E 'lib/|bin/'
USE
  [ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
  rm -rf "$user"
done
echo "package_test: the packages of ${releases[*]} install on a bare root and their examples run"

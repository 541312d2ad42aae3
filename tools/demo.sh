#!/usr/bin/env bash
# Shows the whole way to a trained pose network: installs missing packages, builds the programs, makes a sample dataset,
# trains on it, validates and predicts. All results are in demo/, and a second run reuses them.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/scripts/packages.sh
install_packages

step() { printf '\n== %s\n' "$*"; }

step "build"
cmake --preset release >/dev/null
cmake --build --preset release --target synth train validate predict | tail -n 1

step "sample dataset"
build/tools/synth --output demo/data --train-images 2200 --val-images 130

if [ -e demo/run/done ]; then
  step "training: demo/run is there already (remove it to train again)"
else
  step "training"
  resume=()
  [ -e demo/run/last.safetensors ] && resume=(--resume demo/run/last.safetensors)
  # The precision is the one that a short measurement on this processor shows to be faster. The network has 16
  # channels, because with 8 it cannot tell 17 joints apart (AP .75 stays near 0). The other settings are for a short
  # run: torch's initial weights, small batches (more updates), little rotation and scaling, and sharp targets at the
  # joints' exact places, which matter most at a small input (codec dark).
  build/tools/train --data-path demo/data --model hrnet_w16 --init torch --fixed-size 128 96 --batch-size 6 --epochs 5 \
    --schedule cosine --codec dark --sigma 1.5 --rot-factor 3 --scale-factor 0.05 --prob-half-body 0 --eval-every 5 \
    --output-dir demo/run --precision auto "${resume[@]}"
  touch demo/run/done
fi

step "validation"
build/tools/validate --data-path demo/data --weights demo/run/best.safetensors --output-dir demo/run | tee demo/run/validation.txt

step "prediction"
pictures=(demo/data/val2017/*.jpg)
build/tools/predict "${pictures[@]:0:8}" --boxes demo/data/annotations/person_keypoints_val2017.json --weights demo/run/best.safetensors --output-dir demo/pictures

ap=$(sed -n 's/.*(AP) @\[ IoU=0.50:0.95 | area=   all.*= //p' demo/run/validation.txt)
cat <<TXT

AP $ap on $(sed -n 's/^boxes .*: \([0-9]*\) kept.*/\1/p' demo/run/validation.txt) unseen people
  demo/pictures/*_pose.jpg   predicted skeletons        demo/pictures/poses.json   the same as numbers
  demo/run/report.html       the run, for a browser     demo/run/best.safetensors  the weights
TXT

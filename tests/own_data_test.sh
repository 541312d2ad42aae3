#!/usr/bin/env bash
# Runs every command of docs/guide/own_data.md on a small set, which is first written as CVAT, Label Studio and labelme
# export it. Changed are only the number of epochs and the weights, which come from a short run of a small network.
# Usage: own_data_test.sh BUILD_DIRECTORY
set -euo pipefail
source_folder=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "$1" && pwd)/tools
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1

"$programs/synth" --output made --train-images 10 --val-images 2 --size 160x120 --threads 1 >/dev/null 2>&1
"$programs/train" --data-path made --model hrnet_w2 --init torch --epochs 1 --workers 1 --batch-size 8 --no-flip \
  --output-dir short >/dev/null 2>&1
cp short/best.safetensors pose_hrnet_w32_256x192.pth  # The first bytes decide which kind of file it is.

mkdir pictures cvat cvat/annotations
cp made/train2017/* pictures
python3 - <<'PY'
import json, os
made = json.load(open("made/annotations/person_keypoints_train2017.json"))
names = made["categories"][0]["keypoints"]
joints = {"nose": "nose", "left_wrist": "left_hand", "right_wrist": "right_hand", "left_ankle": "left_foot",
          "right_ankle": "right_foot"}
people = {}  # By picture: the box, and the joints by their new names.
for a in made["annotations"]:
    points = {joints[n]: a["keypoints"][3 * k:3 * k + 3] for k, n in enumerate(names) if n in joints}
    points = {n: p for n, p in points.items() if p[2] > 0}
    if points:
        people.setdefault(a["image_id"], []).append((a["bbox"], points))
order = list(joints.values())
# Label Studio does not tell the size of a picture in which nothing is labelled.
made["images"] = [i for i in made["images"] if i["id"] in people]
cvat = {"images": made["images"], "annotations": [],
        "categories": [{"id": 1, "name": "person", "supercategory": "", "keypoints": order, "skeleton": [[1, 2]]}]}
tasks = []
for image in made["images"]:
    regions, shapes, w, h = [], [], image["width"], image["height"]
    whole = {"original_width": w, "original_height": h}
    for number, (box, points) in enumerate(people.get(image["id"], [])):
        flat = [v for n in order for v in points.get(n, [0, 0, 0])]
        cvat["annotations"].append({"id": len(cvat["annotations"]) + 1, "image_id": image["id"], "category_id": 1,
                                    "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "keypoints": flat,
                                    "segmentation": [], "num_keypoints": len(points)})
        parent = f"box{number}"
        regions.append({"id": parent, "type": "rectanglelabels", **whole, "value":
                        {"x": 100 * box[0] / w, "y": 100 * box[1] / h, "width": 100 * box[2] / w,
                         "height": 100 * box[3] / h, "rectanglelabels": ["person"]}})
        shapes.append({"label": "person", "shape_type": "rectangle", "group_id": number, "flags": {},
                       "points": [[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]]})
        for n, p in points.items():
            regions.append({"id": n + parent, "type": "keypointlabels", "parentID": parent, **whole,
                            "value": {"x": 100 * p[0] / w, "y": 100 * p[1] / h, "keypointlabels": [n]}})
            shapes.append({"label": n, "shape_type": "point", "group_id": number, "points": [p[:2]],
                           "flags": {"hidden": p[2] == 1}})
    tasks.append({"data": {"image": "/data/upload/1/" + image["file_name"]}, "annotations": [{"result": regions}]})
    page = {"imagePath": image["file_name"], "imageWidth": w, "imageHeight": h, "shapes": shapes}
    json.dump(page, open("pictures/" + os.path.splitext(image["file_name"])[0] + ".json", "w"))
json.dump(cvat, open("cvat/annotations/person_keypoints_default.json", "w"))
json.dump(tasks, open("label_studio.json", "w"))
PY

# The commands of the guide, a line each. After each export, what it gave is kept.
awk '/^```sh/ {on = 1; next} /^```/ {on = 0} on' "$source_folder/docs/guide/own_data.md" |
  sed -e ':a' -e '/\\$/N; s/\\\n//; ta' >commands
count=0
while IFS= read -r command; do
  case $command in
    build/tools/*) command=${command/build\/tools/$programs} ;;
    *) echo "not a command of the project: $command" && exit 1 ;;
  esac
  command=${command/--epochs 60/--epochs 1 --workers 1}
  echo "+ $command"
  eval "$command" </dev/null >output 2>&1 || { cat output && exit 1; }
  case $command in *tools/to_coco*) count=$((count + 1)) && cp -r own "own$count" ;; esac
done <commands
[ "$count" = 3 ] || { echo "expected 3 exports, found $count" && exit 1; }

python3 - <<'PY'
import json
def numbers(folder, hidden):
    found = []
    for part in ("train", "val"):
        coco = json.load(open(f"{folder}/{part}.json"))
        names = {i["id"]: i["file_name"] for i in coco["images"]}
        for a in coco["annotations"]:
            keys = [v if k % 3 < 2 or hidden else min(v, 1) for k, v in enumerate(a["keypoints"])]
            found.append((part, names[a["image_id"]], [round(v, 3) for v in a["bbox"] + [a["area"]] + keys]))
        assert coco["categories"][0]["keypoints"][1] == "left_hand", coco["categories"]
    return sorted(found)
def same(a, b):
    return len(a) == len(b) and all(x[:2] == y[:2] and all(abs(u - v) < 0.01 for u, v in zip(x[2], y[2]))
                                    for x, y in zip(a, b))
assert numbers("own1", True), "nobody is left"
assert same(numbers("own1", False), numbers("own2", False)), "Label Studio differs from CVAT"
assert same(numbers("own1", True), numbers("own3", True)), "labelme differs from CVAT"
PY
for file in look/crops.png runs/own/report.html runs/own/best.safetensors runs/own/validation/report.html \
  poses/poses.json own.onnx; do
  [ -s "$file" ] || { echo "missing: $file" && exit 1; }
done

# Roboflow: the first category is a group without joints, and the joints have no areas.
python3 - <<'PY'
import json
coco = json.load(open("cvat/annotations/person_keypoints_default.json"))
coco["categories"] = [{"id": 0, "name": "group"}, {**coco["categories"][0], "id": 7}]
for a in coco["annotations"]:
    a["category_id"] = 7
    del a["area"]
json.dump(coco, open("roboflow.json", "w"))
PY
"$programs/to_coco" roboflow.json --output own4 >/dev/null
python3 - <<'PY'
import json
assert all(json.load(open(f"own1/{p}.json")) == json.load(open(f"own4/{p}.json")) for p in ("train", "val"))
PY

# Mistakes are one line.
refused() {
  local message=$1
  shift
  if "$programs/to_coco" "$@" >output 2>&1; then echo "accepted: $*" && exit 1; fi
  [ "$(wc -l <output)" = 1 ] && grep -q "$message" output || { cat output && exit 1; }
}
echo '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}' >boxes.json
refused "draw skeletons" boxes.json --output none
refused "nowhere.json" nowhere.json --output none
refused "no JSON file of labelme" look --output none
refused "name the folder that holds its files" "$(ls pictures/*.json | head -n 1)" --output none
echo "every command of the guide ran"

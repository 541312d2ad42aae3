#!/usr/bin/env python3
"""Turns the export of a labelling tool into train.json and val.json, as docs/guide/own_data.md describes.

  to_coco.py EXPORT --output DIR [--val-every N] [--joints NAME ...]

EXPORT is a COCO keypoint file (CVAT, Roboflow), Label Studio's JSON file, or a folder of labelme's JSON files. Every
N-th picture in the order of the names goes to val.json. Only Python's standard library is needed.
"""
import argparse
import json
import os
import sys
from urllib.parse import parse_qs, unquote, urlparse


def fail(message):
    sys.exit("to_coco.py: error: " + message)


def read(path):
    try:
        with open(path, encoding="utf-8-sig") as f:
            return json.load(f)
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")


class Thing:
    """A labelled person or object: points by the name of the joint as (x, y, visible), and perhaps a box."""

    def __init__(self, box=None):
        self.points = {}
        self.box = box  # x, y, w, h

    def bounds(self, width, height):
        if self.box:
            return self.box
        # Without a box the extent of the joints is taken, with a tenth more on each side.
        xs, ys = [p[0] for p in self.points.values()], [p[1] for p in self.points.values()]
        margin = 0.1 * max(max(xs) - min(xs), max(ys) - min(ys), 10)
        x0, y0 = max(0.0, min(xs) - margin), max(0.0, min(ys) - margin)
        return [x0, y0, min(width, max(xs) + margin) - x0, min(height, max(ys) + margin) - y0]


def inside(point, box):
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]


def of_smallest_box(point, things):
    """The thing with the smallest box around a point that names no owner."""
    around = [t for t in things if t.box and inside(point, t.box)]
    return min(around, key=lambda t: t.box[2] * t.box[3]) if around else None


def from_labelme(folder):
    """Points with the same group_id are one thing; a rectangle with this group_id is its box."""
    pictures = []
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".json")):
        page = read(os.path.join(folder, name))
        if not isinstance(page, dict) or "shapes" not in page:
            continue
        things = {}
        for shape in page["shapes"]:
            thing = things.setdefault(shape.get("group_id"), Thing())
            xy = shape["points"]
            if shape["shape_type"] == "rectangle":
                (x0, y0), (x1, y1) = xy
                thing.box = [min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)]
            elif shape["shape_type"] == "point":
                if shape["label"] in thing.points:
                    fail(f"{name}: the joint {shape['label']} stands twice in group {shape.get('group_id')}; give "
                         "each person a group of its own")
                hidden = any((shape.get("flags") or {}).values())
                thing.points[shape["label"]] = (xy[0][0], xy[0][1], 1 if hidden else 2)
        pictures.append((page["imagePath"].replace("\\", "/"), page["imageWidth"], page["imageHeight"],
                         list(things.values())))
    return pictures


def picture_name(address):
    """Label Studio names an uploaded picture by its address, and a local one by a query."""
    parts = urlparse(address)
    local = parse_qs(parts.query).get("d")
    return os.path.basename(unquote(local[0] if local else parts.path))


def from_label_studio(tasks):
    """A point belongs to the rectangle that is its parent, or else to the smallest one around it."""
    pictures = []
    for task in tasks:
        done = [a for a in task.get("annotations", []) if not a.get("was_cancelled")]
        if not done:
            continue
        size, boxes, points = None, {}, []
        for region in done[0]["result"]:
            if "original_width" not in region:
                continue
            size = w, h = region["original_width"], region["original_height"]
            value = region["value"]
            x, y = value.get("x", 0) * w / 100, value.get("y", 0) * h / 100
            if region["type"] == "rectanglelabels":
                boxes[region["id"]] = Thing([x, y, value["width"] * w / 100, value["height"] * h / 100])
            elif region["type"] == "keypointlabels":
                points.append((value["keypointlabels"][0], x, y, region.get("parentID")))
        if size is None:
            continue
        alone = Thing()
        for label, x, y, parent in points:
            thing = boxes.get(parent) or of_smallest_box((x, y), boxes.values()) or alone
            thing.points[label] = (x, y, 2)
        images = [v for v in task["data"].values() if isinstance(v, str)]
        name = picture_name(task["data"].get("image", images[0] if images else ""))
        pictures.append((name, *size, [*boxes.values(), alone]))
    return pictures


def coco_of(pictures, joints, category):
    found = {label for *_, things in pictures for t in things for label in t.points}
    if not found:
        fail("the export holds no points")
    joints = joints or sorted(found)
    unknown = sorted(found - set(joints))
    if unknown:
        print(f"note: these labels are not among --joints and are left out: {' '.join(unknown)}")
    coco = {"images": [], "annotations": [],
            "categories": [{"id": 1, "name": category, "keypoints": joints, "skeleton": []}]}
    for number, (name, width, height, things) in enumerate(pictures, 1):
        coco["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        for thing in things:
            if not any(j in thing.points for j in joints):
                continue
            flat = [v for j in joints for v in thing.points.get(j, (0, 0, 0))]
            box = thing.bounds(width, height)
            coco["annotations"].append(
                {"id": len(coco["annotations"]) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                 "bbox": box, "area": box[2] * box[3], "keypoints": flat,
                 "num_keypoints": sum(v > 0 for v in flat[2::3])})
    return coco


def completed(coco):
    """Gives the things the category 1 and an area, where the tool wrote none."""
    categories = [c for c in coco.get("categories", []) if c.get("keypoints")]
    if len(categories) != 1:
        fail(f"{len(categories)} categories have keypoints, expected one: "
             + (", ".join(c["name"] for c in categories) or "draw skeletons, not single points or boxes"))
    own, people = categories[0], []
    for a in coco["annotations"]:
        if a["category_id"] != own["id"] or not a.get("keypoints"):
            continue
        x, y, w, h = a["bbox"]
        people.append({**a, "category_id": 1, "area": a.get("area") or w * h, "iscrowd": a.get("iscrowd", 0)})
    return {"images": coco["images"], "annotations": people, "categories": [{**own, "id": 1}]}


def load(export, joints, category):
    if os.path.isdir(export):
        return coco_of(from_labelme(export), joints, category)
    content = read(export)
    if isinstance(content, list):
        return coco_of(from_label_studio(content), joints, category)
    if "images" not in content:
        fail(f"{export}: is neither COCO's nor Label Studio's JSON; labelme's files are given as a folder")
    return completed(content)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--val-every", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--joints", nargs="+", metavar="NAME", help="their order; default: alphabetical")
    parser.add_argument("--category", default="person", help="name of what is labelled; default: person")
    o = parser.parse_args()
    coco = load(o.export, o.joints, o.category)
    images = sorted(coco["images"], key=lambda i: i["file_name"])
    if o.val_every < 2 or len(images) < o.val_every:
        fail(f"--val-every {o.val_every} splits {len(images)} pictures into nothing; take 2 to {len(images)}")
    os.makedirs(o.output, exist_ok=True)
    for name, part in (("train", [i for n, i in enumerate(images) if (n + 1) % o.val_every]),
                       ("val", images[o.val_every - 1::o.val_every])):
        ids = {i["id"] for i in part}
        people = [a for a in coco["annotations"] if a["image_id"] in ids]
        with open(os.path.join(o.output, name + ".json"), "w", encoding="utf-8") as f:
            json.dump({**coco, "images": part, "annotations": people}, f)
        print(f"{name}.json: {len(part)} pictures, {len(people)} labelled")
    print("joints:", " ".join(coco["categories"][0]["keypoints"]))


main()

#!/usr/bin/env python3
"""Makes pairs of a ground truth and a result file with unusual fields and shapes, and pycocotools' result for each.

Needs pycocotools (pip install pycocotools numpy); nothing in this repository does. tests/eval/data/pairs.txt was made by
    make_pairs.py --first 0 --pairs 150 --small tests/eval/data/pairs.txt
and the run over 10,000 pairs by
    make_pairs.py --first 1000000 --pairs 10000 /tmp/pairs.txt
    HR_PAIRS=/tmp/pairs.txt build/tests/hr_eval_tests --gtest_filter=Pairs.*
All numbers are invented. The file has four lines per pair: what is odd about it, the truth, the results, and
"<sigmas> | <ten numbers>" or "<sigmas> | refused <why>"; no sigmas means COCO's 17.
"""
import argparse
import contextlib
import io
import json
import random

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class Pair:
    def __init__(self, serial, small):
        self.r = random.Random(f"pair {serial}")
        self.small = small
        self.odd = []
        self.build()

    def chance(self, p):
        return self.r.random() < p

    def oddity(self, name, p):
        """Returns True for a share p of the pairs, and records the name for them."""
        if not self.chance(p):
            return False
        self.odd.append(name)
        return True

    def number(self, v):
        return round(v, self.decimals) if self.decimals else int(round(v))

    def pose(self, near=None, spread=0.0):
        r = self.r
        if near is not None:
            return [(self.number(near[3 * k] + r.gauss(0, spread)), self.number(near[3 * k + 1] + r.gauss(0, spread)))
                    for k in range(len(near) // 3)]
        x, y, w, h = r.uniform(0, 300), r.uniform(0, 200), r.choice([15, 40, 120]), r.choice([20, 60, 200])
        return [(self.number(x + r.uniform(0, w)), self.number(y + r.uniform(0, h))) for _ in range(self.joints)]

    def build(self):
        r = self.r
        self.decimals = r.choice([0, 0, 1, 2])
        if self.small or self.chance(0.4):
            self.joints = r.choice([1, 2, 3, 5, 9])
            self.sigmas = [round(r.uniform(0.02, 0.11), 3) for _ in range(self.joints)]
        else:
            self.joints, self.sigmas = 17, None
        images = r.randint(1, 3 if self.small else 6)
        self.images = r.sample(range(-3 if self.chance(0.05) else 0, 40), images)
        if self.chance(0.1):
            self.images = [900100000000 + i for i in self.images]
        self.categories = r.sample([0, 1, 2, 3, 18], 1 if self.chance(0.6) else r.randint(2, 3))
        if self.chance(0.4):
            self.categories = [1]
        self.truth()
        self.results()

    def truth(self):
        r = self.r
        form = (lambda i: float(i)) if self.oddity("ids as floats", 0.03) else (lambda i: i)
        entries = []
        bare = self.oddity("images without names and sizes", 0.05)
        zero = self.oddity("sizes of 0", 0.03)
        for i in self.images:
            entry = {"id": form(i)}
            if not bare:
                entry.update(file_name=f"{i}.jpg", width=0 if zero else 480, height=0 if zero else 360)
            entries.append(entry)
        people = []
        next_id = 0 if self.oddity("id 0", 0.06) else r.choice([1, 1, 9001, 200887])
        no_area = self.oddity("areas 0", 0.05)
        unlabelled = self.oddity("num_keypoints 0", 0.03)
        for i in self.images:
            for _ in range(r.choice([0, 1, 1, 2, 3] if self.small else [0, 1, 1, 2, 3, 5])):
                pose = self.pose()
                keypoints = []
                for x, y in pose:
                    v = r.choice([0, 1, 2, 2, 2])
                    keypoints += [x, y, v]
                xs, ys = [x for x, _ in pose], [y for _, y in pose]
                box = [min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1]
                area = r.choice([box[2] * box[3], box[2] * box[3] * 0.6, 1024, 1023.9, 9216, 9216.5, 3000, 40000])
                count = sum(v > 0 for v in keypoints[2::3])
                if self.chance(0.06):
                    count = 0
                people.append({"id": form(next_id), "image_id": form(i), "category_id": form(r.choice(self.categories)),
                               "bbox": [self.number(v) for v in box], "area": 0 if no_area else self.number(area),
                               "iscrowd": 1 if self.chance(0.08) else 0,
                               "num_keypoints": 0 if unlabelled else count, "keypoints": keypoints})
                next_id += r.choice([1, 1, 1, 7])
        self.poses = [p["keypoints"] for p in people]
        self.people = people
        if people:
            self.odd_people(people)
        r.shuffle(people)
        categories = [{"id": form(c), "name": f"kind {c}"} for c in self.categories]
        if self.oddity("a category without people", 0.05):
            categories.append({"id": 77, "name": "nobody"})
        if self.oddity("categories named twice", 0.02):
            categories.append(dict(categories[0]))
        gt = {"images": entries, "annotations": people, "categories": categories}
        if self.oddity("no categories", 0.01):
            del gt["categories"]
        if self.oddity("no info, other sections", 0.05):
            gt.update(licenses=[], extra={"a": [1, {"b": None}]})
        if self.oddity("nobody in the truth", 0.02):
            gt["annotations"] = []
        self.gt = gt

    def odd_people(self, people):
        r = self.r
        some = lambda: [p for p in people if self.chance(0.4)] or [r.choice(people)]
        for field, p in [("num_keypoints", 0.03), ("area", 0.02), ("iscrowd", 0.03), ("category_id", 0.015),
                         ("bbox", 0.015), ("keypoints", 0.015), ("id", 0.005), ("image_id", 0.005)]:
            if self.oddity(f"people without {field}", p):
                for person in people if self.chance(0.5) else some():
                    del person[field]
        for field, p in [("num_keypoints", 0.02), ("area", 0.01), ("iscrowd", 0.01), ("bbox", 0.01)]:
            if self.oddity(f"{field} null", p):
                for person in some():
                    person[field] = None
        if self.oddity("iscrowd as a boolean", 0.04):
            for person in people:
                if "iscrowd" in person:
                    person["iscrowd"] = bool(person["iscrowd"])
        if self.oddity("all crowds", 0.01):
            for person in people:
                person["iscrowd"] = 1
        if self.oddity("negative areas", 0.02):
            for person in some():
                person["area"] = -r.choice([1, 500])
        if self.oddity("some areas 0", 0.04):
            for person in some():
                person["area"] = 0
        if self.oddity("no visible joint", 0.05):
            for person in some():
                if "keypoints" in person:
                    person["keypoints"] = [0 if k % 3 == 2 else v for k, v in enumerate(person["keypoints"])]
        if self.oddity("empty keypoint lists", 0.03):
            for person in some():
                person["keypoints"] = []
                if self.chance(0.5):
                    person["num_keypoints"] = 0
        if self.oddity("keypoint lists of another length", 0.02):
            for person in people if self.chance(0.5) else some():
                if "keypoints" in person:
                    person["keypoints"] = person["keypoints"] + [1, 1, 2]
        if self.oddity("people of unknown images", 0.03):
            for person in some():
                person["image_id"] = 4711
        if self.oddity("people of unlisted categories", 0.03):
            for person in some():
                person["category_id"] = 555
        if self.oddity("boxes of five numbers in the truth", 0.02):
            for person in people:
                if person.get("bbox"):
                    person["bbox"] = person["bbox"] + [1]
        if self.oddity("other fields in the truth", 0.05):
            for person in some():
                person.update(ignore=1, segmentation=[], note="x", score=None)
        if self.oddity("corner boxes and shares in the truth", 0.03):
            for person in people:
                if person.get("bbox"):
                    x, y, w, h = person["bbox"][:4]
                    person["bbox"] = [x, y, x + w, y + h]
                if self.chance(0.2) and "keypoints" in person:
                    person["keypoints"] = [v if k % 3 == 2 else v / 500 for k, v in enumerate(person["keypoints"])]

    def results(self):
        r = self.r
        found = []
        ties = self.oddity("tied scores", 0.15)
        for i in self.images:
            count = r.choice([0, 1, 2, 3] if self.small else [0, 1, 2, 3, 6])
            if not self.small and self.chance(0.03):
                count = r.randint(19, 27)
            for _ in range(count):
                near = r.choice(self.poses) if self.poses and self.chance(0.75) else None
                pose = self.pose(near, r.choice([0, 1, 4, 12]))
                keypoints = []
                for x, y in pose:
                    keypoints += [x, y, r.choice([0, 1, round(r.random(), 3)])]
                score = r.choice([0.25, 0.5, 1]) if ties else round(r.uniform(-0.2, 1), 4)
                found.append({"image_id": i, "category_id": r.choice(self.categories), "keypoints": keypoints,
                              "score": score})
        # Some detections are exact copies of people, so that something is found.
        for person in self.people:
            if self.chance(0.3) and {"image_id", "category_id"} <= person.keys() and person.get("keypoints") \
                    and person["image_id"] in self.images:
                found.append({"image_id": person["image_id"], "category_id": person["category_id"],
                              "keypoints": list(person["keypoints"]), "score": round(r.random(), 2)})
        r.shuffle(found)
        self.dt = found
        if self.oddity("empty list", 0.01):
            self.dt = []
        if not self.dt:
            return
        if self.oddity("boxes in all", 0.25):
            for d in found:
                xs, ys = d["keypoints"][0::3], d["keypoints"][1::3]
                grow = r.choice([1, 1.5, 4])
                d["bbox"] = [min(xs), min(ys), (max(xs) - min(xs)) * grow, (max(ys) - min(ys)) * grow]
            if self.oddity("boxes of five numbers", 0.1):
                for d in found:
                    d["bbox"].append(d["score"])
            if self.oddity("a box of three numbers", 0.03):
                r.choice(found)["bbox"].pop()
            if self.oddity("one without box", 0.05):
                del r.choice(found)["bbox"]
            if self.oddity("one empty box list", 0.05):
                r.choice(found)["bbox"] = []
            if self.oddity("empty box lists", 0.05):
                for d in found:
                    d["bbox"] = []
            if self.oddity("corner boxes", 0.1):
                for d in found:
                    if len(d.get("bbox", [])) >= 4:
                        x, y, w, h = d["bbox"][:4]
                        d["bbox"] = [x, y, x + w, y + h]
            if self.oddity("one box null", 0.03):
                r.choice(found)["bbox"] = None
        some = lambda: [d for d in found if self.chance(0.3)] or [r.choice(found)]
        for field, p in [("score", 0.01), ("category_id", 0.02), ("keypoints", 0.01), ("image_id", 0.01)]:
            if self.oddity(f"results without {field}", p):
                for d in found if self.chance(0.5) else some():
                    d.pop(field, None)
        if self.oddity("results of unknown images", 0.03):
            for d in some():
                d["image_id"] = 4711
        if self.oddity("results of other categories", 0.06):
            for d in found if self.chance(0.4) else some():
                d["category_id"] = r.choice([555, 77])
        if self.oddity("results of another length", 0.03):
            for d in found if self.chance(0.5) else some():
                if "keypoints" in d:
                    d["keypoints"] = d["keypoints"] + [1, 1, 1] if self.chance(0.5) else d["keypoints"][:-3]
        if self.oddity("a list of numbers that are no triples", 0.01):
            for d in some():
                if d.get("keypoints"):
                    d["keypoints"] = d["keypoints"][:-1]
        if self.oddity("other fields in results", 0.08):
            for d in found:
                d.update(id=7, area=1, iscrowd=1, center=[1, 2], scale=[1, 1], file_name="x")
        if self.oddity("a segmentation without box", 0.01):
            for d in found:
                d["segmentation"] = []
        if self.oddity("scores as booleans or null", 0.01):
            r.choice(found)["score"] = r.choice([True, None, "0.5"])
        if self.oddity("shares of the picture", 0.02):
            for d in found:
                if "keypoints" in d:
                    d["keypoints"] = [v if k % 3 == 2 else v / 500 for k, v in enumerate(d["keypoints"])]
        if self.oddity("not a list", 0.005):
            self.dt = {"annotations": found}


def judge(gt_text, dt_text, sigmas):
    """Returns the ten numbers, or the name of the exception with which pycocotools ends."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            gt = COCO()
            gt.dataset = json.loads(gt_text)
            gt.createIndex()
            results = json.loads(dt_text)
            assert isinstance(results, list), "results in not an array of objects"
            evaluator = COCOeval(gt, gt.loadRes(results), "keypoints")
            if sigmas is not None:
                evaluator.params.kpt_oks_sigmas = numpy.array(sigmas)
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
        return [float(v) for v in evaluator.stats]
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:60]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--small", action="store_true", help="few joints and few people, for a file to keep")
    parser.add_argument("output")
    arguments = parser.parse_args()
    refused = 0
    with open(arguments.output, "w", encoding="utf-8") as out:
        for serial in range(arguments.first, arguments.first + arguments.pairs):
            pair = Pair(serial, arguments.small)
            gt, dt = json.dumps(pair.gt), json.dumps(pair.dt)
            verdict = judge(gt, dt, pair.sigmas)
            refused += isinstance(verdict, str)
            said = f"refused {verdict}" if isinstance(verdict, str) else " ".join(repr(v) for v in verdict)
            sigmas = " ".join(repr(s) for s in pair.sigmas or [])
            out.write(f"{serial}: {', '.join(pair.odd) or 'nothing odd'}\n{gt}\n{dt}\n{sigmas} | {said}\n")
    print(f"{arguments.pairs} pairs, {refused} of them refused by pycocotools")


if __name__ == "__main__":
    main()

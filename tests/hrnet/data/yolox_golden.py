"""Makes yolox_golden.safetensors: raw outputs of small YOLOX networks, computed in double with NumPy only.

The networks are written down here once more, from the paper's description and the official project's names, as slices
and matrix products, so that they share nothing with the C++ code: the focus stem stays a focus, batch norm is not folded
and the pooling of 9x9 and 13x13 is not a cascade. With the sizes and `base` of ../../../../shared/oracle/yolox this
script gives the outputs of the official code, to 1e-7 of the largest value (`--check FOLDER`).

Weights follow from the entries' names, as in oracle/forward/README.md. Needs numpy and safetensors.
"""
import argparse
import json
import os

import numpy as np
from safetensors.numpy import load_file, save_file

SIZES = {"nano": (16, 1, True, 0.47), "tiny": (24, 1, False, 0.41), "s": (32, 1, False, 0.44),
         "m": (48, 2, False, 0.38)}


def unit(name, count):
    """Returns uniform numbers in [0, 1) with the generator of oracle/forward/README.md."""
    with np.errstate(over="ignore"):
        h = np.uint64(0xcbf29ce484222325)
        for byte in name.encode():
            h = (h ^ np.uint64(byte)) * np.uint64(0x100000001b3)
        z = np.arange(count, dtype=np.uint64) + h + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Network:
    def __init__(self, stem, depth, depthwise, classes, base):
        self.stem, self.depth, self.depthwise, self.classes, self.base = stem, depth, depthwise, classes, base

    def filter(self, name, shape):
        fan_in = shape[1] * shape[2] * shape[3]
        gain = 0.5 if "_preds." in name else 1.6
        w = (2 * unit(name, int(np.prod(shape))) - 1) * (np.sqrt(3 / fan_in) * gain)
        return w.astype(np.float32).astype(np.float64).reshape(shape)

    def conv(self, x, w, stride=1, groups=1):
        """x [N, C, H, W], w [O, C / groups, k, k], padding (k - 1) / 2."""
        k = w.shape[2]
        x = np.pad(x, ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
        h, width = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
        y = 0
        for i in range(k):
            for j in range(k):
                part = x[:, :, i:i + stride * h:stride, j:j + stride * width:stride]
                if groups > 1:
                    y = y + part * w[:, 0, i, j][None, :, None, None]
                else:
                    y = y + np.einsum("nchw,oc->nohw", part, w[:, :, i, j], optimize=True)
        return y

    def base_conv(self, name, x, out, k, stride=1, groups=1):
        y = self.conv(x, self.filter(f"{name}.conv.weight", (out, x.shape[1] // groups, k, k)), stride, groups)
        f32 = lambda v: v.astype(np.float32).astype(np.float64)[None, :, None, None]
        u = lambda part: unit(f"{name}.bn.{part}", out)
        weight, bias = f32(self.base + 0.8 * u("weight")), f32(0.2 * (2 * u("bias") - 1))
        mean, var = f32(0.2 * (2 * u("running_mean") - 1)), f32(0.5 + u("running_var"))
        y = (y - mean) / np.sqrt(var + 1e-3) * weight + bias
        return y / (1 + np.exp(-y))

    def unit_conv(self, name, x, out, k, stride=1):
        if not self.depthwise:
            return self.base_conv(name, x, out, k, stride)
        x = self.base_conv(f"{name}.dconv", x, x.shape[1], k, stride, x.shape[1])
        return self.base_conv(f"{name}.pconv", x, out, 1)

    def csp(self, name, x, out, blocks, shortcut):
        a = self.base_conv(f"{name}.conv1", x, out // 2, 1)
        b = self.base_conv(f"{name}.conv2", x, out // 2, 1)
        for i in range(blocks):
            y = self.unit_conv(f"{name}.m.{i}.conv2", self.base_conv(f"{name}.m.{i}.conv1", a, out // 2, 1), out // 2, 3)
            a = a + y if shortcut else y
        return self.base_conv(f"{name}.conv3", np.concatenate([a, b], 1), out, 1)

    def max_pool(self, x, k):
        padded = np.pad(x, ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2), constant_values=-np.inf)
        h, w = x.shape[2:]
        return np.max([padded[:, :, i:i + h, j:j + w] for i in range(k) for j in range(k)], axis=0)

    def __call__(self, x):
        n, b = self.depth, self.stem
        focus = [x[:, :, y::2, c::2] for y, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        y = self.base_conv("backbone.backbone.stem.conv", np.concatenate(focus, 1), b, 3)
        maps = []
        for i, blocks in enumerate((n, 3 * n, 3 * n, n)):
            name, out = f"backbone.backbone.dark{i + 2}", b << (i + 1)
            y = self.unit_conv(f"{name}.0", y, out, 3, 2)
            if i == 3:
                p = self.base_conv(f"{name}.1.conv1", y, out // 2, 1)
                pools = [p] + [self.max_pool(p, k) for k in (5, 9, 13)]
                y = self.base_conv(f"{name}.1.conv2", np.concatenate(pools, 1), out, 1)
            y = self.csp(f"{name}.{2 if i == 3 else 1}", y, out, blocks, i < 3)
            maps.append(y)
        x2, x1, x0 = maps[1:]
        up = lambda v: v.repeat(2, 2).repeat(2, 3)
        cat = lambda u, v: np.concatenate([u, v], 1)
        out0 = self.base_conv("backbone.lateral_conv0", x0, 8 * b, 1)
        f0 = self.csp("backbone.C3_p4", cat(up(out0), x1), 8 * b, n, False)
        out1 = self.base_conv("backbone.reduce_conv1", f0, 4 * b, 1)
        p3 = self.csp("backbone.C3_p3", cat(up(out1), x2), 4 * b, n, False)
        p4 = self.csp("backbone.C3_n3", cat(self.unit_conv("backbone.bu_conv2", p3, 4 * b, 3, 2), out1), 8 * b, n, False)
        p5 = self.csp("backbone.C3_n4", cat(self.unit_conv("backbone.bu_conv1", p4, 8 * b, 3, 2), out0), 16 * b, n,
                      False)
        tables = []
        for level, y in enumerate((p3, p4, p5)):
            y = self.base_conv(f"head.stems.{level}", y, 4 * b, 1)
            features = {}
            for part in ("cls", "reg"):
                features[part] = y
                for i in range(2):
                    features[part] = self.unit_conv(f"head.{part}_convs.{level}.{i}", features[part], 4 * b, 3)
            columns = []
            for part, source, out in (("reg", "reg", 4), ("obj", "reg", 1), ("cls", "cls", self.classes)):
                name = f"head.{part}_preds.{level}"
                v = self.conv(features[source], self.filter(f"{name}.weight", (out, 4 * b, 1, 1)))
                v = v + (0.1 * (2 * unit(f"{name}.bias", out) - 1)).astype(np.float32)[None, :, None, None]
                columns.append(v if part == "reg" else 1 / (1 + np.exp(-v)))
            table = np.concatenate(columns, 1)
            tables.append(table.reshape(table.shape[0], table.shape[1], -1).transpose(0, 2, 1))
        return np.concatenate(tables, 1)


def picture(n, h, w):
    return (4 * unit("input", n * 3 * h * w) - 2).astype(np.float32).astype(np.float64).reshape(n, 3, h, w)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", metavar="FOLDER", help="compare with golden outputs of the official code instead")
    folder = parser.parse_args().check
    if folder:
        for run, facts in json.load(open(os.path.join(folder, "yolox.json")))["runs"].items():
            _, size, hw, n = run.split("_")
            stem, depth, depthwise, base = SIZES[size]
            h, w = map(int, hw.split("x"))
            got = Network(stem, depth, depthwise, 80, base)(picture(int(n[1:]), h, w))
            want = load_file(os.path.join(folder, run + ".safetensors"))["output"]
            # The bytes are in the order [N, 85, A] of the network's last permutation, whatever the header says.
            want = want.reshape(want.shape[0], want.shape[2], want.shape[1]).transpose(0, 2, 1)
            print(run, np.abs(got - want).max() / np.abs(want).max())
        return
    out = {}
    for name, depthwise, n, h, w in (("yolox_c8_d1", False, 2, 64, 96), ("yolox_c8_d2_depthwise", True, 1, 96, 32)):
        net = Network(8, 2 if "d2" in name else 1, depthwise, 3, 0.44)
        out[name] = np.ascontiguousarray(net(picture(n, h, w)).astype(np.float32))
    save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "yolox_golden.safetensors"))


if __name__ == "__main__":
    main()

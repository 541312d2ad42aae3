#!/usr/bin/env python3
"""Makes hrnet_w4.safetensors: the results of three Adam steps of a small HRNet in PyTorch.

Usage: python3 make.py [FOLDER]      (needs PyTorch; any CPU build will do)

The network, HRNet with branches of 4, 8, 16 and 32 channels and 5 joints, is written down here in plain PyTorch. No
weights are stored: every number of the start follows from the tensor's name and its index, by the formula that
tests/support/formula.h has too. Arithmetic is in float64 and stored as float32. The file holds:

  output              [2, 5, 16, 16]  heatmaps of the first step (training mode)
  losses              [3]             the loss before each of the three updates
  gradient.NAME       every parameter's gradient of the first step; larger ones are sampled: elements 0, s, 2s, ... of
                      the flat tensor, where s = ceil(numel / 256)
  value.NAME          the parameters after the three steps, sampled in the same way
  buffer.NAME         running statistics after the three steps, whole
"""
import math
import pathlib
import struct
import json
import sys

import torch
from torch import nn

WIDTH, JOINTS, SAMPLES, SIDE, STEPS, RATE, KEEP = 4, 5, 2, 64, 3, 1e-3, 256
MASK = (1 << 64) - 1


def conv(inputs, outputs, kernel=3, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def conv_bn(inputs, outputs, kernel=3, stride=1, relu=True):
    layers = [conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Bottleneck(nn.Module):
    def __init__(self, inputs, planes):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        self.downsample = conv_bn(inputs, 4 * planes, 1, relu=False) if inputs != 4 * planes else None

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class Module(nn.Module):
    """Runs parallel branches; then every output is the sum of all branches at its resolution."""

    def __init__(self, channels, all_outputs=True):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c) for _ in range(4))) for c in channels)
        rows = range(len(channels) if all_outputs else 1)
        self.fuse_layers = nn.ModuleList(nn.ModuleList(self.path(channels, i, j) for j in range(len(channels)))
                                         for i in rows)

    @staticmethod
    def path(c, i, j):
        if j == i:
            return nn.Identity()
        if j > i:
            up = nn.Upsample(scale_factor=2**(j - i), mode="nearest")
            return nn.Sequential(*conv_bn(c[j], c[i], 1, relu=False), up)
        last = i - j - 1
        return nn.Sequential(*(conv_bn(c[j], c[i] if k == last else c[j], 3, 2, relu=k < last) for k in range(i - j)))

    def forward(self, x):
        x = [branch(v) for branch, v in zip(self.branches, x)]
        return [torch.relu(sum(f(v) for f, v in zip(row, x))) for row in self.fuse_layers]


class HRNet(nn.Module):
    def __init__(self, c, joints):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 3, 2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = conv(64, 64, 3, 2), nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        self.transition1 = nn.ModuleList([conv_bn(256, c), nn.Sequential(conv_bn(256, 2 * c, 3, 2))])
        self.stage2 = nn.Sequential(Module([c, 2 * c]))
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Sequential(conv_bn(2 * c, 4 * c, 3, 2))])
        self.stage3 = nn.Sequential(*(Module([c, 2 * c, 4 * c]) for _ in range(4)))
        self.transition3 = nn.ModuleList([nn.Identity()] * 3 + [nn.Sequential(conv_bn(4 * c, 8 * c, 3, 2))])
        self.stage4 = nn.Sequential(*(Module([c, 2 * c, 4 * c, 8 * c], k < 2) for k in range(3)))
        self.final_layer = nn.Conv2d(c, joints, 1)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer1(torch.relu(self.bn2(self.conv2(x))))
        x = self.stage2([transition(x) for transition in self.transition1])
        x = self.stage3(x + [self.transition2[2](x[-1])])
        x = self.stage4(x + [self.transition3[3](x[-1])])
        return self.final_layer(x[0])


def units(name, count):
    """Returns uniform numbers in [0, 1): FNV-1a of the name, then SplitMix64 of every index."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    for i in range(count):
        z = (h + i + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield ((z ^ (z >> 31)) >> 11) * 2.0**-53


def between(low, high, name, shape):
    """Rounds to float32, because the network under test starts with such numbers."""
    values = [low + (high - low) * u for u in units(name, math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).float().double()


def is_last_norm(name):
    """Tells whether this is the last batch norm of a residual branch or a fuse path, whose weight is small so that sums
    stay in range."""
    if name.endswith("bn3.weight") or (".branches." in name and name.endswith("bn2.weight")):
        return True
    if "fuse_layers." not in name:
        return False
    i, j, *rest = name.split("fuse_layers.")[1].split(".")
    i, j = int(i), int(j)
    return rest == (["1", "weight"] if i < j else [str(i - j - 1), "1", "weight"])


def start_value(name, shape):
    if len(shape) == 4:
        gain = 0.5 if name == "final_layer.weight" else math.sqrt(2)
        reach = gain * math.sqrt(3 / math.prod(shape[1:]))
        return between(-reach, reach, name, shape)
    if name == "final_layer.bias":
        return between(-0.1, 0.1, name, shape)
    if name.endswith((".bias", "running_mean")):
        return between(-0.2, 0.2, name, shape)
    scale = 0.125 if is_last_norm(name) else 1
    return between(0.5 * scale, 1.5 * scale, name, shape)


def sampled(tensor):
    flat = tensor.detach().flatten()
    return flat[::max(1, math.ceil(flat.numel() / KEEP))]


def official_loss(output, target, weight):
    """Returns (1/K) sum over joints of 0.5 * mean over samples and pixels of (w p - w g)^2."""
    w = weight[:, :, None, None]
    return 0.5 * ((w * output - w * target)**2).mean(dim=(0, 2, 3)).mean()


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().flatten().tolist()
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    net = HRNet(WIDTH, JOINTS).double().train()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(start_value(name, tensor.shape))
    images = between(-2, 2, "input", [SAMPLES, 3, SIDE, SIDE])
    target = between(0, 1, "target", [SAMPLES, JOINTS, SIDE // 4, SIDE // 4])
    weight = between(0, 1.5, "target_weight", [SAMPLES, JOINTS])
    weight[0, 1] = 0  # a joint that is not visible
    adam = torch.optim.Adam(net.parameters(), lr=RATE)
    tensors, losses = {}, []
    for step in range(STEPS):
        adam.zero_grad()
        output = net(images)
        loss = official_loss(output, target, weight)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            tensors["output"] = output
            for name, p in net.named_parameters():
                tensors["gradient." + name] = sampled(p.grad)
        adam.step()
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    for name, p in net.named_parameters():
        tensors["value." + name] = sampled(p)
    for name, b in net.named_buffers():
        if not name.endswith("num_batches_tracked"):
            tensors["buffer." + name] = b
    path = folder / "hrnet_w4.safetensors"
    write_safetensors(path, tensors, {"made_by": f"tests/golden/make.py, PyTorch {torch.__version__}"})
    print(f"{path}: {path.stat().st_size} bytes, losses {losses}")


if __name__ == "__main__":
    main()

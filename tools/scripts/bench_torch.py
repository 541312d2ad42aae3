#!/usr/bin/env python3
"""Measures HRNet and PoseResNet in plain PyTorch, with the official parameter names.

It is for comparison only; nothing in hrnet.cpp needs Python. It prints one JSON line for each variant:

    tools/scripts/bench_torch.py --model hrnet_w32 --batch 32 --size 256 192 --mode train --device cuda --variant compile

The variants are eager (float32), channels_last (bfloat16 autocast, NHWC memory), compile (the same, through
torch.compile) and graph (channels_last with the whole step captured as one CUDA graph, so that the host costs no time;
on a GPU only).
A training step is forward, joints MSE loss (1/J sum over joints of half the mean square), backward, Adam.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn


def conv_bn(inputs, outputs, kernel, stride=1):
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(channels, channels, 3)
        self.conv2, self.bn2 = conv_bn(channels, channels, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    def __init__(self, inputs, planes, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(inputs, planes, 1)
        self.conv2, self.bn2 = conv_bn(planes, planes, 3, stride)
        self.conv3, self.bn3 = conv_bn(planes, 4 * planes, 1)
        self.relu = nn.ReLU(inplace=True)
        changes = stride != 1 or inputs != 4 * planes
        self.downsample = nn.Sequential(*conv_bn(inputs, 4 * planes, 1, stride)) if changes else None

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Exchange(nn.Module):
    """Runs four blocks on each branch; then each output is the sum of all branches at its resolution."""

    def __init__(self, channels, outputs):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c) for _ in range(4))) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self.path(channels, i, j) for j in range(len(channels))) for i in range(outputs))
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def path(channels, i, j):
        if i == j:
            return nn.Identity()
        if j > i:  # from a lower resolution: upsample
            return nn.Sequential(*conv_bn(channels[j], channels[i], 1), nn.Upsample(scale_factor=2 ** (j - i)))
        links = []
        for k in range(i - j):  # from a higher one: downsample step by step
            last = k == i - j - 1
            link = conv_bn(channels[j], channels[i] if last else channels[j], 3, 2)
            links.append(nn.Sequential(*link, *([] if last else [nn.ReLU(inplace=True)])))
        return nn.Sequential(*links)

    def forward(self, x):
        x = [branch(y) for branch, y in zip(self.branches, x)]
        return [self.relu(sum(path(y) for path, y in zip(row, x))) for row in self.fuse_layers]


class HRNet(nn.Module):
    def __init__(self, width=32, joints=17):
        super().__init__()
        c = [width, 2 * width, 4 * width, 8 * width]
        self.conv1, self.bn1 = conv_bn(3, 64, 3, 2)
        self.conv2, self.bn2 = conv_bn(64, 64, 3, 2)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(*(Bottleneck(64 if k == 0 else 256, 64) for k in range(4)))
        new = lambda inputs, outputs: nn.Sequential(nn.Sequential(*conv_bn(inputs, outputs, 3, 2), nn.ReLU(True)))
        self.transition1 = nn.ModuleList([nn.Sequential(*conv_bn(256, c[0], 3), nn.ReLU(True)), new(256, c[1])])
        self.stage2 = nn.Sequential(Exchange(c[:2], 2))
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), new(c[1], c[2])])
        self.stage3 = nn.Sequential(*(Exchange(c[:3], 3) for _ in range(4)))
        self.transition3 = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Identity(), new(c[2], c[3])])
        self.stage4 = nn.Sequential(*(Exchange(c, 4 if m < 2 else 1) for m in range(3)))
        self.final_layer = nn.Conv2d(c[0], joints, 1)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        x = self.stage2([t(x) for t in self.transition1])
        x = self.stage3([*x, self.transition2[2](x[-1])])
        x = self.stage4([*x, self.transition3[3](x[-1])])
        return self.final_layer(x[0])


class PoseResNet(nn.Module):
    BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

    def __init__(self, depth=50, joints=17):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(3, 64, 7, 2)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for layer, blocks in enumerate(self.BLOCKS[depth]):
            planes = 64 << layer
            row = []
            for k in range(blocks):
                row.append(Bottleneck(inputs, planes, 2 if layer > 0 and k == 0 else 1))
                inputs = 4 * planes
            setattr(self, f"layer{layer + 1}", nn.Sequential(*row))
        ups = []
        for _ in range(3):
            ups += [nn.ConvTranspose2d(inputs, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(inplace=True)]
            inputs = 256
        self.deconv_layers = nn.Sequential(*ups)
        self.final_layer = nn.Conv2d(256, joints, 1)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.final_layer(self.deconv_layers(x))


def make_model(name, joints=17):
    """Builds hrnet_wC or pose_resnet50/101/152, as hrnet.cpp names them."""
    if name.startswith("hrnet_w"):
        return HRNet(int(name[len("hrnet_w"):]), joints)
    if name.startswith("pose_resnet"):
        return PoseResNet(int(name[len("pose_resnet"):]), joints)
    raise SystemExit(f"--model {name}: expected hrnet_wC, pose_resnet50, pose_resnet101 or pose_resnet152")


def joints_mse(heatmaps, targets, weights):
    """Expects heatmaps and targets [N, J, H, W] and weights [N, J, 1, 1]."""
    return 0.5 * (weights * (heatmaps - targets)).square().mean()


def make_step(o, variant):
    """Returns the step to measure, as a function without arguments."""
    device = torch.device(o.device)
    cuda = device.type == "cuda"
    amp = variant != "eager"
    layout = torch.channels_last if amp else torch.contiguous_format
    h, w = o.size
    model = make_model(o.model).to(device, memory_format=layout)
    images = torch.randn(o.batch, 3, h, w, device=device).to(memory_format=layout)
    targets = torch.rand(o.batch, 17, h // 4, w // 4, device=device).to(memory_format=layout)
    weights = torch.ones(o.batch, 17, 1, 1, device=device)
    # A captured step may not cache the cast of a weight, because the next replay would use the old value.
    autocast = lambda: torch.autocast(device.type, torch.bfloat16, enabled=amp, cache_enabled=variant != "graph")

    if o.mode == "train":
        model.train()
        options = {"fused": True, "capturable": variant == "graph"} if cuda else {}
        adam = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
        forward = torch.compile(model) if variant == "compile" else model

        def step():
            adam.zero_grad(set_to_none=True)
            with autocast():
                heatmaps = forward(images)
            joints_mse(heatmaps.float(), targets, weights).backward()
            adam.step()
    else:
        model.eval()
        options = {"mode": "max-autotune"} if cuda else {}
        forward = torch.compile(model, **options) if variant == "compile" else model

        def step():
            with torch.inference_mode(), autocast():
                return forward(images)

    return captured(step, o.warmup) if variant == "graph" else step


def captured(step, warmup):
    """Returns the step as one CUDA graph. Warm-up steps run before on a side stream, as torch.cuda.graph requires; they
    make cuDNN's choices and Adam's moments."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(max(warmup, 3)):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay():
        graph.replay()
        return result
    return replay


def measure(o, variant):
    device = torch.device(o.device)
    cuda = device.type == "cuda"
    if variant == "graph" and not cuda:
        raise SystemExit("--variant graph: a CUDA graph needs --device cuda")
    torch.manual_seed(0)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = make_step(o, variant)
    wait = torch.cuda.synchronize if cuda else lambda: None
    for _ in range(o.warmup):
        step()
    wait()
    # The memory of a graph stays allocated after its capture, so its peak is that of the capture.
    if cuda and variant != "graph":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(o.steps):
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    # These steps run back to back, as in training: on a GPU the host runs ahead.
    start = time.perf_counter()
    for _ in range(o.steps):
        step()
    wait()
    stream = (time.perf_counter() - start) / o.steps
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "mode": o.mode, "model": o.model, "fixed_size": o.size, "batch_size": o.batch, "variant": variant,
        "dtype": "f32" if variant == "eager" else "bf16", "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(), "steps": o.steps, "seconds": round(statistics.median(seconds), 6),
        "seconds_back_to_back": round(stream, 6), "img_per_s": round(o.batch / stream, 3), "peak_bytes": peak,
        "torch": torch.__version__}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hrnet_w32",
                        help="hrnet_wC or pose_resnet50, 101 or 152 [%(default)s]")
    parser.add_argument("--batch", type=int, default=32, help="pictures per step [%(default)s]")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 192], metavar=("H", "W"),
                        help="height and width of the input in pixels [256 192]")
    parser.add_argument("--mode", choices=["train", "infer"], default="train", help="[%(default)s]")
    parser.add_argument("--variant", choices=["eager", "channels_last", "compile", "graph"], nargs="+",
                        default=["eager"], help="what to measure, one after the other [eager]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu",
                        help="cpu, cuda or cuda:N [cuda if there is a GPU]")
    parser.add_argument("--warmup", type=int, default=5, help="steps before those that are timed [%(default)s]")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed [%(default)s]")
    parser.add_argument("--threads", type=int, default=0, help="threads on the CPU [0: torch chooses]")
    o = parser.parse_args()
    if o.threads > 0:
        torch.set_num_threads(o.threads)
    torch.backends.cudnn.benchmark = True
    # `eager` computes in float32, not in TensorFloat-32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for variant in o.variant:
        measure(o, variant)


if __name__ == "__main__":
    main()

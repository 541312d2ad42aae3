#!/usr/bin/env python3
"""Measures inference on the CPU beside ONNX Runtime, OpenVINO and PyTorch, in turns, in one run.

  bench_cpu.py --bench build/tools/bench --model hrnet_w32 --onnx w32.onnx [--int8 w32.int8.safetensors]
               [--openvino-int8 w32_int8.xml] [--torch-train] [--batch 8 1] [--rounds 5] [--beside]

Every contestant is a process of its own, which warms up, measures and ends, so that no idle threads of one disturb the
next. One round runs each contestant once; the table has the median of the rounds and the ratio to the first row, whose
two numbers come from the same run. --beside repeats everything with one busy process beside it. Runtimes that are not
installed (pip install onnxruntime openvino torch) are left out and named. It is for comparison only; nothing in
hrnet.cpp needs Python. Prints a Markdown table.
"""
import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

REPEATS, WARMUP = 7, 2


def time_calls(run):
    """Returns the median seconds of a call, after calls that are not counted."""
    seconds = []
    for i in range(WARMUP + REPEATS):
        start = time.perf_counter()
        run()
        if i >= WARMUP:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def images(batch, size):
    import numpy as np

    return np.random.default_rng(0).uniform(-2, 2, (batch, 3, *size)).astype(np.float32)


def time_onnxruntime(path, batch, size, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = images(batch, size)
    name = session.get_inputs()[0].name
    return time_calls(lambda: session.run(None, {name: x}))


def time_openvino(path, batch, size, threads):
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, *size])
    # By default OpenVINO may compute in bfloat16 where the processor has it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    x = images(batch, size)
    return time_calls(lambda: request.infer({0: x}))


PEERS = {"onnxruntime": time_onnxruntime, "openvino": time_openvino}


def child(args):
    """Measures one runtime and prints the seconds."""
    name, path, batch, h, w, threads = args
    print(PEERS[name](path, int(batch), (int(h), int(w)), int(threads)))


def contestants(o, batch):
    """Yields names and commands; each command prints seconds, or JSON with the member seconds."""
    size = [str(v) for v in o.size]
    ours = [o.bench, "--model", o.model, "--fixed-size", *size, "--batch-size", str(batch), "--json"]
    ours += ["--threads", str(o.threads)]
    infer = [*ours, "--mode", "inference", "--repeats", str(REPEATS), "--warmup", str(WARMUP)]
    yield "hrnet.cpp, float32", infer
    yield "hrnet.cpp, float32, --exact", [*infer, "--exact"]
    if o.int8:
        yield "hrnet.cpp, 8-bit", [*infer, "--weights", o.int8]
    this = [sys.executable, os.path.abspath(__file__), "--child"]
    for name, path, title in (
        ("onnxruntime", o.onnx, "ONNX Runtime, float32"),
        ("openvino", o.onnx, "OpenVINO, float32"),
        ("openvino", o.openvino_int8, "OpenVINO, 8-bit"),
    ):
        if path and importlib.util.find_spec(name):
            yield title, [*this, name, path, str(batch), *size, str(o.threads)]
    if o.torch_train and batch > 1 and importlib.util.find_spec("torch"):
        yield "hrnet.cpp, training step", [*ours, "--mode", "train", "--repeats", "3", "--warmup", "1"]
        torch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_torch.py")
        yield "PyTorch, training step", [
            sys.executable, torch, "--model", o.model, "--batch", str(batch), "--size", *size, "--mode", "train",
            "--device", "cpu", "--variant", "eager", "--warmup", "1", "--steps", "3", "--threads", str(o.threads),
        ]  # fmt: skip


def measure(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {result.returncode}\n{result.stderr[-2000:]}")
    value = json.loads(result.stdout.strip().splitlines()[-1])
    return value["seconds"] if isinstance(value, dict) else value


def table(o, beside):
    for batch in o.batch:
        rows = dict(contestants(o, batch))
        times = {name: [] for name in rows}
        for _ in range(o.rounds):
            for name, command in rows.items():
                times[name].append(measure(command))
        first = times[next(iter(times))]
        print(f"\n| {o.model}, {o.size[0]} x {o.size[1]}, batch {batch}{beside} | img/s | time / first row's |")
        print("|---|---|---|")
        for name, seconds in times.items():
            ratio = statistics.median(s / f for s, f in zip(seconds, first))
            print(f"| {name} | {batch / statistics.median(seconds):.1f} | {ratio:.2f} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", default="build/tools/bench")
    p.add_argument("--model", default="hrnet_w32")
    p.add_argument("--onnx", help="the model, exported by convert")
    p.add_argument("--int8", help="the model with 8-bit weights, made by convert --calibrate")
    p.add_argument("--openvino-int8", help="the model quantised for OpenVINO")
    p.add_argument("--torch-train", action="store_true", help="also compare a training step with PyTorch's, where the batch is above 1")
    p.add_argument("--size", type=int, nargs=2, default=[256, 192])
    p.add_argument("--batch", type=int, nargs="+", default=[8, 1])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--beside", action="store_true", help="measure also beside one busy process")
    o = p.parse_args()
    missing = [n for n in ("onnxruntime", "openvino", "torch") if not importlib.util.find_spec(n)]
    print(f"load before: {os.getloadavg()[0]:.1f}; not installed: {', '.join(missing) or 'nothing'}", flush=True)
    table(o, "")
    if o.beside:
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            table(o, ", beside one busy process")
        finally:
            busy.kill()


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()

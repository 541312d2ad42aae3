#!/usr/bin/env python3
"""Compares exported ONNX files, run by ONNX Runtime and OpenVINO, with the program `forward`.

  onnx_compare.py --forward build/tools/forward w32.safetensors:w32.onnx [WEIGHTS:ONNX ...]

Prints one row of a Markdown table for each pair. For each runtime it contains the largest difference to the output of
`forward`, relative to the largest number of that output. The inputs are random numbers in the range that the file's
metadata states. The exit status is 1 if a difference is above --most. The script needs the packages onnx, onnxruntime,
openvino and numpy (pip install); building and running the programs needs none of them.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
import onnx


def write_tensor(path, name, array):
    entry = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, array.nbytes]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + array.tobytes())


def read_tensor(path):
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    entry = next(v for k, v in json.loads(data[8 : 8 + size]).items() if k != "__metadata__")
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[8 + size + begin : 8 + size + end], np.float32).reshape(entry["shape"])


def onnx_runtime(path, name, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: x})


def openvino(path, name, x):
    import openvino as ov

    # By default, OpenVINO may compute in bfloat16 if the processor supports it.
    core = ov.Core()
    model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(v) for v in model({name: x}).values()]


RUNTIMES = {"onnxruntime": onnx_runtime, "openvino": openvino}


def compare(pair, args, runtimes):
    weights, path = pair.split(":")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    meta = {p.key: p.value for p in model.metadata_props}
    value = model.graph.input[0]
    h, w = (d.dim_value for d in value.type.tensor_type.shape.dim[2:])
    low, high = (0, 255) if meta["pixel_scale"] == "1" else (-2, 2)
    x = np.random.default_rng(0).uniform(low, high, (args.batch, 3, h, w)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        write_tensor(source, "input", x)
        command = [args.forward, "--weights", weights, "--input", source, "--output", result]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        native = read_tensor(result)
    largest = np.abs(native).max()
    worst, cells = 0, []
    for name in runtimes:
        got = RUNTIMES[name](path, value.name, x)[0]
        assert got.shape == native.shape, (got.shape, native.shape)
        off = float(np.abs(got.astype(np.float64) - native).max() / largest)
        worst = max(worst, off if off == off else float("inf"))
        cells.append(f"{off:.1e}")
    norms = sum(n.op_type == "BatchNormalization" for n in model.graph.node)
    kind = "batch norms kept" if norms else "folded"
    row = [meta["model"], f"{h}x{w}", str(args.batch), kind, f"{largest:.3g}", *cells]
    print("| " + " | ".join(row) + " |", flush=True)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="WEIGHTS:ONNX")
    parser.add_argument("--forward", required=True, help="the program `forward`")
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--most", type=float, default=1e-5, help="the largest difference that is accepted")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="comma-separated [%(default)s]")
    parser.add_argument("--no-header", action="store_true")
    args = parser.parse_args()
    runtimes = args.runtimes.split(",")
    if not args.no_header:
        print("| network | input | batch | graph | largest number | " + " | ".join(runtimes) + " |")
        print("|---|---|---|---|---|" + "---|" * len(runtimes))
    worst = max(compare(pair, args, runtimes) for pair in args.pairs)
    return int(worst > args.most)


if __name__ == "__main__":
    sys.exit(main())

"""Makes the table of tools/gpu_check.sh for docs/measured/gpu.md: results beside goals and lower bounds of the time."""
import json
import os
import statistics
import sys
import textwrap

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

# The goals for each card. The predictions were calculated from the kernels before any GPU ran them.
CARDS = {
    "H100": {"train": 3600, "infer": 15000, "train_predicted": 3450, "infer_predicted": 16000},
    "H200": {"train": 4300, "infer": 18000, "train_predicted": 4000, "infer_predicted": 18000},
}
TENSOR_FLOPS = 790e12  # measured on an H100 and an H200 with a large bf16 matrix product
OWN_BYTES = 51.6e9     # read and written by our own kernels in a training step of W32, 256x192, batch 128


def convolution_floor(bandwidth):
    """Returns a lower bound, in seconds, for the time of all convolutions of that step. Each layer takes at least the
    time to move its bytes and at least the time of its operations.

    The bound was computed layer by layer for 3.0 TB/s (11.8 ms) and 4.3 TB/s (9.4 ms). Other bandwidths are fitted to
    these: the time of layers that are limited by memory is inversely proportional to the bandwidth, and the time of the
    others is constant."""
    return 3.86e-3 + 23.8e9 / bandwidth


def card_of(facts):
    """Returns the name of the card and the goals for it."""
    name = facts.get("card", "unknown card")
    return name, CARDS["H200" if "H200" in name else "H100"]


def count_tests(tests):
    counts = {result: sum(r["result"] == result for r in tests.values())
              for result in ("passed", "failed", "crashed", "timed out", "skipped", "no time")}
    counts["bad"] = counts["failed"] + counts["crashed"] + counts["timed out"]
    return counts


def tests_text(counts):
    parts = [f"{counts['passed']} passed"]
    parts += [f"{counts[r]} {r}" for r in ("failed", "crashed", "timed out", "skipped") if counts[r]]
    return ", ".join(parts + ([f"{counts['no time']} not run"] if counts["no time"] else []))


def sanitizer_text(found):
    counts = {result: sum(r["result"] == result for r in found.values()) for result in ("clean", "errors", "skipped", "no time")}
    text = f"{counts['clean']} of {len(found)} tests without an error"
    if counts["errors"]:
        text += f", {counts['errors']} with errors"
    return text + (f", {counts['no time']} not finished" if counts["no time"] else "")


def step_floor(results, batch):
    """Returns (seconds, bandwidth) of a training step at the limits of memory and tensor cores, or (None, None)."""
    kernels = results["bench"].get("kernels")
    if not kernels or results.get("rehearsal"):
        return None, None
    bandwidth = kernels["bandwidth"]
    own = sum(k["bytes"] for name, k in kernels["kinds"].items() if not name.startswith("convolution"))
    return (convolution_floor(bandwidth) + (own or OWN_BYTES) / bandwidth) * batch / 128, bandwidth


class Rows:
    def __init__(self):
        self.lines = []

    def add(self, work, goal, predicted, measured, verdict):
        self.lines.append(f"| {work} | {goal} | {predicted} | {measured} | {verdict} |")

    def number(self, work, goal, predicted, value, text, met):
        """Adds a row whose figure may be missing."""
        self.add(work, goal, predicted, "open" if value is None else text, "open" if value is None else "met" if met else "missed")


def ratio(a, b):
    return a / b if a and b else None


def test_verdict(tests, prefix):
    """Returns the verdict of the tests whose names begin with prefix. A skipped test has shown nothing."""
    results = [r["result"] for name, r in tests.items() if name.startswith(prefix)]
    if not results:
        return "open"
    if any(r in ("failed", "crashed", "timed out") for r in results):
        return "missed"
    return "met" if all(r == "passed" for r in results) else "open"


def sanitizer_verdict(found):
    if not found:
        return "open"
    if any(r["result"] == "errors" for r in found.values()):
        return "missed"
    return "met" if all(r["result"] == "clean" for r in found.values()) else "open"


def goal_rows(results):
    facts, bench, tests, torch = (results.get(name, {}) for name in ("facts", "bench", "tests", "torch"))
    _, goals = card_of(facts)
    rows = Rows()
    counts = count_tests(tests)
    verdict = "open" if not tests else "missed" if counts["bad"] else "open" if counts["skipped"] or counts["no time"] or not counts["passed"] else "met"
    rows.add("tests labelled gpu", "all pass", "", tests_text(counts) if tests else "open", verdict)
    for tool in ("memcheck", "racecheck"):
        found = results.get("sanitizers", {}).get(tool, {})
        rows.add(f"compute-sanitizer {tool}", "no error", "", sanitizer_text(found) if found else "open", sanitizer_verdict(found))

    for name, batch in (("train128", 128), ("train256", 256)):
        found = bench.get(name)
        floor, bandwidth = step_floor(results, batch)
        predicted = f"{goals['train_predicted']:,} img/s"
        if floor:
            predicted += f"; floor {1e3 * floor:.1f} ms at {bandwidth / 1e12:.2f} TB/s"
        text = ""
        if found:
            text = f"{found['img_per_s']:,.0f} img/s ({1e3 * found['seconds']:.2f} ms"
            text += f", {floor / found['seconds']:.0%} of the floor's speed)" if floor else ")"
        seconds = results.get("final", {}).get(name, [])
        if len(seconds) > 1:
            text += f"; {len(seconds)} runs {1e3 * min(seconds):.2f} to {1e3 * max(seconds):.2f} ms"
        rows.number(f"training step bf16, batch {batch}", f"{goals['train']:,} img/s", predicted, found, text, found and found["img_per_s"] >= goals["train"])

    train128, infer128, infer1 = bench.get("train128"), bench.get("infer128"), bench.get("infer1")
    for mode, ours, predicted in (("train", train128, "1.6 to 2.2"), ("infer", infer128, "")):
        peers = {name.split()[1]: p["img_per_s"] for name, p in torch.items() if name.startswith(mode)}
        best = max(peers, key=peers.get) if peers else None
        value = ratio(ours and ours["img_per_s"], best and peers[best])
        work = "training step over the best PyTorch mode" if mode == "train" else "inference over the best PyTorch mode"
        listed = ", ".join(f"{name} {speed:,.0f}" for name, speed in peers.items())
        measured = f"{value:.2f} (PyTorch {listed} img/s)" if value else "open" + (f" (PyTorch {listed} img/s)" if listed else "")
        rows.add(f"{work}, batch 128", "2", predicted, measured, "open" if value is None else "met" if value >= 2 else "missed")
    rows.number("inference bf16, batch 128", f"{goals['infer']:,} img/s", f"{goals['infer_predicted']:,} img/s", infer128,
                infer128 and f"{infer128['img_per_s']:,.0f} img/s" + (f"; {infer128['batch_size'] / infer128['seconds_with_copies']:,.0f} with copies"
                                                                     if infer128.get("seconds_with_copies") else ""),
                infer128 and infer128["img_per_s"] >= goals["infer"])
    rows.number("inference bf16, one person", "0.8 ms", "0.5 to 0.7 ms", infer1, infer1 and f"{1e3 * infer1['seconds']:.3f} ms",
                infer1 and infer1["seconds"] <= 0.8e-3)
    jpegs = results.get("jpegs")
    value = ratio(jpegs and jpegs["img_per_s"], train128 and train128["img_per_s"])
    rows.number("training from JPEGs over the step alone", "0.95", "", value,
                value and f"{value:.3f} ({jpegs['img_per_s']:,.0f} img/s, {jpegs['workers']} workers, data wait {jpegs['data_wait']:.0%})",
                value and value >= 0.95)
    peaks = [p["peak_bytes"] for name, p in torch.items() if name.startswith("train")]
    value = ratio(train128 and train128["peak_bytes"], min(peaks) if peaks else None)
    rows.number("memory, training batch 128 bf16, of PyTorch's", "0.60", "", value,
                value and f"{value:.2f} ({train128['peak_bytes'] / (1 << 30):.2f} of {min(peaks) / (1 << 30):.2f} GiB)", value and value <= 0.6)
    for name, found in sorted(bench.items()):
        if name.startswith("ranks"):
            value = ratio(found["seconds_alone"], found["seconds"])
            rows.number(f"training step on {name[5:]} GPUs over NCCL, of {name[5:]} times one", "0.9", "", value, value and f"{value:.3f}", value and value >= 0.9)
    for name, what in (("train_f32", "float32"), ("train_tf32", "TF32")):
        if name in bench:
            rows.add(f"training step {what}, batch {bench[name]['batch_size']}", "", "", f"{bench[name]['img_per_s']:,.0f} img/s", "")
    for prefix, what in (("GpuModel.ForwardEqualsTheCpus", "float32 within 1e-4, bf16 within 3e-2 of the CPU"),
                         ("GpuStep.TenSteps", "10 steps: float32 follows the CPU, bf16 within 1 % of float32")):
        rows.add(what, "tests", "", "", test_verdict(tests, prefix))
    return rows.lines


def kernel_rows(results):
    """Lists for each kind of kernel the bytes that it must move, its floor at the measured bandwidth, and its time."""
    kernels = results["bench"].get("kernels")
    if not kernels:
        return []
    bandwidth = kernels["bandwidth"]
    lines = [f"By kind of kernel, one after the other (`bench --mode kernels`, {bandwidth / 1e12:.2f} TB/s copied). The launch of a short",
             "kernel takes longer than the kernel, so its time here is too long; trace.txt has those of a launched graph.", "",
             "| kind of kernel | launches | MB | GFLOP | floor, µs | measured, µs | measured over floor |", "|---|---|---|---|---|---|---|"]
    kinds = []
    for name, k in kernels["kinds"].items():
        kinds.append((max(k["bytes"] / bandwidth, k["operations"] / TENSOR_FLOPS), k["seconds"], name, k))
    for floor, seconds, name, k in sorted(kinds, key=lambda kind: (-kind[1], -kind[0])):
        operations = f"{k['operations'] / 1e9:,.0f}" if k["operations"] else ""
        measured = f"{1e6 * seconds:,.0f} | {seconds / floor:.2f}" if seconds > 0 and floor > 0 else "open | open"
        lines.append(f"| {name} | {k['launches']:,.0f} | {k['bytes'] / 1e6:,.0f} | {operations} | {1e6 * floor:,.0f} | {measured} |")
    floor, seconds = sum(k[0] for k in kinds), sum(k[1] for k in kinds)
    lines.append(f"| all | {sum(k[3]['launches'] for k in kinds):,.0f} | {sum(k[3]['bytes'] for k in kinds) / 1e6:,.0f} | | {1e6 * floor:,.0f} | "
                 f"{1e6 * seconds:,.0f} | {seconds / floor:.2f} |" if floor > 0 else "")
    return lines


def switch_rows(results):
    lines = []
    for name, values in results.get("switches", {}).items():
        base = statistics.median(values["default"]) if values.get("default") else None
        for value, seconds in values.items():
            if not seconds:
                lines.append(f"| {name} | {value} | open | | |")
                continue
            median = statistics.median(seconds)
            change = f"{median / base - 1:+.1%}" if base and value != "default" else ""
            lines.append(f"| {name} | {value} | {1e3 * median:.2f} | {1e3 * min(seconds):.2f} to {1e3 * max(seconds):.2f} ({len(seconds)}) | {change} |")
    if lines:
        lines[:0] = ["Switches, training step at batch 128, runs in turn:", "", "| switch | value | median, ms | lowest to highest (runs) | over the default |",
                     "|---|---|---|---|---|"]
    return lines


def problem_lines(results):
    """Lists what failed or was left out, for readers of the table who do not have the logs."""
    lines = [f"* {name}: {p['status']}, {p['note']}" for name, p in results["phases"].items() if p["status"] != "ok"]
    lines += [f"* {name}: {r['result']}; {r.get('why', '')}" for name, r in results.get("tests", {}).items() if r["result"] not in ("passed", "skipped")]
    return ["Not done:", "", *lines] if lines else []


def heading(results):
    facts = results.get("facts", {})
    lines = ["**A rehearsal: none of these figures is a GPU's.**", ""] if results.get("rehearsal") else []
    library = next((b["library"] for b in results["bench"].values() if b.get("library")), "")
    more = [f"driver {facts['driver']}" if "driver" in facts else "", facts.get("memory", ""), f"CUDA {facts['cuda']}" if "cuda" in facts else "", library,
            f"{facts['cores']} cores" if "cores" in facts else ""]
    clocks = results["phases"].get("train128", {})
    if "sm_mhz" in clocks:
        more.append(f"{clocks['sm_mhz']:.0f} MHz and {clocks['watts']:.0f} W in the training step")
    lines.append(f"Measured {facts.get('date', '?')} at commit {facts.get('commit', 'unknown')} by `tools/gpu_check.sh` on one {card_of(facts)[0]}")
    lines[-1] += f" ({', '.join(filter(None, more))}):"
    return lines


def measured(results):
    """Returns the part of the table that belongs into docs/measured/gpu.md, with rows of any length."""
    size = "hrnet_w32, 256x192"
    lines = [*heading(results), "", f"| work ({size}) | goal on this card | predicted | measured | verdict |", "|---|---|---|---|---|", *goal_rows(results)]
    for part in (kernel_rows(results), switch_rows(results)):
        if part:
            lines += ["", *part]
    return lines


def table(results):
    problems = problem_lines(results)
    return "\n".join(measured(results) + (["", *problems] if problems else [])) + "\n"


WIDTH = 120  # columns at which the documentation is wrapped


def fit(lines):
    """Fits lines to a document of WIDTH columns. Text is wrapped. A row of the table of goals that is longer keeps only
    the beginning of its predicted and measured cells; both are given in full in a list below the table."""
    fitted, notes = [], []
    for line in [*lines, ""]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(line) > WIDTH and len(cells) == 5:
            work, goal, predicted, value, verdict = cells
            parts = [f"predicted {predicted}"] if predicted else []
            notes.append(f"{work}: " + "; ".join(parts + ([f"measured {value}"] if value != "open" else [])))
            short = (text.split(";")[0].split(" (")[0] for text in (predicted, value))
            line = "| " + " | ".join([work, goal, *short, verdict]) + " |"
        if not line.startswith("|") and notes:  # the table has ended
            fitted.append("")
            for note in notes:
                fitted += textwrap.wrap(note, WIDTH, initial_indent="* ", subsequent_indent="  ")
            notes = []
        if line.startswith("|") or not line:
            fitted.append(line)
        else:
            fitted += textwrap.wrap(line, WIDTH, break_long_words=False)
    return fitted[:-1]


def combine(all_results):
    """Merges the results of several runs. Later figures replace earlier ones of the same name; a phase that failed
    later does not remove a figure."""
    whole = all_results[0]
    for later in all_results[1:]:
        for name, value in later.items():
            if isinstance(value, dict) and isinstance(whole.get(name), dict):
                whole[name] = {**whole[name], **value}
            elif value:
                whole[name] = value
    return whole


def merge(folders, document):
    all_results = []
    for folder in folders:
        try:
            with open(os.path.join(folder, "results.json")) as f:
                all_results.append(json.load(f))
        except (OSError, ValueError) as e:
            print(f"gpu_check: {folder}: {e}", file=sys.stderr)
            return 2
    if any(r.get("rehearsal") for r in all_results):
        print("gpu_check: these are figures of a rehearsal, which are not written into docs/measured/gpu.md", file=sys.stderr)
        return 2
    with open(document, encoding="utf-8") as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        print(f"gpu_check: {document} lacks the lines {BEGIN} and {END}, between which the table is written", file=sys.stderr)
        return 2
    before, after = text.split(BEGIN)[0], text.split(END, 1)[1]
    by_card = {}
    for r in all_results:
        by_card.setdefault(card_of(r.get("facts", {}))[0], []).append(r)
    lines = []
    for results in by_card.values():  # each card has a table of its own
        lines += ([""] if lines else []) + fit(measured(combine(results)))
    with open(document, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)
    print("\n".join(lines))
    return 0

#!/usr/bin/env python3
"""Makes tables from the file that tools/bench/cupti_trace.cc writes: the time of each kernel, and the busy time, the
gaps and the streams of one launch of the graph.

    tools/scripts/trace_report.py trace.csv[.gz] [ROWS, default 40]
"""
import collections
import gzip
import re
import sys

# kind is k (kernel), c (copy) or m (memset). Times are in nanoseconds. graph is 0 outside of launched graphs.
Record = collections.namedtuple("Record", "kind start end stream graph name grid block registers shared bytes")
PAUSE = 200_000  # nanoseconds between two launches if the host waits for each


def read(path):
    """Returns (names by number, records in the order of their start)."""
    names, records = {}, []
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as f:
        for line in f:
            fields = line.rstrip("\n").split("\t")
            if fields[0] == "n":
                names[int(fields[1])] = fields[2]
            else:
                records.append(Record(fields[0], *map(int, fields[1:])))
    records.sort(key=lambda r: r.start)
    return names, records


def launches(records):
    """Returns the records of each launch of the graph, or of each burst of work if there is no graph."""
    pool = [r for r in records if r.graph != 0] or records
    groups, last = [], None
    for r in pool:
        if last is None or r.start - last > PAUSE:
            groups.append([])
        groups[-1].append(r)
        last = max(last or 0, r.end)
    longest = max(groups, key=len)
    # Launches that follow each other have no pause between them, so they are separated by their period.
    if pool[0].graph != 0:
        size = period([r.name for r in longest])
        if size:
            return [longest[i:i + size] for i in range(0, len(longest) - size + 1, size)]
    return groups


def period(names):
    """Returns the smallest number of records after which the kernels repeat, apart from a few; 0 if there is none.

    Kernels of parallel branches may change places from launch to launch, so their counts are compared, not their order.
    A repetition within a launch is not a period: it lacks many of the names."""
    distinct = len(set(names))
    for size in (i for i in range(1, len(names) // 2 + 1) if names[i] == names[0]):
        one, two = (collections.Counter(names[k * size:(k + 1) * size]) for k in (0, 1))
        if len(one) >= 0.9 * distinct and sum(((one - two) + (two - one)).values()) <= size // 100:
            return size
    return 0


def busy_time(step):
    """Returns the nanoseconds in which at least one record was running."""
    busy, until = 0, 0
    for r in step:
        busy += max(0, r.end - max(r.start, until))
        until = max(until, r.end)
    return busy


def short(name):
    name = re.sub(r"hr::gpu::detail::|hr::|void |\(anonymous namespace\)::", "", name)
    return re.sub(r"\(.*", "", name)[:110]


def kind_of(name):
    """Returns the short name of a kernel: the name of the loop for ours, the beginning of the name for a library's."""
    own = re.match(r"(for_each|reduce_rows|for_columns|tile_)\w*", name)
    return own.group(0) if own else "library: " + re.sub(r"[0-9<].*", "", name)[:30]


def report(path, rows=40):
    names, records = read(path)
    if not records:
        return "no records\n"
    groups = launches(records)
    step = groups[-2] if len(groups) > 1 else groups[-1]  # the last one may be incomplete
    begin, end = step[0].start, max(r.end for r in step)
    busy, total = busy_time(step), sum(r.end - r.start for r in step)
    lines = [f"{len(groups)} launches seen; one of them: {len(step)} records, {(end - begin) / 1e6:.3f} ms from first to last, "
             f"busy {busy / 1e6:.3f} ms, idle {(end - begin - busy) / 1e6:.3f} ms, sum of all {total / 1e6:.3f} ms, "
             f"{len({r.stream for r in step})} streams"]
    by_name = collections.defaultdict(lambda: [0, 0])
    by_kind = collections.defaultdict(lambda: [0, 0])
    for r in step:
        name = short(names.get(r.name, "?"))
        for table, key in ((by_name, name), (by_kind, kind_of(name))):
            table[key][0] += r.end - r.start
            table[key][1] += 1
    for table, title, show in ((by_kind, "kind", len(by_kind)), (by_name, "kernel", rows)):
        lines.append(f"\n{'us':>9} {'n':>5} {'us each':>8}  {title}")
        for key, (nanoseconds, count) in sorted(table.items(), key=lambda item: -item[1][0])[:show]:
            lines.append(f"{nanoseconds / 1e3:9.1f} {count:5d} {nanoseconds / 1e3 / count:8.2f}  {key}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    print(report(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40), end="")

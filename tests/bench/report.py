"""Makes tables and a plot of the results of measure.py: writes table.md and bench.svg beside results.json, and adds ratios to it. Started
by tests/bench/run; with --readme it prints the table for the documentation. Needs only Python's standard library."""

import json
import math
import sys
from html import escape
from pathlib import Path

OURS = ("native", "once", "musl", "small", "librdkafka")
PEERS = ("franz-go", "kafka-streams", "spring", "recipe")
SHAPES = ("17", "1k", "headers")
# Fields of which ratios are computed.
COSTS = (
    "cpu_per_million_steady",
    "cpu_per_million",
    "records_per_second",
    "peak_kib",
    "first_output_seconds",
    "resident_kib",
    "cpu_percent",
    "added_p50_us",
    "added_p99_us",
)


# --- figures ------------------------------------------------------------------------------------------------------------------------------


def median(results, cell, contender, field):
    found = results["cells"].get(cell, {}).get("results", {}).get(contender, {}).get("median", {})
    return found.get(field)


def measured(results, cell, field):
    """Returns a field's medians by contender, in the order of the contenders."""
    found = {name: median(results, cell, name, field) for name in results["contenders"]}
    return {name: value for name, value in found.items() if value is not None}


def ratios(results):
    """Divides each contender's medians by those of the limit, of each peer, and of the router's builds and clients, within each cell."""
    found = {}
    for cell in results["cells"]:
        for field in COSTS:
            values = measured(results, cell, field)
            others = [name for name in ("limit", *OURS, *PEERS) if values.get(name)]
            if values:
                found.setdefault(cell, {})[field] = {
                    name: {other: round(value / values[other], 4) for other in others if other != name} for name, value in values.items()
                }
    return found


def reference(values):
    """Returns the contender with which the others are compared: the router with its defaults."""
    return next((name for name in ("native", "librdkafka") if values.get(name)), None)


def number(value):
    """Formats with three significant digits."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def seconds(value):
    return "" if value is None else f"{value:.2f} s"


def mebibytes(kib):
    return "" if kib is None else f"{kib / 1024:,.1f} MiB" if kib < 102_400 else f"{kib / 1024:,.0f} MiB"


def milliseconds(us):
    return "" if us is None else f"{us / 1000:.2f} ms"


def times(value, other):
    return "" if not value or not other else f"{number(value / other)}×"


# --- tables -------------------------------------------------------------------------------------------------------------------------------


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def title(results, name):
    return results["contenders"].get(name, name)


def routing_table(results, cell):
    cpu = measured(results, cell, "cpu_per_million_steady")
    rate = measured(results, cell, "records_per_second")
    peak = measured(results, cell, "peak_kib")
    ours = reference(cpu)
    rows = []
    for name in cpu:
        figure = lambda field: median(results, cell, name, field)
        rows.append(
            [
                title(results, name),
                number(cpu[name]),
                times(cpu[name], cpu.get("limit")),
                times(cpu[name], cpu.get(ours)),
                number(figure("cpu_per_million")),
                number(rate.get(name)),
                times(rate.get(name), rate.get(ours)),
                mebibytes(peak[name]),
                times(peak[name], peak.get(ours)),
                seconds(figure("first_output_seconds")),
                number(figure("threads")),
                number(figure("broker_cpu_per_million")),
                number(figure("records") / 1e6),
                number(figure("foreign_cores")),
            ]
        )
    by = f"by {title(results, ours)}" if ours else ""
    head = ["", "CPU seconds per million", "by the limit", by, "from the start", "records/s", by, "peak memory", by, "first output"]
    return table(head + ["threads", "the broker's CPU seconds per million", "million records", "cores that others had"], rows)


def partitions_table(results):
    rows = []
    for name in results["contenders"]:
        one = median(results, "17", name, "cpu_per_million_steady")
        row = [title(results, name), number(one)]
        for cell in ("partitions-16", "partitions-256"):
            many = median(results, cell, name, "cpu_per_million_steady")
            row += [number(many), times(many, one), mebibytes(median(results, cell, name, "peak_kib"))]
        if any(row[2:]):
            rows.append(row)
    head = ["CPU seconds per million", "1 partition", "16", "by one", "peak", "256", "by one", "peak"]
    return table(head, rows) if rows else None


def idle_table(results):
    resident = measured(results, "idle", "resident_kib")
    ours = reference(resident)
    rows = [
        [
            title(results, name),
            mebibytes(kib),
            times(kib, resident.get(ours)),
            f"{median(results, 'idle', name, 'cpu_percent'):.3f} %",
            number(median(results, "idle", name, "threads")),
        ]
        for name, kib in resident.items()
    ]
    by = f"by {title(results, ours)}" if ours else ""
    return table(["idle for 30 s", "resident", by, "of a core", "threads"], rows) if rows else None


def latency_table(results):
    rows = []
    for name in measured(results, "latency", "records"):
        figure = lambda field: milliseconds(median(results, "latency", name, f"{field}_us"))
        rows.append(
            [title(results, name)]
            + [figure(f"{side}_{share}") for side in ("added", "output", "input", "difference") for share in ("p50", "p99")]
            + [f"{median(results, 'latency', name, 'cpu_percent'):.1f} %"]
        )
    head = ["1,000 records/s", "added, p50", "p99", "to the outputs, p50", "p99", "to the input, p50", "p99", "difference, p50", "p99"]
    return table(head + ["of a core"], rows) if rows else None


def memory_table(results):
    rows = [
        [
            title(results, name),
            *(mebibytes(median(results, "memory", name, f"peak_kib_{shape}")) for shape in ("17", "1k")),
            *(number(median(results, "memory", name, f"cpu_per_million_steady_{shape}")) for shape in ("17", "1k")),
        ]
        for name in measured(results, "memory", "peak_kib_17")
    ]
    head = ["`--parity-router.memory=8MB`", "peak, 17 bytes", "peak, 1 KiB", "CPU seconds per million, 17 bytes", "1 KiB"]
    return table(head, rows) if rows else None


def sizes_table(results):
    rows = [
        [results["contenders"].get(name, name), f"{found['median']['bytes'] / 1e6:.2f} MB"]
        for name, found in results["cells"].get("sizes", {}).get("results", {}).items()
        if "median" in found
    ]
    return table(["program file, stripped", ""], rows) if rows else None


def long_table(results):
    rows = []
    for name in measured(results, "long", "long_records"):
        figure = lambda field: median(results, "long", name, field)
        rows.append(
            [
                title(results, name),
                *(number(figure(f"{length}_cpu_per_million_steady")) for length in ("short", "long")),
                *(mebibytes(figure(f"{length}_peak_kib")) for length in ("short", "long")),
                number(figure("long_records") / 1e6),
            ]
        )
    head = ["a long run", "CPU seconds per million: 1 million records", "the long run", "peak memory: 1 million", "the long run", "million records"]
    return table(head, rows) if rows else None


def report(results):
    machine, versions = results["machine"], results["versions"]
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, the broker on the same machine; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". Medians; CPU is user and system of all threads, from the tenth part of the records to the last."
    ]
    if any(cell.get("quick") for cell in results["cells"].values()):
        parts[0] += " **Some cells are of a quick run: a check that everything works, not figures.**"
    for cell in (*SHAPES, "partitions-16", "partitions-256", "steady"):
        if measured(results, cell, "cpu_per_million_steady"):
            parts += [f"## {results['cells'][cell]['title']} ({results['cells'][cell]['rounds']} rounds)", routing_table(results, cell)]
    others = (partitions_table, memory_table, idle_table, latency_table, long_table, sizes_table)
    found = [made for make in others if (made := make(results))]
    if found:
        parts += ["## Everything else", *found]
    skipped = [
        f"- {cell}, {name}: {one.get('skipped') or one.get('failed')}"
        for cell, measured_cell in results["cells"].items()
        for name, one in measured_cell["results"].items()
        if "skipped" in one or "failed" in one
    ]
    if skipped:
        parts += ["## Not measured", "\n".join(skipped)]
    return "\n\n".join(parts) + "\n"


def readme(results):
    """Returns a table with one line for each contender."""
    cpu = measured(results, "17", "cpu_per_million_steady")
    rows = []
    for name in results["contenders"]:
        costs = [median(results, cell, name, "cpu_per_million_steady") for cell in SHAPES]
        added = [median(results, "latency", name, f"added_{share}_us") for share in ("p50", "p99")]
        size = median(results, "sizes", name, "bytes")
        if not any(costs) and size is None:
            continue
        rows.append(
            [
                title(results, name),
                *map(number, costs),
                times(costs[0], cpu.get("limit")),
                number(median(results, "17", name, "records_per_second")),
                mebibytes(median(results, "17", name, "peak_kib")),
                mebibytes(median(results, "idle", name, "resident_kib")),
                seconds(median(results, "17", name, "first_output_seconds")),
                " / ".join(f"{us / 1000:.1f}" for us in added if us is not None),
                "" if size is None else f"{size / 1e6:.2f} MB",
            ]
        )
    head = ["", "CPU seconds per million: 17 bytes", "1 KiB", "17 bytes, key, headers", "17 bytes by the limit", "records/s", "peak memory", "idle"]
    return table(head + ["first output", "added latency p50 / p99, ms", "program"], rows) + "\n"


# --- the plot -----------------------------------------------------------------------------------------------------------------------------

WIDTH, PANEL, GUTTER = 1000, 460, 40
LABELS, ROW, HEAD, FOOT = 196, 24, 46, 30
# Two colours that are distinguishable with colour blindness, on light and dark backgrounds. The peers' marks are also hollow.
STYLE = """
  svg { --ground: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --ours: #0b6bcb; --peer: #b4560b; --limit: #59636e;
        font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --ours: #58a6ff; --peer: #f0883e; --limit: #9198a1; }
  }
  .ground { fill: var(--ground); } text { fill: var(--ink); } .soft { fill: var(--soft); font-size: 12px; } .title { font-weight: 600; font-size: 14px; }
  .grid { stroke: var(--line); } .value { font-size: 12px; font-variant-numeric: tabular-nums; }
  .ours { stroke: var(--ours); fill: var(--ours); } .peer { stroke: var(--peer); fill: var(--ground); } .limit { stroke: var(--limit); fill: var(--limit); }
  .stem { stroke-width: 2; fill: none; } .mark { stroke-width: 2; } text.ours { stroke: none; font-weight: 600; }
"""


def kind(name):
    return "limit" if name == "limit" else "ours" if name in OURS else "peer"


class Panel:
    """Draws marks on a logarithmic axis, one line for each contender: a point, or a span between two values."""

    def __init__(self, heading, unit, values, show, better="less is better"):
        self.heading, self.unit, self.show, self.better = heading, unit, show, better
        spans = {name: value if isinstance(value, tuple) else (value, value) for name, value in values.items()}
        more = better.startswith("more")
        self.spans = dict(sorted(spans.items(), key=lambda pair: -pair[1][0] if more else pair[1][0]))
        self.height = HEAD + ROW * len(spans) + FOOT

    def draw(self, results, left, top):
        edges = [edge for span in self.spans.values() for edge in span]
        low, high = decade(min(edges) * 0.9, math.floor), decade(max(edges) * 1.1, math.ceil)
        start, end = left + LABELS, left + PANEL - 58
        place = lambda value: start + (end - start) * math.log10(value / low) / math.log10(high / low)
        out = [text(left, top + 14, self.heading, "title"), text(left, top + 31, f"{self.unit}, {self.better}", "soft")]
        bottom = top + HEAD + ROW * len(self.spans)
        ticks = round(math.log10(high / low))
        for step in range(ticks + 1):
            tick = low * 10**step
            out.append(f'<line class="grid" x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{top + HEAD - 4}" y2="{bottom}"/>')
            if ticks <= 5 or step % 2 == 0:
                out.append(text(place(tick), bottom + 16, plain(tick), "soft", "middle"))
        for line, (name, (least, most)) in enumerate(self.spans.items()):
            middle, group = top + HEAD + ROW * line + ROW / 2 - 2, kind(name)
            out.append(text(start - 10, middle + 4, title(results, name), "ours" if group == "ours" else "", "end"))
            out.append(f'<line class="stem {group}" x1="{place(least if most > least else low):.1f}" x2="{place(most):.1f}" y1="{middle}" y2="{middle}"/>')
            for value in {least, most}:
                out.append(f'<circle class="mark {group}" cx="{place(value):.1f}" cy="{middle}" r="4.5"/>')
            shown = self.show(least) if least == most else f"{self.show(least)} – {self.show(most)}"
            out.append(text(place(most) + 10, middle + 4, shown, "value"))
        return out


def decade(value, toward):
    return 10.0 ** toward(math.log10(value))


def plain(value):
    if value >= 1_000_000:
        return f"{value / 1_000_000:,.0f} M"
    if value >= 10_000:
        return f"{value / 1_000:,.0f} k"
    return f"{value:,.0f}" if value >= 1 else f"{value:.{round(-math.log10(value))}f}"


def text(x, y, content, style, anchor="start"):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def plot(results):
    cost = lambda cell: measured(results, cell, "cpu_per_million_steady")
    mib = lambda cell, field: {name: kib / 1024 for name, kib in measured(results, cell, field).items()}
    p50, p99 = (measured(results, "latency", f"added_{share}_us") for share in ("p50", "p99"))
    # A logarithmic axis has no zero. The added latency is positive, but rounding of the clock can make it zero or less.
    added = {name: (max(p50[name], 1) / 1000, max(p99[name], 1) / 1000) for name in p50}
    panels = [
        Panel("Processor time, records of 17 bytes", "CPU seconds per million records", cost("17"), number),
        Panel("Throughput, records of 17 bytes", "records per second", measured(results, "17", "records_per_second"), short, "more is better"),
        Panel("Processor time, records of 1 KiB", "CPU seconds per million records", cost("1k"), number),
        Panel("Processor time, with key and five headers", "CPU seconds per million records", cost("headers"), number),
        Panel("Peak memory, records of 17 bytes", "MiB resident", mib("17", "peak_kib"), number),
        Panel("Memory when idle", "MiB resident", mib("idle", "resident_kib"), number),
        Panel("Added latency at 1,000 records/s", "milliseconds, median to 99th percentile", added, number),
        Panel("Start to first record", "seconds", measured(results, "17", "first_output_seconds"), number),
    ]
    panels = [panel for panel in panels if panel.spans]
    if not panels:
        return None
    out, top = [], 62
    for pair in (panels[at : at + 2] for at in range(0, len(panels), 2)):
        for column, panel in enumerate(pair):
            out += panel.draw(results, 20 + column * (PANEL + GUTTER), top)
        top += max(panel.height for panel in pair) + 18
    machine = results["machine"]
    caption = f"Apache Kafka {results['versions'].get('kafka', '')} on the same {machine['cores']} cores ({machine['cpu']}); medians; logarithmic axes"
    if any(cell.get("quick") for cell in results["cells"].values()):
        caption = "A QUICK RUN: a check, no figures. " + caption
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" role="img">',
        f"<title>{escape(caption)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{top}"/>',
        text(20, 28, caption, "soft"),
        '<circle class="mark ours" cx="26" cy="44" r="4.5"/>' + text(36, 48, "parity-router", "soft"),
        '<circle class="mark peer" cx="136" cy="44" r="4.5"/>' + text(146, 48, "others", "soft"),
        '<circle class="mark limit" cx="206" cy="44" r="4.5"/>' + text(216, 48, "the least that it could cost", "soft"),
    ]
    return "\n".join([*head, *out, "</svg>", ""])


def short(value):
    return f"{number(value / 1e6)} M" if value >= 1e6 else f"{number(value / 1e3)} k" if value >= 1e3 else number(value)


def main():
    folder = Path(sys.argv[1])
    path = folder / "results.json"
    if not path.exists():
        print(f"nothing was measured: there is no {path}", file=sys.stderr)
        return 1
    results = json.loads(path.read_text())
    if "--readme" in sys.argv[2:]:
        print(readme(results), end="")
        return 0
    results["ratios"] = ratios(results)
    path.write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text(report(results))
    if drawn := plot(results):
        (folder / "bench.svg").write_text(drawn)
    print(report(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

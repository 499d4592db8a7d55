"""The tables of docs/assessment.md from the results, and whether the page has them."""

import difflib
import json
import re
import statistics
import subprocess
import sys

from herd import BENCH, BUILD, PEERS

PAGE = BENCH.parent / "docs/assessment.md"
MARKERS = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
PLOT_SECONDS = 120


# --- results ---------------------------------------------------------------------------------


def read_results(path):
    return json.loads(path.read_text()) if path.exists() else {"measurements": {}}


def write_results(path, results):
    """A line for each sample, so that a difference is legible; whole or not at all."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    text = re.sub(r"\{\n\s+(\"load\".*?)\n\s+\}", lambda m: "{" + re.sub(r"\n\s+", " ", m[1]) + "}", text, flags=re.DOTALL)
    new = path.with_suffix(".new")
    new.write_text(text + "\n")
    new.replace(path)


# --- numbers -----------------------------------------------------------------------------------


def digits(value):
    """Three digits that count."""
    if value == 0:
        return "0"
    for limit, places in ((100, 0), (10, 1), (0.1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{places}f}"
    return f"{value:.2g}"


def scaled(value, units):
    """The factor and the name of the largest unit that fits."""
    for factor, name in units:
        if abs(value) >= factor:
            return factor, name
    return units[-1]


COUNT = [(1e6, " M"), (1e3, " k"), (1, "")]
TIME_US = [(1e6, " s"), (1e3, " ms"), (1, " µs")]
TIME_NS = [(1e3, " µs"), (1, " ns")]
BYTES = [(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")]
PLAIN = [(1, "")]


def median(values):
    return statistics.median(values) if values else None


def spread(values, units):
    """The median, and in brackets the least and the most where there are several."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle = statistics.median(values)
    factor, name = scaled(middle, units)
    text = digits(middle / factor) + name
    if len(values) > 1:
        text += f" ({digits(min(values) / factor)}–{digits(max(values) / factor)})"
    return text


def one(value, units):
    return spread([value], units)


def in_short(figures):
    """A sample as it is told while it is measured."""
    names = {
        "lines_per_s": COUNT, "ns_per_line": TIME_NS, "p50_us": TIME_US, "p99_us": TIME_US, "spread_p50_us": TIME_US,
        "spread_p99_us": TIME_US, "acknowledged": PLAIN, "one_everywhere": PLAIN, "all_everywhere": PLAIN,
    }  # fmt: skip
    said = [f"{name} {one(figures[name], units)}" for name, units in names.items() if name in figures]
    return ", ".join(said + (["NOT CARRIED"] if figures.get("is_carried") is False else []))


# --- rows --------------------------------------------------------------------------------------


class Rows:
    """What was measured of each peer, in the order of the page."""

    def __init__(self, results, measurement):
        self.rows = results["measurements"].get(measurement, {})
        peers = [peer["name"] for peer in json.loads((PEERS / "peers.json").read_text())]
        self.order = ["wherd", *peers, "ceiling", "relay"]

    def names(self):
        return [name for name in self.order if name in self.rows]

    def why(self, name):
        return self.rows[name].get("why")

    def values(self, name, load, figure):
        samples = self.rows.get(name, {}).get("samples", [])
        return [s[figure] for s in samples if s["load"] == load and s.get(figure) is not None]

    def median(self, name, load, figure):
        return median(self.values(name, load, figure))

    def table(self, titles, cells):
        """A row for each peer: its cells, or why there are none."""
        lines = [row(titles), row(["---"] * len(titles))]
        for name in self.names():
            if not self.rows[name]["samples"]:
                lines.append(row([name, self.why(name) or "not measured", *[""] * (len(titles) - 2)]))
                continue
            for found in cells(name):
                lines.append(row(found))
            if why := self.why(name):
                lines.append(row([f"{name}, after that", why, *[""] * (len(titles) - 2)]))
        return "\n".join(lines) + "\n"


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def ratio(value, other):
    return digits(value / other) if value is not None and other else "–"


# --- tables ------------------------------------------------------------------------------------


def machine(results):
    lines = [row(["what", "which"]), row(["---", "---"])]
    names = {"processor": "processor", "cores": "cores", "memory_gib": "memory, GiB", "kernel": "kernel", "file_system": "file system"}
    found = {names[name]: value for name, value in results.get("machine", {}).items()}
    found |= {name: value or "missing" for name, value in results.get("versions", {}).items()}
    rows = [row for peers in results["measurements"].values() for row in peers.values()]
    for name in ("date", "commit"):
        found[f"measured, {name}"] = ", ".join(sorted({str(row[name]) for row in rows}))
    return "\n".join([*lines, *(row([name, value]) for name, value in found.items())]) + "\n"


def load_bound(rows, name, load):
    return " ¹" if any(rows.values(name, load, "is_load_bound")) else ""


def throughput(results):
    rows = Rows(results, "throughput")
    ceiling = rows.median("ceiling", "16x64", "lines_per_s")

    def cells(name):
        yield [
            name,
            spread(rows.values(name, "16x64", "lines_per_s"), COUNT) + load_bound(rows, name, "16x64"),
            ratio(rows.median(name, "16x64", "lines_per_s"), ceiling),
            spread(rows.values(name, "16x64", "ns_per_line"), TIME_NS),
            spread(rows.values(name, "16x64", "cores"), PLAIN),
            *(one(rows.median(name, "16x64", figure), TIME_US) for figure in ("p50_us", "p99_us")),
        ]

    return rows.table(["server", "16 × 64, lines/s", "of the ceiling", "CPU a line", "cores used", "p50", "p99"], cells)


def waiting(results):
    """The same where every line waits for the one before it."""
    rows = Rows(results, "throughput")

    def cells(name):
        yield [
            name,
            spread(rows.values(name, "50x1", "lines_per_s"), COUNT) + load_bound(rows, name, "50x1"),
            one(rows.median(name, "50x1", "ns_per_line"), TIME_NS),
            *(one(rows.median(name, "50x1", figure), TIME_US) for figure in ("p50_us", "p99_us")),
            *(spread(rows.values(name, "1x1", figure), TIME_US) for figure in ("p50_us", "p99_us")),
        ]

    return rows.table(["server", "50 × 1, lines/s", "CPU a line", "p50", "p99", "1 × 1, p50", "p99"], cells)


def million(results):
    rows, few = Rows(results, "million"), Rows(results, "throughput")

    def cells(name):
        before, after, clients = (
            rows.values(name, "16x64", figure) for figure in ("resident_before", "resident_after", "clients")
        )
        yield [
            name,
            spread(rows.values(name, "16x64", "lines_per_s"), COUNT),
            ratio(rows.median(name, "16x64", "lines_per_s"), few.median(name, "16x64", "lines_per_s")),
            spread(rows.values(name, "16x64", "ns_per_line"), TIME_NS),
            one(median(before), BYTES),
            one(median(after), BYTES),
            spread([(a - b) / n for a, b, n in zip(after, before, clients)], [(1, " B")]),
        ]

    return rows.table(
        ["server", "16 × 64, lines/s", "of that with 1,000", "CPU a line", "resident before", "after", "a client"], cells
    )


def disk(results):
    rows = Rows(results, "disk")

    def cells(name):
        yield [
            name,
            *(spread(rows.values(name, load, "lines_per_s"), COUNT) for load in ("16x64", "50x1")),
            *(spread(rows.values(name, "1x1", figure), TIME_US) for figure in ("p50_us", "p99_us")),
        ]

    return rows.table(["server", "16 × 64, lines/s", "50 × 1, lines/s", "1 × 1, p50", "p99"], cells)


def cores(results):
    rows, single = Rows(results, "cores"), Rows(results, "throughput")

    def cells(name):
        yield [
            name,
            spread(rows.values(name, "16x64", "lines_per_s"), COUNT) + load_bound(rows, name, "16x64"),
            ratio(rows.median(name, "16x64", "lines_per_s"), single.median(name, "16x64", "lines_per_s")),
            spread(rows.values(name, "16x64", "cores"), PLAIN),
            spread(rows.values(name, "16x64", "ns_per_line"), TIME_NS),
        ]

    return rows.table(["server", "16 × 64, lines/s", "of that on one core", "cores used", "CPU a line"], cells)


def open_loop(results):
    rows = Rows(results, "open")

    def cells(name):
        found = [name]
        for load in ("half", "fixed"):
            rate, share = rows.median(name, load, "rate"), rows.median(name, load, "sent_share")
            if load == "half":
                found.append(one(rate, COUNT))
            late = "" if share is None or share >= 0.99 else f" ({digits(100 * share)} % sent)"
            found.append(spread(rows.values(name, load, "p50_us"), TIME_US) + late)
            found.append(spread(rows.values(name, load, "p99_us"), TIME_US))
        yield found

    return rows.table(["server", "half of its most", "p50", "p99", "20,000 lines/s: p50", "p99"], cells)


def herd_spread(results):
    rows = Rows(results, "spread")
    floor = rows.median("relay", "alone", "spread_p50_us")

    def cells(name):
        yield [
            name,
            *(spread(rows.values(name, "alone", f"spread_{figure}_us"), TIME_US) for figure in ("p50", "p99", "max")),
            ratio(rows.median(name, "alone", "spread_p50_us"), floor),
        ]

    return rows.table(["herd", "p50", "p99", "max", "p50, of the relay's"], cells)


def how_it_ends(rows, name, load):
    """What happened at the rate that a herd did not carry."""
    answered = rows.median(name, load, "answered_share")
    said = [f"{digits(100 * answered)} % answered"] if answered < 0.99 else []
    if lost := rows.median(name, load, "lost_connections"):
        said.append(f"{lost:,.0f} connections lost")
    if lost := rows.median(name, load, "unanswered"):
        said.append(f"{lost:,.0f} lines never answered")
    late = rows.median(name, load, "spread_p99_us")
    if rows.median(name, load, "lost_markers") or not rows.median(name, load, "markers"):
        said.append("updates not everywhere after 5 s")
    elif late > 1e6:
        said.append(f"spread p99 {one(late, TIME_US)}")
    text = ", ".join(said) or "carried in one repetition and not in another"
    return text + load_bound(rows, name, load)


def herd_rates(results):
    rows = Rows(results, "rates")

    def cells(name):
        samples = rows.rows[name]["samples"]
        loads = sorted({int(s["load"]) for s in samples})
        is_carried = {load: all(rows.values(name, str(load), "is_carried")) for load in loads}
        carried = next((load for load in reversed(loads) if is_carried[load]), None)
        beyond = next((load for load in loads if not is_carried[load]), None)
        most = str(carried)
        yield [
            name,
            one(carried, COUNT) if carried else "–",
            spread(rows.values(name, most, "spread_p50_us"), TIME_US),
            spread(rows.values(name, most, "spread_p99_us"), TIME_US),
            f"at {one(beyond, COUNT)}: {how_it_ends(rows, name, str(beyond))}" if beyond else "not reached",
            one(rows.median(name, str(loads[0]), "resident_before"), BYTES),
            one(median([s["resident_after"] for s in samples if int(s["load"]) == loads[-1]]), BYTES),
        ]

    return rows.table(
        ["herd", "carried, lines/s", "spread p50", "p99", "its end", "memory of all five before", "after"], cells
    )


def rate_steps(results):
    rows = Rows(results, "rates")
    loads = sorted({int(s["load"]) for name in rows.names() for s in rows.rows[name]["samples"]})

    def cells(name):
        found = [name]
        for load in map(str, loads):
            times = rows.values(name, load, "spread_p50_us")
            is_carried = all(rows.values(name, load, "is_carried"))
            found.append((one(median(times), TIME_US) + ("" if is_carried else " ✗")) if times else "")
        yield found

    return rows.table(["herd", *(one(load, COUNT) for load in loads)], cells)


def loss(results):
    rows = Rows(results, "loss")

    def cells(name):
        for load in ("memory", "disk"):
            said = rows.median(name, load, "acknowledged")
            if said is None:
                continue
            label = f"{name}, `acknowledge = \"{load}\"`" if name == "wherd" else name
            figures = ("one_hill", "one_anywhere", "one_everywhere", "all_anywhere", "all_everywhere")
            lost = [said - rows.median(name, load, figure) for figure in figures]
            yield [label, f"{said:,.0f}", *(f"{count:,.0f}" for count in lost)]

    titles = [
        "herd", "acknowledged", "one killed: not at Hill", "nowhere", "not everywhere", "all killed: nowhere", "not everywhere",
    ]  # fmt: skip
    return rows.table(titles, cells)


def places(results):
    rows = Rows(results, "places")

    def cells(name):
        yield [
            name,
            spread(rows.values(name, "16x64", "lines_per_s"), COUNT),
            spread(rows.values(name, "16x64", "ns_per_line"), TIME_NS),
            spread(rows.values(name, "1x1", "p50_us"), TIME_US),
            spread(rows.values(name, "1x1 IAMAT", "p50_us"), TIME_US),
        ]

    return rows.table(["server", "16 × 64, WHATSAT/s", "CPU a line", "1 × 1, p50", "IAMAT, 1 × 1, p50"], cells)


def code(results):
    lines = [row(["what", "lines", "language"]), row(["---", "---", "---"])]
    for found in results.get("code", []):
        lines.append(row([found["what"], f"{found['lines']:,}", found["language"]]))
    return "\n".join(lines) + "\n"


def mistakes(results):
    rows = results.get("mistakes", [])
    peers = list(dict.fromkeys(found["peer"] for found in rows))
    lines = [row(["mistake", *peers]), row(["---"] * (len(peers) + 1))]
    for what in dict.fromkeys(found["load"] for found in rows):
        by = {found["peer"]: found["noticed_by"] for found in rows if found["load"] == what}
        lines.append(row([what, *(by.get(peer, "–") for peer in peers)]))
    return "\n".join(lines) + "\n"


TABLES = {
    "machine": machine, "throughput": throughput, "waiting": waiting, "million": million, "disk": disk, "cores": cores,
    "open": open_loop, "spread": herd_spread, "rates": herd_rates, "rate-steps": rate_steps, "loss": loss,
    "places": places, "code": code,
    "mistakes": mistakes,
}  # fmt: skip


# --- the page ----------------------------------------------------------------------------------


def all_text(results):
    return "\n".join(f"{name}\n{table(results)}" for name, table in TABLES.items())


def page_of(results):
    """The page with the tables of these results."""
    return MARKERS.sub(lambda match: match[1] + TABLES[match[2]](results) + match[3], PAGE.read_text())


def check(results):
    """Whether the page's tables are those of the results: the exit code."""
    is_text, should_be = PAGE.read_text(), page_of(results)
    names = [match[2] for match in MARKERS.finditer(is_text)]
    if missing := set(TABLES) - set(names):
        print(f"{PAGE.name} has no table {', '.join(sorted(missing))}")
        return 1
    if is_text == should_be:
        return 0
    sys.stdout.writelines(difflib.unified_diff(is_text.splitlines(True), should_be.splitlines(True), "page", "results"))
    print("bench/run --report writes the tables")
    return 1


def write(results):
    PAGE.write_text(page_of(results))
    python = BUILD / "venv/bin/python"
    command = [python if python.exists() else sys.executable, BENCH / "plots.py"]
    done = subprocess.run(command, input=json.dumps(results), text=True, timeout=PLOT_SECONDS)
    print(f"{PAGE} is written" + ("" if done.returncode == 0 else ", and no plots"), flush=True)

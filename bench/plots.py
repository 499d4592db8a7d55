"""The plots of docs/assessment.md, from the results on standard input. Needs matplotlib, which bench/peers/setup installs."""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# The same results give the same bytes, and text stays text.
matplotlib.rcParams |= {"svg.hashsalt": "wherd", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}

import matplotlib.pyplot as plt  # noqa: E402
from report import Rows  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs/assessment"


def save(figure, name):
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / name, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)


def throughput(results):
    """Lines a second of one server with the least and the most of the repetitions, by load."""
    rows = Rows(results, "throughput")
    figure, places = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for place, load, title in zip(places, ("16x64", "50x1"), ("16 connections × 64 lines", "50 connections × 1 line")):
        names = [name for name in reversed(rows.names()) if rows.values(name, load, "lines_per_s")]
        middles = [rows.median(name, load, "lines_per_s") for name in names]
        found = [rows.values(name, load, "lines_per_s") for name in names]
        errors = [[m - min(f) for m, f in zip(middles, found)], [max(f) - m for m, f in zip(middles, found)]]
        # Points: on a logarithmic axis the length of a bar says nothing.
        place.errorbar(middles, names, xerr=errors, fmt="o", capsize=3)
        place.grid(axis="both", linewidth=0.4)
        place.set(xscale="log", xlabel="lines/s", title=title)
    save(figure, "throughput.svg")


def rates(results):
    """How long updates take to the last of five servers, and the share that is answered, by what is due."""
    rows = Rows(results, "rates")
    figure, (late, answered) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in rows.names():
        loads = sorted({int(s["load"]) for s in rows.rows[name]["samples"]})
        if not loads:
            continue
        width = 2.5 if name == "wherd" else 1.2
        seen = [(load, t) for load in loads if (t := rows.median(name, str(load), "spread_p50_us"))]
        late.plot([load for load, _ in seen], [t / 1e3 for _, t in seen], marker=".", linewidth=width, label=name)
        shares = [100 * rows.median(name, str(load), "answered_share") for load in loads]
        answered.plot(loads, shares, marker=".", linewidth=width)
    if floor := Rows(results, "spread").median("relay", "alone", "spread_p50_us"):
        late.axhline(floor / 1e3, color="tab:gray", linestyle=":", label="relay, without load")
    late.set(xscale="log", yscale="log", xlabel="lines due a second", ylabel="ms to the last server, p50")
    answered.set(xscale="log", ylim=(0, 110), xlabel="lines due a second", ylabel="% answered")
    figure.legend(loc="outside right center", fontsize="small", frameon=False)
    save(figure, "rates.svg")


if __name__ == "__main__":
    found = json.load(sys.stdin)
    throughput(found)
    rates(found)

#!/usr/bin/env python3
"""Draws the pictures of bench/README.md from raw rounds, without measuring anything.

    target/bench-venv/bin/python bench/pictures.py      # bench/results/scale.jsonl to bench/pictures

The same rounds make the same files. The colours can be read on white and on black.
"""

import json
import statistics

import matplotlib

from common import RESULTS, ROOT, say

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402

FOLDER = ROOT / "bench" / "pictures"
TITLES = {
    "connections": "connections",
    "components": "components in one host, asked in turn",
    "bodies": "size of a body",
    "workers": "workers (--threads)",
}
# What is drawn of each point: the figure's name in the raw rounds, and how to show it.
PANELS = {"rate": ("requests/s", 1), "cpu": ("CPU µs/request", 1), "memory": ("peak MiB", 2**20)}
GREY = "#7d8590"
COLOURS = ["#2f81f7", "#db6d28", "#2da44e", "#a371f7"]
STYLE = {
    "svg.hashsalt": "host",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def medians(path):
    """By picture, series and place: the medians of what the panels show."""
    rounds = {}
    for line in path.read_text().splitlines():
        one = json.loads(line)
        if one["part"] in TITLES:
            series, _, x = one["case"].partition(" | ")
            rounds.setdefault(one["part"], {}).setdefault(series, {}).setdefault(x, []).append(one)
    return {
        name: {
            series: {
                x: [statistics.median(one[what] for one in each) / unit for what, (_, unit) in PANELS.items()]
                for x, each in places.items()
            }
            for series, places in lines.items()
        }
        for name, lines in rounds.items()
    }


def colour_of(series, taken):
    """Native is what the others are held against."""
    return GREY if series.startswith("native") else COLOURS[taken % len(COLOURS)]


def draw(source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, lines in medians(source).items():
            path = folder / f"{name}.svg"
            figure = picture(name, lines)
            figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
            say(f"drawn: {path}")


def picture(name, lines):
    """A panel for each figure, in it a line for each series."""
    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(11, 3.2), layout="constrained")
    ours = 0
    for series, places in lines.items():
        colour = colour_of(series, ours)
        ours += colour != GREY
        for which, axes in enumerate(panels):
            figures = [place[which] for place in places.values()]
            label = series if which == 0 else None
            axes.plot(list(places), figures, marker="o", markersize=4, color=colour, label=label)
    for which, (axes, (title, _)) in enumerate(zip(panels, PANELS.values())):
        axes.set_xlabel(TITLES[name])
        axes.set_title(title, loc="left")
        axes.grid(axis="y")
        if spread(lines, which) > 10:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def spread(lines, which):
    """The largest figure over the smallest."""
    figures = [place[which] for places in lines.values() for place in places.values()]
    return max(figures) / max(min(figures), 1e-9)


def shown():
    """The lines of README.md that show the pictures."""
    return [f"![Requests/s, CPU time of a request and peak memory by {title}](pictures/{name}.svg)" for name, title in TITLES.items()]


if __name__ == "__main__":
    draw(RESULTS / "scale.jsonl", FOLDER)

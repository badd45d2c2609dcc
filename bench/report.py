"""Medians, ratios, the table and the plot of a comparison; and how fast and how big brokers start."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.brokers import Broker
from bench.rows import ROWS, Figures, Goal

Results = dict[str, dict[str, list[Figures]]]
"""Row, broker, and what each round measured."""

START_GOALS = (Goal("start_s", "kafka", 0.5 / 3.5), Goal("idle_mb", "kafka", 60 / 376))
SHOWN = ("p50_ms", "p99_ms", "cpu_us", "cpu_s_per_gb", "start_s", "idle_mb")
IDLE_SECONDS = 2.0


def start_figures(brokers: list[Broker], rounds: int) -> dict[str, list[Figures]]:
    """Seconds from the start of the process to an accepted connection, and its resident memory when idle."""
    figures: dict[str, list[Figures]] = {broker.name: [] for broker in brokers}
    for turn in range(rounds + 1):
        for broker in brokers:
            broker.start()
            time.sleep(IDLE_SECONDS)
            if turn:
                # The first start makes the data directory, and reads programs from the disk.
                figures[broker.name].append({"start_s": broker.start_seconds, "idle_mb": broker.resident_bytes() / 1e6})
            broker.stop()
    return figures


def goals_of(row: str) -> tuple[Goal, ...]:
    return START_GOALS if row == "start" else next(each.goals for each in ROWS if each.name == row)


def title_of(row: str) -> str:
    return "start to listening; idle memory" if row == "start" else next(each.title for each in ROWS if each.name == row)


def medians(rounds: list[Figures]) -> Figures:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]} if rounds else {}


def summarize(results: Results) -> dict[str, Any]:
    """For each row the medians of each broker and how kafkax stands to its goals.

    A ratio is the median over the rounds of the ratio within a round, so that a slow spell of the machine cancels out.
    """
    summary: dict[str, Any] = {}
    for row, brokers in results.items():
        goals = []
        for goal in goals_of(row):
            if not brokers.get("kafkax") or not brokers.get(goal.against):
                continue
            pairs = zip(brokers["kafkax"], brokers[goal.against], strict=True)
            # A process that used less than a clock tick measured nothing to divide by.
            ratios = [ours[goal.figure] / theirs[goal.figure] for ours, theirs in pairs if theirs[goal.figure] > 0]
            if ratios:
                ratio = median(ratios)
                goals.append({"figure": goal.figure, "goal": str(goal), "ratio": ratio, "met": goal.met(ratio)})
        by_broker = {name: medians(runs) for name, runs in brokers.items()}
        summary[row] = {"title": title_of(row), "medians": by_broker, "goals": goals}
    return summary


def number(value: float) -> str:
    """Three significant digits; thousands for large ones."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def print_table(results: Results) -> None:
    """Medians by row, figure and broker, then the goals, as Markdown."""
    summary = summarize(results)
    names = list(dict.fromkeys(name for brokers in results.values() for name in brokers))
    print(f"| work | figure | {' | '.join(names)} |\n|---|---|{'---:|' * len(names)}")
    units = {each.name: each.unit for each in ROWS}
    for row, entry in summary.items():
        title = entry["title"]
        for figure in (f"{units.get(row)}_per_second", *SHOWN):
            cells = [entry["medians"].get(name, {}).get(figure) for name in names]
            if any(cells):
                shown = " | ".join("-" if cell is None else number(cell) for cell in cells)
                print(f"| {title} | {figure} | {shown} |")
                title = ""
    print("\n| work | kafkax | goal | measured | reached |\n|---|---|---|---:|---|")
    for entry in summary.values():
        for goal in entry["goals"]:
            reached = "yes" if goal["met"] else "no"
            print(f"| {entry['title']} | {goal['figure']} | {goal['goal']} | {number(goal['ratio'])} | {reached} |")


def plot(results: Results, path: Path) -> None:
    """One panel for each row: the first figure that its goals name, a point for each round and broker."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [(row, goals_of(row)[0].figure if goals_of(row) else "p50_ms") for row, brokers in results.items() if brokers]
    figure, axes = pyplot.subplots(-(-len(rows) // 3), min(3, len(rows)), figsize=(15, 4 * -(-len(rows) // 3)), squeeze=False)
    for axis, (row, name) in zip(axes.flat, rows, strict=False):
        brokers = results[row]
        for place, rounds in enumerate(brokers.values()):
            values = [measured[name] for measured in rounds]
            axis.bar(place, median(values), alpha=0.5)
            axis.plot([place] * len(values), values, "k.", markersize=4)
        axis.set_xticks(range(len(brokers)), list(brokers))
        axis.set_title(title_of(row), fontsize=9)
        axis.set_ylabel(name)
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)

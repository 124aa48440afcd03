"""Bars beside each other: one row for each name, one panel for each measure."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from edgeseg.types import Array

COLORS = LinearSegmentedColormap.from_list("shares", ["#a6cee3", "#2f7de1", "#081d58"])
BAR, DPI = 0.7, 120
ROW_IN, FRAME_IN, PANEL_IN, CHARACTER_IN = 0.24, 1.9, 3.3, 0.085
MOST_CHARACTERS = 56
STYLE = {
    "text.parse_math": False,  # a layer may be called "$x"
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "edgeseg",  # the same chart is the same file
    "svg.fonttype": "none",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One measure of every row."""

    title: str
    unit: str
    values: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None] | None = None
    origin: float = 0.0
    """Where bars start."""
    line: float | None = None
    """A value to compare with, drawn across."""
    line_title: str = ""
    missing: str = "-"
    """Stands where there is no value."""


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Rows from top to bottom, panels from left to right."""

    title: str
    subtitle: str
    labels: Sequence[str]
    shares: Sequence[float]
    """What colours a row, in percent."""
    share_title: str
    panels: Sequence[Panel]


def draw_bars(chart: BarChart, kind: Literal["png", "svg"]) -> bytes:
    """`chart` as a PNG or SVG file."""
    rows = len(chart.labels)
    labels = [_short(label) for label in chart.labels]
    width = PANEL_IN * len(chart.panels) + CHARACTER_IN * max(map(len, labels), default=0) + 1.2
    with rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, FRAME_IN + ROW_IN * rows), dpi=DPI, layout="constrained")
        head = f"{chart.title}\n{chart.subtitle}"
        figure.suptitle(head, x=0.01, ha="left", fontsize=10.5, linespacing=1.5)
        places = figure.subplots(1, len(chart.panels), sharey=True, squeeze=False)[0]
        scale = ScalarMappable(Normalize(0, max([*chart.shares, 1e-9])), COLORS)
        colors = scale.to_rgba(np.asarray(chart.shares, np.float64))
        for axes, panel in zip(places, chart.panels, strict=True):
            _panel(axes, panel, colors)
        _rows(places[0], labels)
        figure.colorbar(scale, ax=list(places), pad=0.01, aspect=40).set_label(chart.share_title)
        held = io.BytesIO()
        stamp = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(held, format=kind, metadata=stamp)
    return held.getvalue()


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first row on top


def _panel(axes: Axes, panel: Panel, colors: Array) -> None:
    values = [panel.origin if value is None else value for value in panel.values]
    places = np.arange(len(values))
    lengths = np.asarray(values, np.float64) - panel.origin
    axes.barh(places, lengths, BAR, left=panel.origin, color=colors)
    axes.axvline(panel.origin, color="black", linewidth=0.8)
    for place, value in enumerate(panel.values):
        if value is None and panel.missing:
            axes.text(panel.origin, place, f" {panel.missing}", va="center", color="0.5")
    if panel.intervals is not None:
        _whiskers(axes, panel)
    if panel.line is not None:
        axes.axvline(panel.line, color="#c0392b", linewidth=1, linestyle="--")
        axes.annotate(
            panel.line_title, (panel.line, 0), xytext=(3, 3), textcoords="offset points",
            xycoords=("data", "axes fraction"), color="#c0392b", fontsize=8, rotation=90,
        )  # fmt: skip
    if panel.origin:
        axes.invert_xaxis()  # what is smaller than the origin is worse, and grows to the right
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.unit)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="0.9")
    axes.tick_params(axis="y", length=0)


def _whiskers(axes: Axes, panel: Panel) -> None:
    for place, (value, interval) in enumerate(
        zip(panel.values, panel.intervals or (), strict=True)
    ):
        if value is not None and interval is not None:
            axes.plot(interval, (place, place), color="0.2", linewidth=1.1, marker="|", zorder=3)


def _short(label: str) -> str:
    """`label`, its middle left out where it is long: the ends tell layers apart."""
    half = (MOST_CHARACTERS - 1) // 2
    if len(label) <= MOST_CHARACTERS:
        return label
    return f"{label[:half]}\N{HORIZONTAL ELLIPSIS}{label[-half:]}"

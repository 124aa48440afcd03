"""The path of a search for a budget: what is lost against how much is computed in INT8."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgeseg.files import whole

Point = tuple[float, float, float, float]
"""Percent of the MACs in INT8, the loss, and both ends of its interval."""


def write_path(
    points: Sequence[Point], path: Path, *, limit: float, chosen: float | None, unit: str
) -> None:
    """Draw the loss of `points` with their intervals as a PNG at `path`.

    `limit` is the budget; `chosen` the point that was taken, by its share in INT8.
    """
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares, losses, lows, highs = zip(*sorted(points), strict=True)
    ends = ([a - b for a, b in zip(losses, lows, strict=True)],
            [b - a for a, b in zip(losses, highs, strict=True)])  # fmt: skip
    bars = [[max(value, 0.0) for value in side] for side in ends]
    axes.errorbar(shares, losses, yerr=bars, fmt="o-", capsize=4, label="loss, 95 % interval")
    axes.axhline(limit, color="tab:red", linestyle="--", label=f"budget {limit:g}")
    if chosen is not None:
        axes.axvline(chosen, color="tab:green", linestyle=":", label=f"chosen: {chosen:.2f} %")
    axes.set_xlabel("percent of the MACs in INT8")
    axes.set_ylabel(unit)
    axes.set_title("What is lost as layers are left in FP16")
    axes.grid(alpha=0.3)
    axes.legend()
    with whole(path) as temporary:
        figure.savefig(temporary, format="png")

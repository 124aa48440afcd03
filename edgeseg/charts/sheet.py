"""The sheet that shows how two engines differ: figures, charts and the worst pictures, as a PNG."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from edgeseg.files import whole
from edgeseg.types import IGNORE, Array, Labels, Pixels

ONLY_A, ONLY_B, NEITHER = 1, 2, 3

VERDICTS = {
    ONLY_A: ("only A is right", "#e8432e"),
    ONLY_B: ("only B is right", "#2f7de1"),
    NEITHER: ("neither is right, or not scored", "#f2c230"),
}
WITHOUT_TRUTH = {NEITHER: ("they differ", "#f2c230")}
A_COLOR, B_COLOR = "#8a8f98", "#1f5fae"

WIDTH_IN, DPI = 16.0, 120
PANE_PX = 480
"""Wider pictures are thinned to about this width."""
MOST_CLASSES = 25
MOST_IN_LEGEND = 40
LEGEND_COLUMNS = 8
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a class may be called "$x"
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Block: TypeAlias = tuple[float, Callable[[SubFigure], None]]
"""Height in inches, and what draws it."""

ClassIou: TypeAlias = tuple[str, float | None, float | None]
"""The name of a class, and the IoU of A and of B in points."""


@dataclass(frozen=True, kw_only=True)
class SheetPicture:
    """One picture, uint8 (H, W, 3), with what the truth and the two engines say, uint8 (H, W)."""

    name: str
    agreement: float
    """Percent."""
    image: Pixels
    truth: Pixels | None
    a: Pixels
    b: Pixels
    a_right: npt.NDArray[np.bool_]
    b_right: npt.NDArray[np.bool_]
    """Where their labels are those of the truth; nowhere without one."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All that the sheet shows."""

    title: str
    lines: Sequence[str]
    """What A and B are, and the figures, below the title."""
    labels: Labels
    truth_labels: Labels
    """The classes of the masks, which may be others than those of the engines."""
    iou: Sequence[ClassIou]
    """Empty without masks, as is the next."""
    moved: Sequence[tuple[str, str, int]]
    """Truth, label, and how many more pixels of that mistake B has than A."""
    heat: Array
    """(H, W): in how many percent of the pictures the two differ there."""
    pictures: Sequence[SheetPicture]


def draw_sheet(sheet: Sheet, path: Path) -> None:
    """Write `sheet` to `path` as a PNG, all or nothing.

    Raises:
        OutputError: `path` cannot be written.
    """
    blocks = _blocks(sheet)
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        heights = [height for height, _ in blocks]
        layout = ConstrainedLayoutEngine(w_pad=0.08)
        figure = Figure(figsize=(WIDTH_IN, sum(heights)), dpi=DPI, layout=layout)
        parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (_, draw) in zip(parts, blocks, strict=True):
            draw(part)
        with whole(path) as temporary:
            figure.savefig(temporary, format="png")


def _blocks(sheet: Sheet) -> list[Block]:
    blocks: list[Block] = [(0.55 + 0.2 * len(sheet.lines), lambda part: _header(part, sheet))]
    bars = max(len(_shown(sheet.iou)), len(sheet.moved), 10)
    blocks.append((0.9 + 0.26 * bars, lambda part: _charts(part, sheet)))
    if not sheet.pictures:
        return blocks
    columns = len(_panes(sheet.pictures[0], sheet))
    shares = [picture.image.shape[0] / picture.image.shape[1] for picture in sheet.pictures]
    heights = [min(share, 1.2) * WIDTH_IN / columns + 0.3 for share in shares]
    blocks.append((0.5 + sum(heights), lambda part: _pictures(part, sheet, heights)))
    return blocks + [_legend_block(title, entries) for title, entries in _legends(sheet)]


def _header(part: SubFigure, sheet: Sheet) -> None:
    top = 0.55 + 0.2 * len(sheet.lines)
    part.text(0.01, 1 - 0.12 / top, sheet.title, fontsize=15, fontweight="bold", va="top")
    text = "\n".join(_short(line, 190) for line in sheet.lines)
    part.text(0.01, 1 - 0.46 / top, text, fontsize=10, va="top", linespacing=1.35)


def _charts(part: SubFigure, sheet: Sheet) -> None:
    if not sheet.iou:
        axes, *free = part.subplots(1, 3)
        _heat(part, axes, sheet.heat)
        for each in free:
            each.remove()
        return
    ious, moved, heat = part.subplots(1, 3, width_ratios=[1.0, 1.0, 1.15])
    _iou_bars(ious, _shown(sheet.iou), len(sheet.iou))
    _moved_bars(moved, sheet.moved)
    _heat(part, heat, sheet.heat)


def _iou_bars(axes: Axes, rows: Sequence[ClassIou], classes: int) -> None:
    places = np.arange(len(rows), dtype=float)
    for offset, column, color, name in ((-0.19, 1, A_COLOR, "A"), (0.19, 2, B_COLOR, "B")):
        values = [row[column] or 0.0 for row in rows]
        axes.barh(places + offset, values, 0.36, color=color, label=name)
    axes.set_yticks(places, [_short(name, 24) for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU in points; on the right what B loses")
    of = "of each class" if len(rows) == classes else f"of the {len(rows)} classes that moved most"
    axes.set_title(f"IoU {of}")
    for place, (_, a, b) in zip(places, rows, strict=True):
        text = "-" if a is None or b is None else f"{a - b:+.2f}"
        axes.text(1.02, float(place), text, transform=axes.get_yaxis_transform(), va="center")
    axes.legend(loc="upper left", bbox_to_anchor=(1.06, 0.0), frameon=False, borderpad=0.0)


def _moved_bars(axes: Axes, moved: Sequence[tuple[str, str, int]]) -> None:
    axes.set_title("Mistakes that B makes more often, or less")
    if not moved:
        _say(axes, "the same mistakes, pixel for pixel")
        return
    places = np.arange(len(moved), dtype=float)
    changes = [change for _, _, change in moved]
    colors = [VERDICTS[ONLY_A if change > 0 else ONLY_B][1] for change in changes]
    axes.barh(places, changes, 0.6, color=colors)
    axes.axvline(0, color="black", linewidth=0.8)
    names = [
        f"{_short(truth, 18)} \N{RIGHTWARDS ARROW} {_short(label, 18)}" for truth, label, _ in moved
    ]
    axes.set_yticks(places, names)
    axes.set_ylim(max(len(moved), 4) - 0.4, -0.6)
    axes.margins(x=0.05)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+,.0f}" if value else "0")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("pixels, B minus A; truth \N{RIGHTWARDS ARROW} label")
    for place, change in zip(places, changes, strict=True):
        axes.text(
            1.02, float(place), f"{change:+,}", transform=axes.get_yaxis_transform(), va="center"
        )


def _heat(part: SubFigure, axes: Axes, heat: Array) -> None:
    drawn = axes.imshow(heat, cmap="magma", vmin=0, vmax=max(float(heat.max()), 1.0))
    axes.set_title("Where A and B differ")
    _without_ticks(axes)
    bar = part.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label("% of the pictures")


def _pictures(part: SubFigure, sheet: Sheet, heights: Sequence[float]) -> None:
    rows = [_panes(picture, sheet) for picture in sheet.pictures]
    grid = part.subplots(len(rows), len(rows[0]), squeeze=False, height_ratios=heights)
    text = "The pictures on which A and B agree least, and the share of pixels with the same label"
    part.suptitle(text, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    for line, picture, panes in zip(grid, sheet.pictures, rows, strict=True):
        for axes, (title, pixels) in zip(line, panes.items(), strict=True):
            axes.imshow(pixels)
            _without_ticks(axes)
            axes.set_title(title if picture is sheet.pictures[0] else "", loc="center")
        name = f"{_short(picture.name, 34)}: {picture.agreement:.2f} %"
        line[0].set_title(name, fontsize=9, fontweight="normal")


def _panes(picture: SheetPicture, sheet: Sheet) -> dict[str, Pixels]:
    """The pictures of one row by their titles, uint8 (h, w, 3)."""
    step = max(1, round(picture.image.shape[1] / PANE_PX))
    palette, truth_palette = sheet.labels.palette(), sheet.truth_labels.palette()
    truth_palette[IGNORE] = 255  # classes are black in some palettes
    truth = {}
    if sheet.iou:
        mask = np.full_like(picture.a, IGNORE) if picture.truth is None else picture.truth
        truth = {"truth": truth_palette[mask[::step, ::step]]}
    return {
        "": picture.image[::step, ::step],
        **truth,
        "A": palette[picture.a[::step, ::step]],
        "B": palette[picture.b[::step, ::step]],
        "where they differ": _differing(picture, step),
    }


def _differing(picture: SheetPicture, step: int) -> Pixels:
    """The verdicts over a dark picture; a single pixel stays visible where pictures are thinned."""
    grey = (picture.image[::step, ::step].mean(2) * 0.4).astype(np.uint8)
    result = np.repeat(grey[..., None], 3, 2)
    differ = picture.a != picture.b
    verdict = np.where(picture.b_right, ONLY_B, NEITHER)
    verdict = np.where(differ, np.where(picture.a_right, ONLY_A, verdict), 0)
    padded = np.pad(verdict, [(0, -size % step) for size in verdict.shape])
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    shown = blocks.max((1, 3))
    for value, (_, color) in VERDICTS.items():
        result[shown == value] = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return result


def _legends(sheet: Sheet) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles with names and colours: classes that are to be seen, and the verdicts."""
    found = {int(one) for each in sheet.pictures for one in np.unique(np.stack([each.a, each.b]))}
    truths = [each.truth for each in sheet.pictures if each.truth is not None]
    true = {int(one) for truth in truths for one in np.unique(truth)}
    verdicts = [*(VERDICTS if sheet.iou else WITHOUT_TRUTH).values()]
    if sheet.truth_labels == sheet.labels:
        void = [("not scored", "#ffffff")] if IGNORE in true else []
        classes = [("classes", _entries(sheet.labels, found | true) + void)]
    else:
        classes = [("classes of A and B", _entries(sheet.labels, found))]
        if true:
            classes.append(("classes of the truth", _entries(sheet.truth_labels, true)))
    return [*classes, ("where they differ", verdicts)]


def _entries(labels: Labels, ids: set[int]) -> list[tuple[str, str]]:
    shown = sorted(one for one in ids if one < len(labels))
    colors = ["#{:02x}{:02x}{:02x}".format(*labels.colors[one]) for one in shown]
    named = [
        (_short(labels.names[one], 20), color) for one, color in zip(shown, colors, strict=True)
    ]
    more = [(f"and {len(shown) - MOST_IN_LEGEND} more", "none")]
    return named if len(named) <= MOST_IN_LEGEND else named[:MOST_IN_LEGEND] + more


def _legend_block(title: str, entries: Sequence[tuple[str, str]]) -> Block:
    patches = [Patch(facecolor=color, edgecolor="0.6", label=name) for name, color in entries]

    def draw(part: SubFigure) -> None:
        part.legend(
            handles=patches,
            title=title, loc="upper left", ncols=LEGEND_COLUMNS, alignment="left",
            frameon=False, title_fontproperties={"weight": "bold"}, bbox_to_anchor=(0.005, 1.0),
        )  # fmt: skip

    return 0.35 + 0.22 * -(-len(entries) // LEGEND_COLUMNS), draw


def _shown(rows: Sequence[ClassIou]) -> Sequence[ClassIou]:
    """All rows, or those that moved most, in their own order."""
    moved = [abs(a - b) if a is not None and b is not None else -1.0 for _, a, b in rows]
    chosen = sorted(np.argsort(moved, kind="stable")[::-1][:MOST_CLASSES])
    return [rows[index] for index in chosen]


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    _without_ticks(axes)


def _without_ticks(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _short(text: str, most: int) -> str:
    """`text`, its middle left out where it is longer than `most`."""
    keep = (most - 3) // 2
    return text if len(text) <= most else f"{text[:keep]}...{text[-keep:]}"

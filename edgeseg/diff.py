"""How two engines differ on the same pictures: in figures, in confusion, and on one sheet."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.calibration_data import open_pictures
from edgeseg.contestants import Contestant, contestants
from edgeseg.disagreement import Disagreement
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.metrics.boundary import BAND_PX
from edgeseg.metrics.confusion import iou_per_class
from edgeseg.options import root_for
from edgeseg.tables import needs
from edgeseg.types import Array, Counts, OnProgress
from edgeseg.verify import ClassMap, Comparison, compare

if TYPE_CHECKING:
    from edgeseg.charts.sheet import Sheet

MOST_MOVED = 10
OTHER = "(other)"
"""What a map does not name."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two, and how it did; IoU in points, accuracy in percent, None without masks."""

    engine: str
    """The folder, or "float"."""
    precision: str
    backend: str
    size: str
    """Of the network's input."""
    miou: float | None
    iou: dict[str, float | None] | None
    pixel_accuracy: float | None
    boundary_miou: float | None
    """Of the pixels in the band around the borders of the truth."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A mistake, in pixels of all pictures together."""

    truth: str
    label: str
    a: int
    b: int
    change: int
    """B minus A: positive where B makes it more often."""


@dataclass(frozen=True, kw_only=True)
class WorstPicture:
    """A picture and the share of its pixels with one label, in percent."""

    name: str
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What changes from A to B; drops are A minus B in points, None without masks."""

    data: str
    frames: int
    skipped: list[str]
    a: Side
    b: Side
    agreement: float
    """Share of all pixels, void included, with the same label, in percent."""
    drop: float | None
    drop_interval: tuple[float, float] | None
    """Paired bootstrap over the pictures, 95 %."""
    class_drop: dict[str, float | None] | None
    boundary_drop: float | None
    band_px: int
    """How far the band of `boundary_miou` reaches on each side of a border."""
    moved: list[Moved] | None
    """The mistakes whose number of pixels changed most."""
    heat: list[list[float]]
    """Percent of the pixels that differ, in rows of equal parts of the picture."""
    worst: list[WorstPicture]
    """The pictures with the least agreement; none where all agree on every pixel."""
    sheet: Path | None


def diff(
    a: Engine | str | Path,
    b: Engine | str | Path,
    data: str,
    *,
    root: str | Path | None = None,
    count: int | None = None,
    class_map: ClassMap | None = None,
    band_px: int = BAND_PX,
    sheet: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Difference:
    """Run `a` (or "float") and `b` on `data`, compare them, and draw it as the PNG `sheet`.

    Raises:
        UsageError: the two have other classes, or the data has and no map says how they meet.
        InputFileError: pictures or masks are unreadable or do not fit each other.
        OutputError: the sheet cannot be written.
    """
    target = _checked_sheet(sheet)
    opened = open_pictures(
        data, root=root_for(data, Path(root) if root else None), split="test", count=count
    )
    with contestants(a, b) as (one, other):
        seen = Disagreement(other.labels, opened, class_map, band_px)
        result = compare(
            other.labels_of, one.labels_of, other.labels, opened,
            class_map=class_map, on_progress=on_progress, on_frame=seen.add,
        )  # fmt: skip
    found = _difference(one, other, result, seen, opened.name, target)
    if target is not None:
        with needs("charts"):
            from edgeseg.charts.sheet import draw_sheet
        draw_sheet(_sheet(found, result, seen), target)
    return found


def _checked_sheet(sheet: str | Path | None) -> Path | None:
    """The target, refused before the work where no PNG can come of it."""
    if sheet is None:
        return None
    with needs("charts"):
        import edgeseg.charts.sheet  # noqa: F401
    if Path(sheet).suffix.lower() != ".png":
        raise UsageError(f"the sheet is a PNG, not {Path(sheet).name}", fix="name it SHEET.png")
    return Path(sheet)


def _difference(
    a: Contestant,
    b: Contestant,
    result: Comparison,
    seen: Disagreement,
    data: str,
    sheet: Path | None,
) -> Difference:
    one, other = (_side(a, result, result.reference, seen.a_band),
                  _side(b, result, result.built, seen.b_band))  # fmt: skip
    drop, low, high = result.drop_and_interval() if result.scored else (None, None, None)
    lost = result.iou(result.reference) - result.iou(result.built) if result.scored else None
    return Difference(
        data=data,
        frames=len(result.frame_names),
        skipped=result.skipped,
        a=one,
        b=other,
        agreement=float(np.mean(result.agreement)),
        drop=drop,
        drop_interval=(low, high) if low is not None and high is not None else None,
        class_drop=None if lost is None else _named(result.names, lost),
        boundary_drop=_less(one.boundary_miou, other.boundary_miou),
        band_px=seen.band_px,
        moved=_moved(result) if result.scored else None,
        heat=seen.heat_grid(),
        worst=[
            WorstPicture(name=result.frame_names[at], agreement=result.agreement[at])
            for at in (kept.index for kept in seen.worst)
        ],
        sheet=sheet,
    )


def _side(side: Contestant, result: Comparison, counts: list[Counts], band: Counts) -> Side:
    scored = result.scored
    return Side(
        engine=side.engine,
        precision=side.precision,
        backend=side.backend,
        size=side.size,
        miou=result.miou(counts) if scored else None,
        iou=_named(result.names, result.iou(counts)) if scored else None,
        pixel_accuracy=result.accuracy(counts) if scored else None,
        boundary_miou=_mean(iou_per_class(band)[: len(result.names)]) if scored else None,
    )


def _moved(result: Comparison) -> list[Moved]:
    """The mistakes that changed most, the largest change first."""
    a, b = np.sum(result.reference, 0), np.sum(result.built, 0)
    change = b - a
    np.fill_diagonal(change, 0)
    names = (*result.names, OTHER)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:MOST_MOVED]
    pairs = [divmod(int(at), len(a)) for at in order if change.flat[at]]
    return [
        Moved(
            truth=names[row],
            label=names[column],
            a=int(a[row, column]),
            b=int(b[row, column]),
            change=int(change[row, column]),
        )
        for row, column in pairs
    ]


def _sheet(found: Difference, result: Comparison, seen: Disagreement) -> "Sheet":
    with needs("charts"):
        from edgeseg.charts.sheet import Sheet, SheetPicture
    a, b = found.a.iou or {}, found.b.iou or {}
    return Sheet(
        title=f"What changes from A to B on {found.data}",
        lines=_lines(found),
        labels=seen.labels,
        truth_labels=seen.truth_labels,
        iou=[(name, a[name], b[name]) for name in a],
        moved=[(each.truth, each.label, each.change) for each in found.moved or []],
        heat=seen.heat_percent(),
        pictures=[
            SheetPicture(
                name=result.frame_names[kept.index],
                agreement=result.agreement[kept.index],
                image=kept.image,
                truth=kept.truth,
                a=kept.a,
                b=kept.b,
                a_right=kept.a_right,
                b_right=kept.b_right,
            )
            for kept in seen.worst
        ],
    )


def _lines(found: Difference) -> list[str]:
    """What A and B are, and the figures that have no chart."""
    a, b = found.a, found.b
    lines = [
        f"{letter}:  {side.engine}, {side.precision} on {side.backend}, {side.size}"
        for letter, side in (("A", a), ("B", b))
    ]
    agree = f"{found.agreement:.2f} % of the pixels of {found.frames} pictures have the same label"
    if a.miou is None or b.miou is None or found.drop_interval is None:
        return [*lines, agree]
    low, high = found.drop_interval
    return [
        *lines,
        f"{agree}; pixel accuracy A {a.pixel_accuracy:.2f} %, B {b.pixel_accuracy:.2f} %",
        f"mIoU A {a.miou:.2f}, B {b.miou:.2f}: drop {found.drop:.2f} points, "
        f"95 % within [{low:.2f}, {high:.2f}];  within {found.band_px} px of a border "
        f"A {a.boundary_miou:.2f}, B {b.boundary_miou:.2f}: drop {found.boundary_drop:.2f} points",
    ]


def _named(names: tuple[str, ...], values: Array) -> dict[str, float | None]:
    pairs = zip(names, values, strict=True)
    return {name: None if np.isnan(value) else float(value) for name, value in pairs}


def _mean(values: Array) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else None


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b

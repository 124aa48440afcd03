"""What each layer of a network costs when it is quantised: the values, their JSON, their chart."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeseg.files import write_whole
from edgeseg.tables import needs

if TYPE_CHECKING:
    from edgeseg.charts.bars import BarChart, Panel

MOST_BARS = 32
"""Layers in the chart; the JSON has all of them."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one choice of float layers does, on all pictures."""

    change: float
    """In mIoU points, or without masks in percent of the pixels with the label of the float form:
    what is lost against it where a part is quantised alone, what is won against INT8 where it is
    left in float."""
    interval: tuple[float, float]
    """Of `change`: paired bootstrap over the pictures, 95 %."""
    agreement: float
    """Percent of all pixels with the same label as in float."""


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Of a layer, or of a block of them."""

    name: str
    """Of a layer: of its node, as --keep-fp16 takes it."""
    layers: tuple[str, ...]
    """The nodes that were switched together."""
    macs: int
    macs_percent: float
    """Of all MACs that INT8 can compute."""
    sqnr_alone_db: float | None
    """Of the logits when it alone is quantised. None where that adds no noise, and for a layer of
    a block that adds less than 0.1 % of it."""
    sqnr_gain_db: float | None
    """What the SQNR of the INT8 form gains when it is left in float; None as above."""
    alone: Effect | None
    """None outside the short list, as is the next."""
    left_float: Effect | None


@dataclass(frozen=True, kw_only=True)
class LayerCost(PartCost):
    """Of one layer."""

    op: str
    """An Add is a residual join, one branch of which is quantised; it has no MACs."""
    module: str | None
    """What the exporter named it by; None where the file does not say."""
    block: str


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What each layer and block costs in INT8, the worst first."""

    name: str
    folder: Path
    """Where JSON and chart lie."""
    data: str
    pictures: int
    """That the short list was evaluated on."""
    sqnr_pictures: int
    """That the SQNR was measured on."""
    skipped: list[str]
    measure: str
    """What `change` is in: "mIoU", or "agreement" where there are no masks."""
    int8: Effect
    """All quantised, against float."""
    int8_sqnr_db: float | None
    layers: tuple[LayerCost, ...]
    blocks: tuple[PartCost, ...]

    @property
    def unit(self) -> str:
        """Of `Effect.change`."""
        return "mIoU points" if self.measure == "mIoU" else "% of the pixels"


def write_report(found: Sensitivity) -> None:
    """Write sensitivity.png, sensitivity.svg and sensitivity.json into its folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    with needs("charts"):
        from edgeseg.charts.bars import draw_bars
    chart = _chart_of(found)
    kinds: tuple[Literal["png", "svg"], ...] = ("png", "svg")
    for kind in kinds:
        write_whole(found.folder / f"sensitivity.{kind}", draw_bars(chart, kind))
    values = {"schema": 1, **asdict(found), "folder": str(found.folder)}
    text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False)
    write_whole(found.folder / "sensitivity.json", (text + "\n").encode())


def _chart_of(found: Sensitivity) -> "BarChart":
    with needs("charts"):
        from edgeseg.charts.bars import BarChart, Panel
    shown = _shown(found.layers)
    alone = [layer.sqnr_alone_db for layer in shown]
    finite = [value for value in alone if value is not None]
    return BarChart(
        title=f"{found.name}: what each layer costs in INT8",
        subtitle=_subtitle(found, len(shown)),
        labels=[_label(layer) for layer in shown],
        shares=[layer.macs_percent for layer in shown],
        share_title="% of the MACs",
        panels=[
            Panel(
                title="SQNR of the logits when it alone is quantised",
                unit="dB; a longer bar is a worse layer",
                values=alone,
                origin=max(finite, default=0.0) + 1.0,
                line=found.int8_sqnr_db,
                line_title="all quantised",
            ),
            Panel(
                title="Gain in SQNR when it is left in float",
                unit="dB",
                values=[layer.sqnr_gain_db for layer in shown],
            ),
            _effects(found, shown, "alone", f"Loss in {found.measure}, quantised alone"),
            _effects(found, shown, "left_float", f"Gain in {found.measure}, left in float"),
        ],
    )


def _effects(found: Sensitivity, shown: Sequence[LayerCost], which: str, title: str) -> "Panel":
    with needs("charts"):
        from edgeseg.charts.bars import Panel
    effects: list[Effect | None] = [getattr(layer, which) for layer in shown]
    return Panel(
        title=title,
        unit=f"{found.unit}, with 95 % interval",
        values=[effect.change if effect else None for effect in effects],
        intervals=[effect.interval if effect else None for effect in effects],
        missing="",
    )


def _shown(layers: Sequence[LayerCost]) -> list[LayerCost]:
    """The worst layers, and those that were evaluated."""
    chosen = {layer.name for layer in layers if layer.alone}
    for layer in layers:
        if len(chosen) < MOST_BARS and layer.sqnr_alone_db is not None:
            chosen.add(layer.name)
    return [layer for layer in layers if layer.name in chosen] or list(layers[:MOST_BARS])


def _subtitle(found: Sensitivity, shown: int) -> str:
    low, high = found.int8.interval
    which = "all" if shown == len(found.layers) else f"the worst {shown} of"
    sqnr = "no noise" if found.int8_sqnr_db is None else f"SQNR {found.int8_sqnr_db:.1f} dB"
    return (
        f"{which} {len(found.layers)} layers; all quantised: {sqnr}, loses "
        f"{found.int8.change:.2f} {found.unit} [{low:.2f}, {high:.2f}] on {found.pictures} "
        f"pictures of {found.data}; SQNR on {found.sqnr_pictures} of them"
    )


def _label(layer: LayerCost) -> str:
    if layer.module is None:
        return f"{layer.name} ({layer.op}, {layer.block})" if layer.op == "Add" else layer.name
    return layer.name if "/" in layer.name else f"{layer.module} ({layer.name})"

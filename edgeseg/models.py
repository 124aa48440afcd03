"""What the zoo holds."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeseg.zoo import MODELS
from edgeseg.zoo.figures import authors_of, figures_of
from edgeseg.zoo.shipped import card

WHOLE: Literal["whole picture"] = "whole picture"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One network of the zoo; a number is None where it has not been computed."""

    name: str
    paper: str
    year: int
    classes: int | None
    """With which parameters and MACs are counted: the 21 of the papers, whatever ships."""
    parameters: int | None
    macs: int | None
    size: str
    """WIDTHxHEIGHT of the paper's input, at which the MACs are counted."""
    output_stride: int | None
    """Picture pixels per step of the map on which classes are scored."""
    encoder_stride: int | None
    """Picture pixels per step of the coarsest features."""
    receptive_field: int | Literal["whole picture"] | None
    """Pixels, by pixels, that one score sees."""
    authors: list[str]
    """Whose public weights load."""
    weights: str
    """What the shipped weights were trained on, with the mIoU that was measured; or none."""


def models() -> list[Model]:
    """The networks in the order of their papers; reads small files only, no weights."""
    return [_model(name) for name in MODELS]


def _model(name: str) -> Model:
    row, figures = MODELS[name], figures_of(name)
    known: dict[str, Any] = asdict(figures) if figures else {}
    return Model(
        name=name,
        paper=row.paper,
        year=row.year,
        classes=known.get("classes"),
        parameters=known.get("parameters"),
        macs=known.get("macs"),
        size=str(row.size),
        output_stride=known.get("output_stride"),
        encoder_stride=known.get("encoder_stride"),
        receptive_field=(known["receptive_field_px"] or WHOLE) if known else None,
        authors=authors_of(name),
        weights=_shipped(name),
    )


def _shipped(name: str) -> str:
    own = card(name)
    if own is None:
        return "none"
    test = own.get("test")
    return f"{own['data']} (test mIoU {test['miou']:.1f})" if test else str(own["data"])

"""What the zoo holds."""

from dataclasses import dataclass

from edgeseg.zoo import MODELS, described
from edgeseg.zoo.shipped import card


@dataclass(frozen=True, kw_only=True)
class Model:
    """One network of the zoo."""

    name: str
    paper: str
    parameters: int | None
    """Of the shipped core, batch normalisation folded in."""
    macs: int | None
    size: str | None
    """WIDTHxHEIGHT at which the MACs are counted."""
    weights: str
    """What the shipped weights were trained on, with the mIoU that was measured."""


def models() -> list[Model]:
    """The networks by name; reads cards only, no weights."""
    found = []
    for name in sorted(MODELS):
        own = card(name) or {}
        cost = own.get("cost", {})
        test = own.get("test", {})
        weights = f"{own['data']} (test mIoU {test['miou']:.1f})" if test else "none"
        found.append(
            Model(
                name=name,
                paper=described(name),
                parameters=cost.get("parameters"),
                macs=cost.get("macs"),
                size=cost.get("size"),
                weights=weights,
            )
        )
    return found

"""What a training is asked for, and what its recipe makes of that."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseg.errors import UsageError
from edgeseg.tables import known
from edgeseg.types import Size
from edgeseg.zoo.rows import MODELS
from edgeseg.zoo.training_recipes import RECIPES, TrainingRecipe

PAPER = "paper"
"""Stands for the recipe of the network's own system."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """From which share of the steps on, how large the views are and how they are scaled."""

    start: float
    crop: Size
    scale: tuple[float, float]


# Small views first: the same features at half the cost; whole scenes last, as at inference.
PHASES = (
    Phase(start=0.0, crop=Size(192, 256), scale=(0.4, 1.1)),
    Phase(start=0.35, crop=Size(256, 320), scale=(0.5, 1.7)),
    Phase(start=0.85, crop=Size(320, 416), scale=(0.65, 1.5)),
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training run is determined by."""

    network: str
    data: str
    root: Path | None
    recipe: str = "default"
    """A row of RECIPES, or "paper": the row of the network's own system."""
    variant: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network's function, such as width=0.5."""
    steps: int | None = None
    """None: as many as `epochs` are, or as the recipe says."""
    epochs: float | None = None
    """Passes over the pictures; excludes `steps`."""
    seed: int = 0
    synthetic_share: float | None = None
    """Share of the views that come from the synthetic street; None: as the recipe says."""
    evaluate_every: int = 250
    phases: tuple[Phase, ...] | None = None
    """None: PHASES for the recipe "default", one crop from beginning to end for the others."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise UsageError(
                f"{self.steps} steps and {self.epochs:g} epochs were asked for",
                fix="give --steps or --epochs",
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training with everything filled in that it left to its recipe."""

    how: Training
    recipe: TrainingRecipe
    steps: int
    steps_per_epoch: int
    synthetic_share: float
    phases: tuple[Phase, ...]

    def document(self) -> dict[str, Any]:
        """What determines the weights, as plain values."""
        filled = replace(
            self.how,
            steps=self.steps,
            epochs=None,
            synthetic_share=self.synthetic_share,
            phases=self.phases,
        )
        plain: dict[str, Any] = json.loads(json.dumps(asdict(filled), default=str))
        return plain


def planned(how: Training, pictures: int) -> Plan:
    """What `how` leaves to its recipe, filled in."""
    row = MODELS[how.network]
    name = row.system if how.recipe == PAPER else how.recipe
    recipe = RECIPES[known(RECIPES, name, kind="recipe")]
    crop = row.sizes.nearest(recipe.crop)
    one = (Phase(start=0.0, crop=crop, scale=recipe.scale),)
    share = how.synthetic_share
    return Plan(
        how=replace(how, recipe=name, variant=dict(how.variant)),
        recipe=recipe,
        steps=how.steps or recipe.steps_for(pictures, how.epochs),
        steps_per_epoch=math.ceil(pictures / recipe.views_per_step),
        synthetic_share=recipe.synthetic_share if share is None else share,
        phases=how.phases or (PHASES if name == "default" else one),
    )

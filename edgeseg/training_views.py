"""The views of each step, drawn in a thread beside the step before."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgeseg.tables import needs
from edgeseg.training_plan import Phase, Plan
from edgeseg.types import Floats, LabelledFrame, Pixels

AHEAD = 2
"""So many steps' views are drawn, or being drawn, while a step is learnt from."""


class Batch(NamedTuple):
    """What one step learns from."""

    views: Pixels
    """uint8 (N, h, w, 3)."""
    labels: Pixels
    """uint8 (N, h, w), or of half that size."""
    weights: Floats | None
    """float32 of the labels' shape: how much each pixel counts, where the loss asks for it."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What views are drawn from."""

    frames: Sequence[LabelledFrame]
    streets: Sequence[LabelledFrame]
    """Of the synthetic street; empty without a share of them."""
    class_weights: Floats | None
    """What the loss "border-weighted" adds to the weight of a border."""


def batches(pictures: Pictures, plan: Plan, start: int) -> Iterator[tuple[int, Batch]]:
    """Step number and its views; drawn from (seed, step), so a resumed run sees the same."""
    with ThreadPoolExecutor(1) as pool:
        steps = range(start, plan.steps)
        ahead = [pool.submit(_batch, pictures, plan, step) for step in steps[:AHEAD]]
        for step in steps:
            yield step, ahead.pop(0).result()
            if step + AHEAD < plan.steps:
                ahead.append(pool.submit(_batch, pictures, plan, step + AHEAD))


def _batch(pictures: Pictures, plan: Plan, step: int) -> Batch:
    rng = np.random.default_rng([plan.how.seed, step])
    phase = [phase for phase in plan.phases if step >= phase.start * plan.steps][-1]
    frames, streets = pictures.frames, pictures.streets
    views, labels = [], []
    for _ in range(plan.recipe.views_per_step):
        pool = streets if streets and rng.random() < plan.synthetic_share else frames
        frame = pool[int(rng.integers(len(pool)))]
        if frame.mask is not None:
            view, mask = _view(frame.image, frame.mask, plan, phase, rng)
            views.append(view)
            labels.append(mask)
    weights = None
    if plan.recipe.loss == "border-weighted":
        with needs("video"):
            from edgeseg.datasets.border_weights import border_weights

        balance = pictures.class_weights
        weights = np.stack([border_weights(mask, class_weights=balance) for mask in labels])
    return Batch(np.stack(views), np.stack(labels), weights)


def _view(
    image: Pixels, mask: Pixels, plan: Plan, phase: Phase, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    with needs("video"):
        from edgeseg.datasets.augment import Augmentation, random_view
        from edgeseg.datasets.paper_views import PaperView, paper_view

    recipe = plan.recipe
    if recipe.views == "own":
        return random_view(image, mask, Augmentation(crop=phase.crop, scale=phase.scale), rng)
    how = PaperView(
        crop=phase.crop,
        scale=phase.scale,
        flip=recipe.flip,
        rotation_deg=recipe.rotation_deg,
        elastic=recipe.elastic,
        blur=recipe.blur,
    )
    return paper_view(image, mask, how, rng)

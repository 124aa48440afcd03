"""Whether a network can learn a few pictures by heart: the shortest proof that it trains."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgeseg.scene import Street
from edgeseg.types import IGNORE, Pixels, Size
from edgeseg.zoo import MODELS, build_network
from edgeseg.zoo.losses import class_weights
from edgeseg.zoo.training import Trainer
from edgeseg.zoo.training_recipes import RECIPES

CLASSES = 11
CROP = Size(96, 128)


def overfit_accuracy(
    name: str, variant: Mapping[str, Any], *, frames: int = 8, steps: int = 400
) -> float:
    """The share of right pixels, in [0, 1], on the very pictures that network `name` learnt from.

    By the loss and the extra supervision of its own system, but at full labels (at subsampled
    ones borders stay blocks of 8 px) and with the optimiser of `compact`.
    """
    row = MODELS[name]
    crop = row.sizes.nearest(CROP)
    windows = [_crop(number, crop) for number in range(frames)]
    views, labels = (np.stack(each) for each in zip(*windows, strict=True))
    compact, own = RECIPES["compact"], RECIPES[row.system]
    recipe = replace(
        compact,
        learning_rate=6e-3,  # a scorer of 8 channels needs large weights, and soon
        warmup_steps=steps // 10,
        average_decay=0.0,
        weight_decay=0.0,
        loss=own.loss if own.loss != "border-weighted" else "cross-entropy",
        hfd_start_epoch=0.0,
    )
    trainer = Trainer(
        build_network(name, classes=CLASSES, **variant),
        recipe,
        classes=CLASSES,
        class_weights=class_weights(recipe.loss, list(labels), CLASSES),
        pixels=row.pixels,
        sizes=row.sizes,
    )
    for _ in range(steps):
        trainer.step(views, labels, total_steps=steps)
    learnt = np.stack([trainer.labels_of(view) for view in views])
    return float((learnt == labels)[labels != IGNORE].mean())


def _crop(number: int, crop: Size) -> tuple[Pixels, Pixels]:
    """A window of street `number`, in which things are large for its size."""
    size = Size(600, 800)
    image, mask = Street(number, size).frame(float(number))
    top = (size.height - crop.height) // 2
    left = (size.width - crop.width) * (number % 3) // 2
    window = (slice(top, top + crop.height), slice(left, left + crop.width))
    return image[window], mask[window]

"""Train a network of the zoo; the running average of its weights is what is kept."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.datasets import open_dataset
from edgeseg.errors import UsageError
from edgeseg.files import write_whole
from edgeseg.metrics.confusion import confusion_of, iou_per_class, mean_iou
from edgeseg.tables import known, needs
from edgeseg.training_plan import Phase as Phase
from edgeseg.training_plan import Plan, planned
from edgeseg.training_plan import Training as Training
from edgeseg.training_views import Pictures, batches
from edgeseg.types import Counts, Dataset, Floats, LabelledFrame, OnProgress
from edgeseg.zoo.rows import MODELS

if TYPE_CHECKING:
    from edgeseg.zoo.training import Trainer


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came out, and where it lies."""

    weights: Path
    steps: int
    val_miou: float
    """In points, on every frame of val."""
    val_iou: dict[str, float]


def train(how: Training, out: Path, *, on_progress: OnProgress | None = None) -> TrainingResult:
    """Train, writing `out`/NAME.safetensors (fp16) and its card; resume where a run stopped.

    Raises:
        UsageError: `out` holds another run.
    """
    with needs("export"):
        from edgeseg.zoo.training import load_state, save_state

    known(MODELS, how.network, kind="network")
    data = open_dataset(how.data, root=how.root, split="train")
    frames = [_labelled(data, index) for index in range(len(data))]
    plan = planned(how, len(frames))
    pictures = Pictures(
        frames=frames,
        streets=_streets(plan, len(data.labels)),
        class_weights=_class_weights(plan, frames, len(data.labels)),
    )
    trainer = _trainer(plan, pictures, len(data.labels))
    state_file = _claimed(out, plan)
    log: list[dict[str, float]] = []
    if state_file.is_file():
        log = load_state(trainer, state_file)
    val = open_dataset(how.data.partition(":")[0], root=how.root, split="val")
    final: Counts | None = None
    for step, batch in batches(pictures, plan, trainer.step_done):
        loss = trainer.step(*batch, total_steps=plan.steps)
        if on_progress:
            on_progress(f"step (loss {loss:.3f})", step + 1, plan.steps)
        if (step + 1) % how.evaluate_every == 0 or step + 1 == plan.steps:
            is_last = step + 1 == plan.steps
            confusion = _evaluated(trainer, val, every=1 if is_last else 4)
            final = confusion if is_last else None
            log.append({"step": step + 1, "loss": loss, "val_miou": mean_iou(confusion)})
            save_state(trainer, state_file, log)
            write_whole(out / "log.json", json.dumps(log, indent=1).encode())
    if final is None:  # a run that was at its end already
        final = _evaluated(trainer, val, every=1)
    return _published(trainer, plan, out, final, data)


def _trainer(plan: Plan, pictures: Pictures, classes: int) -> "Trainer":
    from edgeseg.zoo import build_network
    from edgeseg.zoo.initial import initialise
    from edgeseg.zoo.training import Trainer

    how, row = plan.how, MODELS[plan.how.network]
    network = build_network(how.network, classes=classes, seed=how.seed, **how.variant)
    initialise(network, plan.recipe.initialisation, seed=how.seed)
    is_in_pixels = plan.recipe.loss == "border-weighted"  # then the views bring the weights
    return Trainer(
        network,
        plan.recipe,
        classes=classes,
        class_weights=None if is_in_pixels else pictures.class_weights,
        pixels=row.pixels,
        sizes=row.sizes,
        steps_per_epoch=plan.steps_per_epoch,
        seed=how.seed,
    )


def _class_weights(plan: Plan, frames: list[LabelledFrame], classes: int) -> Floats | None:
    from edgeseg.zoo.losses import class_weights

    masks = [frame.mask for frame in frames if frame.mask is not None]
    return class_weights(plan.recipe.loss, masks, classes)


def _labelled(data: Dataset, index: int) -> LabelledFrame:
    frame = data.frame(index)
    if frame.mask is None:
        raise UsageError(f"{data.name} has no masks", fix="train on a data set with masks")
    return frame


def _streets(plan: Plan, classes: int) -> list[LabelledFrame]:
    how, synthetic = plan.how, open_dataset("synthetic:train")
    if not plan.synthetic_share or how.data.startswith("synthetic"):
        return []
    if classes != len(synthetic.labels):
        raise UsageError(
            f"the synthetic street has {len(synthetic.labels)} classes, {how.data} has {classes}",
            fix="--synthetic-share 0",
        )
    return [synthetic.frame(index) for index in range(len(synthetic))]


def _claimed(out: Path, plan: Plan) -> Path:
    """The state file of `out`, which belongs to this run alone."""
    mine = json.dumps(plan.document(), sort_keys=True, indent=1)
    run_file = out / "run.json"
    if run_file.is_file() and run_file.read_text() != mine:
        raise UsageError(
            f"{out} holds another training run (other data, recipe, steps or seed)",
            fix="give another folder with -o, or remove this one",
        )
    write_whole(run_file, mine.encode())
    return out / "state.pt"


def _evaluated(trainer: "Trainer", val: Dataset, every: int) -> Counts:
    """The confusion matrix of the averaged weights on every `every`th frame of `val`."""
    total = np.zeros((len(val.labels),) * 2, np.int64)
    for index in range(0, len(val), every):
        frame = _labelled(val, index)
        if frame.mask is not None:
            total += confusion_of(frame.mask, trainer.labels_of(frame.image), len(val.labels))
    return total


def _published(
    trainer: "Trainer", plan: Plan, out: Path, confusion: Counts, data: Dataset
) -> TrainingResult:
    from edgeseg.zoo.training import save_weights

    name = plan.how.network
    weights = out / f"{name}.safetensors"
    save_weights(trainer.average, weights)
    iou = dict(zip(data.labels.names, map(float, iou_per_class(confusion)), strict=True))
    card: dict[str, Any] = {
        "schema": 1,
        "network": name,
        "variant": plan.document()["variant"],
        "labels": list(data.labels.names),
        "colors": [list(color) for color in data.labels.colors],
        "training": {**plan.document(), "root": None},
        "val": {"miou": mean_iou(confusion), "iou": iou, "frames": "every frame of val"},
    }
    write_whole(out / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())
    return TrainingResult(
        weights=weights, steps=plan.steps, val_miou=mean_iou(confusion), val_iou=iou
    )

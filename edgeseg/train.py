"""Train a network of the zoo; the running average with the best mIoU on val is what is kept."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.datasets import open_dataset
from edgeseg.errors import UsageError
from edgeseg.files import write_whole
from edgeseg.metrics.confusion import confusion_of, iou_per_class, mean_iou
from edgeseg.tables import known, needs
from edgeseg.types import Counts, Dataset, LabelledFrame, OnProgress, Pixels, Size

if TYPE_CHECKING:
    from edgeseg.zoo.training import Trainer

VIEWS_PER_STEP = 8


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
    steps: int = 4000
    seed: int = 0
    synthetic_share: float = 0.125
    """Share of the views that come from the synthetic street; 0 leaves it out."""
    evaluate_every: int = 250
    phases: tuple[Phase, ...] = field(default=PHASES)


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
        from edgeseg.zoo import MODELS, build_network
        from edgeseg.zoo.training import Trainer, class_weights_from_counts, load_state, save_state

    known(MODELS, how.network, kind="network")
    data = open_dataset(how.data, root=how.root, split="train")
    frames = [_labelled(data, index) for index in range(len(data))]
    masks = [frame.mask for frame in frames if frame.mask is not None]
    counts = np.sum([np.bincount(mask.ravel(), minlength=256) for mask in masks], 0)
    streets = _streets(how, len(data.labels))
    network = build_network(how.network, classes=len(data.labels), seed=how.seed)
    weights = class_weights_from_counts(counts[: len(data.labels)])
    trainer = Trainer(network, weights, seed=how.seed)
    state_file = _claimed(out, how)
    log: list[dict[str, float]] = []
    if state_file.is_file():
        log = load_state(trainer, state_file)
    val = open_dataset(how.data.partition(":")[0], root=how.root, split="val")
    final: Counts | None = None
    for step, batch in _batches(frames, streets, how, trainer.step_done):
        loss = trainer.step(*batch, total_steps=how.steps)
        if on_progress:
            on_progress(f"step (loss {loss:.3f})", step + 1, how.steps)
        if (step + 1) % how.evaluate_every == 0 or step + 1 == how.steps:
            is_last = step + 1 == how.steps
            confusion = _evaluated(trainer, val, every=1 if is_last else 4)
            final = confusion if is_last else None
            log.append({"step": step + 1, "loss": loss, "val_miou": mean_iou(confusion)})
            save_state(trainer, state_file, log)
            write_whole(out / "log.json", json.dumps(log, indent=1).encode())
    if final is None:  # a run that was at its end already
        final = _evaluated(trainer, val, every=1)
    return _published(trainer, how, out, final, data)


def _labelled(data: Dataset, index: int) -> LabelledFrame:
    frame = data.frame(index)
    if frame.mask is None:
        raise UsageError(f"{data.name} has no masks", fix="train on a data set with masks")
    return frame


def _streets(how: Training, classes: int) -> list[LabelledFrame]:
    synthetic = open_dataset("synthetic:train")
    if not how.synthetic_share or how.data.startswith("synthetic"):
        return []
    if classes != len(synthetic.labels):
        raise UsageError(
            f"the synthetic street has {len(synthetic.labels)} classes, {how.data} has {classes}",
            fix="--synthetic-share 0",
        )
    return [synthetic.frame(index) for index in range(len(synthetic))]


def _claimed(out: Path, how: Training) -> Path:
    """The state file of `out`, which belongs to this run alone."""
    mine = json.dumps(asdict(how), default=str, sort_keys=True, indent=1)
    run_file = out / "run.json"
    if run_file.is_file() and run_file.read_text() != mine:
        raise UsageError(
            f"{out} holds another training run (other data, steps or seed)",
            fix="give another folder with -o, or remove this one",
        )
    write_whole(run_file, mine.encode())
    return out / "state.pt"


def _batches(
    frames: list[LabelledFrame], streets: list[LabelledFrame], how: Training, start: int
) -> Iterator[tuple[int, tuple[Pixels, Pixels]]]:
    """Step number and its views; drawn from (seed, step), so a resumed run sees the same."""
    with ThreadPoolExecutor(1) as pool:
        steps = range(start, how.steps)
        ahead = [pool.submit(_batch, frames, streets, how, step) for step in steps[:2]]
        for step in steps:
            yield step, ahead.pop(0).result()
            if step + 2 < how.steps:
                ahead.append(pool.submit(_batch, frames, streets, how, step + 2))


def _batch(
    frames: list[LabelledFrame], streets: list[LabelledFrame], how: Training, step: int
) -> tuple[Pixels, Pixels]:
    with needs("video"):
        from edgeseg.datasets.augment import Augmentation, random_view

    rng = np.random.default_rng([how.seed, step])
    phase = [phase for phase in how.phases if step >= phase.start * how.steps][-1]
    augmentation = Augmentation(crop=phase.crop, scale=phase.scale)
    views = []
    for _ in range(VIEWS_PER_STEP):
        pool = streets if streets and rng.random() < how.synthetic_share else frames
        frame = pool[int(rng.integers(len(pool)))]
        if frame.mask is not None:
            views.append(random_view(frame.image, frame.mask, augmentation, rng))
    return np.stack([view for view, _ in views]), np.stack([labels for _, labels in views])


def _evaluated(trainer: "Trainer", val: Dataset, every: int) -> Counts:
    """The confusion matrix of the averaged weights on every `every`th frame of `val`."""
    total = np.zeros((len(val.labels),) * 2, np.int64)
    for index in range(0, len(val), every):
        frame = _labelled(val, index)
        if frame.mask is not None:
            total += confusion_of(frame.mask, trainer.labels_of(frame.image), len(val.labels))
    return total


def _published(
    trainer: "Trainer", how: Training, out: Path, confusion: Counts, data: Dataset
) -> TrainingResult:
    from edgeseg.zoo.training import save_weights

    weights = out / f"{how.network}.safetensors"
    save_weights(trainer.average, weights)
    iou = dict(zip(data.labels.names, map(float, iou_per_class(confusion)), strict=True))
    card: dict[str, Any] = {
        "schema": 1,
        "network": how.network,
        "labels": list(data.labels.names),
        "colors": [list(color) for color in data.labels.colors],
        "training": json.loads(json.dumps(asdict(replace(how, root=None)), default=str)),
        "val": {"miou": mean_iou(confusion), "iou": iou, "frames": "every frame of val"},
    }
    write_whole(out / f"{how.network}.json", (json.dumps(card, indent=1) + "\n").encode())
    return TrainingResult(
        weights=weights, steps=how.steps, val_miou=mean_iou(confusion), val_iou=iou
    )

"""Score an engine on a data set, side by side with the float graph that it came from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.calibration_data import open_pictures
from edgeseg.clips import ClipFlicker, compare_clip
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.options import root_for
from edgeseg.tables import needs
from edgeseg.types import Array, OnProgress
from edgeseg.verify import ClassMap, compare, float_reference


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The float graph on the same pictures."""

    miou: float
    iou: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How an engine did; IoU and drop in points, accuracy and agreement in percent."""

    data: str
    frames: int
    skipped: list[str]
    miou: float | None
    """None without masks, as are the others that need them."""
    iou: dict[str, float | None] | None
    pixel_accuracy: float | None
    agreement: float
    """Share of all pixels, void included, with the same label as in float."""
    reference: Reference | None
    drop: float | None
    drop_interval: tuple[float, float] | None
    """Paired bootstrap over the pictures, 95 %."""
    worst: str
    worst_agreement: float
    precision: str
    backend: str
    size: str
    """Of the network's input; labels are compared at the pictures' own size."""
    flicker: ClipFlicker | None = None
    """None unless the pictures were taken as a clip."""


def evaluate(
    engine: Engine | str | Path,
    data: str,
    *,
    root: str | Path | None = None,
    count: int | None = None,
    class_map: ClassMap | None = None,
    clip: bool = False,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score `engine` on `data` ("NAME:SPLIT"), all pictures or `count` spread over them.

    Each picture is labelled alone; as a `clip` they are frames of a video, in order, and an engine
    that smooths carries its state from one to the next.

    Raises:
        UsageError: the classes do not match and no map says how, or a clip for an engine that
            smooths nothing.
        InputFileError: pictures or masks are unreadable or do not fit each other.
    """
    with needs("graph"):
        from edgeseg.graph.load import load_model

    if clip and count is not None:
        raise UsageError(
            "a clip is all of its pictures in order, not some of them", fix="leave --count out"
        )
    opened = open_pictures(
        data, root=root_for(data, Path(root) if root else None), split="test", count=count
    )
    own = engine if isinstance(engine, Engine) else Engine.open(engine)
    try:
        if own.manifest.mask_size == "network":
            raise UsageError(
                "labels at the network's size cannot be scored against the pictures' masks",
                fix="build the engine with labels at the frame's size",
            )
        reference = float_reference(load_model(own.folder / "float.onnx"), own.manifest)
        flicker = None
        if clip:
            result, flicker = compare_clip(own, reference, opened, class_map, on_progress)
        else:
            result = compare(
                own, reference, own.labels, opened, class_map=class_map, on_progress=on_progress
            )
    finally:
        if own is not engine:
            own.close()
    worst = int(np.argmin(result.agreement))
    drop, low, high = result.drop_and_interval() if result.scored else (None, None, None)
    return Evaluation(
        data=opened.name,
        frames=len(result.frame_names),
        skipped=result.skipped,
        miou=result.miou(result.built) if result.scored else None,
        iou=_named(result.names, result.iou(result.built)) if result.scored else None,
        pixel_accuracy=result.accuracy(result.built) if result.scored else None,
        agreement=float(np.mean(result.agreement)),
        reference=Reference(
            miou=result.miou(result.reference),
            iou=_named(result.names, result.iou(result.reference)),
        )
        if result.scored
        else None,
        drop=drop,
        drop_interval=(low, high) if low is not None and high is not None else None,
        worst=result.frame_names[worst],
        worst_agreement=result.agreement[worst],
        precision=own.manifest.precision.value,
        backend=own.backend_name,
        size=own.manifest.size,
        flicker=flicker,
    )


def read_class_map(path: Path) -> ClassMap:
    """The map at `path`: `Road = ["road", "marking"]`, a data set's class and the network's."""
    from edgeseg.documents import read_toml
    from edgeseg.errors import InputFileError

    values = read_toml(path)
    for name, members in values.items():
        if not isinstance(members, list) or not all(isinstance(m, str) for m in members):
            raise InputFileError(
                f"{path}: {name} is no list of class names", fix='write Road = ["road", "marking"]'
            )
    return values


def _named(names: tuple[str, ...], values: Array) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(names, values, strict=True)
    }

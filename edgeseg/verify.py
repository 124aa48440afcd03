"""A built engine against the float graph, picture by picture, at label level."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeseg.datasets import readable
from edgeseg.errors import BuildError, UsageError
from edgeseg.manifest import Manifest, Measured
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.metrics.bootstrap import drop_interval
from edgeseg.metrics.confusion import confusion_of, iou_per_class, mean_iou, pixel_accuracy
from edgeseg.tables import needs
from edgeseg.types import (
    IGNORE,
    Array,
    Counts,
    Dataset,
    Floats,
    Labels,
    OnProgress,
    Pixels,
    Size,
)

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgeseg.backends.floats import RunGraph

LabelsOf: TypeAlias = Callable[[Pixels], Pixels]
ClassMap: TypeAlias = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How the network's ids and the data set's ids meet in the classes that are scored."""

    names: tuple[str, ...]
    from_network: Array
    from_truth: Array
    """uint8 (256,): id to scored class; what is not scored shares one further class."""


@dataclass(kw_only=True)
class Comparison:
    """What was found, frame by frame; masks are scored where there are any."""

    names: tuple[str, ...]
    frame_names: list[str] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    reference: list[Counts] = field(default_factory=list)
    built: list[Counts] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def scored(self) -> bool:
        """Whether there were masks."""
        return bool(self.built)

    def iou(self, which: list[Counts]) -> Array:
        """IoU in points of each scored class, over all frames together."""
        return iou_per_class(np.sum(which, 0))[: len(self.names)]

    def miou(self, which: list[Counts]) -> float:
        """The mean of `iou` over the classes that occur."""
        total = np.sum(which, 0)
        if len(total) == len(self.names):
            return mean_iou(total)
        return float(np.nanmean(self.iou(which)))

    def accuracy(self, which: list[Counts]) -> float:
        """Pixel accuracy in percent."""
        return pixel_accuracy(np.sum(which, 0))

    def drop_and_interval(self) -> tuple[float, float, float]:
        """Reference minus built in points, and its paired 95 % bootstrap interval."""
        point = self.miou(self.reference) - self.miou(self.built)
        _, low, high = drop_interval(np.stack(self.reference), np.stack(self.built))
        return point, low, high


def scoring_for(network: Labels, data: Labels, class_map: ClassMap | None) -> Scoring:
    """The scored classes; without a map, both must have the same classes.

    Raises:
        UsageError: they have not, or the map names a class that neither has.
    """
    own = np.full(256, IGNORE, np.uint8)
    truth = np.full(256, IGNORE, np.uint8)
    if class_map is None:
        if len(network) != len(data) or (network.names != data.names and not _unnamed(data)):
            raise UsageError(
                f"the network's classes ({', '.join(network.names)}) are not those of the data "
                f"({', '.join(data.names)})",
                fix="say which belong together with --map MAP.toml, such as Road = "
                f'["{network.names[0]}"]',
            )
        own[: len(network)] = truth[: len(network)] = range(len(network))
        return Scoring(names=data.names, from_network=own, from_truth=truth)
    rest = len(class_map)
    own[: len(network)] = truth[: len(data)] = rest
    for index, (name, members) in enumerate(class_map.items()):
        truth[_index(data, name, "the data set")] = index
        for member in members:
            own[_index(network, member, "the network")] = index
    return Scoring(names=tuple(class_map), from_network=own, from_truth=truth)


def compare(
    built: LabelsOf,
    reference: LabelsOf,
    network: Labels,
    data: Dataset,
    *,
    class_map: ClassMap | None = None,
    on_progress: OnProgress | None = None,
    on_frame: Callable[[Pixels, Pixels, Pixels, Pixels | None], None] | None = None,
) -> Comparison:
    """Run both on every picture of `data`.

    `on_frame` is called with the picture, both label maps and the mask.
    """
    scoring: Scoring | None = None
    result = Comparison(names=network.names)
    for index, frame in readable(data, result.skipped):
        expected, found = reference(frame.image), built(frame.image)
        result.frame_names.append(frame.name)
        result.agreement.append(agreement_percent(expected, found))
        if frame.mask is not None:
            scoring = scoring or scoring_for(network, data.labels, class_map)
            result.names = scoring.names
            classes = len(scoring.names) + (class_map is not None)
            truth = scoring.from_truth[frame.mask]
            for labels, counts in ((expected, result.reference), (found, result.built)):
                counts.append(confusion_of(truth, scoring.from_network[labels], classes))
        if on_frame:
            on_frame(frame.image, expected, found, frame.mask)
        if on_progress:
            on_progress("verify", index + 1, len(data))
    return result


def float_reference(core: "ModelProto", manifest: Manifest) -> LabelsOf:
    """Labels by the float core, with head and tail in numpy: not by the graph under test."""
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
    return labels_by(float_runner(core.SerializeToString()), manifest)


def labels_by(
    run: "RunGraph", manifest: Manifest, *, on_logits: Callable[[Floats], None] | None = None
) -> LabelsOf:
    """Labels by a function that runs a core, with head and tail in numpy.

    `on_logits` sees the logits float32 (C, h, w) of each picture, valid until it returns.

    Raises:
        BuildError: a NaN or an infinity among the logits of a picture.
    """
    with needs("openvino"):
        from edgeseg.backends.head import network_pixels
        from edgeseg.backends.tail import LabelsFromLogits
    tails: dict[Size, LabelsFromLogits] = {}

    def labels_of(image: Pixels) -> Pixels:
        size = Size(*image.shape[:2])
        pixels = network_pixels(
            image,
            manifest.network_size,
            order=manifest.order,
            gain=manifest.gain,
            bias=manifest.bias,
        )
        mask = size if manifest.mask_size == "frame" else manifest.network_size
        labels = np.empty(mask, np.uint8)
        if mask not in tails:
            tails[mask] = LabelsFromLogits(mask)
        logits = run({"pixels": pixels})["logits"][0].astype(np.float32)
        if not np.isfinite(logits).all():
            raise BuildError(
                f"{manifest.name} has scores that are NaN or infinite on a picture",
                fix="look at the weights and at the description of its pixels",
            )
        if on_logits:
            on_logits(logits)
        tails[mask](logits, labels)
        return labels

    return labels_of


def measured(result: Comparison, data: str, *, held_out: bool) -> Measured:
    """`result` in the form that the manifest keeps."""
    worst = int(np.argmin(result.agreement))
    values: dict[str, object] = {}
    if result.scored:
        drop, low, high = result.drop_and_interval()
        pairs = zip(result.iou(result.reference), result.iou(result.built), strict=True)
        values = {
            "reference_miou": result.miou(result.reference),
            "miou": result.miou(result.built),
            "drop": drop,
            "drop_interval": (low, high),
            "iou": {
                name: (_number(expected), _number(found))
                for name, (expected, found) in zip(result.names, pairs, strict=True)
            },
        }
    return Measured(
        data=data,
        frames=len(result.frame_names),
        skipped=result.skipped,
        held_out=held_out,
        agreement=float(np.mean(result.agreement)),
        worst=result.frame_names[worst],
        worst_agreement=result.agreement[worst],
        **values,  # type: ignore[arg-type]
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _unnamed(labels: Labels) -> bool:
    return all(name.isdigit() for name in labels.names)


def _index(labels: Labels, name: str, whose: str) -> int:
    if name not in labels.names:
        raise UsageError(f"{whose} has no class {name!r}", fix=f"it has: {', '.join(labels.names)}")
    return labels.names.index(name)

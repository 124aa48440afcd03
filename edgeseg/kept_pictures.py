"""The few pictures with float labels in an engine folder: what a board verifies its plan with."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.datasets import readable, spread
from edgeseg.engine import Engine
from edgeseg.errors import AccuracyGateFailed
from edgeseg.manifest import Manifest, Measured, read_manifest
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.recipe import Gate
from edgeseg.tables import needs
from edgeseg.types import Array, Dataset, Pixels, Size
from edgeseg.verify import Comparison, float_reference, measured

if TYPE_CHECKING:
    from onnx import ModelProto

FILE = "verify.npz"
COUNT = 8
ROUNDING = 1.5
"""Percent of the pixels that INT8 kernels may label otherwise than the graph's own arithmetic."""
ONE_SIZE = frozenset({"tensorrt"})
"""Backends whose plans take frames of one size and no other."""

log = logging.getLogger(__name__)


class Keeper:
    """Keeps a few pictures with their float labels and masks, spread over all."""

    def __init__(self, total: int) -> None:
        self._wanted = {index * total // COUNT for index in range(COUNT)}
        self._seen = 0
        self._kept: list[tuple[Pixels, Pixels, Pixels | None]] = []

    def see(self, image: Pixels, expected: Pixels, found: Pixels, mask: Pixels | None) -> None:
        """Keep this picture if it is one of the chosen, and of the first one's size."""
        del found
        if self._seen in self._wanted and (not self._kept or self._kept[0][0].shape == image.shape):
            self._kept.append((image, expected.copy(), mask))
        self._seen += 1

    def write(self, stage: Path) -> None:
        """Write them into the folder whose graph is finished.

        `images`, `float_labels`, `graph_agreement` (what exact arithmetic keeps of the labels, in
        percent) and, where there are masks, `truth`.

        Raises:
            BuildError: the graph gives scores that are NaN or infinite.
        """
        images = np.stack([image for image, _, _ in self._kept])
        expected = np.stack([labels for _, labels, _ in self._kept])
        arrays: dict[str, Array] = {
            "images": images,
            "float_labels": expected,
            "graph_agreement": np.array(_agreement_of_graph(stage, images, expected)),
        }
        masks = [mask for _, _, mask in self._kept if mask is not None]
        if len(masks) == len(self._kept):
            arrays["truth"] = np.stack(masks)
        np.savez_compressed(stage / FILE, allow_pickle=False, **arrays)


def keep_pictures(data: Dataset, core: "ModelProto", manifest: Manifest, stage: Path) -> None:
    """Write a few pictures at the frame's size, for whoever compiles the graph later."""
    fitting = resized_to(manifest.frame_size, spread(data, COUNT))
    keeper = Keeper(len(fitting))
    reference = float_reference(core, manifest)
    for _, frame in readable(fitting, []):
        labels = reference(frame.image)
        keeper.see(frame.image, labels, labels, frame.mask)
    keeper.write(stage)


def verified_from_folder(engine: Engine, folder: Path) -> Measured | None:
    """What the engine keeps of the float labels that the folder brought along.

    Raises:
        AccuracyGateFailed: clearly less than the graph itself keeps.
    """
    path = folder / FILE
    if not path.is_file():
        log.warning("%s brings no pictures to verify with", folder)
        return None
    with np.load(path) as held:
        images, expected = held["images"], held["float_labels"]
        known = float(held["graph_agreement"]) if "graph_agreement" in held else None
    size = Size(*images.shape[1:3])
    if engine.backend_name in ONE_SIZE and size != engine.frame_size:
        log.warning(
            "nothing was verified: the folder's pictures are %s, and the plan takes %s alone",
            size, engine.frame_size,
        )  # fmt: skip
        return None
    result = Comparison(names=engine.labels.names)
    for index, (image, labels) in enumerate(zip(images, expected, strict=True)):
        result.frame_names.append(f"verify-{index}")
        result.agreement.append(agreement_percent(engine(image), labels))
    found = measured(result, FILE, held_out=True)
    if known is None:
        known = _agreement_of_graph(folder, images, expected)
    least = min(Gate().min_agreement, known) - ROUNDING
    if found.agreement < least and engine.backend_name != "null":
        raise AccuracyGateFailed(
            f"the {engine.backend_name} plan agrees with the float labels on only "
            f"{found.agreement:.2f} % of the pixels; nothing was published",
            fix="build again from the recipe, with the data set at hand",
        )
    return found


def resized_to(size: Size, data: Dataset) -> Dataset:
    """`data`, its pictures and masks stretched to `size` where they have another one."""
    with needs("video"):
        from edgeseg.datasets.resized import Resized
    return Resized(data, size)


def _agreement_of_graph(folder: Path, images: Pixels, expected: Pixels) -> float:
    """What the graph itself, in exact arithmetic, keeps of the float labels, in percent."""
    with needs("graph"):
        from edgeseg.graph.cut import core_of
        from edgeseg.graph.load import load_model
    labels_of = float_reference(core_of(load_model(folder / "graph.onnx")), read_manifest(folder))
    pairs = zip(images, expected, strict=True)
    return float(np.mean([agreement_percent(labels_of(image), labels) for image, labels in pairs]))

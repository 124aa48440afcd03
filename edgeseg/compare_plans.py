"""The plans of one engine folder on the same frames: how many pixels they label alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.backends import BACKENDS
from edgeseg.backends.chosen import chosen
from edgeseg.engine import GRAPH, Engine
from edgeseg.errors import UsageError
from edgeseg.kept_pictures import FILE
from edgeseg.manifest import Manifest, check_files, read_manifest
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.tables import known, needs
from edgeseg.types import Array, Pixels, TensorSpec
from edgeseg.video.rgb import write_rgb

GRAPH_ITSELF = "onnxruntime"
"""What is compared under this name is graph.onnx, whether or not there is a plan for it."""
DRAWN = 2
"""Frames of the synthetic street, for a folder that brings no pictures."""


@dataclass(frozen=True, kw_only=True)
class PlanAgreement:
    """One output of the plan and of another one."""

    other: str
    output: str
    agreement: float
    """Percent of all pixels."""
    different: int
    """Pixels, of all frames together."""
    worst: str
    """The frame with the least agreement."""
    worst_agreement: float


@dataclass(frozen=True, kw_only=True)
class PlanComparison:
    """One plan against others."""

    backend: str
    data: str
    """verify.npz of the folder, or the synthetic street."""
    frames: int
    against: list[PlanAgreement]


def compare_plans(
    folder: Path, others: Sequence[str], *, backend_name: str = "auto"
) -> PlanComparison:
    """The plan that `backend_name` chooses against the plans `others` of the same folder.

    `onnxruntime` among them is the graph itself, in the arithmetic that it says.

    Raises:
        UsageError: no such backend, or the plan against itself.
        EngineMismatch: no such plan in the folder, or one of another machine.
        MissingPackage: Polygraphy or a backend's package is not installed.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    own = chosen(manifest, backend_name, folder)
    _refuse(own, others)
    for name in others:
        if name != GRAPH_ITSELF:
            chosen(manifest, name, folder)
    with needs("tensorrt"):
        from edgeseg.backends.peers import outputs_of
    frames = _frames(folder, manifest)
    runners = [_runner(folder, manifest, own)]
    runners += [
        _graph_runner(folder) if name == GRAPH_ITSELF else _runner(folder, manifest, name)
        for name in dict.fromkeys(others)
    ]
    feeds = [{"frame": pixels} for pixels in frames.values()]
    mine, *rest = outputs_of(runners, feeds).items()
    return PlanComparison(
        backend=own,
        data=FILE if (folder / FILE).is_file() else "synthetic",
        frames=len(frames),
        against=[
            _agreement(name, output, mine[1], found, list(frames))
            for name, found in rest
            for output in mine[1][0]
        ],
    )


def _refuse(own: str, others: Sequence[str]) -> None:
    for name in others:
        known(BACKENDS, name, kind="backend")
    if own in others and own != GRAPH_ITSELF:
        raise UsageError(
            f"the {own} plan is the one that is compared", fix="name others, such as onnxruntime"
        )


def _frames(folder: Path, manifest: Manifest) -> dict[str, Pixels]:
    """Frames (1, ...) as the camera would give them, by name."""
    with needs("video"):
        from edgeseg.scene import Street
        from edgeseg.video.pixels import resized
    size = manifest.frame_size
    if (folder / FILE).is_file():
        with np.load(folder / FILE) as held:
            images = {f"verify-{i}": resized(image, size) for i, image in enumerate(held["images"])}
    else:
        images = {f"street-{seed}": Street(seed, size).frame(0.0)[0] for seed in range(DRAWN)}
    frames = {}
    for name, image in images.items():
        frames[name] = np.empty((1, *manifest.frame_format.frame_shape(size)), np.uint8)
        write_rgb(image, frames[name][0], manifest.frame_format, yuv=manifest.yuv_kind)
    return frames


def _runner(folder: Path, manifest: Manifest, name: str) -> Any:
    from edgeseg.backends.peers import PlanRunner

    @contextmanager
    def opened() -> Iterator[Any]:
        with Engine.open(folder, backend_name=name) as engine:
            slot = engine.new_slot()

            def compute(feed: Mapping[str, Array]) -> dict[str, Array]:
                np.copyto(slot.inputs["frame"], feed["frame"])
                engine.launch(slot)
                # A plan for several cameras was given the frame for each of them.
                seen = (item for item in slot.outputs.items() if item[1].dtype == np.uint8)
                return {name: array[:1] for name, array in seen}

            yield compute

    shape = (1, *manifest.frame_format.frame_shape(manifest.frame_size))
    return PlanRunner(name, opened, [TensorSpec(name="frame", shape=shape, dtype=np.dtype("u1"))])


def _graph_runner(folder: Path) -> Any:
    from edgeseg.backends.peers import graph_runner

    with needs("graph"):
        from edgeseg.graph.load import load_model
        from edgeseg.graph.smooth import alone
    return graph_runner(GRAPH, alone(load_model(folder / GRAPH)).SerializeToString())


def _agreement(
    other: str,
    output: str,
    mine: Sequence[Mapping[str, Array]],
    found: Sequence[Mapping[str, Array]],
    names: Sequence[str],
) -> PlanAgreement:
    pairs = [(a[output], b[output]) for a, b in zip(mine, found, strict=True)]
    each = [agreement_percent(a, b) for a, b in pairs]
    worst = int(np.argmin(each))
    return PlanAgreement(
        other=other,
        output=output,
        agreement=float(np.mean(each)),
        different=sum(int((a != b).sum()) for a, b in pairs),
        worst=names[worst],
        worst_agreement=each[worst],
    )

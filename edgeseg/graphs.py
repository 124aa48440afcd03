"""The graphs of an engine folder: float core, frame graph, and its typed dialect for TensorRT."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg import __version__
from edgeseg.calibration import calibration_data
from edgeseg.datasets import readable, spread
from edgeseg.errors import BuildError
from edgeseg.files import write_whole
from edgeseg.gate import verification_data
from edgeseg.manifest import Manifest
from edgeseg.networks import RANDOM
from edgeseg.publish import seal
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Ranges, write_ranges
from edgeseg.recipe import Recipe
from edgeseg.tables import needs
from edgeseg.types import Array, OnProgress, Precision
from edgeseg.video.rgb import write_rgb

if TYPE_CHECKING:
    from onnx import ModelProto

TYPED = "graph.typed.onnx"
TYPED_PICTURES = 8
"""That FP16 is tried on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the graphs are made of."""

    recipe: Recipe
    core: "ModelProto"
    """In float."""
    quantizer: Quantizer | None = None
    ranges: Ranges | None = None
    ready: "ModelProto | None" = None
    """A core that came quantised; it is taken as it is."""
    keep: tuple[str, ...] = ()
    """The layers that INT8 could compute and that stay float."""


def write_graphs(
    parts: Parts, stage: Path, *, typed: bool, on_progress: OnProgress | None = None
) -> Manifest:
    """Write the graphs and documents of the engine into `stage`; its manifest without a plan.

    Raises:
        BuildError: a graph that TensorRT would refuse, or that FP16 spoils whatever stays FP32.
    """
    with needs("graph"):
        from edgeseg.graph.reframe import framed
    inner = parts.ready or parts.core
    if parts.quantizer is not None:
        inner = parts.quantizer.graph(parts.keep)
    if parts.ranges is not None:
        write_ranges(parts.ranges, stage / "ranges.json")
    manifest = draft(parts, inner)
    graph = framed(inner, manifest)
    _check_placement(graph, strange=parts.ready is not None)
    write_whole(stage / "float.onnx", parts.core.SerializeToString())
    write_whole(stage / "graph.onnx", graph.SerializeToString())
    if typed and manifest.precision is not Precision.FP32:
        manifest = _with_typed(parts, graph, manifest, stage, on_progress)
    return seal(manifest, stage)


def _with_typed(
    parts: Parts,
    graph: "ModelProto",
    manifest: Manifest,
    stage: Path,
    on_progress: OnProgress | None,
) -> Manifest:
    """Write the typed graph; the manifest then names what stays FP32 in it."""
    with needs("graph"):
        from edgeseg.graph.smooth import alone, float_nodes
        from edgeseg.graph.typed import fp32_nodes_of, typed
    from edgeseg.half import fp32_nodes

    keep = float_nodes(graph)
    if _has_pictures(parts.recipe):
        found = fp32_nodes(alone(graph), lambda: _frames(parts.recipe), on_progress=on_progress)
        keep |= found.keep_fp32
        log.info("FP16 keeps %.2f %% of the labels", found.agreement)
    else:
        log.warning("no pictures were named: nobody looked what overflows in FP16")
    model = typed(graph, keep_fp32=keep)
    write_whole(stage / TYPED, model.SerializeToString())
    return manifest.model_copy(update={"fp32_nodes": fp32_nodes_of(model)})


def _has_pictures(recipe: Recipe) -> bool:
    return recipe.calibration is not None or verification_data(recipe) is not None


def _frames(recipe: Recipe) -> Iterator[Array]:
    """A few pictures as the camera would give them, (1, ...) uint8 each."""
    chosen = verification_data(recipe)
    data = calibration_data(recipe) if recipe.calibration or chosen is None else chosen[0]
    size = recipe.frame_size
    with needs("video"):
        from edgeseg.video.pixels import resized
    for _, frame in readable(spread(data, TYPED_PICTURES), []):
        pixels = np.empty((1, *recipe.frame_format.frame_shape(size)), np.uint8)
        write_rgb(
            resized(frame.image, size),
            pixels[0],
            recipe.frame_format,
            yuv=recipe.yuv_kind or "bt601-limited",
        )
        yield pixels


def _check_placement(graph: "ModelProto", *, strange: bool) -> None:
    """Refuse a graph of ours that breaks a rule; say it of a stranger's."""
    with needs("graph"):
        from edgeseg.graph.lint import lint
    findings = lint(graph)
    if not findings:
        return
    first = findings[0]
    if strange:
        log.warning(
            "%d places in the quantised file are not as TensorRT wants them, such as %s: %s",
            len(findings), first.node, first.rule,
        )  # fmt: skip
        return
    raise BuildError(
        f"the graph breaks TensorRT's rules in {len(findings)} places; the first is "
        f"{first.node}: {first.rule}",
        fix="please report this network",
    )


def draft(parts: Parts, inner: "ModelProto") -> Manifest:
    """The manifest of an engine with the core `inner`, before anything was built or measured."""
    with needs("graph"):
        from edgeseg.graph.cost import cost_of
        from edgeseg.graph.quantize import quantization_hash
    recipe, cost = parts.recipe, cost_of(parts.core)
    assert recipe.description is not None
    gain, bias = recipe.description.gain_and_bias()
    labels = recipe.description.to_labels()
    return Manifest(
        edgeseg=__version__,
        name=recipe.name,
        network=recipe.network or (recipe.onnx.name if recipe.onnx else ""),
        weights=_which_weights(recipe),
        precision=recipe.precision,
        size=recipe.size,
        frame=recipe.frame,
        frame_format=recipe.frame_format,
        yuv=recipe.yuv_kind,
        mask_size=recipe.mask_size,
        smooth=recipe.smooth,
        order=recipe.description.order,
        gain=gain,
        bias=bias,
        labels=list(labels.names),
        colors=list(labels.colors),
        macs=cost.macs,
        parameters=cost.parameters,
        quantization=quantization_hash(inner) if inner is not parts.core else None,
        float_layers=list(parts.keep),
        int8_percent=parts.quantizer.int8_share(parts.keep) if parts.quantizer else None,
        files={},
        plans={},
    )


def _which_weights(recipe: Recipe) -> str:
    if recipe.random_weights:
        return RANDOM
    file = recipe.weights or recipe.onnx
    return file.name if file else "shipped"


def patterns_as_layers(quantizer: Quantizer, patterns: Sequence[str]) -> list[str]:
    """The layers that `patterns` keep in float; the log says which and how much that is.

    Raises:
        UsageError: a pattern that matches no layer.
    """
    kept: dict[str, None] = {}
    for pattern, names in quantizer.matching(patterns).items():
        share = quantizer.int8_share(()) - quantizer.int8_share(names)
        if names != [pattern]:
            log.info(
                "--keep-fp16 %s keeps %d layers, %.2f %% of the MACs: %s",
                pattern, len(names), share, ", ".join(names),
            )  # fmt: skip
        kept.update(dict.fromkeys(names))
    return list(kept)

"""What `sensitivity` is to measure: the float core, its ranges and its recipe."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import InputFileError, UsageError
from edgeseg.graphs import Parts, draft
from edgeseg.manifest import Manifest, check_files, read_manifest
from edgeseg.options import Options
from edgeseg.origin import core_for, recipe_for
from edgeseg.quantization import quantizer_for
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Ranges, read_ranges
from edgeseg.recipe import Recipe, read_recipe
from edgeseg.tables import needs
from edgeseg.types import OnProgress, Precision

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A calibrated network."""

    recipe: Recipe
    core: "ModelProto"
    ranges: Ranges
    """Of the activations of `core`."""
    quantizer: Quantizer
    """Equalised, rounded and corrected as the recipe says; its core has the nodes of `core`."""

    def kept(self) -> list[str]:
        """The nodes that its recipe leaves in float."""
        with needs("graph"):
            from edgeseg.graph.quantize import is_kept
        patterns = self.recipe.keep_fp16
        named = [node.name for node in self.core.graph.node if is_kept(node.name, patterns)]
        modules = [
            layer.name
            for layer in self.quantizer.layers
            if layer.module and is_kept(layer.module, patterns)
        ]
        return list(dict.fromkeys([*named, *modules]))

    def manifest(self) -> Manifest:
        """Of an engine that labels pictures at their own size; nothing in it was built."""
        return draft(Parts(recipe=self.recipe, core=self.core), self.core)


def subject_of(source: Path, options: Options, *, on_progress: OnProgress | None = None) -> Subject:
    """The network, ONNX file, recipe or engine folder `source`, calibrated.

    Raises:
        UsageError: nothing in it is quantised, or `options` do not belong to it.
        InputFileError: a file that is missing, unreadable or undescribed.
    """
    if source.is_dir():
        return _from_engine(source, options, on_progress)
    if source.suffix != ".toml":
        options = replace(options, precision=Precision.INT8)
    recipe = recipe_for(str(source), options)
    _refuse_float(recipe.precision, source)
    if recipe.random_weights:
        raise UsageError(
            f"{source} has random weights, whose labels mean nothing", fix="name trained weights"
        )
    core = core_for(recipe)
    _refuse_empty(core, source)
    quantizer, ranges = quantizer_for(recipe, core, on_progress=on_progress)
    return Subject(recipe=recipe, core=core, ranges=ranges, quantizer=quantizer)


def _from_engine(folder: Path, options: Options, on_progress: OnProgress | None) -> Subject:
    with needs("graph"):
        from edgeseg.graph.load import load_model
    if given := options.given():
        raise UsageError(
            f"{folder} is an engine folder: it says already what {', '.join(sorted(given))} is",
            fix="leave that out, or name the network and not its engine",
        )
    manifest = read_manifest(folder)
    _refuse_float(manifest.precision, folder)
    check_files(folder, manifest)
    core = load_model(folder / "float.onnx")
    _refuse_empty(core, folder)
    recipe = read_recipe(folder / "recipe.toml")
    try:
        quantizer, ranges = quantizer_for(recipe, core, on_progress=on_progress)
    except InputFileError as error:
        log.warning("without the steps that need calibration pictures: %s", error)
        ranges = read_ranges(folder / "ranges.json")
        quantizer = Quantizer(core, {name: item.amax for name, item in ranges.tensors.items()})
    return Subject(recipe=recipe, core=core, ranges=ranges, quantizer=quantizer)


def _refuse_float(precision: Precision, source: Path) -> None:
    if precision is not Precision.INT8:
        raise UsageError(
            f"{source} is {precision.value}: nothing in it is quantised",
            fix="name an INT8 recipe or engine, or a network with --calibrate DATA:train",
        )


def _refuse_empty(core: "ModelProto", source: Path) -> None:
    with needs("graph"):
        from edgeseg.graph.quantize import quantized_layers
    if not quantized_layers(core):
        raise UsageError(
            f"{source} has no layer that INT8 can compute: no convolution with constant weights",
            fix="build it in float; there is nothing to measure",
        )

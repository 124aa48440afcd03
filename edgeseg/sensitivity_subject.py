"""What `sensitivity` is to measure: the float core, its ranges and its recipe."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg import __version__
from edgeseg.calibration import ranges_for
from edgeseg.errors import UsageError
from edgeseg.manifest import Manifest, check_files, read_manifest
from edgeseg.origin import Options, core_for, recipe_for
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Ranges, read_ranges
from edgeseg.recipe import Recipe, read_recipe
from edgeseg.tables import needs
from edgeseg.types import OnProgress, Precision

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A calibrated network."""

    recipe: Recipe
    core: "ModelProto"
    ranges: Ranges

    def quantizer(self) -> Quantizer:
        """The quantiser of its core."""
        amax = {name: item.amax for name, item in self.ranges.tensors.items()}
        return Quantizer(self.core, amax)

    def kept(self) -> list[str]:
        """The nodes that its recipe leaves in float."""
        with needs("graph"):
            from edgeseg.graph.quantize import is_kept
        patterns = self.recipe.keep_fp16
        return [node.name for node in self.core.graph.node if is_kept(node.name, patterns)]

    def manifest(self) -> Manifest:
        """Of an engine that labels pictures at their own size; nothing in it was built."""
        description = self.recipe.description
        assert description is not None
        gain, bias = description.gain_and_bias()
        labels = description.to_labels()
        return Manifest(
            edgeseg=__version__,
            name=self.recipe.name,
            network=self.recipe.network or str(self.recipe.onnx),
            precision=self.recipe.precision,
            size=self.recipe.size,
            frame=self.recipe.frame,
            frame_format=self.recipe.frame_format,
            mask_size="frame",
            order=description.order,
            gain=gain,
            bias=bias,
            labels=list(labels.names),
            colors=list(labels.colors),
            macs=0,
            parameters=0,
            quantization=None,
            files={},
            plans={},
        )


def subject_of(source: Path, options: Options, *, on_progress: OnProgress | None = None) -> Subject:
    """The network, ONNX file, recipe or engine folder `source`, calibrated.

    Raises:
        UsageError: nothing in it is quantised, or `options` do not belong to it.
        InputFileError: a file that is missing, unreadable or undescribed.
    """
    if source.is_dir():
        return _from_engine(source, options)
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
    ranges = ranges_for(recipe, core, on_progress=on_progress)
    return Subject(recipe=recipe, core=core, ranges=ranges)


def _from_engine(folder: Path, options: Options) -> Subject:
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
    ranges = read_ranges(folder / "ranges.json")
    return Subject(recipe=read_recipe(folder / "recipe.toml"), core=core, ranges=ranges)


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

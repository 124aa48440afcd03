"""The recipe: what to build, as TOML. Everything that determines an engine stands in it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from edgeseg.documents import Document, parsed, read_toml, toml_text
from edgeseg.files import write_whole
from edgeseg.frames import YuvKind, usual_yuv
from edgeseg.types import Labels, PixelFormat, Precision, Size, size_from_text

Triple = tuple[float, float, float]
SizeText = Annotated[str, AfterValidator(lambda text: str(size_from_text(text)))]

YUV_FORMATS = frozenset({PixelFormat.NV12, PixelFormat.I420})


class Description(Document):
    """How a network wants its pixels and what its scores mean."""

    order: Literal["rgb", "bgr"] = "rgb"
    mean: Triple
    std: Triple
    scale: float = 1.0
    """pixels = (bytes * scale - mean) / std, per channel in `order`."""
    layout: Literal["auto", "nchw", "nhwc"] = "auto"
    output: Literal["logits", "softmax", "sigmoid"] = "logits"
    labels: list[str]
    colors: list[tuple[int, int, int]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> "Description":
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        if self.colors and len(self.colors) != len(self.labels):
            raise ValueError(f"{len(self.colors)} colors for {len(self.labels)} labels")
        return self

    def to_labels(self) -> Labels:
        """The classes, with a colour wheel where no colours were given."""
        colors = tuple(self.colors) or tuple(
            _wheel(i, len(self.labels)) for i in range(len(self.labels))
        )
        return Labels(names=tuple(self.labels), colors=colors)

    def gain_and_bias(self) -> tuple[Triple, Triple]:
        """Pixels = bytes * gain + bias, per channel in `order`."""
        gain = tuple(self.scale / std for std in self.std)
        bias = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return gain, bias  # type: ignore[return-value]


class Calibration(Document):
    """Which pictures the ranges come from, and how."""

    data: str
    root: Path | None = None
    count: int = Field(default=100, ge=1)
    method: str = "mse"


class Quantization(Document):
    """Which steps make INT8 better than rounding to the nearest alone."""

    equalize: bool = True
    """Channels scaled across layers, so that one step suits all of a tensor."""
    scales: bool = True
    """Weight scales of least squared error."""
    rounding: bool = True
    """Weights rounded with regard to what the layer reads."""
    bias: bool = True
    """Biases that keep the mean of each channel."""
    tie_concat: bool = False
    """Equal scales for the inputs of a Concat: faster where they would be requantised."""
    per_tensor_deconv: bool = True
    """One scale for all weights of a ConvTranspose, since TensorRT takes none for each channel."""
    spare: float = Field(default=2.5, ge=0, le=100)
    """Percent of the MACs that may stay float in the first layers, where they make the noise."""


class Gate(Document):
    """What the built engine has to keep, and on which pictures that is measured."""

    val: str | None = None
    root: Path | None = None
    count: int | None = Field(default=None, ge=1)
    masks: bool = True
    """Whether masks are scored, where there are any."""
    map: dict[str, list[str]] | None = None
    """Which of the network's classes make up each class of the data set."""
    budget: bool = False
    """Whether the limits hold at the upper end of the interval; else for the drop itself."""
    max_drop: float = 1.0
    """In mIoU points, where there are labels."""
    max_class_drop: float | None = None
    """In points of the IoU of any single class."""
    min_agreement: float = Field(default=99.0, ge=0, le=100)
    """In percent of the pixels, where there are none."""


class PlanOptions(Document):
    """How TensorRT compiles the graph; a CPU takes none of it."""

    workspace_mib: int | None = Field(default=None, ge=16)
    """Scratch memory that a kernel may use; None is what the board can spare."""
    optimization_level: int | None = Field(default=None, ge=0, le=5)
    """How long kernels are chosen among; None is TensorRT's own default."""
    version_compatible: bool = False
    """Whether later versions of TensorRT are to load the plan too."""
    timing_cache: bool = True
    """Whether the kernels measured are remembered in engines/.cache."""
    cameras: int = Field(default=1, ge=1, le=64)
    """The most frames that one launch takes, one of each camera."""
    dla: int | None = Field(default=None, ge=0)
    """The DLA core that layers go to; None is the GPU alone."""
    gpu_fallback: bool = False
    """Whether what the DLA cannot run goes to the GPU."""

    @model_validator(mode="after")
    def _consistent(self) -> "PlanOptions":
        if self.gpu_fallback and self.dla is None:
            raise ValueError("gpu_fallback is for layers that a DLA cannot run: give dla too")
        return self


class Recipe(Document):
    """What to build."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    network: str | None = None
    onnx: Path | None = None
    weights: Path | None = None
    random_weights: bool = False
    """For speed alone: what such an engine sees means nothing."""
    variant: dict[str, bool | int | float | str | list[int | float] | None] = Field(
        default_factory=dict
    )
    """Keyword arguments of the network's function in the zoo."""
    scales: list[float] = Field(default_factory=lambda: [1.0], min_length=1)
    """The network runs once at each, and the scores are fused."""
    flip: bool = False
    """It runs on the mirrored picture as well."""
    fusion: Literal["mean", "softmax-mean", "max"] = "mean"
    description: Description | None = None
    precision: Precision = Precision.FP32
    backend: str = "auto"
    size: SizeText
    frame: SizeText
    frame_format: PixelFormat = PixelFormat.RGB8
    yuv: YuvKind | None = None
    """Matrix and range of nv12 and i420 frames; None is what is usual for their size."""
    mask_size: Literal["frame", "network"] = "frame"
    smooth: float | None = Field(default=None, gt=0, lt=1)
    """The share of the frame before that is kept where nothing changes; None keeps nothing."""
    keep_fp16: list[str] = Field(default_factory=list)
    calibration: Calibration | None = None
    quantization: Quantization = Quantization()
    gate: Gate = Gate()
    tensorrt: PlanOptions = PlanOptions()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.yuv is not None and self.frame_format not in YUV_FORMATS:
            raise ValueError(f"yuv = {self.yuv} has no use for {self.frame_format.value} frames")
        return self

    @property
    def yuv_kind(self) -> YuvKind | None:
        """Matrix and range of the frames; None for those that are no YUV."""
        if self.frame_format not in YUV_FORMATS:
            return None
        return self.yuv or usual_yuv(self.frame_size)

    @property
    def name(self) -> str:
        """What the engine and its calibration are called by default."""
        source = self.network or (self.onnx.stem if self.onnx else "network")
        return f"{source}-{self.precision.value}-{self.size}"

    @property
    def network_size(self) -> Size:
        """(height, width) of the network's input."""
        return size_from_text(self.size)

    @property
    def frame_size(self) -> Size:
        """(height, width) of the camera's frame."""
        return size_from_text(self.frame)


def read_recipe(path: Path) -> Recipe:
    """The recipe at `path`.

    Raises:
        InputFileError: missing, not TOML, or a key that is unknown or has a wrong value.
    """
    recipe: Recipe = parsed(Recipe, read_toml(path), path)
    return recipe


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write `recipe` as TOML to `path`, all or nothing; `read_recipe` gives it back equal."""
    write_whole(path, toml_text(recipe.model_dump(mode="json", by_alias=True)).encode())


def _wheel(index: int, count: int) -> tuple[int, int, int]:
    """Colour `index` of `count`, evenly round the colour wheel; the first one is dark."""
    if index == 0:
        return (32, 32, 32)
    position = 6.0 * (index - 1) / max(1, count - 1)
    ramps = (abs(position - 3) - 1, 2 - abs(position - 2), 2 - abs(position - 4))
    red, green, blue = (int(255 * min(1.0, max(0.0, ramp))) for ramp in ramps)
    return (red, green, blue)

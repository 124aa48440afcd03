"""The words that every part shares: sizes, pixel formats, labels, tensors, slots, options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError

IGNORE = 255
"""The label id that no metric counts."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Counts: TypeAlias = npt.NDArray[np.int64]
Array: TypeAlias = npt.NDArray[Any]

Buffer: TypeAlias = Pixels
"""Host memory that one party owns and another fills; never kept by the one that fills it."""

OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called as (step, done, total); total is None where it is not known beforehand."""

STATE, STATE_OUT = "state", "state_out"
"""Of a graph that smooths over time: what the frame before left, and what this one leaves."""

Fit: TypeAlias = Literal["stretch", "letterbox", "crop"]
MaskSize: TypeAlias = Literal["frame", "network"]


class RoundedWeights(NamedTuple):
    """The weights of a layer on the INT8 grid: weight = integers * scales, channel by channel."""

    integers: Array
    """int8, of the weight's shape."""
    scales: Floats
    """(outputs,), or () for one scale of all."""
    bias_shift: Floats
    """(outputs,), to be added to the bias."""


class Convolution(NamedTuple):
    """One convolution of a core."""

    name: str
    reads: str
    """The tensor that it reads, (1, C, H, W)."""
    weight: Floats
    """(outputs, C / groups, kernel height, kernel width)."""
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    """Top, left, bottom, right."""
    same: str | None
    """SAME_UPPER or SAME_LOWER, where the pads follow from the size."""
    groups: int


class Size(NamedTuple):
    """(height, width) in pixels; what a user types or reads is WIDTHxHEIGHT."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def size_from_text(text: str) -> Size:
    """The Size that "640x480" (width first) means.

    Raises:
        UsageError: not two whole numbers from 16 to 16384 with an x between them.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise UsageError(
            f"{text!r} is not a size", fix="give WIDTHxHEIGHT in pixels, such as 640x480"
        )
    size = Size(int(height), int(width))
    if not (16 <= size.height <= 16384 and 16 <= size.width <= 16384):
        raise UsageError(f"the size {text} is out of range", fix="use 16 to 16384 pixels a side")
    return size


class Precision(str, Enum):
    """What the weighted layers compute in; the rest is FP16 on a GPU and float32 on a CPU."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class PixelFormat(str, Enum):
    """How the bytes of one frame are laid out."""

    RGB8 = "rgb8"
    BGR8 = "bgr8"
    RGBA8 = "rgba8"
    BGRX8 = "bgrx8"
    NV12 = "nv12"
    I420 = "i420"

    def frame_shape(self, size: Size) -> tuple[int, ...]:
        """The shape of one frame, without the leading N.

        Raises:
            UsageError: a 4:2:0 format with an odd height or width.
        """
        if self in {PixelFormat.NV12, PixelFormat.I420}:
            if size.height % 2 or size.width % 2:
                raise UsageError(
                    f"{self.value} frames need an even width and height, got {size}",
                    fix=f"use {Size(size.height // 2 * 2, size.width // 2 * 2)}",
                )
            return (size.height * 3 // 2, size.width)
        channels = 4 if self in {PixelFormat.RGBA8, PixelFormat.BGRX8} else 3
        return (size.height, size.width, channels)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The classes in the order of their ids, each with its colour."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    """RGB, 0 to 255."""

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors) or not 1 <= len(self.names) <= IGNORE:
            raise UsageError(
                f"{len(self.names)} label names and {len(self.colors)} colours do not go together",
                fix="give 1 to 255 names, and one RGB colour for each",
            )

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> Pixels:
        """The colours as uint8 (256, 3) RGB; ids without a class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colors
        return table


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, shape and dtype of a network's input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class State(Protocol):
    """What a network remembers of one camera from frame to frame.

    Frames with the same state are launched in their order, one at a time. It goes with its engine.
    """

    def reset(self) -> None:
        """Forget it: the next frame is looked at alone."""


@dataclass(kw_only=True)
class Slot:
    """The memory of one frame in flight: allocated once by the engine, reused for ever.

    `inputs` and `outputs` are what the backend is bound to; a source writes into `pixels` (a view
    of the first input without N) and a sink reads `labels` (a view of the labels output).
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    pixels: Pixels
    labels: Pixels
    bound: object = None
    """What the backend keeps to this slot: its request, its addresses. Nobody else's business."""
    pending: Callable[[], None] | None = None
    """Waits until what `launch` put on a GPU is done; None where `launch` itself waited."""
    state: State | None = None
    """Of the frame's camera, for a network that remembers; None looks at the frame alone."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    """What the frame in the slot took: `infer`, and `post` where it is outside the graph."""


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What a backend may be told when it compiles a graph; a CPU takes the precision alone."""

    precision: Precision = Precision.FP32
    workspace_mib: int | None = None
    """Scratch memory that a kernel may use; None leaves what the board can spare."""
    optimization_level: int | None = None
    """TensorRT's, 0 to 5: the time spent on choosing kernels; None is its own default."""
    version_compatible: bool = False
    """A plan that later versions of TensorRT load too, and that is a little slower."""
    timing_cache: Path | None = None
    """The file in which measured kernels are remembered; None remembers nothing."""
    dla: int | None = None
    """The DLA core that layers go to where it can run them; None is the GPU alone."""
    gpu_fallback: bool = False
    """Layers that the DLA cannot run go to the GPU; else they are an error."""
    calibration_cache: bytes | None = None
    """TensorRT's text of tensor scales, for a DLA that takes no Q/DQ (8.6 to 10.7)."""
    float_nodes: frozenset[str] = frozenset()  # that stay out of INT8 there
    cameras: int = 1
    """The most frames at once, where the graph leaves their number open."""
    float_borders: Callable[[bytes], bytes] | None = None
    """Makes a graph's borders float32, for a TensorRT that refuses uint8; None is not to try."""


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How an engine on a GPU is run; a CPU takes none of it."""

    memory: Literal["auto", "mapped", "managed", "copy"] = "auto"
    sync: Literal["blocking", "spin"] = "blocking"
    """How a thread waits: asleep, or busy for a little less delay and a core's power."""
    cuda_graph: bool = True
    """Launch a frame as one captured graph, where it can be captured."""


class Runner(Protocol):
    """A loaded network; owns no frame memory."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def launch(self, slot: Slot) -> None:
        """Run on `slot`; asynchronous where the backend is."""

    def close(self) -> None:
        """Free everything; closing twice is fine."""


@runtime_checkable
class MakesSlots(Protocol):
    """A runner whose slots lie in memory that it allocates, since a GPU is to reach them."""

    memory_mode: Literal["mapped", "managed", "copy"]
    """How frames reach the GPU and labels come back."""

    def new_slot(self) -> Slot:
        """Memory for one more frame in flight, with all that running on it needs."""


@runtime_checkable
class MakesStates(Protocol):
    """A runner of a network that remembers."""

    def new_state(self) -> State | None:
        """The memory of one more camera, empty; None where this network remembers nothing."""


class LabelledFrame(NamedTuple):
    """One picture of a data set: RGB uint8 (H, W, 3) and its mask uint8 (H, W), or None."""

    name: str
    image: Pixels
    mask: Pixels | None


class Dataset(Protocol):
    """Pictures with or without masks, by index."""

    name: str
    labels: Labels

    def __len__(self) -> int: ...

    def frame(self, index: int) -> LabelledFrame:
        """Picture and mask number `index`; raises InputFileError where either is unreadable."""

    def frame_names(self) -> Sequence[str]:
        """The names of the pictures, in order."""

    def digest(self, index: int) -> str:
        """A text that changes when picture number `index` does."""

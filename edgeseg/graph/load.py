"""Reading a stranger's ONNX file: is it whole, is it a picture network, which layout has it?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto

from edgeseg.errors import InputFileError
from edgeseg.graph.nodes import tensor_shape
from edgeseg.types import Size

CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The input of a network that takes one colour picture."""

    name: str
    layout: Literal["nchw", "nhwc"]
    size: Size | None
    """None where the file leaves height and width open."""


def load_model(path: Path) -> ModelProto:
    """The checked model at `path`.

    Raises:
        InputFileError: missing, truncated, not ONNX, or invalid.
    """
    try:
        model = onnx.load(path)
        if not model.graph.node:
            raise InputFileError(f"{path} holds no ONNX graph", fix="export the network again")
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise InputFileError(f"{path} does not exist", fix="check the path") from error
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        if isinstance(error, InputFileError):
            raise
        first_line = (str(error).splitlines() or ["no reason given"])[0]
        raise InputFileError(
            f"{path} is not a whole ONNX file: {first_line}",
            fix="copy it again; a file with external data needs its data file beside it",
        ) from error
    return model


def image_input(model: ModelProto) -> ImageInput:
    """The one input that looks like a batch of colour pictures.

    Raises:
        InputFileError: there is none, or the graph has other inputs beside it.
    """
    held = {item.name for item in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) == 1:
        value = inputs[0]
        shape = tensor_shape(value)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and len(shape) == 4:
            if shape[1] == CHANNELS:
                return ImageInput(name=value.name, layout="nchw", size=_size(shape[2:]))
            if shape[3] == CHANNELS:
                return ImageInput(name=value.name, layout="nhwc", size=_size(shape[1:3]))
    listed = ", ".join(" ".join(described(value)) for value in inputs) or "none"
    raise InputFileError(
        f"the graph has no input that looks like a picture; its inputs: {listed}",
        fix="give a network with one float32 input of shape (N, 3, H, W) or (N, H, W, 3)",
    )


def _size(dims: tuple[int | str | None, ...]) -> Size | None:
    height, width = dims
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return Size(height, width)
    return None


def described(value: ValueInfoProto) -> tuple[str, str]:
    """Name, and dtype with shape, of an input or output."""
    dtype = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    dims = ", ".join("?" if dim is None else str(dim) for dim in tensor_shape(value))
    return value.name, f"{dtype} ({dims})"

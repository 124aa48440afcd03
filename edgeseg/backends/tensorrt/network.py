"""The network that TensorRT makes of an ONNX file, or the node that it cannot take."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import tensorrt as trt

from edgeseg.backends.tensorrt.dla import shape_of
from edgeseg.backends.tensorrt.log import LOG, quoted
from edgeseg.backends.tensorrt.refusal import Refusal
from edgeseg.backends.tensorrt.versions import (
    failing_node,
    network_flags,
    parse_for_dla,
    share_profiles,
)
from edgeseg.errors import BuildError

OPEN = -1
"""A size that the graph leaves open."""
LISTED = 8
"""How many nodes a message names."""


class Parsed(NamedTuple):
    """A network, and what has to live as long as it."""

    network: trt.INetworkDefinition
    parser: trt.OnnxParser
    """It owns the weights."""


def parsed(
    builder: trt.Builder,
    data: bytes,
    path: Path,
    *,
    typed: bool,
    for_dla: trt.IBuilderConfig | None = None,
) -> Parsed:
    """The network of the graph `data`, which came from `path`.

    `for_dla` is the configuration of a build for a DLA, which a parser may shape the network for.

    Raises:
        Refusal: an operator, or a use of one, that this TensorRT does not know.
    """
    LOG.clear()
    network: trt.INetworkDefinition = builder.create_network(network_flags(typed=typed))
    if network is None:
        raise Refusal(
            f"TensorRT {trt.__version__} makes no network: {LOG.last_errors()}",
            fix="edgeseg doctor",
            lines=LOG.last_errors(),
        )
    parser: trt.OnnxParser = trt.OnnxParser(network, LOG)
    if for_dla is not None:
        parse_for_dla(parser, for_dla)
    if not parser.parse(data, str(path)):
        raise _unparsed(parser, data, path)
    return Parsed(network, parser)


def frames_at_once(network: trt.INetworkDefinition, cameras: int) -> int:
    """The leading size of the input: what the graph says, or `cameras` where it leaves that open.

    Raises:
        BuildError: the graph is for another number of cameras, or leaves more open than that.
    """
    tensor: trt.ITensor = network.get_input(0)
    shape = shape_of(tensor)
    if OPEN in shape[1:]:
        raise BuildError(
            f"the input {tensor.name} is {shape}: only the number of frames may be left open",
            fix="build for one frame size: --frame WIDTHxHEIGHT",
        )
    if shape[0] == OPEN:
        return cameras
    if cameras not in {1, shape[0]}:
        raise BuildError(
            f"the graph takes {shape[0]} frames at once, and {cameras} were asked for",
            fix="build the engine again with --cameras",
        )
    return int(shape[0])


def open_profile(
    builder: trt.Builder,
    config: trt.IBuilderConfig,
    network: trt.INetworkDefinition,
    most: int,
) -> None:
    """Let 1 to `most` frames come at once, where the graph leaves that open.

    Kernels are chosen for `most`.
    """
    tensor: trt.ITensor = network.get_input(0)
    shape = shape_of(tensor)
    if shape[0] != OPEN:
        return
    profile: trt.IOptimizationProfile = builder.create_optimization_profile()
    rest = shape[1:]
    share_profiles(config)
    profile.set_shape(tensor.name, (1, *rest), (most, *rest), (most, *rest))
    if config.add_optimization_profile(profile) < 0:
        raise Refusal(
            f"TensorRT refuses 1 to {most} frames at once: {LOG.last_errors()}",
            fix="build for one camera",
            lines=LOG.last_errors(),
        )


def _unparsed(parser: trt.OnnxParser, data: bytes, path: Path) -> Refusal:
    """One line for each node that was refused, and what to do about them."""
    found = []
    for index in range(min(parser.num_errors, LISTED)):
        error: trt.ParserError = parser.get_error(index)
        found.append(f"{_where(error, data)}{quoted(error.desc())}")
    if parser.num_errors > LISTED:
        found.append(f"and {parser.num_errors - LISTED} more")
    said = "\n".join(found) or LOG.last_errors()
    return Refusal(
        f"TensorRT {trt.__version__} cannot take {path.name}:\n{said}",
        fix="export the network with other operators there (TensorRT 8.6 reads opsets up to 17), "
        "which edgeseg lint FILE.onnx checks; or --backend openvino, which may take it as it is",
        lines="\n".join([*found, LOG.last_errors()]),
    )


def _where(error: trt.ParserError, data: bytes) -> str:
    """`node "head/Cast" (Cast): `, as much of it as can be known."""
    name, operator = failing_node(error)
    if not operator:
        name, operator = _node(data, error.node())
    if not operator:
        return ""
    return f'node "{name}" ({operator}): '


def _node(data: bytes, index: int) -> tuple[str, str]:
    """Name and operator of a node of the graph, for TensorRT 8.6, which gives its number alone."""
    with contextlib.suppress(ImportError):
        from google.protobuf.message import DecodeError
        from onnx import load_from_string

        with contextlib.suppress(DecodeError):
            nodes = load_from_string(data).graph.node
            if 0 <= index < len(nodes):
                return nodes[index].name or nodes[index].output[0], nodes[index].op_type
    return "", ""

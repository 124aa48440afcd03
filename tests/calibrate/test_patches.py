"""The patches that a convolution reads, against loops and against the convolution itself."""

import numpy as np
import pytest

from edgeseg.calibrate.patches import patches
from edgeseg.types import Array, Convolution

FORMS = {
    "plain": {},
    "stride": {"strides": (2, 3)},
    "dilation": {"dilations": (3, 2)},
    "groups": {"groups": 3},
    "depthwise": {"groups": 6},
    "padding": {"pads": (1, 2, 3, 0)},
    "all": {"strides": (2, 1), "dilations": (1, 2), "pads": (2, 0, 1, 3), "groups": 2},
}
"""What is not 1, or 0 for the pads: top, left, bottom, right."""


def _layer(kernel: tuple[int, int] = (3, 2), channels: int = 6, **form: object) -> Convolution:
    values = {"strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4, "same": None, "groups": 1}
    values.update(form)  # type: ignore[arg-type]
    shape = (12, channels // int(values["groups"]), *kernel)  # type: ignore[call-overload]
    weight = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    return Convolution(name="conv", reads="x", weight=weight, **values)  # type: ignore[arg-type]


def _values(size: tuple[int, int] = (11, 13), channels: int = 6) -> Array:
    return np.random.default_rng(0).normal(0, 1, (1, channels, *size)).astype(np.float32)


def _every_place(rows: int, columns: int) -> Array:
    """The middle of each output's cell, as shares of the height and width."""
    at = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1)
    return ((at.reshape(-1, 2) + 0.5) / (rows, columns)).astype(np.float32)


def _by_hand(values: Array, layer: Convolution) -> tuple[Array, tuple[int, int]]:
    """(groups, outputs, taps) by loops over every output, and how many rows and columns."""
    top, left, bottom, right = layer.pads
    _, channels, height, width = values.shape
    padded = np.zeros((channels, height + top + bottom, width + left + right), np.float32)
    padded[:, top : top + height, left : left + width] = values[0]
    (down, across), (high, wide) = layer.dilations, layer.weight.shape[2:]
    rows = range(0, padded.shape[1] - down * (high - 1), layer.strides[0])
    columns = range(0, padded.shape[2] - across * (wide - 1), layer.strides[1])
    each = channels // layer.groups
    found = [
        [
            [
                padded[group * each + channel, row + down * i, column + across * j]
                for channel in range(each)
                for i in range(high)
                for j in range(wide)
            ]
            for row in rows
            for column in columns
        ]
        for group in range(layer.groups)
    ]
    return np.array(found, np.float32), (len(rows), len(columns))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_patches_are_what_loops_over_every_output_read(form: dict[str, object]) -> None:
    values, layer = _values(), _layer(**form)
    expected, outputs = _by_hand(values, layer)

    found = patches(values, layer, _every_place(*outputs))

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("same", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("form", [{}, {"strides": (2, 3)}, {"groups": 2, "strides": (3, 2)}])
@pytest.mark.parametrize("kernel", [(3, 2), (4, 5)])
def test_weights_times_patches_are_the_convolution_that_pads_by_itself(
    kernel: tuple[int, int], form: dict[str, object], same: str
) -> None:
    values, layer = _values(), _layer(kernel, **form, same=same)
    expected = _convolved(values, layer)  # (1, outputs, rows, columns)

    found = patches(values, layer, _every_place(*expected.shape[2:]))

    matrix = layer.weight.reshape(layer.groups, -1, found.shape[2])
    outputs = np.einsum("gok,gpk->gop", matrix, found).reshape(expected.shape)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def _convolved(values: Array, layer: Convolution) -> Array:
    from onnx import helper

    from tests.networks import small_graph
    from tests.oracle import run

    size = [-(-have // step) for have, step in zip(values.shape[2:], layer.strides, strict=True)]
    node = helper.make_node(
        "Conv",
        ["pixels", "weight"],
        ["logits"],
        auto_pad=layer.same,
        strides=layer.strides,
        group=layer.groups,
    )
    out = (1, len(layer.weight), *size)
    return run(
        small_graph([node], {"weight": layer.weight}, shape=values.shape, out=out),
        {"pixels": values},
    )


def test_ends_of_the_shares_are_the_first_and_the_last_output() -> None:
    values, layer = _values(), _layer(strides=(2, 2))
    expected, _ = _by_hand(values, layer)
    last = np.nextafter(np.float32(1), np.float32(0))

    found = patches(values, layer, np.array([[0, 0], [last, last]], np.float32))

    np.testing.assert_array_equal(found, expected[:, [0, -1]])


def test_same_place_serves_layers_of_every_size() -> None:
    """A quarter down and half across, on a map and on one of half its size."""
    large = np.arange(8 * 8, dtype=np.float32).reshape(1, 1, 8, 8)
    layer = _layer((1, 1), 1)
    where = np.array([[0.25, 0.5]], np.float32)

    assert patches(large, layer, where).item() == large[0, 0, 2, 4]
    assert patches(large[:, :, ::2, ::2], layer, where).item() == large[0, 0, 2, 4]


def test_pooled_map_gives_its_one_value_everywhere() -> None:
    values = _values((1, 1))
    where = np.random.default_rng(0).random((5, 2)).astype(np.float32)

    found = patches(values, _layer((1, 1)), where)

    np.testing.assert_array_equal(found, np.repeat(values.reshape(1, 1, 6), 5, 1))

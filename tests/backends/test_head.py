"""The head in numpy gives the core what the head in the graph gives it."""

import dataclasses

import numpy as np
import pytest
from onnx import ModelProto

from edgeseg.backends.head import network_pixels
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.tap import tapped
from edgeseg.types import Size
from tests.networks import SIZE, picture
from tests.oracle import bilinear, run


@pytest.mark.parametrize("size", [SIZE, (60, 80), (90, 150), (34, 46), (161, 97)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pixels_are_those_of_the_frame_graph(
    core: ModelProto, spec: FrameSpec, size: tuple[int, int], order: str
) -> None:
    image = picture(size, seed=2)
    graph = frame_graph(core, dataclasses.replace(spec, size=Size(*size), order=order))
    wanted = run(tapped(graph, ["pixels"]), {"frame": image[None]})
    found = network_pixels(image, Size(*SIZE), order=order, gain=spec.gain, bias=spec.bias)
    assert (found.dtype, found.shape) == (np.float32, (1, 3, *SIZE))
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_pixels_are_resized_as_floats_with_half_pixel_centres() -> None:
    image = picture((61, 83))
    found = network_pixels(image, Size(*SIZE), order="bgr", gain=(1, 2, 3), bias=(0, 5, -5))
    planes = bilinear(image.transpose(2, 0, 1)[::-1], SIZE)
    wanted = planes * np.reshape([1, 2, 3], (3, 1, 1)) + np.reshape([0, 5, -5], (3, 1, 1))
    np.testing.assert_allclose(found[0], wanted, atol=2e-3)  # of 765

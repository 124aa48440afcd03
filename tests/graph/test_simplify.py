"""A stranger's network becomes a core that computes the same."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from edgeseg.errors import BuildError, InputFileError
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.nodes import tensor_shape
from edgeseg.graph.simplify import RESERVED, fixed_core, opset_of
from edgeseg.types import PixelFormat, Size
from tests.networks import CLASSES, SIZE, picture, pixels_of, small_graph, tiny_core
from tests.oracle import run

Array = np.ndarray
NAMES = ("image", "scores")


def assert_is_core(core: ModelProto, size: tuple[int, int], classes: int = CLASSES) -> None:
    (entry,), (last,) = core.graph.input, core.graph.output
    assert (entry.name, last.name) == ("pixels", "logits")
    assert tensor_shape(entry) == (1, 3, *size)
    assert tensor_shape(last) == (1, classes, -(-size[0] // 4), -(-size[1] // 4))
    assert opset_of(core) == 17
    onnx.checker.check_model(core, full_check=True)


def frame_of(pixel_format: PixelFormat) -> FrameSpec:
    size = Size(60, 80)
    return FrameSpec(
        size=size,
        pixel_format=pixel_format,
        order="bgr",
        gain=(1, 1, 1),
        bias=(0, 0, 0),
        mask_size=size,
    )


def assert_same(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("size", [SIZE, (50, 70)])
def test_open_height_and_width_become_the_size_asked_for(size: tuple[int, int]) -> None:
    stranger = tiny_core(symbolic=True, names=NAMES)
    core = fixed_core(stranger, Size(*size))
    assert_is_core(core, size)
    assert {node.op_type for node in core.graph.node}.isdisjoint({"Shape", "Slice", "Constant"})
    pixels = pixels_of(picture(size))
    assert_same(run(core, {"pixels": pixels}), run(stranger, {"image": pixels}))


@pytest.mark.parametrize("head", ["logits", "softmax", "sigmoid"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_scores_of_any_head_and_layout_are_kept(head: str, layout: str) -> None:
    stranger = tiny_core(layout=layout, head=head, names=NAMES)
    core = fixed_core(stranger, Size(*SIZE), output=head)
    assert_is_core(core, SIZE)
    pixels = pixels_of(picture(seed=1))
    if layout == "nchw":
        wanted = run(stranger, {"image": pixels})
    else:
        nhwc = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        wanted = run(stranger, {"image": nhwc}).transpose(0, 3, 1, 2)
    assert_same(run(core, {"pixels": pixels}), wanted)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("opset", [11, 12, 13, 18, 19])
def test_other_opsets_are_brought_to_17_and_compute_the_same(opset: int, symbolic: bool) -> None:
    stranger = tiny_core(opset=opset, symbolic=symbolic, names=NAMES)
    core = fixed_core(stranger, Size(*SIZE))
    assert_is_core(core, SIZE)
    pixels = pixels_of(picture(seed=2))
    assert_same(run(core, {"pixels": pixels}), run(stranger, {"image": pixels}))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_one_sigmoid_becomes_two_classes_that_add_up_to_one(layout: str) -> None:
    stranger = tiny_core(classes=1, head="sigmoid", layout=layout, names=NAMES)
    core = fixed_core(stranger, Size(*SIZE), output="sigmoid")
    assert_is_core(core, SIZE, classes=2)
    pixels = pixels_of(picture())
    fed = pixels if layout == "nchw" else np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    wanted = run(stranger, {"image": fed})
    found = run(core, {"pixels": pixels})[0]
    assert_same(found[1], wanted.reshape(found[1].shape))
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_the_given_model_stays_as_it_is() -> None:
    stranger = tiny_core(symbolic=True, opset=18, names=NAMES)
    before = stranger.SerializeToString(deterministic=True)
    fixed_core(stranger, Size(*SIZE))
    assert stranger.SerializeToString(deterministic=True) == before


def test_another_fixed_size_is_refused_width_first() -> None:
    with pytest.raises(InputFileError, match="takes pictures of 64x48, not 64x64"):
        fixed_core(tiny_core(), Size(64, 64))


def test_a_network_that_ends_in_class_ids_is_refused() -> None:
    model = tiny_core()
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("ids", 7, [1, 12, 16]))
    with pytest.raises(InputFileError, match="score per class"):
        fixed_core(model, Size(*SIZE))


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("op", "opset"), [("Upsample", 9), ("Resize", 10)])
def test_older_resizes_keep_where_their_pixels_lie(op: str, opset: int, mode: str) -> None:
    node = helper.make_node(op, ["pixels", "scales"], ["logits"], mode=mode)
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    stranger = small_graph([node], scales, shape=(1, 3, 8, 8), out=(1, 3, 16, 16), opset=opset)
    feeds = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    core = fixed_core(stranger, Size(8, 8))
    np.testing.assert_allclose(
        run(core, {"pixels": feeds}), run(stranger, {"pixels": feeds}), rtol=1e-5, atol=1e-6
    )


def test_an_operator_newer_than_opset_17_is_refused_with_the_way_out() -> None:
    nodes = [helper.make_node("Gelu", ["pixels"], ["logits"])]
    model = small_graph(nodes, {}, shape=(1, 3, 16, 16), out=(1, 3, 16, 16), opset=20)
    with pytest.raises(BuildError) as caught:
        fixed_core(model, Size(16, 16))
    assert "opset 17" in caught.value.fix


def test_an_antialiased_resize_is_refused() -> None:
    sizes = {"sizes": np.array([1, 3, 8, 8], np.int64)}
    nodes = [
        helper.make_node(
            "Resize", ["pixels", "", "", "sizes"], ["logits"], mode="linear", antialias=1
        )
    ]
    model = small_graph(nodes, sizes, shape=(1, 3, 16, 16), out=(1, 3, 8, 8), opset=18)
    with pytest.raises(BuildError, match="antialiased"):
        fixed_core(model, Size(16, 16))


@pytest.mark.parametrize(
    "name", ["pixels", "logits", "bytes", "planes", "scaled", "resized", "ids", "labels", "frame"]
)
def test_inner_tensors_may_bear_the_names_that_the_frame_graph_uses(name: str) -> None:
    stranger = tiny_core(names=NAMES)
    for node in stranger.graph.node:  # the stem's output
        node.input[:] = [name if item == "stem_out" else item for item in node.input]
        node.output[:] = [name if item == "stem_out" else item for item in node.output]
    core = fixed_core(stranger, Size(*SIZE))
    pixels = pixels_of(picture())
    assert_same(run(core, {"pixels": pixels}), run(tiny_core(), {"pixels": pixels}))
    onnx.checker.check_model(frame_graph(core, frame_of(PixelFormat.RGB8)), full_check=True)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_every_name_of_head_and_tail_is_kept_free(pixel_format: PixelFormat) -> None:
    core = fixed_core(tiny_core(names=NAMES), Size(*SIZE))
    graph = frame_graph(core, frame_of(pixel_format)).graph
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    own = {name for node in core.graph.node for name in (*node.input, *node.output)}
    assert names - own - {"pixels", "logits"} <= RESERVED


@pytest.mark.parametrize("name", ["pixels", "logits", "pixel_gain"])
def test_weights_may_bear_the_names_that_the_frame_graph_uses(name: str) -> None:
    stranger = tiny_core(names=NAMES)
    for node in stranger.graph.node:
        node.input[:] = [name if item == "stem_weight" else item for item in node.input]
    for weight in stranger.graph.initializer:
        if weight.name == "stem_weight":
            weight.name = name
    core = fixed_core(stranger, Size(*SIZE))
    pixels = pixels_of(picture())
    assert_same(run(core, {"pixels": pixels}), run(tiny_core(), {"pixels": pixels}))
    assert not {"pixels", "pixel_gain"} & {weight.name for weight in core.graph.initializer}


def test_nodes_get_names_of_their_own() -> None:
    """Q/DQ sites are kept by node name, and ONNX files need not have any, or different ones."""
    stranger = tiny_core(names=NAMES)
    for index, node in enumerate(stranger.graph.node):
        node.name = "" if index % 2 else "Conv_5"
    names = [node.name for node in fixed_core(stranger, Size(*SIZE)).graph.node]
    assert len(set(names)) == len(names)
    assert all(names)


def test_a_sum_with_a_constant_is_folded_away() -> None:
    weights = {
        "w": np.ones((2, 3, 1, 1), np.float32),
        "a": np.full((2, 1, 1), 2, np.float32),
        "b": np.full((2, 1, 1), 3, np.float32),
    }
    nodes = [
        helper.make_node("Add", ["a", "b"], ["five"]),
        helper.make_node("Conv", ["pixels", "w"], ["sums"]),
        helper.make_node("Add", ["sums", "five"], ["logits"]),
    ]
    model = small_graph(nodes, weights, shape=(1, 3, 16, 16), out=(1, 2, 16, 16))
    core = fixed_core(model, Size(16, 16))
    pixels = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    wanted = np.repeat(pixels.sum(1, keepdims=True) + 5, 2, 1)
    np.testing.assert_allclose(run(core, {"pixels": pixels}), wanted, rtol=1e-5, atol=1e-5)
    assert len(core.graph.node) < len(nodes)
    assert all(numpy_helper.to_array(w).dtype == np.float32 for w in core.graph.initializer)

"""The blend of a frame's scores with those before it, against a few lines of numpy."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.cut import core_of
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.lint import examined
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.smooth import alone, float_nodes, gives_shares, smoothed
from edgeseg.graph.typed import fp32_nodes_of, typed
from edgeseg.types import PixelFormat, Size
from tests.networks import SIZE, picture, tiny_core
from tests.oracle import run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
STRENGTH = 0.8
SHAPE = (1, 4, 10, 16)
SPEC = FrameSpec(
    size=Size(60, 80),
    pixel_format=PixelFormat.RGB8,
    order="rgb",
    gain=(1 / 64, 1 / 50, 1 / 80),
    bias=(-2.0, -2.25, -1.5),
    mask_size=Size(60, 80),
)


def probabilities(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def blended(logits: Array, state: Array) -> tuple[Array, Array]:
    """The oracle: steady logits, and the state that is left."""
    new = probabilities(logits.astype(np.float64))
    far = np.minimum(1, np.abs(new - state).sum(1, keepdims=True))
    weight = 1 - STRENGTH * (1 - far**2)
    weight = np.maximum(weight, np.clip((far.mean() - 0.35) / 0.2, 0, 1))
    left = state + weight * (new - state)
    return logits + np.log((left + 1e-4) / (new + 1e-4)), left


def blend_behind(last: str, **options: int) -> ModelProto:
    """Logits in, steady scores out of a network that ends with the operator `last`."""
    nodes = [
        helper.make_node(last, ["pixels"], ["logits"], name="core", **options),
        helper.make_node("Identity", ["logits"], ["scores"], name="tail"),
    ]
    values = [helper.make_tensor_value_info(name, 1, SHAPE) for name in ("pixels", "scores")]
    graph = helper.make_graph(nodes, "blend", values[:1], values[1:])
    opset = [helper.make_opsetid("", 17)]
    model = smoothed(helper.make_model(graph, opset_imports=opset, ir_version=8), STRENGTH)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="module")
def blend() -> ModelProto:
    return blend_behind("Identity")


def steady(blend: ModelProto, frames: list[Array]) -> list[Array]:
    """The steady logits of logits (C, H, W) that follow each other."""
    state, found = np.zeros(SHAPE, np.float32), []
    for logits in frames:
        scores, state = run_all(blend, {"pixels": logits[None].astype(np.float32), "state": state})
        found.append(scores[0])
    return found


def changes(frames: list[Array]) -> int:
    labels = np.stack([logits.argmax(0) for logits in frames])
    return int((np.diff(labels, axis=0) != 0).sum())


def confident(labels: Array) -> Array:
    """Logits (C, H, W) that leave no doubt of `labels`."""
    return np.where(np.arange(SHAPE[1])[:, None, None] == labels, 4.0, -2.0)


@pytest.mark.parametrize("noise", [0.1, 1.0, 4.0])
def test_scores_and_state_are_numpys(blend: ModelProto, noise: float) -> None:
    rng = np.random.default_rng(1)
    base, state = rng.normal(0, 2, SHAPE), np.zeros(SHAPE, np.float32)
    for _ in range(4):
        logits = (base + rng.normal(0, noise, SHAPE)).astype(np.float32)
        wanted, left = blended(logits, state)
        scores, state = run_all(blend, {"pixels": logits, "state": state})
        np.testing.assert_allclose(scores, wanted, atol=1e-3)
        np.testing.assert_allclose(state, left, atol=1e-5)


def test_with_zeros_the_scores_are_the_very_logits(blend: ModelProto) -> None:
    logits = np.random.default_rng(2).normal(0, 8, SHAPE).astype(np.float32)
    scores, state = run_all(blend, {"pixels": logits, "state": np.zeros(SHAPE, np.float32)})
    np.testing.assert_array_equal(scores, logits)
    np.testing.assert_allclose(state, probabilities(logits), atol=1e-6)


def test_a_static_scene_with_noise_flickers_less_than_half_as_much(blend: ModelProto) -> None:
    rng = np.random.default_rng(3)
    scene = rng.normal(0, 1, SHAPE[1:])
    frames = [scene + rng.normal(0, 0.4, SHAPE[1:]) for _ in range(12)]
    assert changes(frames) > 100
    assert changes(steady(blend, frames)) < changes(frames) / 2


def test_an_edge_that_moves_is_where_the_frame_has_it(blend: ModelProto) -> None:
    columns = np.broadcast_to(np.arange(SHAPE[3]), SHAPE[2:])
    frames = [confident(np.where(columns < edge, 1, 2)) for edge in range(3, 13)]
    for logits, found in zip(frames, steady(blend, frames), strict=True):
        np.testing.assert_array_equal(found.argmax(0), logits.argmax(0))


def test_a_cut_leaves_nothing_of_the_scene_before(blend: ModelProto) -> None:
    rng = np.random.default_rng(4)
    before, after = (rng.normal(0, 1, SHAPE[1:]) for _ in range(2))
    found = steady(blend, [before, before, after])
    assert np.abs(probabilities(before[None]) - probabilities(after[None])).sum(1).min() < 0.5
    np.testing.assert_allclose(found[-1], after, atol=1e-5)


def test_scores_that_are_no_numbers_are_forgotten_with_their_frame(blend: ModelProto) -> None:
    scene = np.random.default_rng(5).normal(0, 1, SHAPE[1:])
    found = steady(blend, [scene, np.full_like(scene, np.nan), scene])
    np.testing.assert_allclose(found[-1], scene, atol=1e-5)


def test_one_pixel_that_is_no_number_spoils_no_other(blend: ModelProto) -> None:
    scene = np.random.default_rng(5).normal(0, 1, SHAPE[1:])
    spoilt = scene.copy()
    spoilt[:, 2, 3] = np.nan
    found = steady(blend, [scene, spoilt, scene])[1]
    elsewhere = np.isfinite(spoilt)
    np.testing.assert_allclose(found[elsewhere], scene[elsewhere], atol=1e-5)


def test_a_network_that_ends_with_a_softmax_is_blended_as_its_logits_are(
    blend: ModelProto,
) -> None:
    rng = np.random.default_rng(6)
    scene = rng.normal(0, 2, SHAPE[1:])
    frames = [scene + rng.normal(0, 0.4, SHAPE[1:]) for _ in range(6)]
    shares = np.stack(steady(blend_behind("Softmax", axis=1), frames))
    wanted = probabilities(np.stack(steady(blend, frames)))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), wanted, atol=1e-5)


def test_shares_that_do_not_add_up_to_one_come_through_a_first_frame_as_they_are() -> None:
    logits = np.random.default_rng(7).normal(-1, 2, SHAPE[1:])
    (found,) = steady(blend_behind("Sigmoid"), [logits])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_an_edge_of_shares_that_moves_is_where_the_frame_has_it() -> None:
    columns = np.broadcast_to(np.arange(SHAPE[3]), SHAPE[2:])
    frames = [confident(np.where(columns < edge, 1, 2)) for edge in range(3, 13)]
    for logits, found in zip(frames, steady(blend_behind("Sigmoid"), frames), strict=True):
        np.testing.assert_array_equal(found.argmax(0), logits.argmax(0))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(("head", "classes"), [("softmax", 5), ("sigmoid", 5), ("sigmoid", 1)])
def test_a_strangers_shares_are_known_as_such(head: str, classes: int, layout: str) -> None:
    names = ("image", "scores")
    stranger = tiny_core(classes=classes, head=head, layout=layout, names=names)
    assert gives_shares(fixed_core(stranger, Size(*SIZE), output=head))
    assert not gives_shares(fixed_core(tiny_core(layout=layout, names=names), Size(*SIZE)))


@pytest.fixture(scope="module")
def plain() -> ModelProto:
    return frame_graph(fixed_core(tiny_core(), Size(*SIZE)), SPEC)


def test_the_core_of_a_smoothed_frame_graph_is_the_core(plain: ModelProto) -> None:
    assert core_of(smoothed(plain, STRENGTH)) == core_of(plain)


def test_alone_takes_no_state_and_gives_the_labels_of_the_plain_graph(plain: ModelProto) -> None:
    single = alone(smoothed(plain, STRENGTH))
    onnx.checker.check_model(single, full_check=True)
    feeds = {"frame": picture((60, 80))[None]}
    (found,) = run_all(single, feeds)
    np.testing.assert_array_equal(found, run_all(plain, feeds)[0])
    assert alone(plain) == plain


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_tensorrt_has_a_layer_for_every_node_and_none_breaks_a_rule(head: str) -> None:
    plain = frame_graph(fixed_core(tiny_core(head=head), Size(*SIZE)), SPEC)
    graph = smoothed(plain, STRENGTH)
    for version in ((8, 6), (10, 3), (11, 4)):
        assert examined(graph, version).findings == examined(plain, version).findings


def test_the_typed_dialect_blends_in_float32_and_nothing_else(plain: ModelProto) -> None:
    graph = smoothed(plain, STRENGTH)
    model = typed(graph, keep_fp32=float_nodes(graph))
    assert set(fp32_nodes_of(model)) == {*fp32_nodes_of(typed(plain)), *float_nodes(graph)}
    state, images = np.zeros((1, 5, 12, 16), np.float32), [picture((60, 80), s) for s in (0, 0, 1)]
    half_state = state
    for image in images:
        wanted, state = run_all(graph, {"frame": image[None], "state": state})
        found, half_state = run_all(model, {"frame": image[None], "state": half_state})
        assert half_state.dtype == np.float32
        assert (wanted == found).mean() > 0.98
    np.testing.assert_allclose(half_state, state, atol=0.02)


def test_a_network_that_calls_a_tensor_state_is_smoothed_all_the_same(plain: ModelProto) -> None:
    model = tiny_core()
    for node in model.graph.node:
        node.input[:] = ["state" if name == "residual_out" else name for name in node.input]
        node.output[:] = ["state" if name == "residual_out" else name for name in node.output]
    graph = smoothed(frame_graph(fixed_core(model, Size(*SIZE)), SPEC), STRENGTH)
    feeds = {"frame": picture((60, 80))[None]}
    found, _ = run_all(graph, {**feeds, "state": np.zeros((1, 5, 12, 16), np.float32)})
    np.testing.assert_array_equal(found, run_all(plain, feeds)[0])


def test_a_graph_without_logits_is_refused() -> None:
    values = [helper.make_tensor_value_info(name, 1, SHAPE) for name in ("pixels", "scores")]
    node = helper.make_node("Identity", ["pixels"], ["scores"], name="core")
    model = helper.make_model(helper.make_graph([node], "small", values[:1], values[1:]))
    with pytest.raises(BuildError, match="logits"):
        smoothed(model, STRENGTH)

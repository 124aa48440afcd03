"""PSPNet, DANet, CCNet and the non-local network: their context modules, exports and weights."""

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.types import Size
from edgeseg.zoo import build_network
from edgeseg.zoo.attention_blocks import (
    ChannelAttention,
    CrissCrossAttention,
    NonLocal,
    PositionAttention,
    channel_energy,
)
from edgeseg.zoo.checkpoints import ccnet, encoding, hszhao
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes
from edgeseg.zoo.pspnet import bin_averages

pytestmark = pytest.mark.torch

Module = TypeVar("Module", bound=nn.Module)

SMALL: dict[str, Any] = {"depth": 18, "width": 0.125}
NETWORKS = ("pspnet-resnet50", "danet-resnet101", "ccnet-resnet101", "nonlocal-resnet101")
LAYOUTS = (*hszhao.LAYOUTS, *encoding.LAYOUTS, *ccnet.LAYOUTS)
TENSORRT_TAKES = frozenset(
    {"Add", "AveragePool", "Concat", "Conv", "Div", "Expand", "LeakyRelu", "MatMul", "MaxPool"}
    | {
        "Mul",
        "Neg",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Resize",
        "Slice",
        "Softmax",
        "Transpose",
    }
)
IMAGENET_CLASSIFIER = 2_049_000
PUBLIC = [
    ("hszhao_semseg-pspnet50-voc2012", "pspnet-resnet50", 21, 49_081_578),
    ("Anstarc_HDNet-danet_resnet101-pcontext59", "danet-resnet101", 59, 68_565_339),
    ("Anstarc_HDNet-hdnet_resnet101-pcontext59", "hdnet-resnet101", 59, 68_504_933),
    ("speedinghzl_CCNet-ccnet_resnet101-cityscapes19", "ccnet-resnet101", 19, 71_287_911),
]


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(12, 18), (45, 60), (13, 7), (4, 5)])
def test_bin_averages_are_those_of_the_adaptive_pool(size: tuple[int, int], bins: int) -> None:
    x = torch.randn(2, 3, *size)

    torch.testing.assert_close(bin_averages(x, bins), F.adaptive_avg_pool2d(x, bins))


def test_position_attention_weighs_all_positions() -> None:
    attention = awake(PositionAttention(16))
    x = torch.randn(1, 16, 3, 5)

    y = attention(x)

    torch.testing.assert_close(y, attended(attention, x, allowed=np.ones((15, 15), bool)))


def test_criss_cross_attention_is_full_attention_masked_to_the_row_and_the_column() -> None:
    attention = awake(CrissCrossAttention(16))
    x = torch.randn(1, 16, 4, 6)
    rows, columns = np.divmod(np.arange(24), 6)

    y = attention(x)

    cross = (rows[:, None] == rows) | (columns[:, None] == columns)
    torch.testing.assert_close(y, attended(attention, x, allowed=cross))


def test_criss_cross_twice_reaches_every_position() -> None:
    attention = awake(CrissCrossAttention(16))
    x = torch.randn(1, 16, 4, 6, requires_grad=True)

    once, twice = (torch.autograd.grad(y[0, :, 0, 0].sum(), x)[0] for y in applied(attention, x))

    assert (once[0, :, 1:, 1:] == 0).all()
    assert (twice[0].abs().sum(0) > 0).all()


def test_channel_attention_is_the_authors_formula() -> None:
    attention = awake(ChannelAttention())
    x = torch.randn(1, 6, 4, 5)
    flat = x.reshape(6, 20).double().numpy()

    y = attention(x)

    energy = flat @ flat.T
    weights = np.exp(energy.max(1, keepdims=True) - energy)
    weights = weights / weights.sum(1, keepdims=True)
    expected = x[0].numpy() + 0.7 * (weights @ flat).reshape(6, 4, 5)
    np.testing.assert_allclose(y[0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channel_energy_stays_in_float32(dtype: torch.dtype) -> None:
    flat = (torch.randn(1, 4, 4000) * 9).to(dtype)

    with torch.autocast("cpu", torch.bfloat16):
        energy = channel_energy(flat)

    assert energy.dtype == torch.float32
    torch.testing.assert_close(energy.double(), flat.double() @ flat.double().mT, rtol=1e-5, atol=1)


def test_non_local_block_starts_as_the_identity() -> None:
    x = torch.randn(1, 16, 4, 5)

    torch.testing.assert_close(NonLocal(16).eval()(x), x)


@pytest.mark.parametrize(("scaled", "factor"), [(False, 1.0), (True, 8**-0.5)])
def test_non_local_block_adds_what_the_softmax_of_its_scores_gathers(
    scaled: bool, factor: float
) -> None:
    block = NonLocal(16, scaled=scaled).eval()
    nn.init.ones_(block.out[1].weight)  # type: ignore[arg-type]
    x = torch.randn(1, 16, 3, 4)

    y = block(x)

    theta, phi, g = (f(x).reshape(8, 12) for f in (block.theta, block.phi, block.g))
    gathered = g @ (factor * theta.T @ phi).softmax(1).T
    torch.testing.assert_close(y, x + block.out(gathered.reshape(1, 8, 3, 4)))


def test_recurrence_shares_its_weights_and_counts() -> None:
    once, twice = (
        build_network("ccnet-resnet101", classes=3, recurrence=r, **SMALL) for r in (1, 2)
    )
    pixels = torch.randn(1, 3, 40, 48)

    assert {*once.state_dict()} == {*twice.state_dict()}
    assert not torch.equal(awake(once)(pixels), awake(twice)(pixels))


def test_activations_of_ccnet_leak_in_the_head_alone() -> None:
    with torch.device("meta"):
        network = build_network("ccnet-resnet101", classes=3, aux=True)

    leaky = [name for name, part in network.named_modules() if isinstance(part, nn.LeakyReLU)]
    assert leaky == ["head.enter.2", "head.leave.2", "head.fuse.2", "aux.2"]


@pytest.mark.parametrize("size", [(32, 32), (41, 63)])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_cover_any_picture(name: str, size: tuple[int, int]) -> None:
    network = build_network(name, classes=4, **SMALL).eval()

    with torch.no_grad():
        logits = network(torch.randn(2, 3, *size))

    stride_8 = (-(-size[0] // 8), -(-size[1] // 8))
    assert logits.shape == (2, 4, *(stride_8 if name == "nonlocal-resnet101" else size))


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("pspnet-resnet50", {"aux"}),
        ("ccnet-resnet101", {"aux"}),
        ("danet-resnet101", {"spatial", "channel"}),
    ],
)
def test_auxiliary_scores_stand_beside_the_logits(name: str, extras: set[str]) -> None:
    network = build_network(name, classes=4, aux=True, **SMALL).eval()
    pixels = torch.randn(1, 3, 40, 48)

    with torch.no_grad():
        outputs = network.outputs(pixels)  # type: ignore[operator]

        assert {*outputs} == {"logits"} | extras
        assert {scores.shape for scores in outputs.values()} == {(1, 4, 40, 48)}
        torch.testing.assert_close(network(pixels), outputs["logits"])


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("pspnet-resnet50", (65, 72)),
        ("ccnet-resnet101", (65, 72)),
        # DANet at an odd size and the non-local network at an even one: tests/zoo/test_contract.py
        pytest.param("danet-resnet101", (65, 72), marks=pytest.mark.slow),
        pytest.param("nonlocal-resnet101", (65, 72), marks=pytest.mark.slow),
        pytest.param("pspnet-resnet50", (48, 96), marks=pytest.mark.slow),
    ],
)
def test_exported_network_computes_the_same(name: str, size: tuple[int, int]) -> None:
    import onnx

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core
    from tests.oracle import run

    network = awake(build_network(name, classes=4, **SMALL))
    pixels = torch.randn(1, 3, *size)
    exported = onnx.load_from_string(export_core(network, size=Size(*size)))

    core = fixed_core(exported, Size(*size))

    with torch.no_grad():
        expected = network(pixels).numpy()
    got = run(core, {"pixels": pixels.numpy()})
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    assert {node.op_type for node in core.graph.node} <= TENSORRT_TAKES


@pytest.mark.parametrize(("file", "network", "classes", "parameters"), PUBLIC)
def test_public_weights_fill_our_network(
    shared: Path, file: str, network: str, classes: int, parameters: int
) -> None:
    shapes = shapes_of(shared, file)

    layout, found = recognised(shapes)

    with torch.device("meta"):
        ours = build_network(found.network, classes=found.classes, **found.variant)
    renamed = {name: shape for key, shape in shapes.items() if (name := layout.renamed(key))}
    kept = {key: value for key, value in ours.state_dict().items() if "num_batches" not in key}
    unused = IMAGENET_CLASSIFIER if "pretrained.fc.weight" in shapes else 0
    assert (found.network, found.classes) == (network, classes)
    assert renamed == {key: tuple(value.shape) for key, value in kept.items()}
    assert sum(weight.numel() for weight in ours.parameters()) == parameters - unused


def test_deeper_sibling_is_recognised(shared: Path) -> None:
    shapes = dict(shapes_of(shared, "hszhao_semseg-pspnet50-voc2012"))
    shapes |= {f"layer3.{index}.conv1.weight": (256, 1024, 1, 1) for index in range(6, 23)}

    assert recognised(shapes)[1].network == "pspnet-resnet101"


def test_file_without_auxiliary_heads_is_recognised(shared: Path) -> None:
    shapes = shapes_of(shared, "hszhao_semseg-pspnet50-voc2012")
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith("aux.")}

    assert recognised(shapes)[1].variant == {"aux": False}


def test_files_of_other_authors_are_not_claimed(shared: Path) -> None:
    ours = {file for file, *_ in PUBLIC}
    others = {path.stem for path in (shared / "checkpoints").glob("*.json")} - ours

    claimed = [
        name for name in others if any(one.recognise(shapes_of(shared, name)) for one in LAYOUTS)
    ]

    assert claimed == []


def test_gain_of_in_place_normalisation_becomes_positive() -> None:
    (layout,) = ccnet.LAYOUTS
    gain = torch.tensor([-2.0, 0.0, 3.0])

    converted = layout.convert("backbone.bn1.weight", gain)

    torch.testing.assert_close(converted, torch.tensor([2 + 1e-5, 1e-5, 3 + 1e-5]))
    assert layout.convert("backbone.bn1.bias", gain) is gain
    assert layout.convert("head.context.gamma", gain[:1])[0] == -2


def awake(module: Module) -> Module:
    """`module` in evaluation, with the gains that start at zero set, so that attention counts."""
    for name, weight in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(weight, 0.7)
    for part in module.modules():
        if isinstance(part, NonLocal):
            nn.init.constant_(part.out[1].weight, 0.7)  # type: ignore[arg-type]
    return module.eval()


def applied(attention: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    return attention(x), attention(attention(x))


def attended(
    attention: PositionAttention | CrissCrossAttention, x: Tensor, *, allowed: np.ndarray
) -> Tensor:
    """x + gamma * softmax(q k) v over the pairs of positions that are `allowed`."""
    parts = (attention.query, attention.key, attention.value)
    query, key, value = (part(x).flatten(2)[0] for part in parts)
    scores = (query.T @ key).masked_fill(~torch.from_numpy(allowed), -torch.inf)
    y: Tensor = x + attention.gamma * (value @ scores.softmax(1).T).reshape(x.shape)
    return y


def shapes_of(shared: Path, file: str) -> Shapes:
    stored = json.loads((shared / "checkpoints" / f"{file}.json").read_text(encoding="utf-8"))
    return {
        key.removeprefix("module."): tuple(shape)
        for key, shape in stored.items()
        if "num_batches_tracked" not in key
    }


def recognised(shapes: Shapes) -> tuple[Layout, Found]:
    """The one layout that claims `shapes`."""
    ((layout, found),) = [(one, found) for one in LAYOUTS if (found := one.recognise(shapes))]
    return layout, found

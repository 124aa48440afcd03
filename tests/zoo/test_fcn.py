"""FCN: the reference counts and geometry, fixed and learnt deconvolutions, the public layout."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.errors import UsageError  # noqa: E402
from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints.wkentaro import LAYOUTS  # noqa: E402
from edgeseg.zoo.fcn import Upsampling, fcn8s, fcn16s, fcn32s  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 3, "width": 0.02}
"""Eight channels in the first stages, and 80 in fc6."""
(WKENTARO,) = LAYOUTS
FILES = {
    "wkentaro_pytorch-fcn-fcn32s": ("fcn32s-vgg16", 136_152_917),
    "wkentaro_pytorch-fcn-fcn8s": ("fcn8s-vgg16", 134_489_759),
}
FACTORS = [2, 8, 16, 32]


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("fcn32s-vgg16", 136_152_917, 181.366),
        ("fcn16s-vgg16", 134_815_994, 181.448),
        ("fcn8s-vgg16", 134_489_759, 181.529),
        ("fcn8s-atonce-vgg16", 134_489_759, 181.529),
    ],
)
def test_network_has_the_size_of_the_authors(name: str, parameters: int, gmacs: float) -> None:
    # In training a learnt deconvolution is one, as all are in the reference.
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network(name, classes=21, deconv="learnt").train()
        logits = network(torch.zeros(1, 3, 500, 500))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=2e-3)
    assert logits.shape == (1, 21, 500, 500)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (45, 61), (64, 96)], ids=str)
@pytest.mark.parametrize("deconv", ["bilinear", "learnt"])
@pytest.mark.parametrize(
    ("make", "scale"),
    [(fcn32s, {}), (fcn16s, {}), (fcn8s, {}), (fcn8s, {"at_once": True})],
    ids=["32s", "16s", "8s", "8s at once"],
)
def test_network_is_what_the_reference_makes_of_its_weights(
    make: Any, scale: dict[str, bool], deconv: str, size: tuple[int, int]
) -> None:
    network = _lively(make(**SMALL, **scale, deconv=deconv))
    if deconv == "learnt":
        _perturb(network)
    pixels = torch.randn(1, 3, *size).double()
    torch.testing.assert_close(network(pixels), _reference(network, pixels, **scale))


@torch.no_grad()
@pytest.mark.parametrize("make", [fcn32s, fcn16s, fcn8s])
def test_mirrored_picture_has_mirrored_logits_where_the_pools_come_out_even(make: Any) -> None:
    # 58 + 198 = 256: the crops then take as much from the left as from the right.
    network = _lively(make(**SMALL))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.copy_((parameter + parameter.flip(3)) / 2)
    pixels = torch.randn(1, 3, 58, 90).double()
    torch.testing.assert_close(network(pixels.flip(3)).flip(3), network(pixels))


@torch.no_grad()
@pytest.mark.parametrize("factor", FACTORS)
def test_fixed_deconvolution_is_a_resize(factor: int) -> None:
    layer = Upsampling(4, factor, learnt=False).eval()
    x = torch.randn(2, 4, 5, 7)
    expected = F.conv_transpose2d(x, layer.weight, stride=factor)
    with FlopCounterMode(display=False) as counter:
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=2e-6)
    assert counter.get_total_flops() == 0


@torch.no_grad()
@pytest.mark.parametrize("learnt", [True, False])
def test_loaded_kernel_decides_what_is_computed(learnt: bool) -> None:
    fixed = Upsampling(2, 2, learnt=learnt).eval()
    other = fixed.state_dict()["weight"] + 0.01
    x = torch.randn(1, 2, 4, 5)
    bilinear = fixed(x)
    fixed.load_state_dict({"weight": other})
    assert not fixed.is_bilinear
    torch.testing.assert_close(fixed(x), F.conv_transpose2d(x, other, stride=2))
    fixed.load_state_dict(Upsampling(2, 2, learnt=learnt).state_dict())
    assert fixed.is_bilinear
    torch.testing.assert_close(fixed(x), bilinear)


def test_kernel_inside_a_network_is_looked_at_when_its_weights_load() -> None:
    network = fcn16s(**SMALL)
    weights = network.state_dict()
    weights["upscore2.weight"] = weights["upscore2.weight"] * 2
    network.load_state_dict(weights, strict=False)
    assert not network.upscore2.is_bilinear
    assert network.upscore.is_bilinear


def test_learnt_deconvolution_learns_and_is_no_resize_afterwards() -> None:
    layer = Upsampling(2, 2, learnt=True).train()
    x = torch.randn(1, 2, 4, 5)
    layer(x).square().sum().backward()
    with torch.no_grad():
        layer.weight -= 0.01 * layer.weight.grad
    trained = layer(x)
    torch.testing.assert_close(layer.eval()(x), trained)
    assert not layer.is_bilinear


def test_fixed_deconvolutions_stay_out_of_training() -> None:
    network = fcn8s(**SMALL)
    fixed = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert fixed == {"upscore2.weight", "upscore_pool4.weight", "upscore.weight"}
    learnt = fcn8s(**SMALL, deconv="learnt")
    assert all(p.requires_grad for p in learnt.parameters())


def test_skips_add_nothing_before_training() -> None:
    network = fcn8s(**SMALL)
    for scorer in (network.score_pool3, network.score_pool4):
        assert not scorer.weight.any()
        assert not scorer.bias.any()


@pytest.mark.parametrize("variant", [{}, {"pad": 1, "batch_norm": True}], ids=["padded", "same"])
def test_every_weight_learns(variant: dict[str, Any]) -> None:
    network = _lively(fcn8s(**SMALL, **variant, dropout=0.0), dtype=torch.float32).train()
    network(torch.randn(2, 3, 48, 64)).square().mean().backward()
    still = [
        name
        for name, p in network.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    # Batch normalisation takes the bias before it away again: rounding is all it may leave.
    assert [name for name in still if not name.endswith("bias")] == []


@torch.no_grad()
@pytest.mark.parametrize(("make", "stride"), [(fcn32s, 32), (fcn16s, 16), (fcn8s, 8)])
def test_same_padding_leaves_the_last_resize_out_where_the_size_allows(
    make: Any, stride: int
) -> None:
    network = _lively(make(**SMALL, pad=1, batch_norm=True))
    pixels = torch.randn(1, 3, 64, 96).double()
    assert network(pixels).shape == (1, 3, 64 // stride, 96 // stride)
    assert network(pixels[..., :45, :61]).shape == (1, 3, 45, 61)


@torch.no_grad()
def test_same_padding_sees_the_mirrored_picture_mirrored() -> None:
    network = _lively(fcn8s(**SMALL, pad=1))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.copy_((parameter + parameter.flip(3)) / 2)
    pixels = torch.randn(1, 3, 64, 96).double()
    torch.testing.assert_close(network(pixels.flip(3)).flip(3), network(pixels))


@pytest.mark.parametrize(
    ("variant", "told"),
    [({"pad": 50}, "padded by 50"), ({"deconv": "cubic"}, "'cubic'"),
     ({"pad": 1, "deconv": "learnt"}, "nothing to learn")],
)  # fmt: skip
def test_contradicting_options_are_refused(variant: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fcn8s(**SMALL, **variant)


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("learnt", [False, True], ids=["fixed", "learnt"])
def test_only_a_learnt_deconvolution_is_exported_as_one(learnt: bool) -> None:
    import onnx
    import onnxruntime

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    network = _lively(fcn16s(**SMALL, deconv="learnt"), dtype=torch.float32)
    if learnt:
        _perturb(network)
    size = Size(45, 61)
    core = fixed_core(onnx.load_from_string(export_core(network, size=size)), size)
    kinds = {node.op_type for node in core.graph.node}
    way = {"ConvTranspose"} if learnt else {"Resize"}
    assert kinds == {"Conv", "Relu", "MaxPool", "Pad", "Slice", "Add"} | way
    pixels = torch.randn(1, 3, *size)
    session = onnxruntime.InferenceSession(core.SerializeToString())
    (logits,) = session.run(None, {"pixels": pixels.numpy()})
    with torch.no_grad():
        expected = network(pixels)
    assert (torch.from_numpy(logits) - expected).abs().max() < 1e-4 * expected.std()


@pytest.mark.parametrize("classes", [21, 11])
@pytest.mark.parametrize("name", FILES)
def test_public_weights_fit(shared: Path, name: str, classes: int) -> None:
    shapes = _shapes(shared / "checkpoints" / f"{name}.json", classes=classes)
    assert _fits(shapes, FILES[name][0], classes) == FILES[name][1] or classes != 21


def test_public_weights_of_the_sixteen_pixel_network_fit(shared: Path) -> None:
    shapes = _shapes(shared / "checkpoints" / "wkentaro_pytorch-fcn-fcn32s.json")
    del shapes["upscore.weight"]
    shapes |= {"score_pool4.weight": (21, 512, 1, 1), "score_pool4.bias": (21,)}
    shapes |= {"upscore2.weight": (21, 21, 4, 4), "upscore16.weight": (21, 21, 32, 32)}
    assert _fits(shapes, "fcn16s-vgg16", 21) == 134_815_994


def test_weights_of_others_are_not_claimed(shared: Path) -> None:
    files = (shared / "checkpoints").glob("*.json")
    assert {path.stem for path in files if WKENTARO.recognise(_shapes(path))} == FILES.keys()


def _reference(network: Any, pixels: Tensor, *, at_once: bool = False) -> Tensor:
    """The authors' network on the weights of ours: dense deconvolutions and ceil pools."""
    pools, x = [], pixels
    for names in network.vgg._stages:
        for name in names:
            conv = getattr(network.vgg, f"conv{name}")
            x = F.conv2d(x, conv.weight, conv.bias, padding=100 if name == "1_1" else 1).relu()
        x = F.max_pool2d(x, 2, ceil_mode=True)
        pools.append(x)
    for conv in (network.head.fc6, network.head.fc7):
        x = F.conv2d(x, conv.weight, conv.bias).relu()
    x = F.conv2d(x, network.score_fr.weight, network.score_fr.bias)
    steps = [(16, "upscore2", "score_pool4", 0.01, 5), (8, "upscore_pool4", "score_pool3", 1e-4, 9)]
    for stride, up, score, scale, offset in steps:
        if stride >= network.stride:
            x = F.conv_transpose2d(x, getattr(network, up).weight, stride=2)
            scorer, skipped = getattr(network, score), pools[-2 if stride == 16 else -3]
            skipped = F.conv2d(skipped * (scale if at_once else 1), scorer.weight, scorer.bias)
            x = x + skipped[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]
    x = F.conv_transpose2d(x, network.upscore.weight, stride=network.stride)
    crop = {32: 19, 16: 27, 8: 31}[network.stride]
    return x[:, :, crop : crop + pixels.shape[2], crop : crop + pixels.shape[3]]


def _lively(network: Any, *, dtype: torch.dtype = torch.float64) -> Any:
    """`network` in eval with weights, skips too, that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.to(dtype).eval()


@torch.no_grad()
def _perturb(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, Upsampling):
            module.weight += 0.02 * torch.randn_like(module.weight)
    network.eval()


def _fits(shapes: dict[str, tuple[int, ...]], network: str, classes: int) -> int:
    """Whether every tensor of the file has its place in ours; the parameters of ours."""
    assert WKENTARO.recognise(shapes) == (network, classes, {}, "caffe-fcn")
    with torch.device("meta"):
        ours = build_network(network, classes=classes)
    wanted = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert {WKENTARO.renamed(key): shape for key, shape in shapes.items()} == wanted
    return sum(p.numel() for p in ours.parameters())


def _shapes(path: Path, *, classes: int = 21) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(classes if side == 21 else side for side in shape)
        for key, shape in json.loads(path.read_text()).items()
    }

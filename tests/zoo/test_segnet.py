"""SegNet: the reference counts, PyTorch's own unpooling as the oracle, and the public layout."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints.say4n import LAYOUTS  # noqa: E402
from edgeseg.zoo.segnet import response_normalised, segnet, segnet_basic  # noqa: E402
from edgeseg.zoo.unpool import pooled  # noqa: E402

pytestmark = pytest.mark.torch

NARROW = 0.125
(SAY4N,) = LAYOUTS
FILE = "say4n_pytorch-segnet-segnet-voc21"
REGISTERED_VGG16 = 138_357_544
"""Parameters of the ImageNet network that the author's files carry along."""
OPERATORS = {"Conv", "Relu", "MaxPool", "Slice", "Max", "Less", "Where", "Concat", "Reshape",
             "Transpose", "Pad"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [("segnet-vgg16", 29_449_355, 106.712), ("segnet-basic", 1_416_587, 59.189)],
)
def test_network_has_the_size_of_the_authors(name: str, parameters: int, gmacs: float) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network(name, classes=11).eval()
        logits = network(torch.zeros(1, 3, 360, 480))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)
    assert logits.shape == (1, 11, 360, 480)


def test_rows_of_360_become_those_of_caffe_or_of_pytorch() -> None:
    assert _rows_of_the_pools(segnet(classes=2, width=NARROW)) == [180, 90, 45, 23, 12]
    floor = segnet(classes=2, width=NARROW, ceil_mode=False)
    assert _rows_of_the_pools(floor) == [180, 90, 45, 22, 11]


@torch.no_grad()
@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("size", [(45, 61), (64, 96)], ids=str)
def test_network_is_what_pytorchs_unpooling_makes_of_its_weights(
    size: tuple[int, int], ceil_mode: bool
) -> None:
    network = _lively(segnet(classes=3, width=NARROW, ceil_mode=ceil_mode))
    pixels = torch.randn(2, 3, *size).double()
    x, shelf = pixels, []
    for names in network.encoder._stages:
        for name in names:
            layer = (getattr(network.encoder, f"{kind}{name}") for kind in ("conv", "bn"))
            x = nn.Sequential(*layer)(x).relu()
        shelf.append(x)
        x = F.max_pool2d(x, 2, ceil_mode=ceil_mode)
    for stage in network.decoder:
        x = stage(_unpooled(x, shelf.pop(), ceil_mode))
    torch.testing.assert_close(network(pixels), network.classifier(x))


@torch.no_grad()
def test_basic_network_is_what_pytorchs_unpooling_makes_of_its_weights() -> None:
    network = _lively(segnet_basic(classes=3, width=NARROW))
    pixels = 255 * torch.rand(1, 3, 45, 61).double()
    x, shelf = F.local_response_norm(pixels, 5, alpha=1e-4, beta=0.75), []
    for stage in network.encoder:
        shelf.append(stage(x))
        x = F.max_pool2d(shelf[-1], 2, ceil_mode=True)
    for stage in network.decoder:
        assert [type(layer) for layer in stage] == [nn.Conv2d, nn.BatchNorm2d]
        x = stage(_unpooled(x, shelf.pop(), ceil_mode=True))
    torch.testing.assert_close(network(pixels), network.classifier(x))


def test_response_is_normalised_in_half_precision_without_overflow() -> None:
    pixels = torch.tensor([255.0, 254.0, 253.0]).view(1, 3, 1, 1)
    expected = F.local_response_norm(pixels, 5, alpha=1e-4, beta=0.75)
    torch.testing.assert_close(response_normalised(pixels), expected)
    half = response_normalised(pixels.half()).float()
    torch.testing.assert_close(half, expected, rtol=3e-3, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("make", [segnet, segnet_basic])
@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (57, 70)], ids=str)
def test_logits_have_the_size_of_any_picture(
    make: Any, ceil_mode: bool, size: tuple[int, int]
) -> None:
    network = make(classes=5, width=NARROW, ceil_mode=ceil_mode).eval()
    assert network(torch.randn(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("make", [segnet, segnet_basic])
def test_every_weight_learns(make: Any) -> None:
    network = make(classes=3, width=NARROW).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Batch normalisation takes the bias before it away again: rounding is all it may leave.
    assert [name for name in still if not name.endswith("bias")] == []


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
def test_exported_network_has_no_indices_and_the_same_logits() -> None:
    import onnx
    import onnxruntime

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    size = Size(45, 61)
    network = _lively(segnet_basic(classes=3, width=NARROW)).float()
    core = fixed_core(onnx.load_from_string(export_core(network, size=size)), size)
    kinds = {node.op_type for node in core.graph.node}
    assert kinds - OPERATORS == {"Mul", "ReduceSum", "Add", "Pow", "Div"}  # the response's
    pixels = 255 * torch.rand(1, 3, *size)
    session = onnxruntime.InferenceSession(core.SerializeToString())
    (logits,) = session.run(None, {"pixels": pixels.numpy()})
    with torch.no_grad():
        expected = network(pixels)
    # A float that rounds otherwise may move a maximum; few of them may.
    wrong = (torch.from_numpy(logits) - expected).abs() > 1e-3 * expected.std()
    assert wrong.float().mean() < 0.01


@pytest.mark.parametrize("classes", [21, 12])
def test_public_weights_fit(shared: Path, classes: int) -> None:
    shapes = _shapes(shared / "checkpoints" / f"{FILE}.json")
    assert sum(torch.Size(s).numel() for k, s in shapes.items() if "running" not in k) == (
        167_812_669
    )
    last = "decoder_convtr_00.0"
    shapes |= {f"{last}.weight": (64, classes, 3, 3), f"{last}.bias": (classes,)}
    found = SAY4N.recognise(shapes)
    assert found is not None
    assert found == ("segnet-vgg16", classes, {"ceil_mode": False}, "unit")
    with torch.device("meta"):
        network = build_network(found.network, classes=classes, **found.variant)
    renamed: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        if (name := SAY4N.renamed(key)) is not None:
            renamed[name] = tuple(SAY4N.convert(name, torch.empty(shape, device="meta")).shape)
    assert renamed == _named_shapes(network)
    if classes == 21:
        parameters = sum(p.numel() for p in network.parameters())
        assert parameters == 167_812_669 - REGISTERED_VGG16


def test_public_weights_without_the_registered_network_fit(shared: Path) -> None:
    shapes = _shapes(shared / "checkpoints" / f"{FILE}.json")
    found = SAY4N.recognise({k: v for k, v in shapes.items() if not k.startswith("vgg16.")})
    assert found is not None


def test_weights_of_others_are_not_claimed(shared: Path) -> None:
    files = (shared / "checkpoints").glob("*.json")
    assert {path.stem for path in files if SAY4N.recognise(_shapes(path))} == {FILE}


def test_transposed_convolution_becomes_a_convolution() -> None:
    theirs = nn.ConvTranspose2d(5, 7, 3, padding=1).double()
    x = torch.randn(1, 5, 8, 9).double()
    kernel = SAY4N.convert("decoder.2.1.0.weight", theirs.weight)
    torch.testing.assert_close(F.conv2d(x, kernel, theirs.bias, padding=1), theirs(x))
    untouched = SAY4N.convert("encoder.conv1_1.weight", theirs.weight)
    assert torch.equal(untouched, theirs.weight)


def _unpooled(x: Tensor, encoded: Tensor, ceil_mode: bool) -> Tensor:
    _, indices = F.max_pool2d(encoded, 2, return_indices=True, ceil_mode=ceil_mode)
    return F.max_unpool2d(x, indices, 2, output_size=encoded.shape[-2:])


def _rows_of_the_pools(network: Any) -> list[int]:
    rows: list[int] = []

    def watched(x: Tensor, *, ceil_mode: bool) -> Any:
        values, places = pooled(x, ceil_mode=ceil_mode)
        rows.append(values.shape[2])
        return values, places

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeseg.zoo.segnet.pooled", watched)
        network.to("meta").eval()(torch.zeros(1, 3, 360, 480, device="meta"))
    return rows


def _lively(network: Any) -> Any:
    """`network` in float64, in eval, with weights that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.double().eval()


def _named_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {
        key.removeprefix("module."): tuple(shape)
        for key, shape in json.loads(path.read_text()).items()
        if not key.endswith("num_batches_tracked")
    }

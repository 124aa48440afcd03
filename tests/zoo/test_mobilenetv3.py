"""MobileNetV3-Large: torchvision's shape, its rates, its squeeze, its operators."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints.torchvision import LAYOUTS  # noqa: E402
from edgeseg.zoo.mobilenetv3 import Block, Line, MobileNetV3Large, SqueezeExcite  # noqa: E402

pytestmark = pytest.mark.torch

WEIGHTS = "torchvision-deeplabv3_mobilenet_v3_large-coco_voc21"


def test_public_weights_fill_the_network(shared: Path) -> None:
    loaded = json.loads((shared / "checkpoints" / f"{WEIGHTS}.json").read_text())
    shapes = {k: tuple(s) for k, s in loaded.items() if not k.endswith("num_batches_tracked")}
    (layout,) = (layout for layout in LAYOUTS if layout.recognise(shapes))
    found = layout.recognise(shapes)
    assert found is not None
    assert (found.network, found.classes) == ("deeplabv3-mobilenetv3-large", 21)
    with torch.device("meta"):
        network = build_network(found.network, classes=21, **found.variant)
    wanted = {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert {layout.renamed(key): shape for key, shape in shapes.items()} == wanted
    assert sum(p.numel() for p in network.parameters()) == 11_029_328


def test_network_costs_as_many_multiplications_as_torchvisions() -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network("deeplabv3-mobilenetv3-large", classes=21, head_3x3=True).eval()
        network(torch.zeros(1, 3, 520, 520))
    assert counter.get_total_flops() / 2e9 == pytest.approx(10.436, abs=1e-3)


@pytest.mark.parametrize(("stride", "shape"), [(32, (2, 3)), (16, (4, 6)), (8, (8, 12))])
def test_features_have_stride_8_and_the_output_stride(stride: int, shape: tuple[int, int]) -> None:
    backbone = MobileNetV3Large(output_stride=stride, width=0.25).eval()
    early, last = backbone(torch.zeros(1, 3, 64, 96))
    assert early.shape[1:] == (backbone.channels[0], 8, 12)
    assert last.shape[1:] == (backbone.channels[1], *shape)


def test_early_features_are_those_of_the_fourth_block() -> None:
    backbone = MobileNetV3Large(width=0.25).eval()
    x = pixels = torch.randn(1, 3, 33, 49)
    for layer in list(backbone)[:5]:
        x = layer(x)
    torch.testing.assert_close(backbone(pixels)[0], x)


def test_last_three_blocks_dilate_by_two() -> None:
    with torch.device("meta"):
        backbone = MobileNetV3Large()
    depthwise = [block.block[0 if number == 1 else 1][0] for number, block in _blocks(backbone)]
    assert [conv.dilation[0] for conv in depthwise] == [1] * 12 + [2] * 3
    assert [conv.stride[0] for conv in depthwise] == [1, 2, 1, 2, 1, 1, 2] + [1] * 8


def test_normalisation_has_torchvisions_epsilon() -> None:
    backbone = MobileNetV3Large(width=0.25)
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


def test_squeeze_weighs_channels_by_their_means() -> None:
    squeeze = SqueezeExcite(16)
    x = torch.randn(2, 16, 5, 7)
    means = x.flatten(2).mean(2)
    hidden = (means @ squeeze.fc1.weight[:, :, 0, 0].T + squeeze.fc1.bias).clamp(min=0)
    raw = hidden @ squeeze.fc2.weight[:, :, 0, 0].T + squeeze.fc2.bias
    gates = (raw / 6 + 0.5).clamp(0, 1)
    torch.testing.assert_close(squeeze(x), x * gates[:, :, None, None])


@pytest.mark.needs("onnx", "onnxscript", "onnxsim")
def test_activations_stay_whole_in_onnx() -> None:
    import onnx

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    block = Block(3, Line(5, 16, 8, True, True, 1), stride=1, dilation=2)
    size = Size(32, 48)
    core = fixed_core(onnx.load_from_string(export_core(block, size=size)), size)
    names = [node.op_type for node in core.graph.node]
    assert names == ["Conv", "HardSwish", "Conv", "HardSwish", "ReduceMean", "Conv", "Relu",
                     "Conv", "HardSigmoid", "Mul", "Conv"]  # fmt: skip


def _blocks(backbone: MobileNetV3Large) -> list[tuple[int, Block]]:
    return [(n, layer) for n, layer in enumerate(backbone) if isinstance(layer, Block)]

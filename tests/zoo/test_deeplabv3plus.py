"""DeepLab v3+: counts, the decoder, the shipped weights, and those of two public repositories."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints import jfzhang95, vainf  # noqa: E402
from edgeseg.zoo.deeplabv3plus import deeplabv3plus_mobilenetv2, deeplabv3plus_resnet  # noqa: E402
from edgeseg.zoo.shipped import FOLDER, card  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.needs("safetensors")]

SMALL: dict[str, Any] = {"classes": 5, "depth": 18, "width": 0.125, "aspp_channels": 16}
SHIPPED = "deeplabv3plus-mobilenetv2"
VAINF = "VainF_DeepLabV3Plus-Pytorch-deeplabv3plus"
JFZHANG95 = "jfzhang95_pytorch-deeplab-xception-deeplabv3plus"
WEIGHTS = {
    f"{VAINF}_mobilenet-voc21": ("deeplabv3plus-mobilenetv2", 5_225_717, 16.817),
    f"{VAINF}_resnet101-voc21": ("deeplabv3plus-resnet101", 58_753_973, 83.005),
    f"{JFZHANG95}_mobilenet-voc21": ("deeplabv3plus-mobilenetv2", 5_816_053, 27.068),
    f"{JFZHANG95}_resnet-voc21": ("deeplabv3plus-resnet101", 59_344_309, 92.820),
    f"{JFZHANG95}_xception-voc21": ("deeplabv3plus-xception65", 54_705_317, 86.577),
}
LAYOUTS = (*vainf.LAYOUTS, *jfzhang95.LAYOUTS)


@pytest.mark.parametrize("name", WEIGHTS)
def test_public_weights_fill_a_network_of_the_authors_cost(shared: Path, name: str) -> None:
    shapes = _shapes(shared, name)
    network_name, parameters, gmacs = WEIGHTS[name]
    (layout,) = (layout for layout in LAYOUTS if layout.recognise(shapes))
    found = layout.recognise(shapes)
    assert found is not None
    assert (found.network, found.classes, found.pixels) == (network_name, 21, "imagenet")
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network(found.network, classes=21, **found.variant).eval()
        network(torch.zeros(1, 3, 513, 513))
    renamed = {key: layout.renamed(key) for key in shapes}
    used = {ours: shapes[key] for key, ours in renamed.items() if ours}
    assert max(Counter(ours for ours in renamed.values() if ours).values()) == 1
    assert used == _wanted(network)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


def test_weights_for_other_classes_and_depths_are_known(shared: Path) -> None:
    shapes = _shapes(shared, f"{VAINF}_resnet101-voc21")
    resnet50 = {
        key: (19, *shape[1:]) if key.startswith("classifier.classifier.3") else shape
        for key, shape in shapes.items()
        if not any(key.startswith(f"backbone.layer3.{block}.") for block in range(6, 23))
    }
    (found,) = (found for layout in LAYOUTS if (found := layout.recognise(resnet50)))
    assert (found.network, found.classes) == ("deeplabv3plus-resnet50", 19)


def test_vainfs_decoder_channels_change_places() -> None:
    convert = vainf.LAYOUTS[1].convert
    theirs = torch.arange(304.0).view(1, 304, 1, 1)
    ours = convert("refine.0.0.weight", theirs).flatten().tolist()
    assert ours == [*range(48, 304), *range(48)]
    assert convert("aspp.project.0.weight", theirs) is theirs


def test_shipped_weights_load_whole_and_keep_their_meaning() -> None:
    from safetensors.torch import load_file

    weights = load_file(FOLDER / f"{SHIPPED}.safetensors")
    known = card(SHIPPED)
    assert known is not None
    network = deeplabv3plus_mobilenetv2(classes=len(known["labels"])).eval()
    assert {name: tuple(value.shape) for name, value in weights.items()} == _wanted(network)
    network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    with torch.no_grad():
        logits = network(_ramp(96, 128))
    assert logits.shape == (1, 11, 24, 32)
    torch.testing.assert_close(logits, _shipped_core_logits(), atol=0.05, rtol=0.01)


def test_decoder_sees_context_and_then_low_level_features() -> None:
    network = deeplabv3plus_resnet(**SMALL, low_channels=8).eval()
    pixels = torch.randn(1, 3, 65, 97)
    features = network.backbone(pixels)
    context = F.interpolate(network.aspp(features[3]), (17, 25), mode="bilinear")
    both = torch.cat([context, network.low_level(features[0])], 1)
    torch.testing.assert_close(network(pixels), network.classifier(network.refine(both)))


def test_aligned_corners_are_those_of_the_decoder() -> None:
    plain = deeplabv3plus_resnet(**SMALL).eval()
    aligned = deeplabv3plus_resnet(**SMALL, align_corners=True).eval()
    aligned.load_state_dict(plain.state_dict())
    pixels = torch.zeros(1, 3, 65, 97)
    with torch.no_grad():
        large, small = aligned(pixels), plain(pixels)
    assert large.shape[2:] == (65, 97)
    assert small.shape[2:] == (17, 25)
    # The picture's corner is a cell of the decoder, whose corner is a cell of the ASPP.
    torch.testing.assert_close(large[..., 0, 0], _corner(aligned, pixels))


def test_jfzhang95s_mobilenet_dilates_only_behind_the_stage_that_would_stride() -> None:
    late = deeplabv3plus_mobilenetv2(classes=2, width=0.25, late_dilation=True).backbone
    usual = deeplabv3plus_mobilenetv2(classes=2, width=0.25).backbone
    assert [block.body[1][0].dilation[0] for block in late.stages[5]] == [1, 1, 1]
    assert [block.body[1][0].dilation[0] for block in usual.stages[5]] == [1, 2, 2]
    assert late.stages[6][0].body[1][0].dilation == (2, 2)


def test_every_parameter_learns() -> None:
    network = deeplabv3plus_resnet(**SMALL, separable=True)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def _corner(network: Any, pixels: Any) -> Any:
    features = network.backbone(pixels)
    size = tuple(features[0].shape[2:])
    context = F.interpolate(network.aspp(features[3]), size, mode="bilinear", align_corners=True)
    both = torch.cat([context, network.low_level(features[0])], 1)
    return network.classifier(network.refine(both))[..., 0, 0].detach()


def _ramp(height: int, width: int) -> Any:
    return torch.linspace(-2, 2, 3 * height * width).view(1, 3, height, width)


def _shipped_core_logits() -> Any:
    runtime = pytest.importorskip("onnxruntime")
    core = str(FOLDER / f"{SHIPPED}.onnx")
    session = runtime.InferenceSession(core, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"pixels": _ramp(96, 128).numpy()})
    return torch.from_numpy(logits)


def _shapes(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    loaded = json.loads((shared / "checkpoints" / f"{name}.json").read_text())
    return {
        key: tuple(shape)
        for key, shape in loaded.items()
        if not key.endswith("num_batches_tracked")
    }


def _wanted(network: Any) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }

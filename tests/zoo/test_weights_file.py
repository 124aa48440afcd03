"""Networks from files of weights: ours, or those of public authors, checked against the wish."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import InputFileError, UsageError  # noqa: E402
from edgeseg.tables import pick  # noqa: E402
from edgeseg.zoo import MODELS, build_network  # noqa: E402
from edgeseg.zoo.checkpoints import LAYOUTS  # noqa: E402
from edgeseg.zoo.training import save_weights  # noqa: E402
from edgeseg.zoo.weights_file import load_weights, network_from_weights  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.needs("safetensors")]

OWN = "deeplabv1-largefov-vgg16"
SMALL = {"width": 0.0625}
MOBILENET = "deeplabv3plus-mobilenetv2"
JFZHANG = "jfzhang95_pytorch-deeplab-xception-deeplabv3plus_mobilenet-voc21"
VAINF = "VainF_DeepLabV3Plus-Pytorch-deeplabv3plus_mobilenet-voc21"
KAZUTO = "kazuto1011_deeplab-pytorch-deeplabv2_resnet101_msc-voc21"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Of a small network with three classes."""
    save_weights(build_network(OWN, classes=3, **SMALL), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def test_own_layout_loads_into_the_named_network_with_the_files_class_count(own: Path) -> None:
    loaded = network_from_weights(own, name=OWN, classes=None, variant=SMALL)

    assert (loaded.name, loaded.classes, loaded.variant) == (OWN, 3, SMALL)
    assert (loaded.author, loaded.pixels, loaded.notes) == (None, None, [])
    assert not loaded.network.training
    _assert_same(loaded.network, build_network(OWN, classes=3, **SMALL), atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_class_count_of_any_network_is_read_from_its_own_layout(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, classes=7, **SMALL)
    _save_shapes({key: value.shape for key, value in network.state_dict().items()}, tmp_path / "w")

    assert network_from_weights(tmp_path / "w", name=name, classes=None, variant=SMALL).classes == 7


def test_own_layout_with_another_class_count_is_refused_with_both(own: Path) -> None:
    with pytest.raises(InputFileError, match=r"does not hold .* with 4 classes: it has 3"):
        network_from_weights(own, name=OWN, classes=4, variant=SMALL)


def test_own_layout_of_another_width_is_refused_with_the_shapes(own: Path) -> None:
    with pytest.raises(InputFileError, match=r"this network: .* is \(.*\), wanted \(") as refused:
        network_from_weights(own, name=OWN, classes=3, variant={"width": 0.125})

    assert "name the right network" in refused.value.fix


def test_own_layout_without_a_name_asks_for_one(own: Path) -> None:
    with pytest.raises(InputFileError, match="any network in a layout that edgeseg knows") as no:
        network_from_weights(own, name=None, classes=None, variant={})

    assert "name the network" in no.value.fix


def test_unknown_file_is_told_its_closest_layout_and_what_differs(tmp_path: Path) -> None:
    tensors = build_network(OWN, classes=3, **SMALL).state_dict()
    tensors["foot.weight"] = tensors.pop("fc8.weight")
    torch.save(tensors, tmp_path / "w.pth")

    with pytest.raises(InputFileError) as refused:
        network_from_weights(tmp_path / "w.pth", name=OWN, classes=None, variant=SMALL)

    assert f"closest is edgeseg's own layout of {OWN}" in refused.value.problem
    assert "unknown: foot.weight; missing: fc8.weight" in refused.value.problem


def test_file_like_nothing_known_shows_its_names(tmp_path: Path) -> None:
    torch.save({"w1": torch.ones(2), "w2": torch.ones(2)}, tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"its names are w1, w2"):
        network_from_weights(tmp_path / "w.pth", name=OWN, classes=None, variant={})


def test_backbone_alone_is_called_that(tmp_path: Path) -> None:
    shapes = {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 1, 1)}
    _save_shapes({**shapes, "fc.weight": (1000, 2048)}, tmp_path / "resnet.pth")

    with pytest.raises(InputFileError, match="a ResNet that names whole pictures"):
        network_from_weights(
            tmp_path / "resnet.pth", name="deeplabv3-resnet101", classes=None, variant={}
        )


def test_network_that_does_not_exist_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no network"):
        network_from_weights(tmp_path / "none.pth", name="deeplab", classes=None, variant={})


def test_public_training_checkpoint_computes_what_its_tensors_say(
    tmp_path: Path, shared: Path
) -> None:
    ours = _public_network("jfzhang95", shared, JFZHANG)
    held = _in_their_names("jfzhang95", shared, JFZHANG, ours.state_dict())
    checkpoint = {
        "state_dict": {f"module.{key}": value for key, value in held.items()},
        "optimizer": {"state": {0: torch.ones(2)}},
        "best_pred": np.float64(0.7),
    }
    torch.save(checkpoint, tmp_path / "model_best.pth.tar")

    loaded = network_from_weights(
        tmp_path / "model_best.pth.tar", name=MOBILENET, classes=21, variant={}
    )

    _assert_same(loaded.network, ours)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.network(pixels), ours.eval()(pixels))
    assert loaded.author == "jfzhang95/pytorch-deeplab-xception"
    assert loaded.pixels == "imagenet"
    assert loaded.variant["align_corners"] is True


@pytest.fixture
def public(tmp_path: Path, shared: Path) -> Path:
    """VainF's DeepLab v3+ on MobileNetV2 with 21 classes, every value 0.5."""
    _save_shapes(_stored(shared, VAINF), tmp_path / "vainf.pth")
    return tmp_path / "vainf.pth"


def test_public_layout_needs_no_name_and_says_what_it_is(public: Path) -> None:
    loaded = network_from_weights(public, name=None, classes=None, variant={})

    assert (loaded.name, loaded.classes) == (MOBILENET, 21)
    assert loaded.notes[0].startswith(
        f"vainf.pth is {MOBILENET} of VainF/DeepLabV3Plus-Pytorch: 21 classes, pixels imagenet"
    )
    assert "the file does not say its output_stride: 16 is taken" in loaded.notes


def test_variant_that_the_file_cannot_contradict_is_taken(public: Path) -> None:
    loaded = network_from_weights(public, name=None, classes=None, variant={"output_stride": 8})

    assert loaded.variant["output_stride"] == 8
    assert not [note for note in loaded.notes if "does not say" in note]


def test_variant_that_was_used_can_be_asked_for_again(tmp_path: Path, shared: Path) -> None:
    _save_shapes(
        _stored(shared, "torchvision-deeplabv3_mobilenet_v3_large-coco_voc21"), tmp_path / "w.pth"
    )
    first = network_from_weights(tmp_path / "w.pth", name=None, classes=None, variant={})
    read_back = json.loads(json.dumps(first.variant))

    again = network_from_weights(
        tmp_path / "w.pth", name=first.name, classes=first.classes, variant=read_back
    )

    assert isinstance(read_back["rates"], list)
    assert again.variant == first.variant


def test_public_layout_of_another_network_than_named_is_refused_with_both(public: Path) -> None:
    with pytest.raises(InputFileError) as refused:
        network_from_weights(public, name="deeplabv3plus-resnet101", classes=None, variant={})

    assert f"holds {MOBILENET} in the layout of VainF/" in refused.value.problem
    assert "not deeplabv3plus-resnet101" in refused.value.problem
    assert refused.value.fix == f"name {MOBILENET}"


def test_public_layout_with_another_class_count_is_refused_with_both(public: Path) -> None:
    with pytest.raises(InputFileError, match=r"VainF.* with 21 classes, not 19"):
        network_from_weights(public, name=MOBILENET, classes=19, variant={})


def test_variant_that_contradicts_the_author_is_refused_with_both(public: Path) -> None:
    with pytest.raises(InputFileError, match="has separable=False, not separable=True"):
        network_from_weights(public, name=MOBILENET, classes=None, variant={"separable": True})


def test_variant_that_changes_the_tensors_of_a_public_file_is_named_in_the_way_out(
    public: Path,
) -> None:
    with pytest.raises(InputFileError, match="does not hold the weights of this") as refused:
        network_from_weights(public, name=MOBILENET, classes=None, variant={"width": 0.5})

    assert refused.value.fix.startswith("leave width out of the variant")


def test_public_file_with_a_tensor_cut_off_is_refused_by_its_name(
    tmp_path: Path, shared: Path
) -> None:
    shapes = _stored(shared, VAINF)
    del shapes["backbone.low_level_features.2.conv.3.weight"]
    _save_shapes(shapes, tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"this network: no backbone\.") as refused:
        network_from_weights(tmp_path / "w.pth", name=MOBILENET, classes=None, variant={})

    assert "VainF/DeepLabV3Plus-Pytorch again" in refused.value.fix


def test_public_file_with_a_tensor_too_many_is_refused_by_its_name(
    tmp_path: Path, shared: Path
) -> None:
    _save_shapes({**_stored(shared, VAINF), "extra.weight": (2,)}, tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"1 tensors? that it has not: extra\.weight"):
        network_from_weights(tmp_path / "w.pth", name=MOBILENET, classes=None, variant={})


def test_network_with_the_same_tensors_may_be_named_instead(tmp_path: Path, shared: Path) -> None:
    _save_shapes(_stored(shared, KAZUTO), tmp_path / "w.pth")

    loaded = network_from_weights(
        tmp_path / "w.pth", name="deeplabv2-resnet101", classes=None, variant={}
    )

    assert loaded.name == "deeplabv2-resnet101"
    assert any("have the same tensors" in note for note in loaded.notes)


def test_load_weights_takes_all_tensors_and_no_others(own: Path) -> None:
    network = build_network(OWN, classes=3, seed=1, **SMALL)

    load_weights(network, own)

    _assert_same(network, build_network(OWN, classes=3, **SMALL), atol=1e-3)
    with pytest.raises(InputFileError, match="does not hold the weights of this network"):
        load_weights(build_network(OWN, classes=4, **SMALL), own)


def _public_network(author: str, shared: Path, file: str) -> Any:
    """The network of a public file with random weights."""
    ((_, found),) = _claims(author, shared, file)
    network = build_network(found.network, classes=found.classes, seed=3, **found.variant)
    generator = torch.Generator().manual_seed(4)
    for name, value in network.state_dict().items():
        if "running" in name:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network


def _in_their_names(
    author: str, shared: Path, file: str, state: Mapping[str, Any]
) -> dict[str, Any]:
    """`state` as the author's file has it; what inference does not need is not a number."""
    ((layout, _),) = _claims(author, shared, file)
    return {
        key: torch.full(shape, torch.nan) if (ours := layout.renamed(key)) is None else state[ours]
        for key, shape in _stored(shared, file).items()
    }


def _claims(author: str, shared: Path, file: str) -> list[tuple[Any, Any]]:
    shapes = _stored(shared, file)
    layouts = pick(LAYOUTS, author, kind="layout of weights")
    return [(layout, found) for layout in layouts if (found := layout.recognise(shapes))]


def _stored(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    stored = json.loads((shared / "checkpoints" / f"{name}.json").read_text(encoding="utf-8"))
    return {
        key: tuple(shape)
        for key, shape in stored.items()
        if not key.endswith("num_batches_tracked")
    }


def _save_shapes(shapes: Mapping[str, Any], path: Path) -> None:
    """A PyTorch file of these shapes that holds one number for each."""
    torch.save({key: torch.tensor(0.5).expand(shape) for key, shape in shapes.items()}, path)


def _assert_same(network: Any, wanted: Any, *, atol: float = 0.0) -> None:
    state = wanted.state_dict()
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(value, state[name], rtol=0, atol=atol), name

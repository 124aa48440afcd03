"""A network of the zoo with its weights: what it is, and its float core as ONNX."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseg.errors import InputFileError, UsageError
from edgeseg.tables import known, needs
from edgeseg.types import Size
from edgeseg.zoo import MODELS, check_size
from edgeseg.zoo.classes import usual_classes
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.shipped import card, shipped_core, shipped_weights

TRAINED_SIZE = Size(360, 480)
"""Of CamVid, on which the shipped weights were trained."""

RANDOM = "random"
"""Stands for a weights file where only the speed counts."""

RANDOM_CLASSES = 21
"""Of VOC, on which the papers count."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What runs besides the one pass over the picture; all of it becomes part of the graph."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    fusion: str = "mean"

    @property
    def is_plain(self) -> bool:
        """Whether it is the one pass alone."""
        return self.scales == (1.0,) and not self.flip


@dataclass(frozen=True, kw_only=True)
class ZooNetwork:
    """Which network of the zoo, in which form, with which weights."""

    name: str
    weights: Path | None = None
    """None for those that ship."""
    random: bool = False
    """Random weights instead: for speed alone."""
    classes: int | None = None
    """None leaves it to the weights."""
    variant: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network's function."""
    inference: Inference = Inference()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the weights say about themselves."""

    labels: list[str]
    colors: list[tuple[int, int, int]]
    pixels: dict[str, Any]
    variant: dict[str, Any]
    weights: str
    """Which weights, in a few words."""


def weights_from_text(weights: str | Path | None) -> tuple[Path | None, bool]:
    """The weights file that was named, if any, and whether random weights were asked for."""
    if weights == RANDOM:
        return None, True
    return (Path(weights) if weights else None), False


def facts_of(what: ZooNetwork, labels: list[str] | None = None) -> Facts:
    """What is known of the network and its weights; `labels` name the classes where given.

    Raises:
        UsageError: no such network, or none of its weights ship and none were given.
        InputFileError: the file is unreadable, unknown, or holds another network.
        MissingPackage: own weights without PyTorch.
    """
    row = MODELS[known(MODELS, what.name, kind="network")]
    variant = dict(what.variant)
    if what.random:
        values: dict[str, Any] = {"pixels": row.pixels}
        classes, told = what.classes or (len(labels) if labels else RANDOM_CLASSES), RANDOM
    elif what.weights is None:
        values = card(what.name) or _none_ship(what.name)
        classes, told = len(values["labels"]), "shipped"
    else:
        values = own_card(what.weights)
        variant = {**values.get("variant", {}), **variant}
        loaded = _loaded(what, variant, values)
        classes, variant = loaded.classes, dict(loaded.variant)
        values = {"pixels": loaded.pixels or row.pixels, **values}
        told = f"{what.weights.name}" + (f" ({loaded.author})" if loaded.author else "")
    names, colors = _classes(classes, labels, values)
    return Facts(
        labels=names,
        colors=colors,
        pixels=PIXELS[known(PIXELS, values.get("pixels", row.pixels), kind="pixel convention")],
        variant=variant,
        weights=told,
    )


def core_bytes(what: ZooNetwork, *, size: Size | None = None) -> bytes:
    """The float core: the one that ships, for any H and W, or exported now for `size`.

    Raises:
        UsageError: no such network, a size it cannot take, or no weights.
        InputFileError: the weights do not fit.
        MissingPackage: own weights without PyTorch.
    """
    row = MODELS[known(MODELS, what.name, kind="network")]
    size = size or default_size(what.name)
    check_size(what.name, row, size)
    shipped = shipped_core(what.name)
    is_shipped = not (what.weights or what.random or what.classes or what.variant)
    if is_shipped and what.inference.is_plain and shipped is not None:
        return shipped.read_bytes()
    with needs("export"):
        from edgeseg.zoo.export import export_core
    return export_core(load_network(what, size), size=size)


def default_size(name: str) -> Size:
    """Of CamVid for networks whose weights ship, else of the paper."""
    return TRAINED_SIZE if card(name) else MODELS[name].size


def own_card(weights: Path) -> dict[str, Any]:
    """The card beside a weights file (FILE.json); empty where there is none.

    Raises:
        InputFileError: it is not JSON, or names no labels.
    """
    path = weights.with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        list(values["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(f"{path} is no card: {error}", fix='it needs "labels"') from error
    return values


def load_network(what: ZooNetwork, size: Size) -> Any:
    """The PyTorch module of `what` with its weights, for pictures of `size`.

    Raises:
        UsageError: no weights.
        InputFileError: the weights do not fit.
        MissingPackage: PyTorch is not installed.
    """
    network = _random(what, size) if what.random else _with_weights(what)
    if what.inference.is_plain:
        return network
    with needs("export"):
        from edgeseg.zoo.multiscale import MultiScale
    return MultiScale(
        network,
        scales=what.inference.scales,
        flip=what.inference.flip,
        fusion=what.inference.fusion,
        sizes=MODELS[what.name].sizes,
    )


def _random(what: ZooNetwork, size: Size) -> Any:
    with needs("export"):
        from edgeseg.zoo import build_network
        from edgeseg.zoo.initial import random_weights
    network = build_network(what.name, classes=what.classes or RANDOM_CLASSES, **what.variant)
    random_weights(network, size, pixels=MODELS[what.name].pixels)
    return network


def _with_weights(what: ZooNetwork) -> Any:
    weights = what.weights or shipped_weights(what.name) or _none_ship(what.name)
    values = own_card(weights)
    variant = {**values.get("variant", {}), **what.variant}
    loaded = _loaded(replace(what, weights=weights), variant, values)
    for note in loaded.notes:
        log.info("%s", note)
    return loaded.network


def _loaded(what: ZooNetwork, variant: dict[str, Any], values: dict[str, Any]) -> Any:
    with needs("export"):
        from edgeseg.zoo.weights_file import network_from_weights

    assert what.weights is not None
    classes = what.classes or (len(values["labels"]) if "labels" in values else None)
    return network_from_weights(what.weights, name=what.name, classes=classes, variant=variant)


def _classes(
    count: int, labels: list[str] | None, values: dict[str, Any]
) -> tuple[list[str], list[tuple[int, int, int]]]:
    if labels is not None:
        if len(labels) != count:
            raise UsageError(
                f"{len(labels)} labels were given, but the weights have {count} classes",
                fix=f"name all {count}, comma between",
            )
        return list(labels), []
    if "labels" in values:
        return list(values["labels"]), [tuple(color) for color in values.get("colors", [])]
    usual = usual_classes(count)
    return list(usual.names), list(usual.colors)


def _none_ship(name: str) -> Any:
    raise UsageError(
        f"no weights of {name} ship with edgeseg",
        fix="give --weights FILE, or --weights random to measure its speed alone",
    )

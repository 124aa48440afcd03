"""A network with the weights of a file, in our own layout or any that is public and known."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeseg.errors import InputFileError
from edgeseg.tables import known, pick
from edgeseg.zoo import build_network
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes
from edgeseg.zoo.checkpoints.reading import COUNTER, read_tensors
from edgeseg.zoo.checkpoints.recognising import classifier_in, closest, recognised, shapes_of
from edgeseg.zoo.rows import MODELS

NAME_OR_COUNT = "name the right network, or say how many classes the file has with --classes"
ASSUMED = ("output_stride",)
"""Options that leave no trace in a file; the notes say what is taken for them."""


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A network in eval mode with the weights of a file."""

    network: nn.Module
    name: str
    """Its row of MODELS."""
    classes: int
    variant: Mapping[str, Any]
    """Keyword arguments of its function besides the row's: the author's and the user's."""
    pixels: str | None
    """A row of PIXELS; None for that of the network's row."""
    author: str | None
    """ "owner/repository"; None for our own layout."""
    notes: list[str]
    """Sentences for the user: what the file is, and what it does not say."""


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What the user says of a file, with lists as tuples."""

    path: Path
    name: str | None
    classes: int | None
    variant: Mapping[str, Any]


def network_from_weights(
    path: Path, *, name: str | None, classes: int | None, variant: Mapping[str, Any]
) -> LoadedNetwork:
    """The network of `path`; `name`, `classes` and `variant` are what the user says of it.

    `name` may be None for a public layout. A class count that is not given is the file's.

    Raises:
        UsageError: no such network, or no such variant of it.
        InputFileError: unreadable, in no known layout, or something else than the user says.
    """
    if name is not None:
        known(MODELS, name, kind="network")
    wish = _Wish(path=path, name=name, classes=classes, variant=_plain(variant))
    tensors = read_tensors(path)
    public = recognised(tensors)
    if public is not None:
        return _from_public(wish, tensors, public.layout, public.found)
    return _from_own(wish, tensors)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load `path`, in our own layout, into `network`: every tensor and none left over.

    Raises:
        InputFileError: unreadable, or not the weights of this network with this class count.
    """
    _fill(network, read_tensors(path), path, fix=NAME_OR_COUNT)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, fix: str) -> None:
    wanted, held = _shapes(network), shapes_of(tensors)
    wrong = [
        f"{name} is {held[name]}, wanted {shape}"
        for name, shape in wanted.items()
        if held.get(name, shape) != shape
    ]
    missing, extra = wanted.keys() - held.keys(), held.keys() - wanted.keys()
    if wrong or missing or extra:
        told = [*wrong[:2], *(f"no {name}" for name in sorted(missing)[:2]),
                *(f"unknown {name}" for name in sorted(extra)[:2])]  # fmt: skip
        raise InputFileError(
            f"{path} does not hold the weights of this network: {'; '.join(told)}", fix=fix
        )
    network.load_state_dict(dict(tensors), strict=False)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        key: shape
        for key, shape in shapes_of(network.state_dict()).items()
        if key.rpartition(".")[2] != COUNTER
    }


def _shapes_of_row(name: str, classes: int, variant: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes of a network's tensors, found without memory for their values."""
    with torch.device("meta"):
        return _shapes(build_network(name, classes=classes, **variant))


# --- Public layouts ---


def _from_public(
    wish: _Wish, tensors: Mapping[str, Tensor], layout: Layout, found: Found
) -> LoadedNetwork:
    name = _checked_name(wish, layout, found)
    _check_wish(wish, layout, found)
    variant = {**wish.variant, **_plain(found.variant)}
    network = build_network(name, classes=found.classes, **variant)
    ours, unused = _renamed(wish.path, tensors, layout)
    fix = f"get the whole file of {layout.author} again; this one is of another version, or cut"
    if wish.variant:
        fix = f"leave {', '.join(wish.variant)} out of the variant, or {fix}"
    _fill(network, ours, wish.path, fix=fix)
    return LoadedNetwork(
        network=network.eval(),
        name=name,
        classes=found.classes,
        variant=variant,
        pixels=found.pixels,
        author=layout.author,
        notes=_notes(wish.path, name, variant, layout, found, unused),
    )


def _checked_name(wish: _Wish, layout: Layout, found: Found) -> str:
    """The row to build: the file's, or one that the user names and whose tensors are the same."""
    if wish.name in (None, found.network):
        return found.network
    if not _same_tensors(wish.name, found):
        raise InputFileError(
            f"{wish.path} holds {found.network} in the layout of {layout.author}, not {wish.name}",
            fix=f"name {found.network}",
        )
    return wish.name


def _same_tensors(name: str, found: Found) -> bool:
    """Whether rows differ by what no file tells, as DeepLab v2 at one scale and at three do."""
    row, variant = MODELS[name], _plain(found.variant)
    if row.make != MODELS[found.network].make:
        return False
    if any(row.variant.get(key, value) != value for key, value in variant.items()):
        return False
    named, held = (_shapes_of_row(each, 2, variant) for each in (name, found.network))
    return named == held


def _check_wish(wish: _Wish, layout: Layout, found: Found) -> None:
    whose = f"{wish.path} holds {found.network} in the layout of {layout.author}"
    if wish.classes not in (None, found.classes):
        raise InputFileError(
            f"{whose} with {found.classes} classes, not {wish.classes}",
            fix=f"leave the class count out, or name {found.classes} labels",
        )
    for key, value in _plain(found.variant).items():
        if wish.variant.get(key, value) != value:
            raise InputFileError(
                f"{whose}, which has {key}={value}, not {key}={wish.variant[key]}",
                fix=f"leave {key} out of the variant",
            )


def _renamed(
    path: Path, tensors: Mapping[str, Tensor], layout: Layout
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under our names, and the keys that inference does not need."""
    ours: dict[str, Tensor] = {}
    unused, unknown = [], []
    for key, value in tensors.items():
        try:
            name = layout.renamed(key)
        except KeyError:
            unknown.append(key)
            continue
        if name is None:
            unused.append(key)
        else:
            ours[name] = layout.convert(name, value)
    if unknown:
        raise InputFileError(
            f"{path} has the layout of {layout.author}, but {len(unknown)} tensors that it has "
            f"not: {', '.join(unknown[:3])}",
            fix="save the state_dict of the published network alone",
        )
    return ours, unused


def _notes(
    path: Path,
    name: str,
    variant: Mapping[str, Any],
    layout: Layout,
    found: Found,
    unused: list[str],
) -> list[str]:
    told = ", ".join(f"{key} {value}" for key, value in variant.items())
    notes = [
        f"{path.name} is {found.network} of {layout.author}: {found.classes} classes, "
        f"pixels {found.pixels}" + (f", {told}" if told else "")
    ]
    if name != found.network:
        notes.append(f"{name} and {found.network} have the same tensors; {name} is built")
    for key, value in _assumed(name, variant).items():
        notes.append(f"the file does not say its {key}: {value} is taken")
    if unused:
        notes.append(f"{len(unused)} tensors are not needed and left out, such as {unused[0]}")
    return notes


def _assumed(name: str, variant: Mapping[str, Any]) -> dict[str, Any]:
    """Options that leave no trace in a file, with the values that the network's row has."""
    row = MODELS[name]
    options = inspect.signature(pick({name: row.make}, name, kind="network")).parameters
    return {
        key: row.variant.get(key, options[key].default)
        for key in ASSUMED
        if key in options and key not in variant
    }


# --- Our own layout ---


def _from_own(wish: _Wish, tensors: Mapping[str, Tensor]) -> LoadedNetwork:
    held = shapes_of(tensors)
    if wish.name is None:
        raise _nobodys(wish.path, held, {})
    two, three = (_shapes_of_row(wish.name, count, wish.variant) for count in (2, 3))
    if held.keys() != two.keys():
        raise _nobodys(wish.path, held, {wish.name: two})
    classes = _class_count(held, two, three)
    if classes is not None and wish.classes not in (None, classes):
        raise InputFileError(
            f"{wish.path} does not hold the weights of this network with {wish.classes} classes: "
            f"it has {classes}",
            fix=f"leave the class count out, or name {classes} labels",
        )
    network = build_network(wish.name, classes=classes or wish.classes or 2, **wish.variant)
    _fill(network, tensors, wish.path, fix=NAME_OR_COUNT)
    return LoadedNetwork(
        network=network.eval(),
        name=wish.name,
        classes=classes or wish.classes or 2,
        variant=wish.variant,
        pixels=None,
        author=None,
        notes=[],
    )


def _class_count(held: Shapes, two: Shapes, three: Shapes) -> int | None:
    """The class count of `held`, from how the shapes grow between two classes and three."""
    for key, shape in held.items():
        for have, small, large in zip(shape, two[key], three[key], strict=False):
            if small != large:
                count, rest = divmod(have - small, large - small)
                return 2 + count if rest == 0 and count > -2 else None
    return None


def _nobodys(path: Path, held: Shapes, own: Mapping[str, Shapes]) -> InputFileError:
    if kind := classifier_in(held):
        return InputFileError(
            f"{path} holds {kind} that names whole pictures, such as one trained on ImageNet, "
            "and no segmentation network",
            fix="give the weights of the whole segmentation network",
        )
    near = closest(held, own) or f"its names are {', '.join(list(held)[:3])}..."
    wanted = "".join(f"the weights of {name}, nor of " for name in own)
    return InputFileError(
        f"{path} does not hold {wanted}any network in a layout that edgeseg knows: {near}",
        fix="check the network's name and its --variant, or rename the tensors"
        if own
        else "name the network, if the file is one that edgeseg trained",
    )


def _plain(variant: Mapping[str, Any]) -> dict[str, Any]:
    """`variant` with lists as tuples: a recipe's numbers come back from its file as lists."""
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in variant.items()
    }

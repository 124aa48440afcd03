"""Networks by name: one file and one row each; weights that ship lie in `weights/`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError
from edgeseg.tables import known, needs, pick
from edgeseg.types import Size
from edgeseg.zoo.rows import MODELS as MODELS
from edgeseg.zoo.rows import Row

if TYPE_CHECKING:
    from torch import nn


def build_network(name: str, *, classes: int, seed: int = 0, **variant: Any) -> "nn.Module":
    """The network `name` with random weights drawn from `seed`.

    `variant` overrides the keyword arguments of its row, such as `width=0.5`.

    Raises:
        UsageError: no such network, or no such variant of it.
        MissingPackage: PyTorch is not installed.
    """
    row = MODELS[known(MODELS, name, kind="network")]
    with needs("export"):
        import torch

        make = pick({name: row.make}, name, kind="network")
    _check_options(name, make, variant)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            network: nn.Module = make(classes=classes, **{**row.variant, **variant})
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, UsageError) or not variant:
                raise
            told = ", ".join(f"{key}={value}" for key, value in variant.items())
            raise UsageError(
                f"{name} cannot be made with {told}: {error}", fix="give other values"
            ) from error
    return network


def _check_options(name: str, make: Any, variant: Mapping[str, Any]) -> None:
    options = variants_of(make)
    if unknown := [key for key in variant if key not in options]:
        raise UsageError(
            f"{name} has no such variant: {unknown[0]!r}", fix=f"its variants: {', '.join(options)}"
        )


def variants_of(make: Any) -> list[str]:
    """The names of the options that a network's function takes, `classes` apart."""
    code = make.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [name for name in names if name != "classes"]


def check_size(name: str, row: Row, size: Size) -> None:
    """Refuse a size that the network cannot take.

    Raises:
        UsageError: with the nearest size that it can.
    """
    nearest = row.sizes.nearest(size)
    if nearest != size:
        raise UsageError(
            f"{name} cannot take pictures of {size}: {row.sizes}", fix=f"--size {nearest}"
        )

"""What a public layout of weights is: how it is recognised, and how its keys become ours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
"""Key to shape, with wrappers and `module.` prefixes taken off already."""


def _unchanged(_: str, value: Tensor) -> Tensor:
    return value


class Found(NamedTuple):
    """The network that a file holds."""

    network: str
    """A row of the zoo's MODELS."""
    classes: int
    variant: Mapping[str, Any]
    """Keyword arguments of the network's function that this author's code implies."""
    pixels: str
    """A row of PIXELS."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One author's way to name tensors."""

    author: str
    """ "owner/repository"."""
    recognise: Callable[[Shapes], Found | None]
    """The network of the file; None where its keys are not this author's."""
    rules: tuple[tuple[str, str], ...]
    """(regular expression for a whole key of theirs, our name); the first that matches counts."""
    junk: tuple[str, ...] = ()
    """Regular expressions for whole keys that inference does not need."""
    convert: Callable[[str, Tensor], Tensor] = field(default=_unchanged)
    """Called with our name and their tensor, for values that are stored in another form."""

    def renamed(self, key: str) -> str | None:
        """Our name for `key`; None for junk.

        Raises:
            KeyError: the key is neither.
        """
        for pattern, name in self.rules:
            if found := re.fullmatch(pattern, key):
                return found.expand(name)
        if any(re.fullmatch(pattern, key) for pattern in self.junk):
            return None
        raise KeyError(key)

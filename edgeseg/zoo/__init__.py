"""Networks by name. One file and one row each; weights that ship lie in `weights/`."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.tables import needs, pick

if TYPE_CHECKING:
    from torch import nn

MODELS = {
    "deeplabv3plus-mobilenetv2": "edgeseg.zoo.deeplabv3plus:deeplabv3plus_mobilenetv2",
}


def described(name: str) -> str:
    """What network `name` is, from the first line of its file, which is not imported."""
    spec = find_spec(MODELS[name].partition(":")[0])
    assert spec is not None
    assert spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0]


def build_network(name: str, *, classes: int, seed: int = 0, **variant: Any) -> "nn.Module":
    """The network `name` with random weights drawn from `seed`.

    Raises:
        UsageError: no such network.
        MissingPackage: PyTorch is not installed.
    """
    with needs("export"):
        import torch

        make = pick(MODELS, name, kind="network")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = make(classes=classes, **variant)
    return network

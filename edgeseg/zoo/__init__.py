"""Networks by name. One file and one row each; weights that ship lie in `weights/`."""

from typing import TYPE_CHECKING, Any

from edgeseg.tables import needs, pick

if TYPE_CHECKING:
    from torch import nn

MODELS = {
    "deeplabv3plus-mobilenetv2": "edgeseg.zoo.deeplabv3plus:deeplabv3plus_mobilenetv2",
}

PAPERS = {
    "deeplabv3plus-mobilenetv2": "DeepLab v3+ (Chen et al. 2018), MobileNetV2, output stride 16",
}


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

"""Show which scale of the picture Attention to Scale listens to, place by place."""

from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import UsageError
from edgeseg.files import whole
from edgeseg.networks import ZooNetwork, facts_of, load_network
from edgeseg.recipe import Description
from edgeseg.tables import needs
from edgeseg.types import Size


@dataclass(frozen=True, kw_only=True)
class ScaleWeights:
    """Where the picture lies, and how much each scale counts on average."""

    picture: Path
    """A map for each scale, side by side, white where it alone counts."""
    shares: dict[str, float]
    """Mean weight of each scale; they sum to 1."""


def scale_weights(
    name: str,
    image: str | Path,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    size: Size | None = None,
) -> ScaleWeights:
    """Write the scale weights that network `name` gives the picture at `image` to `out` (PNG).

    Raises:
        UsageError: the network weighs no scales, or no weights of it ship.
        InputFileError: the picture or the weights are unreadable.
        MissingPackage: PyTorch is not installed.
    """
    with needs("export"):
        import torch

        from edgeseg.zoo.attention import AttentionToScale, weights_picture
    with needs("video"):
        from edgeseg.backends.head import network_pixels
        from edgeseg.datasets.files import read_image
    what = ZooNetwork(name=name, weights=Path(weights) if weights else None)
    picture = read_image(Path(image))
    facts = facts_of(what)
    size = size or Size(*picture.shape[:2])
    network = load_network(what, size)
    if not isinstance(network, AttentionToScale):
        raise UsageError(f"{name} weighs no scales", fix="attention-to-scale-compact does")
    how = Description(labels=facts.labels, **facts.pixels)
    gain, bias = how.gain_and_bias()
    pixels = network_pixels(picture, size, order=how.order, gain=gain, bias=bias)
    with torch.inference_mode():
        found = network.eval().outputs(torch.from_numpy(pixels))["weights"][0]  # (S, H/8, W/8)
    _write_png(weights_picture(found), Path(out))
    shares = {
        str(scale): float(one.mean()) for scale, one in zip(network.scales, found, strict=True)
    }
    return ScaleWeights(picture=Path(out), shares=shares)


def _write_png(grey: object, out: Path) -> None:
    with needs("video"):
        import numpy as np
        from PIL import Image
    shown = Image.fromarray(np.asarray(grey))
    shown = shown.resize((shown.width * 4, shown.height * 4), Image.Resampling.NEAREST)
    with whole(out) as temporary:
        shown.save(temporary, format="PNG")

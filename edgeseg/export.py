"""Write the float core of a network as ONNX."""

from pathlib import Path
from typing import Any

from edgeseg.files import write_whole
from edgeseg.networks import Inference, ZooNetwork, core_bytes, weights_from_text
from edgeseg.types import Size


def export(
    name: str,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
    variant: dict[str, Any] | None = None,
    size: Size | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    fusion: str = "mean",
) -> Path:
    """Write network `name` to `out`: `pixels` float32 (1, 3, H, W) in, `logits` out.

    `weights` are a file, "random", or None for those that ship. A core that ships takes any H and
    W and needs no PyTorch; any other is made for `size`, which is the paper's unless given.

    Raises:
        UsageError: no such network, a size it cannot take, or no weights of it ship.
        InputFileError: `weights` do not fit it.
        MissingPackage: own weights without PyTorch.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    file, random = weights_from_text(weights)
    what = ZooNetwork(
        name=name,
        weights=file,
        random=random,
        classes=classes,
        variant=variant or {},
        inference=Inference(scales=scales, flip=flip, fusion=fusion),
    )
    write_whole(out, core_bytes(what, size=size))
    return out

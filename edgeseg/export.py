"""Write the float core of a network as ONNX."""

from pathlib import Path

from edgeseg.files import write_whole
from edgeseg.origin import core_bytes


def export(
    name: str,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
) -> Path:
    """Write network `name` to `out`: `pixels` float32 (N, 3, H, W) in, `logits` out, any H and W.

    Without `weights` it is the core that ships, which needs no PyTorch.

    Raises:
        UsageError: no such network, or no weights of it ship.
        InputFileError: `weights` do not fit it.
        MissingPackage: own weights without PyTorch.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    core = core_bytes(name, weights=Path(weights) if weights else None, classes=classes)
    write_whole(out, core)
    return out

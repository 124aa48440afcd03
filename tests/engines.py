"""Engine folders without a build: the tiny network in the `null` backend's plan."""

from pathlib import Path

from edgeseg.backends import null
from edgeseg.backends.plans import packed
from edgeseg.manifest import Manifest, Plan
from edgeseg.publish import seal


def tiny_manifest(**changes: object) -> Manifest:
    """Of frames and labels of 80x60, without plans."""
    values: dict[str, object] = {
        "edgeseg": "0",
        "name": "tiny",
        "network": "tiny.onnx",
        "precision": "fp32",
        "size": "64x48",
        "frame": "80x60",
        "frame_format": "rgb8",
        "mask_size": "frame",
        "order": "rgb",
        "gain": (1 / 64,) * 3,
        "bias": (-2.0,) * 3,
        "labels": list("abcde"),
        "colors": [(0, 0, index) for index in range(5)],
        "macs": 0,
        "parameters": 0,
        "quantization": None,
        "files": {},
        "plans": {},
    }
    return Manifest.model_validate({**values, **changes})


def write_engine(folder: Path, *, name: str) -> Manifest:
    """Fill `folder` with an engine called `name` that opens and gives labels of class 0."""
    plan = packed({"frame": [1, 60, 80, 3], "labels": [1, 60, 80]}, b"")
    (folder / "plan.null").write_bytes(plan)
    (folder / "recipe.toml").write_text(f'name = "{name}"\n')
    entry = Plan(file="plan.null", fingerprint=null.fingerprint(), note=null.NOTE)
    return seal(tiny_manifest(name=name, plans={"null": entry}), folder)

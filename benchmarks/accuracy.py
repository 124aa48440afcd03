"""What INT8 costs in mIoU: on synthetic streets, and on CamVid where --root says it lies.

Engines are built with the defaults - calibrated on train, verified on val - and scored on test,
which neither saw; once more for every calibration method.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ANY_DROP, NETWORK, workplace
from benchmarks.record import measured, parser
from edgeseg.build import build
from edgeseg.datasets import open_dataset
from edgeseg.engine import Engine
from edgeseg.evaluate import evaluate
from edgeseg.graph.load import load_model
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.recipe import read_recipe
from edgeseg.types import Precision, Size, size_from_text
from edgeseg.verify import float_reference

METHODS = ("mse", "percentile", "minmax")
"""The default first."""
SIZE = Size(360, 480)
TORCH_PICTURES = 8


def main() -> None:
    """Measure, and write results/accuracy.json."""
    options = _parser().parse_args()
    options.root, options.weights = _absolute(options.root), _absolute(options.weights)
    names = ["synthetic"] if options.root is None else ["camvid", "synthetic"]

    def measure() -> dict[str, Any]:
        return {name: on_data(name, options) for name in names}

    settings = {"size": options.size, "count": options.count}
    measured("accuracy", measure, out=options.out, settings=settings, timed=False)


def on_data(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every method, calibrated and scored on the data set `name`."""
    root = None if name == "synthetic" else options.root
    methods: dict[str, Any] = {}
    torch_agreement = None
    for method in METHODS:
        with workplace() as folder, _built(name, root, method, options, folder) as engine:
            score = evaluate(engine, f"{name}:test", root=root, count=options.count)
            methods[method] = {**asdict(score), **_calibrated_on(engine)}
            if options.weights and torch_agreement is None:
                torch_agreement = torch_labels(engine, name, root, options.weights)
    return {"methods": methods, "torch_agreement": torch_agreement}


def _built(
    name: str, root: Path | None, method: str, options: argparse.Namespace, folder: Path
) -> Engine:
    return build(
        NETWORK,
        precision=Precision.INT8,
        calibrate=f"{name}:train",
        root=root,
        method=method,
        count=options.count,
        val_count=options.count,
        max_drop=ANY_DROP,
        size=size_from_text(options.size),
        out=folder / "engine",
    )


def torch_labels(engine: Engine, name: str, root: Path | None, weights: Path) -> dict[str, Any]:
    """How far the labels of the PyTorch network are those of the float ONNX graph."""
    import torch

    from edgeseg.backends.head import network_pixels
    from edgeseg.backends.tail import LabelsFromLogits
    from edgeseg.zoo import build_network
    from edgeseg.zoo.weights_file import load_weights

    manifest = engine.manifest
    network = build_network(NETWORK, classes=len(manifest.labels))
    load_weights(network, weights)
    network.eval()
    reference = float_reference(load_model(engine.folder / "float.onnx"), manifest)
    data = open_dataset(f"{name}:test", root=root, count=TORCH_PICTURES)
    agreements = []
    for index in range(len(data)):
        image = data.frame(index).image
        pixels = network_pixels(
            image, manifest.network_size, order=manifest.order, gain=manifest.gain,
            bias=manifest.bias,
        )  # fmt: skip
        with torch.inference_mode():
            logits = network(torch.from_numpy(pixels)).numpy()
        labels = np.empty(image.shape[:2], np.uint8)
        LabelsFromLogits(Size(*image.shape[:2]))(logits[0], labels)
        agreements.append(agreement_percent(reference(image), labels))
    return {"pictures": len(agreements), "mean": float(np.mean(agreements)),
            "worst": float(np.min(agreements))}  # fmt: skip


def _calibrated_on(engine: Engine) -> dict[str, Any]:
    """The pictures that the ranges come from, and what the build measured on val."""
    recipe = read_recipe(engine.folder / "recipe.toml")
    plan = engine.manifest.plans[engine.backend_name]
    assert recipe.calibration is not None
    return {
        "calibrated_on": f"{recipe.calibration.data}, at most {recipe.calibration.count}",
        "val_drop": plan.measured.drop if plan.measured else None,
    }


def _absolute(path: Path | None) -> Path | None:
    """`path` in a form that still holds in another working directory."""
    return path.resolve() if path else None


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--root", type=Path, help="folder of CamVid")
    made.add_argument("--weights", type=Path, help="of the PyTorch network, to compare with")
    made.add_argument("--count", type=int, help="use this many pictures of each split")
    made.add_argument("--size", default=str(SIZE), help="of the network, WIDTHxHEIGHT")
    return made


if __name__ == "__main__":
    main()

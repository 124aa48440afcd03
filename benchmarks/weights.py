"""Make what ships from a training run: FP16 weights, the float core as ONNX, the card.

    python benchmarks/weights.py training/deeplabv3plus-mobilenetv2 --root CAMVID

Writes NAME.safetensors, NAME.onnx and NAME.json into edgeseg/zoo/weights. The mIoU on the card is
that of the ONNX core, in float32, at 480x360, on every picture of the split.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeseg.datasets import open_dataset
from edgeseg.files import write_whole
from edgeseg.graph.cost import cost_of
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.store import half_stored
from edgeseg.manifest import Manifest
from edgeseg.metrics.confusion import confusion_of, iou_per_class, mean_iou
from edgeseg.networks import TRAINED_SIZE
from edgeseg.recipe import Description
from edgeseg.verify import float_reference
from edgeseg.zoo.export import export_core
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.shipped import FOLDER
from edgeseg.zoo.weights_file import network_from_weights

SPLITS = (("camvid", "val"), ("camvid", "test"), ("synthetic", "test"))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", type=Path, help="folder of the training run")
    arguments.add_argument("--root", type=Path, required=True, help="folder of CamVid")
    arguments.add_argument("--name", default="deeplabv3plus-mobilenetv2")
    arguments.add_argument("--note", default="", help="what else is to be known of the run")
    given = arguments.parse_args()
    weights = given.run / f"{given.name}.safetensors"
    card: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text())
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(weights, FOLDER / weights.name)
    core = FOLDER / f"{given.name}.onnx"
    loaded = network_from_weights(weights, name=given.name, classes=len(card["labels"]), variant={})
    small = half_stored(onnx.load_model_from_string(export_core(loaded.network)))
    write_whole(core, small.SerializeToString(deterministic=True))
    fixed = fixed_core(small, TRAINED_SIZE)
    cost = cost_of(fixed)
    card["cost"] = {
        "macs": cost.macs, "parameters": cost.parameters, "size": str(TRAINED_SIZE)
    }  # fmt: skip
    card["data"] = "CamVid train and the synthetic street"
    card["license"] = "LICENSE-weights.txt: research use, as CamVid's own terms"
    card["note"] = given.note
    for data, split in SPLITS:
        root = given.root if data == "camvid" else None
        key = split if data == "camvid" else f"{data}_{split}"
        card[key] = scored(fixed, card["labels"], f"{data}:{split}", root)
        print(key, f"{card[key]['miou']:.2f}")
    write_whole(FOLDER / f"{given.name}.json", (json.dumps(card, indent=1) + "\n").encode())


def scored(
    core: onnx.ModelProto, labels: list[str], data: str, root: Path | None
) -> dict[str, Any]:
    """mIoU and IoU in points of the float core on every picture of `data`."""
    labels_of = float_reference(core, _manifest(labels))
    opened = open_dataset(data, root=root)
    total = np.zeros((len(labels),) * 2, np.int64)
    for index in range(len(opened)):
        frame = opened.frame(index)
        assert frame.mask is not None
        total += confusion_of(frame.mask, labels_of(frame.image), len(labels))
    iou = [None if np.isnan(value) else round(float(value), 2) for value in iou_per_class(total)]
    return {
        "miou": round(mean_iou(total), 2),
        "iou": dict(zip(labels, iou, strict=True)),
        "frames": len(opened),
    }


def _manifest(labels: list[str]) -> Manifest:
    description = Description(labels=labels, **PIXELS["imagenet"])
    gain, bias = description.gain_and_bias()
    return Manifest.model_construct(
        size=str(TRAINED_SIZE), mask_size="frame", order="rgb", gain=gain, bias=bias
    )


if __name__ == "__main__":
    main()

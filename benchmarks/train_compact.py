"""Train every compact preset under one equal budget, one after the other, and ship the weights.

    python -m benchmarks.train_compact --root CAMVID

Each run goes on where it was interrupted. What ships are FP16 weights and a card with the mIoU of
the float network on every picture of val and test, at 480x360.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import onnx

from benchmarks.weights import scored
from edgeseg.files import write_whole
from edgeseg.graph.cost import cost_of
from edgeseg.graph.simplify import fixed_core
from edgeseg.networks import TRAINED_SIZE, ZooNetwork, core_bytes
from edgeseg.train import Training, train
from edgeseg.zoo import MODELS
from edgeseg.zoo.shipped import FOLDER

EPOCHS = 40
RECIPE = "compact"


def main() -> None:
    """Train, and write edgeseg/zoo/weights/NAME.safetensors and NAME.json for each."""
    options = _parser().parse_args()
    names = options.only or [name for name in MODELS if name.endswith("-compact")]
    for name in names:
        run = options.runs / name
        how = Training(
            network=name,
            data="camvid",
            root=options.root,
            recipe=RECIPE,
            epochs=options.epochs,
            synthetic_share=0.0,
            evaluate_every=options.evaluate_every,
        )
        done = train(how, run)
        print(f"{name}: val mIoU {done.val_miou:.2f} after {done.steps} steps", flush=True)
        if not options.keep:
            ship(name, run, options)


def ship(name: str, run: Path, options: argparse.Namespace) -> None:
    """Copy the weights of a finished run to where they ship from, and write their card."""
    weights = run / f"{name}.safetensors"
    card: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    what = ZooNetwork(name=name, weights=weights)
    exported = onnx.load_model_from_string(core_bytes(what, size=TRAINED_SIZE))
    core = fixed_core(exported, TRAINED_SIZE)
    cost = cost_of(core)
    card["cost"] = {
        "macs": cost.macs,
        "parameters": cost.parameters,
        "size": str(TRAINED_SIZE),
    }
    for split in ("val", "test"):
        card[split] = scored(core, card["labels"], f"camvid:{split}", options.root)
    epochs = options.epochs
    card["budget"] = f"{epochs} epochs of CamVid train, 320x240 views"
    card["data"] = "CamVid train"
    card["license"] = "LICENSE-weights.txt: research use, as CamVid's own terms"
    shutil.copyfile(weights, FOLDER / weights.name)
    write_whole(FOLDER / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--root", type=Path, required=True, help="folder of CamVid")
    made.add_argument("--runs", type=Path, default=Path("training"), help="folder of the runs")
    made.add_argument("--epochs", type=int, default=EPOCHS)
    made.add_argument("--evaluate-every", type=int, default=500, help="steps")
    made.add_argument("--only", action="append", help="this preset alone; repeatable")
    made.add_argument("--keep", action="store_true", help="leave what ships as it is")
    return made


if __name__ == "__main__":
    main()

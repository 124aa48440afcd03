"""Compute what `edgeseg models` lists, for every network, and write edgeseg/zoo/figures.json.

    python -m benchmarks.figures

Parameters and multiply-accumulates are those of the paper's network with 21 classes at the paper's
input, counted on PyTorch's meta device: nothing is allocated. The geometry does not depend on the
width, and is traced through a narrow network. With --check nothing is written; the exit code is 1
where the file is not up to date.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.files import write_whole
from edgeseg.types import Size
from edgeseg.zoo import MODELS, build_network
from edgeseg.zoo.figures import FILE
from edgeseg.zoo.geometry import geometry_of

CLASSES = 21
"""Of Pascal VOC with its background, on which the papers count."""
NARROW = 0.0625


def main() -> None:
    """Write the file, or say whether it is up to date."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    document = {
        "schema": 1,
        "classes": CLASSES,
        "networks": {name: figures(name) for name in options.names or MODELS},
    }
    if options.names:
        old = json.loads(options.out.read_text()) if options.out.is_file() else {"networks": {}}
        document["networks"] = old["networks"] | document["networks"]
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if options.check:
        sys.exit(not options.out.is_file() or options.out.read_text() != text)
    write_whole(options.out, text.encode())


def figures(name: str) -> dict[str, Any]:
    """Everything of Figures but the class count."""
    row = MODELS[name]
    with torch.device("meta"):
        network = build_network(name, classes=CLASSES).eval()
    narrow = build_network(name, classes=CLASSES, width=NARROW)
    return {
        "parameters": parameters_of(network),
        "macs": macs_of(network, row.size),
        "size": str(row.size),
        **asdict(geometry_of(narrow, fit=row.sizes.nearest)),
    }


def parameters_of(network: nn.Module) -> int:
    """The values that training could change; statistics of batch normalisation are none."""
    return sum(value.numel() for value in network.parameters())


def macs_of(network: nn.Module, size: Size) -> int:
    """Multiply-accumulates of one picture, by PyTorch's own counter; the network on `meta`."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size))
    return int(counter.get_total_flops()) // 2


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("names", nargs="*", help="compute these anew and keep the others")
    made.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    made.add_argument("--out", type=Path, default=FILE)
    return made


if __name__ == "__main__":
    main()

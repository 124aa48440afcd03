"""Export every network at its full width and its paper's input: seconds, memory, agreement.

    python -m benchmarks.full_width --root CAMVID

Each runs in a process of its own, so that its peak of memory is its own. Weights are random, at the
scale of trained ones. The argmax of the exported graph, in float32 on a CPU, is compared with that
of PyTorch on CamVid frames, at the positions where the best class leads by more than rounding.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, measured, parser
from edgeseg.types import Array, Size

SAMPLE = Size(96, 128)
"""Of the noise that the random weights are scaled by."""
CLASSES = 21
FRAMES = 2
TIE = 1e-5
"""By how much of the largest logit a class must lead to count as the best."""


def main() -> None:
    """Measure, and write results/zoo_full_width.json."""
    options = _parser().parse_args()
    if options.one:
        print(json.dumps(full_width(options.one, options.root, options.frames)))
        return
    from edgeseg.zoo import MODELS

    out = options.out or RESULTS / "zoo_full_width.json"
    held = json.loads(out.read_text())["results"] if options.names and out.is_file() else {}

    def measure() -> dict[str, Any]:
        found = dict(held)
        for name in options.names or MODELS:
            found[name] = apart(name, options.root, options.frames)
            print(name, found[name], flush=True)
        return found

    settings = {"classes": CLASSES, "frames": options.frames}
    measured("zoo_full_width", measure, out=out, settings=settings)


def apart(name: str, root: Path, frames: int = FRAMES) -> dict[str, Any]:
    """What `full_width` returns, from a process of its own."""
    line = [sys.executable, "-m", "benchmarks.full_width", "--one", name,
            "--root", str(root.resolve()), "--frames", str(frames)]  # fmt: skip
    ran = subprocess.run(
        line, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{name}: {ran.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def full_width(name: str, root: Path, frames: int) -> dict[str, Any]:
    """Seconds and peak memory of the export, and how far the exported graph agrees."""
    import onnx

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo import MODELS, build_network
    from edgeseg.zoo.export import export_core
    from edgeseg.zoo.initial import random_weights

    row = MODELS[name]
    network = build_network(name, classes=CLASSES)
    random_weights(network, row.sizes.nearest(SAMPLE), pixels=row.pixels)
    started = time.monotonic()
    exported = export_core(network, size=row.size)
    export_s = time.monotonic() - started
    core = fixed_core(onnx.load_model_from_string(exported), row.size)
    simplify_s = time.monotonic() - started - export_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del exported
    return {
        "size": str(row.size),
        "export_s": round(export_s, 2),
        "simplify_s": round(simplify_s, 2),
        "peak_mib": round(peak_mib),
        "nodes": len(core.graph.node),
        **_agreement(network, core.SerializeToString(), camvid(name, root, frames)),
    }


def camvid(name: str, root: Path, count: int) -> list[Array]:
    """Frames of CamVid test as network `name` reads them at its paper's input."""
    from edgeseg.backends.head import network_pixels
    from edgeseg.datasets import open_dataset
    from edgeseg.recipe import Description
    from edgeseg.zoo import MODELS
    from edgeseg.zoo.pixels import PIXELS

    row = MODELS[name]
    how = Description(labels=["any", "other"], **PIXELS[row.pixels])
    gain, bias = how.gain_and_bias()
    data = open_dataset("camvid:test", root=root)
    return [
        network_pixels(
            data.frame(index * len(data) // count).image, row.size,
            order=how.order, gain=gain, bias=bias,
        ).copy()
        for index in range(count)
    ]  # fmt: skip


def _agreement(network: Any, core: bytes, pictures: list[Array]) -> dict[str, float]:
    """Over all pictures: equal best classes in percent, positions that are no tie, worst error."""
    import torch

    from edgeseg.backends.floats import float_runner

    run = float_runner(core)
    same = decided = total = 0
    error = 0.0
    for pixels in pictures:
        with torch.inference_mode():
            wanted = network(torch.from_numpy(pixels)).numpy()
        found = run({"pixels": pixels})["logits"]
        largest = np.abs(wanted).max()
        second, best = np.partition(wanted, -2, axis=1)[:, -2:].swapaxes(0, 1)
        clear = best - second > TIE * largest
        same += int((wanted.argmax(1) == found.argmax(1))[clear].sum())
        decided, total = decided + int(clear.sum()), total + clear.size
        error = max(error, float(np.abs(found - wanted).max() / largest))
    return {
        "agreement": round(100 * same / decided, 4),
        "decided": round(100 * decided / total, 2),
        "error": error,
    }


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("names", nargs="*", help="measure these anew and keep the others")
    made.add_argument("--root", type=Path, required=True, help="folder of CamVid")
    made.add_argument("--frames", type=int, default=FRAMES)
    made.add_argument("--one", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    main()

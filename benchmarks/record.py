"""What every measurement is written down with: date, machine, versions, foreign load."""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.device.info import machine
from edgeseg.files import write_whole
from edgeseg.metrics.load import ForeignLoad

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "numpy", "onnx", "onnxruntime", "openvino", "av", "opencv-python", "opencv-python-headless",
    "torch", "tensorrt", "pycuda", "cuda-bindings",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times longer a rival took, turn by turn."""

    median: float
    quartiles: tuple[float, float]


def packages() -> dict[str, str]:
    """The versions of what is installed of PACKAGES."""
    found = {"edgeseg": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measured(
    name: str,
    measure: Callable[[], Mapping[str, Any]],
    *,
    out: Path | None,
    settings: Mapping[str, Any],
    timed: bool = True,
) -> Path:
    """Run `measure` and write what it returns; `dirty` says that others disturbed the times.

    Labels do not depend on what else runs: where nothing is `timed`, nothing can be dirty.
    """
    path = (out or RESULTS / f"{name}.json").resolve()  # before `measure` works elsewhere
    with ForeignLoad() as load:
        results = measure()
    document = {
        "schema": 1,
        "benchmark": name,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "packages": packages(),
        "foreign_cpus": load.cpus,
        "dirty": timed and load.dirty,
        "settings": dict(settings),
        "results": results,
    }
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    write_whole(path, text.encode() + b"\n")
    others = "unknown" if load.cpus is None else f"{load.cpus:.2f}"
    print(f"{path}: others kept {others} CPUs busy{' - DIRTY' if document['dirty'] else ''}")
    return path


def turns(names: Sequence[str], count: int) -> list[list[str]]:
    """The order of each of `count` rounds, rotated so that nobody always follows the same one."""
    return [[*names[index % len(names) :], *names[: index % len(names)]] for index in range(count)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """`theirs` over `ours`, both in the order of their rounds."""
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    if len(ratios) < 2:
        return Ratio(median=ratios[0], quartiles=(ratios[0], ratios[0]))
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median=statistics.median(ratios), quartiles=(low, high))


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every script has."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--out", type=Path, help="the JSON file to write instead of results/")
    return made

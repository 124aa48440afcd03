"""Runs every benchmark, one after the other in a process of its own, then writes the tables."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.record import RESULTS

ROOT = Path(__file__).resolve().parent.parent
TIMED = ("network", "loop", "memory", "live", "yuv")
TINY = {
    "network": ("--rounds", "2", "--size", "128x64", "--pictures", "2"),
    "loop": ("--frames", "20", "--passes", "1", "--pictures", "2"),
    "memory": ("--short", "20", "--long", "40", "--pictures", "2"),
    "live": ("--quick",),
    "yuv": ("--frames", "20", "--passes", "1", "--pictures", "2"),
    "accuracy": ("--size", "128x96", "--count", "2"),
}
"""Settings that only show that the scripts run."""


def main() -> None:
    """Run all; the tables of the README come from results/ and are left alone elsewhere."""
    options = _parser().parse_args()
    folder = options.results.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*TIMED, "accuracy"):
        arguments = ["--out", str(folder / f"{name}.json"), *(TINY[name] if options.tiny else ())]
        if name == "accuracy":
            arguments += _data(options)
        _python(f"benchmarks.{name}", *arguments)
    if not options.tiny:  # these need PyTorch, and minutes even at their smallest
        _python("benchmarks.eight_fps", "--out", str(folder / "eight_fps.json"))
        if options.root:
            data = ("--root", str(options.root.resolve()))
            _python("benchmarks.zoo", "--out", str(folder / "zoo.json"), *data)
    if folder == RESULTS and not options.tiny:
        _python("benchmarks.tables")


def _data(options: argparse.Namespace) -> list[str]:
    given = {"--root": options.root, "--weights": options.weights}
    return [text for name, path in given.items() if path for text in (name, str(path.resolve()))]


def _python(module: str, *arguments: str) -> None:
    print(f"{module} {' '.join(arguments)}", flush=True)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, env=environment)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--root", type=Path, help="folder of CamVid; without it synthetic only")
    made.add_argument("--weights", type=Path, help="of the PyTorch network, to compare labels with")
    made.add_argument("--tiny", action="store_true", help="only show that everything runs")
    made.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    return made


if __name__ == "__main__":
    main()

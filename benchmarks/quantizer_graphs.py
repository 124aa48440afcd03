"""The Q/DQ graphs that are compared: ours, and those of the peers, made in their environments."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from benchmarks import peers
from edgeseg.backends.head import network_pixels
from edgeseg.calibration import calibration_data
from edgeseg.files import write_whole
from edgeseg.recipe import Recipe
from edgeseg.types import Floats, Pixels


@dataclass(frozen=True, kw_only=True)
class Pythons:
    """The interpreters that peers run in: `found` by environment; `missing` says why not."""

    found: Mapping[str, Path]
    missing: Mapping[str, str]


@dataclass(kw_only=True)
class Made:
    """The Q/DQ graphs of one network by quantiser, and why there is none of the others."""

    graphs: dict[str, ModelProto] = field(default_factory=dict)
    packages: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def pixels_of(recipe: Recipe, image: Pixels) -> Floats:
    """What the network of `recipe` gets of one picture, float32 (1, 3, h, w)."""
    assert recipe.description is not None
    gain, bias = recipe.description.gain_and_bias()
    order = recipe.description.order
    return network_pixels(image, recipe.network_size, order=order, gain=gain, bias=bias)


def write_inputs(recipe: Recipe, core: ModelProto, folder: Path) -> str:
    """Write float core and calibration pixels for the peers; the hash of both."""
    data = calibration_data(recipe)
    pixels = [pixels_of(recipe, data.frame(index).image) for index in range(len(data))]
    name = str(recipe.network)
    np.savez(folder / f"{name}.npz", pixels=np.concatenate(pixels))
    write_whole(folder / f"{name}.float.onnx", core.SerializeToString())
    # Without the shapes and notes that a graph may carry: they change nothing that is computed.
    graph, digest = core.graph, hashlib.sha256()
    for part in (*core.opset_import, *graph.input, *graph.output, *graph.initializer, *graph.node):
        digest.update(part.SerializeToString(deterministic=True))
    for one in pixels:
        digest.update(one.tobytes())
    return digest.hexdigest()


def peer_graphs(
    name: str, inputs: str, pythons: Pythons, folder: Path, *, only: Collection[str] = peers.PEERS
) -> Made:
    """The graphs of the peers `only` with an environment; those of the same `inputs` are reused."""
    made = Made()
    for peer, (environment, _) in peers.PEERS.items():
        if environment not in pythons.found or peer not in only:
            continue
        graph, receipt = (folder / f"{name}.{peer}.{suffix}" for suffix in ("onnx", "json"))
        if not _is_of(receipt, inputs) or not graph.is_file():
            error = _run(peer, pythons.found[environment], name, inputs, folder)
            if error:
                made.failed[peer] = error
                continue
        made.graphs[peer] = onnx.load(graph)
        made.packages[environment] = json.loads(receipt.read_text(encoding="utf-8"))["packages"]
    return made


def _is_of(receipt: Path, inputs: str) -> bool:
    return receipt.is_file() and json.loads(receipt.read_text(encoding="utf-8"))["inputs"] == inputs


def _run(peer: str, python: Path, name: str, inputs: str, folder: Path) -> str | None:
    """Quantise in the peer's environment; what it said last where that failed."""
    print(f"{name}: {peer}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:  # for what peers leave lying about
        out = Path(scratch) / "quantised.onnx"
        command = [str(python), peers.__file__, peer]
        command += [str(folder / f"{name}.float.onnx"), str(folder / f"{name}.npz"), str(out)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return said[-1]
        write_whole(folder / f"{name}.{peer}.onnx", out.read_bytes())
    receipt: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    text = json.dumps({**receipt, "inputs": inputs}, indent=1)
    write_whole(folder / f"{name}.{peer}.json", text.encode())
    return None

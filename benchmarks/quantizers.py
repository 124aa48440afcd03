"""Our INT8 beside the PTQ of ONNX Runtime, NNCF and NVIDIA ModelOpt.

All quantise the same float graphs and calibrate on the same pictures of camvid:train; their graphs
are scored in exact arithmetic on camvid:test, which none of them saw. With --steps ours alone is
measured, and again without each of its steps. With --speed they are timed in OpenVINO instead, in
turn, ours as edgeseg's backend has it compiled.

NNCF and ModelOpt run in environments of their own: --nncf and --modelopt name the interpreters.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from openvino import Core, Tensor

from benchmarks.engines import as_compiled, cores, workplace
from benchmarks.peers import PEERS
from benchmarks.quantizer_graphs import Pythons, peer_graphs, pixels_of, write_inputs
from benchmarks.quantizer_scores import is_ours, scored
from benchmarks.record import measured, parser, ratio, turns
from edgeseg.datasets import open_dataset
from edgeseg.errors import UsageError
from edgeseg.metrics.latency import summarise
from edgeseg.options import Options
from edgeseg.origin import core_for, recipe_for
from edgeseg.quantization import quantizer_for
from edgeseg.recipe import Recipe
from edgeseg.types import Floats, Precision, Size

SIZE = Size(360, 480)
NETWORKS = (
    "deeplabv3plus-mobilenetv2",
    "unet-compact",
    "segnet-compact",
    "deeplabv1-compact",
    "hdnet-compact",
)
CALIBRATION = 64
TIMED = (
    "modelopt-max",
    "nncf-mixed",
    "nncf-performance",
    "onnxruntime-s8-minmax",
    "onnxruntime-u8-minmax",
)
"""One calibration of each placement: the values of scales change no kernel."""
SETTLE = 2
"""Untimed runs before each timed one, in the rival's place: caches and clocks are its own then."""

Launch = Callable[[], object]


def ours(recipe: Recipe, core: ModelProto, **steps: Any) -> ModelProto:
    """Our Q/DQ core of the float `core`, calibrated as `recipe` says but for `steps`."""
    chosen = recipe.quantization.model_copy(update=steps)
    quantizer, _ = quantizer_for(recipe.model_copy(update={"quantization": chosen}), core)
    return quantizer.graph()


PLAIN = {"equalize": False, "scales": False, "rounding": False, "bias": False, "spare": 0.0}
OURS: dict[str, dict[str, Any]] = {
    "edgeseg": {},
    "edgeseg plain": PLAIN,
    **{f"edgeseg without {step}": {step: without} for step, without in PLAIN.items()},
    "edgeseg with tie_concat": {"tie_concat": True},
}
"""What differs from the default, by name: "edgeseg", or "edgeseg" and what it is, after a blank."""


def main() -> None:
    """Score, or time; write quantizers.json, quantizers_steps.json or quantizers_speed.json."""
    options = _parser().parse_args()
    for name in ("root", "work", "graphs", "out"):  # which must hold in another folder
        path = getattr(options, name)
        setattr(options, name, path.resolve() if path else None)
    options.only = options.only or list(NETWORKS)
    settings = {"size": str(SIZE), "calibration_pictures": options.calibration}
    if options.speed:
        settings |= {"rounds": options.rounds, "threads": options.threads}
        settings["untimed_before_each"] = SETTLE
    else:
        settings |= {"count": options.count}

    def measure() -> dict[str, Any]:
        with workplace() as scratch:
            return on_networks(options, options.work or scratch)

    measured(
        "quantizers" + ("_speed" if options.speed else "_steps" if options.steps else ""),
        measure,
        out=options.out,
        settings=settings,
        timed=options.speed,
    )


def on_networks(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every network, with graphs that are made in `folder` unless they lie there already."""
    folder.mkdir(parents=True, exist_ok=True)
    environments = pythons(nncf=options.nncf, modelopt=options.modelopt)
    networks: dict[str, Any] = {}
    packages: dict[str, dict[str, str]] = {}
    for name in options.only:
        recipe = recipe_of(name, options)
        core = core_for(recipe)
        wanted = () if options.steps else TIMED if options.speed else PEERS
        inputs = write_inputs(recipe, core, folder)
        made = peer_graphs(name, inputs, environments, folder, only=wanted)
        graphs = {**our_graphs(recipe, core, options.graphs, steps=options.steps), **made.graphs}
        networks[name] = {**_measured(recipe, core, graphs, options), "failed": made.failed}
        packages |= made.packages
    return {"networks": networks, "packages": packages, "missing": dict(environments.missing)}


def _measured(
    recipe: Recipe, core: ModelProto, graphs: dict[str, ModelProto], options: argparse.Namespace
) -> dict[str, Any]:
    data = open_dataset("camvid:test", root=options.root, count=options.count)
    print(f"{recipe.network}: {', '.join(graphs)}", flush=True)
    if not options.speed:
        return scored(recipe, core, graphs, data)
    pixels = pixels_of(recipe, data.frame(0).image)
    return timed({"float": core, **graphs}, pixels, options.rounds, options.threads)


def recipe_of(name: str, options: argparse.Namespace) -> Recipe:
    """The recipe of the INT8 network `name` at the size of CamVid."""
    wanted = Options(
        precision=Precision.INT8,
        calibrate="camvid:train",
        root=options.root,
        count=options.calibration,
        size=SIZE,
    )
    return recipe_for(name, wanted)


def our_graphs(
    recipe: Recipe, core: ModelProto, folder: Path | None, *, steps: bool
) -> dict[str, ModelProto]:
    """Our Q/DQ cores: made now, or those in `folder`, NAME.onnx and NAME.WHAT_IS_DIFFERENT.onnx."""
    if folder is None:
        titles = [*OURS] if steps else [*OURS][:1]
        return {title: ours(recipe, core, **OURS[title]) for title in titles}
    name = str(recipe.network)
    plain = folder / f"{name}.onnx"
    if not plain.is_file():
        raise UsageError(f"{plain} is missing", fix="write our Q/DQ core there, or omit --graphs")
    return {
        " ".join(["edgeseg", *path.name.removesuffix(".onnx").split(".")[1:]]): onnx.load(path)
        for path in (plain, *sorted(folder.glob(f"{name}.*.onnx")))
    }


def pythons(*, nncf: Path | None, modelopt: Path | None) -> Pythons:
    """The interpreters of the peers; ONNX Runtime's is this one."""
    given = {"onnxruntime": Path(sys.executable), "nncf": nncf, "modelopt": modelopt}
    # Not resolved: the link is what tells an interpreter its environment.
    absolute = {name: Path(os.path.abspath(python)) for name, python in given.items() if python}  # noqa: PTH100
    missing = {name: f"--{name} was not given" for name in given if name not in absolute}
    for name, python in absolute.items():
        problem = _problem_with(python, name)
        if problem:
            missing[name] = problem
    return Pythons(
        found={name: python for name, python in absolute.items() if name not in missing},
        missing=missing,
    )


def _problem_with(python: Path, package: str) -> str | None:
    """What hinders `python` from importing `package`."""
    command = [str(python), "-c", f"import {package}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return said[-1] if done.returncode else None


def timed(
    graphs: Mapping[str, ModelProto], pixels: Floats, rounds: int, threads: int
) -> dict[str, Any]:
    """Latency of every graph in OpenVINO, and over each of ours, from `rounds` turns of all."""
    launches = {
        name: launch_of(_as_compiled(name, model), pixels, threads)
        for name, model in graphs.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in launches}
    for order in turns([*launches], rounds):
        for name in order:
            for _ in range(SETTLE):
                launches[name]()
            start = time.perf_counter()
            launches[name]()
            spent[name].append(1e3 * (time.perf_counter() - start))
    return {
        "graphs": {
            name: {
                "latency_ms": asdict(summarise(values)),
                "over": {own: asdict(ratio(spent[own], values)) for own in spent if is_ours(own)},
            }
            for name, values in spent.items()
        }
    }


def launch_of(model: bytes, pixels: Floats, threads: int) -> Launch:
    """One run of the graph in OpenVINO, from pixels in memory to logits in memory."""
    core = Core()
    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # as edgeseg's backend has it
    }
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()
    request.set_input_tensor(Tensor(pixels, shared_memory=True))

    def launch() -> None:
        assert pixels.size  # held here: the tensor does not keep the memory alive
        request.infer(share_outputs=True)

    return launch


def _as_compiled(name: str, model: ModelProto) -> bytes:
    """The graph as OpenVINO gets it: ours goes the way of edgeseg's backend."""
    whole = bytes(model.SerializeToString())
    return as_compiled(whole, "openvino") if is_ours(name) else whole


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--root", type=Path, required=True, help="folder of CamVid")
    made.add_argument("--nncf", type=Path, help="Python of an environment with NNCF")
    made.add_argument("--modelopt", type=Path, help="Python of an environment with ModelOpt")
    made.add_argument("--work", type=Path, help="where the graphs stay; else they are removed")
    made.add_argument("--graphs", type=Path, help="folder of our Q/DQ cores, NETWORK.onnx each")
    made.add_argument("--only", action="append", help="this network alone; repeatable")
    kinds = made.add_mutually_exclusive_group()
    kinds.add_argument("--steps", action="store_true", help="ours alone, each step left out")
    made.add_argument("--count", type=int, help="score this many pictures of camvid:test")
    made.add_argument("--calibration", type=int, default=CALIBRATION, help="pictures to calibrate")
    kinds.add_argument("--speed", action="store_true", help="time the graphs instead")
    made.add_argument("--rounds", type=int, default=60, help="timed runs of each graph")
    made.add_argument("--threads", type=int, default=cores(), help="of OpenVINO")
    return made


if __name__ == "__main__":
    main()

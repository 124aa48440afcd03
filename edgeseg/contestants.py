"""The two that are compared: engines, or an engine and the float graph that it came from."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.tables import needs
from edgeseg.types import Labels
from edgeseg.verify import LabelsOf, float_reference

FLOAT = "float"
"""In place of the first engine: the float graph in the folder of the second."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """What gives labels, and what it is called."""

    engine: str
    precision: str
    backend: str
    size: str
    labels: Labels
    labels_of: LabelsOf


@contextlib.contextmanager
def contestants(
    a: Engine | str | Path, b: Engine | str | Path
) -> Iterator[tuple[Contestant, Contestant]]:
    """Both, ready to run; what was opened here is closed again.

    Raises:
        UsageError: they have other classes, or labels at the network's size.
        EngineMismatch: a folder is no engine, or does not fit this machine.
    """
    if b == FLOAT:
        raise UsageError("the float graph cannot be the second engine", fix="name it first")
    with contextlib.ExitStack() as opened:
        second = b if isinstance(b, Engine) else opened.enter_context(Engine.open(b))
        other = _contestant(second)
        if isinstance(a, str) and a == FLOAT:
            one = _float_of(second)
        else:
            one = _contestant(a if isinstance(a, Engine) else opened.enter_context(Engine.open(a)))
        _check_classes(one, other)
        yield one, other


def _contestant(engine: Engine) -> Contestant:
    if engine.manifest.mask_size == "network":
        raise UsageError(
            f"{engine.folder} gives labels at the network's size, which cannot be compared "
            "at the pictures' own",
            fix="build it with labels at the frame's size",
        )
    return Contestant(
        engine=str(engine.folder),
        precision=engine.manifest.precision.value,
        backend=engine.backend_name,
        size=engine.manifest.size,
        labels=engine.labels,
        labels_of=engine,
    )


def _float_of(engine: Engine) -> Contestant:
    with needs("graph"):
        from edgeseg.graph.load import load_model
    return Contestant(
        engine=FLOAT,
        precision="fp32",
        backend="openvino",
        size=engine.manifest.size,
        labels=engine.labels,
        labels_of=float_reference(load_model(engine.folder / "float.onnx"), engine.manifest),
    )


def _check_classes(a: Contestant, b: Contestant) -> None:
    ours, theirs = a.labels.names, b.labels.names
    if ours == theirs:
        return
    only_a, only_b = ([n for n in x if n not in y] for x, y in ((ours, theirs), (theirs, ours)))
    what = "; ".join(
        f"only {side.engine} has {', '.join(names)}"
        for side, names in ((a, only_a), (b, only_b))
        if names
    )
    raise UsageError(
        f"{a.engine} and {b.engine} have other classes: {what or 'their order is not the same'}",
        fix="compare engines with the same classes in the same order",
    )

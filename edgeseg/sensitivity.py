"""What each layer and block of a network costs when it is quantised, alone and among the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edgeseg.calibration import FOLDER
from edgeseg.calibration_data import open_pictures
from edgeseg.errors import OutputError, UsageError
from edgeseg.options import Options, root_for
from edgeseg.sensitivity_blocks import module_of, parts_of
from edgeseg.sensitivity_report import Effect, LayerCost, PartCost, Sensitivity, write_report
from edgeseg.sensitivity_subject import Subject, subject_of
from edgeseg.sensitivity_trials import Forms, worst_first
from edgeseg.tables import needs
from edgeseg.types import Dataset, OnProgress, Size
from edgeseg.verify import ClassMap

NEGLIGIBLE_DB = 30.0
"""A block that much below the noise of all adds 0.1 % of it: its layers are not tried singly."""

Part: TypeAlias = tuple[str, ...]
"""Nodes that are switched together."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Of one part, in dB."""

    alone: float
    gain: float


Effects: TypeAlias = Mapping[Part, tuple[Effect, Effect]]
"""Of a part: quantised alone, left in float."""


def sensitivity(
    source: str | Path,
    data: str,
    *,
    root: str | Path | None = None,
    count: int | None = None,
    class_map: ClassMap | None = None,
    calibrate: str | None = None,
    calibrate_count: int | None = None,
    method: str | None = None,
    weights: str | Path | None = None,
    size: Size | None = None,
    only: Sequence[str] = (),
    top: int = 8,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Sensitivity:
    """Measure the layers of `source` on `data`; JSON and chart go to `out`.

    `source` is a network, FILE.onnx, INT8 recipe or the folder of an INT8 engine; `calibrate`,
    `calibrate_count`, `method`, `weights` and `size` are for the first two. Every block, and the
    layers of those that matter, get the SQNR of the logits on a few pictures; the `top` layers
    that lose most, and half as many blocks, are evaluated on all of them. With `only`, patterns of
    nodes, modules or blocks, nothing else is tried. `out` is calibration/NAME unless given.

    Raises:
        UsageError: nothing in `source` is quantised, or the options do not belong to it.
        InputFileError: pictures, masks or weights are unreadable or do not fit.
        OutputError: `out` cannot be written.
    """
    with needs("charts"):
        import matplotlib  # noqa: F401 - its lack is told now, not after minutes
    options = Options(
        calibrate=calibrate,
        root=Path(root) if root and calibrate else None,
        count=calibrate_count,
        method=method,
        weights=Path(weights) if weights else None,
        size=size,
    )
    opened = open_pictures(
        data, root=root_for(data, Path(root) if root else None), split="val", count=count
    )
    subject = subject_of(Path(source), options, on_progress=on_progress)
    folder = Path(out) if out else FOLDER / subject.recipe.name
    _check_writable(folder)
    found = measured(
        subject, opened, folder, class_map=class_map, only=only, top=top, on_progress=on_progress
    )
    write_report(found)
    return found


def measured(
    subject: Subject,
    data: Dataset,
    folder: Path,
    *,
    class_map: ClassMap | None = None,
    only: Sequence[str] = (),
    top: int = 8,
    on_progress: OnProgress | None = None,
) -> Sensitivity:
    """What the layers and blocks of `subject` cost on `data`; nothing is written to `folder`."""
    quantizer = subject.quantizer
    forms = Forms(
        quantizer,
        subject.manifest(),
        data,
        fixed=subject.kept(),
        class_map=class_map,
        on_progress=on_progress,
    )
    if not forms.sites:
        raise UsageError(
            f"{subject.recipe.name} keeps every layer in float: nothing in it is quantised",
            fix="take patterns out of keep_fp16 in the recipe",
        )
    blocks = parts_of(subject.core, forms.sites, only)
    noise = _noise_of(forms, list(blocks.values()), "SQNR of blocks", on_progress)
    layers = [(name,) for part in blocks.values() if _matters(forms, noise[part]) for name in part]
    noise |= _noise_of(forms, layers, "SQNR of layers", on_progress)
    chosen = [*_worst(noise, layers, top), *_worst(noise, list(blocks.values()), top // 2)]
    effects = _effects_of(forms, chosen, on_progress)
    return _sensitivity(subject, folder, forms, blocks, noise, effects)


def _check_writable(folder: Path) -> None:
    """Fail now, not after minutes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {error.strerror or error}", fix="choose another with -o"
        ) from error


def _matters(forms: Forms, block: Noise) -> bool:
    return not block.alone - forms.sqnr() > NEGLIGIBLE_DB


def _noise_of(
    forms: Forms, parts: Sequence[Part], step: str, on_progress: OnProgress | None
) -> dict[Part, Noise]:
    found: dict[Part, Noise] = {}
    for done, part in enumerate(parts):
        if on_progress:
            on_progress(step, done, len(parts))
        alone, left, int8 = forms.sqnr(forms.others(part)), forms.sqnr(part), forms.sqnr()
        found[part] = Noise(alone=alone, gain=left - int8 if int8 < math.inf else 0.0)
    return found


def _worst(noise: Mapping[Part, Noise], parts: Sequence[Part], count: int) -> list[Part]:
    order = worst_first(
        [noise[part].alone for part in parts], [noise[part].gain for part in parts], count
    )
    return [parts[index] for index in order]


def _effects_of(forms: Forms, parts: Sequence[Part], on_progress: OnProgress | None) -> Effects:
    found: dict[Part, tuple[Effect, Effect]] = {}
    for done, part in enumerate(dict.fromkeys(parts)):
        if on_progress:
            on_progress("evaluate the worst", done, len(parts))
        found[part] = (forms.loss(forms.others(part)), forms.gain(part))
    return found


def _sensitivity(
    subject: Subject,
    folder: Path,
    forms: Forms,
    blocks: Mapping[str, Part],
    noise: Mapping[Part, Noise],
    effects: Effects,
) -> Sensitivity:
    block_of = {name: block for block, part in blocks.items() for name in part}
    nodes = {node.name: node for node in subject.core.graph.node}

    def cost(part: Part) -> dict[str, Any]:
        """The fields of a PartCost but its name."""
        macs = sum(forms.macs.get(name, 0) for name in part)
        alone, left_float = effects.get(part, (None, None))
        return {
            "layers": part,
            "macs": macs,
            "macs_percent": 100 * macs / max(1, sum(forms.macs.values())),
            "sqnr_alone_db": _finite(noise[part].alone) if part in noise else None,
            "sqnr_gain_db": _finite(noise[part].gain) if part in noise else None,
            "alone": alone,
            "left_float": left_float,
        }

    layers = [
        LayerCost(
            name=name,
            op=nodes[name].op_type,
            module=module_of(nodes[name]),
            block=block_of[name],
            **cost((name,)),
        )
        for name in block_of
    ]
    comparison = forms.score().comparison
    return Sensitivity(
        name=subject.recipe.name,
        folder=folder,
        data=forms.data.name,
        pictures=len(comparison.frame_names),
        sqnr_pictures=len(forms.few),
        skipped=comparison.skipped,
        measure="mIoU" if comparison.scored else "agreement",
        int8=forms.loss(),
        int8_sqnr_db=_finite(forms.sqnr()),
        layers=_sorted(layers),
        blocks=_sorted([PartCost(name=name, **cost(part)) for name, part in blocks.items()]),
    )


def _sorted(parts: Sequence[Any]) -> tuple[Any, ...]:
    """The least SQNR alone first; last those that add no noise or were not tried."""
    return tuple(
        sorted(parts, key=lambda p: math.inf if p.sqnr_alone_db is None else p.sqnr_alone_db)
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

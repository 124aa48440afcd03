"""Which layers to leave in FP16, so that INT8 loses no more than it may: the smallest set by MACs.

Every layer is left in float once, on a few pictures; those that take the most noise along for
their MACs come first. How many of them are needed is found by bisection on all pictures, in exact
arithmetic, and what turns out not to be needed is quantised again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeseg.calibration import FOLDER
from edgeseg.documents import Document, write_json
from edgeseg.errors import AccuracyGateFailed, MissingPackage
from edgeseg.gate import misses, verification_data
from edgeseg.graphs import Parts, draft
from edgeseg.quantizer import Quantizer
from edgeseg.recipe import Gate
from edgeseg.sensitivity_trials import Forms
from edgeseg.tables import needs
from edgeseg.types import OnProgress

MOST_RETURNED = 8
"""Layers that are tried in INT8 again at the end, the largest first."""

log = logging.getLogger(__name__)


class Attempt(Document):
    """One set of layers in float."""

    keep: list[str]
    int8_percent: float
    """Of the MACs."""
    loss: float
    """In mIoU points, or in percent of the pixels where there are no masks."""
    interval: tuple[float, float]
    """95 %, paired bootstrap over the pictures."""
    misses: list[str]
    """What of the budget it misses; empty where it meets it."""


class Search(Document):
    """The path that was searched."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    data: str
    measure: str
    """mIoU or agreement."""
    limit: float
    """Of the loss."""
    attempts: list[Attempt]
    chosen: list[str] | None
    """The layers in float; None where no set meets the budget."""

    def safer(self) -> list[list[str]]:
        """The chosen set, then ones for an engine that loses more than exact arithmetic does.

        Each loses half as much as the one before or less, and is the smallest of those.
        """
        meets = [each for each in self._most_int8_first() if not each.misses]
        sets: list[list[str]] = []
        best = next((each for each in meets if each.keep == self.chosen), None)
        while best is not None:
            sets.append(best.keep)
            half = best.loss / 2
            best = next((each for each in meets if each.loss <= half), None) if half > 0 else None
        return sets

    def lines(self) -> list[str]:
        """The path as text, from all INT8 down to all float."""
        return [
            f"  {each.int8_percent:6.2f} % of the MACs in INT8: loss {each.loss:.2f} "
            f"[{each.interval[0]:.2f}, {each.interval[1]:.2f}]"
            + (f" - misses {', '.join(each.misses)}" if each.misses else " - meets it")
            for each in self._most_int8_first()
        ]

    def _most_int8_first(self) -> list[Attempt]:
        return sorted(self.attempts, key=lambda each: -each.int8_percent)


@dataclass(frozen=True, kw_only=True)
class _Searcher:
    forms: Forms
    quantizer: Quantizer
    gate: Gate
    start: tuple[str, ...]
    attempts: list[Attempt]

    def attempt(self, keep: Sequence[str]) -> Attempt:
        """Score one set, at most once."""
        wanted = sorted({*self.start, *keep})
        for known in self.attempts:
            if known.keep == wanted:
                return known
        score = self.forms.score(frozenset(wanted))
        effect = self.forms.loss(frozenset(wanted))
        made = Attempt(
            keep=wanted,
            int8_percent=self.quantizer.int8_share(wanted),
            loss=effect.change,
            interval=effect.interval,
            misses=misses(self.gate, score.comparison, upper=True),
        )
        self.attempts.append(made)
        return made


def within_budget(parts: Parts, on_progress: OnProgress | None = None) -> Parts:
    """`parts` with the layers in float that their gate needs, found without an engine.

    Raises:
        AccuracyGateFailed: no set of layers meets it.
    """
    chosen = verification_data(parts.recipe)
    if parts.quantizer is None or chosen is None or parts.recipe.random_weights:
        return parts
    return searched(parts, on_progress)[0][0]


def searched(parts: Parts, on_progress: OnProgress | None = None) -> tuple[list[Parts], list[str]]:
    """`parts` with the smallest set of layers in float that meets their gate, and the path to it.

    Behind it come the parts with larger sets, as `Search.safer` has them. The path is kept in
    calibration/NAME as JSON and as a picture.

    Raises:
        AccuracyGateFailed: no set meets it.
    """
    recipe, quantizer = parts.recipe, parts.quantizer
    chosen = verification_data(recipe)
    assert quantizer is not None
    assert chosen is not None
    forms = Forms(
        quantizer,
        draft(parts, parts.core),
        chosen[0],
        class_map=recipe.gate.map,
        on_progress=on_progress,
    )
    found = search(forms, quantizer, recipe.gate, start=parts.keep, on_progress=on_progress)
    write_search(found, FOLDER / recipe.name)
    if found.chosen is None:
        raise AccuracyGateFailed(
            f"no set of layers in float meets the budget on {found.data}; nothing was "
            "published\nwhat was tried:\n" + "\n".join(found.lines()),
            fix="calibrate on more or other pictures, or allow more",
        )
    return [_keeping(parts, keep) for keep in found.safer()], found.lines()


def _keeping(parts: Parts, keep: Sequence[str]) -> Parts:
    assert parts.quantizer is not None
    added = [name for name in keep if name not in parts.quantizer.spared]
    recipe = parts.recipe.model_copy(update={"keep_fp16": added})
    return replace(parts, recipe=recipe, keep=tuple(keep))


def search(
    forms: Forms,
    quantizer: Quantizer,
    gate: Gate,
    *,
    start: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Search:
    """The smallest set of layers in float, `start` among them, that meets `gate`.

    The budget counts at the upper end of the paired bootstrap interval.
    """
    searcher = _Searcher(
        forms=forms, quantizer=quantizer, gate=gate, start=tuple(start), attempts=[]
    )
    chosen: list[str] | None = None
    if not searcher.attempt(()).misses:
        chosen = searcher.attempt(()).keep
    elif not searcher.attempt([layer.name for layer in quantizer.layers]).misses:
        order = _ranked(forms, quantizer, start, on_progress)
        count = _fewest(searcher, order, on_progress)
        if count is not None:
            chosen = _without_the_needless(searcher, order[:count])
    scored = forms.score(frozenset(start)).comparison.scored
    return Search(
        data=forms.data.name,
        measure="mIoU" if scored else "agreement",
        limit=gate.max_drop if scored else 100 - gate.min_agreement,
        attempts=searcher.attempts,
        chosen=chosen,
    )


def _ranked(
    forms: Forms, quantizer: Quantizer, start: Sequence[str], on_progress: OnProgress | None
) -> list[str]:
    """The layers by the noise that goes with each for its MACs, the most first."""
    layers = [layer for layer in quantizer.layers if layer.name not in start]
    all_int8 = _noise(forms.sqnr(frozenset(start)))
    worth = {}
    for done, layer in enumerate(layers):
        gone = all_int8 - _noise(forms.sqnr(frozenset({*start, layer.name})))
        worth[layer.name] = gone / max(layer.macs, 1)
        if on_progress:
            on_progress("rank layers", done + 1, len(layers))
    return sorted(worth, key=lambda name: -worth[name])


def _noise(sqnr_db: float) -> float:
    return float(10 ** (-sqnr_db / 10))


def _fewest(
    searcher: _Searcher, order: Sequence[str], on_progress: OnProgress | None
) -> int | None:
    """How many of `order` have to be float, by bisection; None where all are too few."""
    if searcher.attempt(order).misses:
        return None
    low, high = 0, len(order)  # `low` misses, `high` meets
    while high - low > 1:
        middle = (low + high) // 2
        if on_progress:
            on_progress("search the budget", len(searcher.attempts), None)
        if searcher.attempt(order[:middle]).misses:
            low = middle
        else:
            high = middle
    return high


def _without_the_needless(searcher: _Searcher, kept: Sequence[str]) -> list[str]:
    """`kept` without the large layers that the budget does not need after all."""
    macs = {layer.name: layer.macs for layer in searcher.quantizer.layers}
    left = list(kept)
    for name in sorted(kept[:-1], key=lambda each: -macs[each])[:MOST_RETURNED]:
        fewer = [each for each in left if each != name]
        if not searcher.attempt(fewer).misses:
            left = fewer
    return searcher.attempt(left).keep


def write_search(found: Search, folder: Path) -> None:
    """Write search.json, and search.png where Matplotlib is installed, into `folder`."""
    write_json(found, folder / "search.json")
    try:
        with needs("charts"):
            from edgeseg.charts.path import write_path
    except MissingPackage as error:
        log.warning("search.png was not drawn: %s", error.fix)
        return
    points = [(each.int8_percent, each.loss, *each.interval) for each in found.attempts]
    chosen = next((a.int8_percent for a in found.attempts if a.keep == found.chosen), None)
    unit = "mIoU points lost" if found.measure == "mIoU" else "percent of the pixels changed"
    write_path(points, folder / "search.png", limit=found.limit, chosen=chosen, unit=unit)

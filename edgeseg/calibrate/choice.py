"""A calibration method as a user names it: `mse`, `percentile:99.9`, `auto`."""

from dataclasses import dataclass
from typing import NamedTuple

from edgeseg.calibrate.methods import PERCENT, best_method, percentile
from edgeseg.calibrate.observe import Observer
from edgeseg.errors import UsageError
from edgeseg.tables import known, pick

METHODS = {
    "auto": "edgeseg.calibrate.methods:auto",
    "entropy": "edgeseg.calibrate.methods:entropy",
    "minmax": "edgeseg.calibrate.methods:minmax",
    "mse": "edgeseg.calibrate.methods:mse",
    "percentile": "edgeseg.calibrate.methods:percentile",
}


class Chosen(NamedTuple):
    """The range of one tensor and the method that gave it."""

    method: str
    amax: float


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of METHODS, with its percentage where it takes one; as text it is written again."""

    name: str
    percent: float = PERCENT
    """Of `percentile`; the other methods have no use for it."""

    def __str__(self) -> str:
        return self.name if self.percent == PERCENT else f"{self.name}:{self.percent:.12g}"

    def range_of(self, seen: Observer) -> Chosen:
        """The range of what was `seen`, and which method it came from."""
        if self.name == "auto":
            return Chosen(*best_method(seen))
        if self.name == "percentile":
            return Chosen(str(self), percentile(seen, percent=self.percent))
        return Chosen(self.name, pick(METHODS, self.name, kind="calibration method")(seen))

    def running(self, seen: Observer) -> float:
        """A range that is quick to have after each picture, to see whether it still moves."""
        return seen.amax if self.name == "minmax" else percentile(seen, percent=self.percent)


def method_from_text(text: str) -> Method:
    """The Method that `text` names: a row of METHODS, or `percentile:P`.

    Raises:
        UsageError: no such method, or a percentage that is none.
    """
    name, colon, number = text.partition(":")
    known(METHODS, name, kind="calibration method")
    if not colon:
        return Method(name=name)
    try:
        percent = float(number)
    except ValueError:
        percent = 0.0
    if name != "percentile" or not 50.0 <= percent <= 100.0:
        raise UsageError(
            f"{text!r} is not a calibration method",
            fix="a percentage from 50 to 100 goes with percentile alone, such as percentile:99.9",
        )
    return Method(name=name, percent=percent)

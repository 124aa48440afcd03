"""What the board did while something ran: GPU clock, power, throttling, millijoule per frame."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgeseg.device.clocks import gpu_folder
from edgeseg.device.power import power_of, rails
from edgeseg.device.sysfs import HERE, number
from edgeseg.device.thermal import EVENTS, throttle_events

PERIOD_S = 0.1
STEADY = 0.9
"""A clock that fell below this share of the highest one seen has moved."""
ASLEEP = 0.5
"""A mean below this share of what the power mode allows is a governor that sees no load."""


@dataclass(frozen=True, kw_only=True)
class During:
    """One stretch of time; None for what the machine does not say."""

    seconds: float
    samples: int
    gpu_mhz_min: float | None
    gpu_mhz_mean: float | None
    gpu_mhz_limit: float | None
    """What the power mode lets the GPU have."""
    power_mw_mean: float | None
    mj_per_frame: float | None
    throttle_events: int | None
    """Times that the board slowed itself down meanwhile."""
    clocks_moved: bool | None
    """True: these latencies are not those of one clock."""
    reason: str | None
    """Why `clocks_moved`."""
    note: str | None
    """What else is wrong with the clock, and its mend."""


class Watch:
    """Reads clock, power and throttling ten times a second, from enter to exit, from /sys alone.

    Where neither clock nor power is to be had, no thread is started. The first and the last moment
    are left out where there are others: the GPU idles then.
    """

    def __init__(self, root: Path = HERE, *, gpu: bool = True, period_s: float = PERIOD_S) -> None:
        """`gpu` says whether the GPU is at work: the clock of an idle one means nothing."""
        self._root, self._period_s = root, period_s
        folder = gpu_folder(root) if gpu else None
        self._clock = folder / "cur_freq" if folder else None
        limit = number(folder / "max_freq") if folder else None
        self._limit_mhz = None if limit is None else limit / 1e6
        self._rails = rails(root)
        power = power_of(self._rails)
        self._parts = power.total_of if power else ()
        self._mhz: list[float] = []
        self._milliwatts: list[float] = []
        self._first: tuple[float | None, float | None] = (None, None)
        self._events: dict[str, int] = {}
        self._counted: dict[str, int] | None = None
        self._entered_s = self._seconds = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Watch":
        self._events = throttle_events(self._root)
        self._entered_s = time.perf_counter()
        self._first = self._read()
        if self._first != (None, None):
            self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._seconds = time.perf_counter() - self._entered_s
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._counted = throttle_events(self._root) if self._events else None

    @property
    def samples(self) -> int:
        """How often it looked."""
        return max(len(self._mhz), len(self._milliwatts))

    def seen(self, frames: int | None) -> During:
        """What was read; `frames` is None where the energy cannot be put down to frames."""
        power = _mean(self._milliwatts)
        events = self._new_events()
        reason = self._why_moved(events)
        known = bool(self._mhz) or events is not None
        return During(
            seconds=self._seconds,
            samples=self.samples,
            gpu_mhz_min=min(self._mhz, default=None),
            gpu_mhz_mean=_mean(self._mhz),
            gpu_mhz_limit=self._limit_mhz,
            power_mw_mean=power,
            mj_per_frame=power * self._seconds / frames if power is not None and frames else None,
            throttle_events=None if events is None else sum(events.values()),
            clocks_moved=reason is not None if known else None,
            reason=reason,
            note=self._why_asleep(),
        )

    def _watch(self) -> None:
        while not self._ended.wait(self._period_s):
            self._keep(self._read())
        if not self._mhz and not self._milliwatts:  # it was over before the first period was
            self._keep(self._first)

    def _read(self) -> tuple[float | None, float | None]:
        """MHz of the GPU, milliwatts of the board."""
        hertz = number(self._clock) if self._clock else None
        power = power_of(self._rails)
        if power is not None and power.total_of != self._parts:
            power = None  # a rail did not answer: what is left is not the whole
        return None if hertz is None else hertz / 1e6, power.total_mw if power else None

    def _keep(self, sample: tuple[float | None, float | None]) -> None:
        mhz, milliwatts = sample
        if mhz is not None:
            self._mhz.append(mhz)
        if milliwatts is not None:
            self._milliwatts.append(milliwatts)

    def _new_events(self) -> dict[str, int] | None:
        if self._counted is None:
            return None
        return {
            name: count - self._events[name]
            for name, count in self._counted.items()
            if name in self._events
        }

    def _why_moved(self, events: dict[str, int] | None) -> str | None:
        risen = [f"{EVENTS.get(name, name)} ({n} times)" for name, n in (events or {}).items() if n]
        if risen:
            return f"the board slowed itself down: {', '.join(risen)}"
        if self._mhz and min(self._mhz) < STEADY * max(self._mhz):
            return f"the GPU's clock went from {max(self._mhz):.0f} to {min(self._mhz):.0f} MHz"
        return None

    def _why_asleep(self) -> str | None:
        mean = _mean(self._mhz)
        if mean is None or not self._limit_mhz or mean >= ASLEEP * self._limit_mhz:
            return None
        folder = self._clock.parent if self._clock else Path()
        return (
            f"the GPU ran at {mean:.0f} of {self._limit_mhz:.0f} MHz: one frame at a time looks "
            "like no load to its governor (seen on JetPack 6); hold the clocks with "
            f"sudo jetson_clocks, or raise {folder}/min_freq"
        )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

"""How far a build is, and its end: by itself, or because somebody does not want it any more."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import NamedTuple, Protocol, TypeVar

from edgeseg.backends.tensorrt.log import LOG
from edgeseg.types import OnProgress

TICK_S = 0.1
"""How often the waiting thread looks up; signals wake it at once."""
REPORT_S = 1.0
"""How often elapsed time is reported where TensorRT does not say how far it is."""
PATIENCE_S = 15.0
"""How long a cancelled build may take to stop; it is asked between two kernels."""
LINE = 60
"""Characters of TensorRT's last line that are shown."""

STEP = "TensorRT builds"

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Phases(Protocol):
    """Who is told how far a build is; called from threads of TensorRT's own."""

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """`phase` begins."""

    def stepped(self, phase: str, step: int) -> bool:
        """Step number `step` is done; False ends the build."""

    def finished(self, phase: str) -> None:
        """`phase` is over."""


class _Report(NamedTuple):
    step: str
    done: int
    total: int | None


class _Phase:
    """One part of a build, which can lie within another."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0


class Progress:
    """Hears from TensorRT's threads (as `Phases`), and tells the thread that waits."""

    can_cancel = False
    """Whether TensorRT asks from step to step; 8.6 never does."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._phases: dict[str, _Phase] = {}
        self._reports: SimpleQueue[_Report] = SimpleQueue()
        self._lock = Lock()
        self._cancelled = Event()
        self._heard = False
        self._start_s = time.monotonic()
        self._told_s = float("-inf")

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """`phase` begins; `parent` is not needed, for a phase lies within those that are open."""
        del parent
        with self._lock:
            self._heard = True
            self._phases[phase] = _Phase(steps)
            self._report()

    def stepped(self, phase: str, step: int) -> bool:
        """Step number `step`, counted from 0, is done; False once the build is cancelled."""
        with self._lock:
            if phase in self._phases:
                self._phases[phase].done = step + 1
                self._report()
        return not self._cancelled.is_set()

    def finished(self, phase: str) -> None:
        """`phase` is over."""
        with self._lock:
            ended = self._phases.get(phase)
            if ended is not None:
                ended.done = ended.steps
                self._report()
                del self._phases[phase]

    def cancel(self) -> None:
        """Let the next step be the last."""
        self._cancelled.set()

    def tell(self) -> None:
        """Pass on what was heard since the last time, in the thread of the caller."""
        if self._on_progress is None:
            return
        while True:
            try:
                report = self._reports.get_nowait()
            except Empty:
                break
            self._told_s = time.monotonic()
            self._on_progress(*report)
        if not self._heard and time.monotonic() - self._told_s >= REPORT_S:
            self._told_s = time.monotonic()
            seconds = int(self._told_s - self._start_s)
            self._on_progress(f"{STEP} ({_shortened(LOG.last_line())})", seconds, None)

    def _report(self) -> None:
        """One line for the outermost phase, which names the innermost."""
        (outer, whole), (inner, part) = (list(self._phases.items())[index] for index in (0, -1))
        step = f"TensorRT: {outer}"
        if inner != outer:
            step += f" ({inner}, {part.done} of {part.steps})"
        self._reports.put(_Report(step, whole.done, whole.steps))


def waited_for(work: Callable[[], Result], progress: Progress) -> Result:
    """What `work` gives, run in a thread of its own: native code would keep signals waiting.

    An exception here, as Ctrl-C is one, cancels the build and leaves when it has stopped. Where it
    cannot be cancelled it goes on in the background, and what it gives is dropped.
    """
    outcome: Future[Result] = Future()
    worker = Thread(target=_settle, args=(outcome, work), name="tensorrt-build", daemon=True)
    progress.tell()
    try:
        worker.start()
        while not outcome.done():
            wait([outcome], timeout=TICK_S)
            progress.tell()
    finally:
        if not outcome.done():
            _leave(worker, progress)
    progress.tell()
    return outcome.result()


def _settle(outcome: "Future[Result]", work: Callable[[], Result]) -> None:
    try:
        outcome.set_result(work())
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        outcome.set_exception(error)


def _leave(worker: Thread, progress: Progress) -> None:
    progress.cancel()
    if worker.ident is None:  # it was on its way when the interrupt came
        time.sleep(TICK_S)
        if worker.ident is None:
            return
    if progress.can_cancel:
        log.info("the build is asked to stop, which it does between two kernels")
        worker.join(PATIENCE_S)
    if worker.is_alive():
        log.warning(
            "%s: it ends in the background, and its plan is dropped",
            f"TensorRT has not stopped within {PATIENCE_S:.0f} s"
            if progress.can_cancel
            else "this TensorRT cannot be stopped within a build",
        )


def _shortened(line: str) -> str:
    """The first line of `line`, as much of it as a bar has room for."""
    plain = line.strip().splitlines()[0] if line.strip() else "no word from it yet"
    return plain if len(plain) <= LINE else plain[: LINE - 3] + "..."

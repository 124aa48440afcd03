"""The frame loop: workers that each take a whole frame, results in the order of the source.

On a CPU this beats a pipeline of stages: a stage waits for the slowest, a worker for nobody. All
memory of a frame's size is allocated before the first frame.
"""

import atexit
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeseg.cameras import Cameras
from edgeseg.engine import Engine
from edgeseg.errors import DeviceError
from edgeseg.frames import FrameTime
from edgeseg.types import Pixels, Slot, State

Draw = Callable[["Result"], Pixels]
"""Draws what is in one slot into memory of its own; one for each slot."""

log = logging.getLogger(__name__)

_running: "weakref.WeakSet[FrameLoop]" = weakref.WeakSet()


@dataclass(kw_only=True, eq=False)
class Result:
    """One segmented frame. Its arrays are the slot's own: copy what is to outlive the iteration.

    What is taken out of a result and not copied shows later frames, and on a GPU, once the loop is
    over, memory that is gone. The results themselves then hold copies of what was in their slots.
    """

    index: int
    """Counts the results of the run; where the frame stands in its source is `time.index`."""
    labels: Pixels
    """uint8 (H, W), class ids."""
    pixels: Pixels
    """The frame as the engine got it, in its own pixel format."""
    time: FrameTime
    age_ms: float
    """From the moment the source had the frame to the moment its labels were there."""
    picture: Pixels | None
    """The drawn frame uint8 (H, W, 3) RGB, if anything shows it."""
    stages_ms: dict[str, float]
    camera: int = 0
    """Which source it came from."""


class FrameLoop:
    """Runs `engine` over `cameras`; iterate over `results()`, then `stop()`.

    An engine with a memory takes the frames of a camera one after the other, each with the state
    that the last one left, which is forgotten where a frame has nothing to do with the last. There
    are two slots more than there are workers, so that all of them work while the consumer holds a
    result; fewer where a GPU has no memory for them.
    """

    def __init__(self, engine: Engine, cameras: Cameras, draws: list[Draw] | None) -> None:
        self._engine, self._cameras = engine, cameras
        self._memories = [Memory(engine.new_state()) for _ in cameras.sources]
        slots = _slots(engine)
        self._draw_of = dict(zip(map(id, slots), draws, strict=False)) if draws else {}
        self._given: weakref.WeakKeyDictionary[Result, Slot] = weakref.WeakKeyDictionary()
        self._free: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)
        self._reading = threading.Lock()
        self._ready = threading.Condition()
        self._done: dict[int, tuple[Slot, Result]] = {}
        self._next_read = 0
        self.read = [0] * len(cameras.sources)
        """How many frames of each camera went to a worker."""
        self._ended = False
        self._failure: BaseException | None = None
        self._working = engine.workers
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{index}", daemon=True)
            for index in range(engine.workers)
        ]

    def results(self) -> Iterator[Result]:
        """Each frame's result, in order; the slot is reused when the next one is asked for.

        Raises:
            Whatever a worker raised, after the results before it.
        """
        _running.add(self)
        for worker in self._workers:
            worker.start()
        index = 0
        while True:
            with self._ready:
                while index not in self._done and not self._is_over(index):
                    self._ready.wait()
                if index not in self._done:
                    break
                slot, result = self._done.pop(index)
            self._given[result] = slot
            try:
                yield result
            finally:
                self._free.put(slot)
            index += 1
        if self._failure is not None:
            raise self._failure

    def stop(self, patience_s: float | None = None) -> None:
        """End the workers and wait for them; the cameras are the caller's to close.

        A worker that is at a frame for longer than `patience_s` is left alone; None waits for it.
        """
        until_s = None if patience_s is None else time.monotonic() + patience_s
        self._ended = True
        self._cameras.stop()
        for _ in self._workers:
            self._free.put(None)
        for worker in self._workers:
            if worker.ident is not None:
                worker.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
        if self.is_at_rest():
            _running.discard(self)
        if self._engine.memory_mode is not None:
            self._part_from_slots()

    def is_at_rest(self) -> bool:
        """Whether no worker is alive, as one may be where `stop` was interrupted."""
        return not any(worker.is_alive() for worker in self._workers)

    def _part_from_slots(self) -> None:
        """Give the results that somebody still has copies: the memory of their slots will go."""
        copies: dict[int, tuple[Pixels, Pixels]] = {}
        for result, slot in self._given.items():
            if id(slot) not in copies:
                copies[id(slot)] = slot.labels.copy(), slot.pixels.copy()
            result.labels, result.pixels = copies[id(slot)]

    def _is_over(self, index: int) -> bool:
        if self._failure is not None:
            return self._working == 0
        return self._ended and index >= self._next_read

    def _work(self) -> None:
        try:
            while (slot := self._free.get()) is not None:
                if not self._take_one(slot):
                    break
        except BaseException as error:  # noqa: BLE001 - it is raised again by `results`
            self._failure = self._failure or error
            self._ended = True
            self._cameras.stop()  # the others may wait for a frame of a camera that is silent
            for _ in self._workers:  # or for a slot that nobody gives back now
                self._free.put(None)
        with self._ready:
            self._working -= 1
            self._ready.notify_all()

    def _take_one(self, slot: Slot) -> bool:
        """One frame from its source to its drawn picture; False when there is none left."""
        with self._reading:
            if self._ended:
                return False
            start = time.perf_counter()
            read = self._cameras.read_into(slot.pixels)
            decoded = time.perf_counter()
            if read is None:
                self._ended = True
                return False
            index = self._next_read
            self._next_read += 1
            camera, frame_time = read
            self.read[camera] += 1
        slot.stages_ms.clear()
        self._memories[camera].lend_to(slot, frame_time.epoch)
        self._engine.launch(slot)
        self._cameras.done_with(camera)
        slot.stages_ms["decode"] = 1e3 * (decoded - start)
        result = Result(
            index=index,
            labels=slot.labels,
            pixels=slot.pixels,
            time=frame_time,
            age_ms=1e3 * (time.monotonic() - frame_time.captured_s),
            picture=None,
            stages_ms=slot.stages_ms,
            camera=camera,
        )
        if draw := self._draw_of.get(id(slot)):
            begun = time.perf_counter()
            result.picture = draw(result)
            slot.stages_ms["draw"] = 1e3 * (time.perf_counter() - begun)
        with self._ready:
            self._done[index] = (slot, result)
            self._ready.notify_all()
        return True


class Memory:
    """What an engine remembers of one camera, if it remembers anything."""

    def __init__(self, state: State | None) -> None:
        self._state, self._epoch = state, 0

    def lend_to(self, slot: Slot, epoch: int) -> None:
        """Let the frame in `slot` go on from the last one; from nothing in another epoch."""
        slot.state = self._state
        if self._state is not None and epoch != self._epoch:
            self._state.reset()
        self._epoch = epoch


def _slots(engine: Engine) -> list[Slot]:
    """One for each frame in flight, or as many as the memory of a GPU has room for.

    Raises:
        DeviceError: not even one.
    """
    wanted = slot_count(engine.workers)
    slots = [engine.new_slot()]
    try:
        while len(slots) < wanted:
            slots.append(engine.new_slot())
    except DeviceError as error:
        log.warning("%d of %d frames in flight: %s", len(slots), wanted, error.problem)
    return slots


def slot_count(workers: int) -> int:
    """How many frames may be in flight, the consumer's included."""
    return workers + 2


@atexit.register
def _stop_all() -> None:
    """Wait for workers that nobody waited for: one in native code would abort Python's end."""
    for loop in list(_running):
        loop.stop()

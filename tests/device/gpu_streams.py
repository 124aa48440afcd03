"""The streams, events and graphs of the simulated GPU: all work is done late."""

import itertools
import threading

from tests.device.cuda_results import CudaFault, GpuFault
from tests.device.gpu_parts import Capture, Contexts, Graph, GraphExec, Mark, Queue, Work


class Streams(Contexts):
    """What `create` made goes by handles; work in a stream runs when somebody waits for it."""

    def __init__(self, capture_result: int) -> None:
        super().__init__()
        self.capture_result = capture_result
        """What cuStreamBeginCapture answers; 0 is success."""
        self.clock_ms = 0.0
        self._things: dict[int, object] = {}
        self._running: int | None = None
        self._handles = itertools.count(0x5EED0000, 16)
        self._lock = threading.RLock()

    def leaks(self) -> list[str]:
        made = [f"{type(thing).__name__} {handle:#x}" for handle, thing in self._things.items()]
        return [*made, *super().leaks()]

    def create(self, thing: object) -> int:
        """The handle of a new Queue, Mark, or graph."""
        self.require_context()
        handle = next(self._handles)
        self._things[handle] = thing
        return handle

    def destroy(self, handle: int) -> None:
        self.require_context()
        if handle not in self._things:
            raise GpuFault(f"{handle:#x} is destroyed twice, or was never made")
        del self._things[handle]

    def things(self) -> list[object]:
        """What was made and not destroyed: Queue, Mark, Graph, GraphExec."""
        return list(self._things.values())

    def thing(self, handle: int) -> object:
        if handle not in self._things:
            raise CudaFault(400)
        return self._things[handle]

    def enqueue(self, stream_handle: int, work: Work) -> None:
        """Do `work` when the stream is waited for; record it where the stream is capturing."""
        self.require_context()
        queue = self._queue(stream_handle)

        def run() -> None:
            before, self._running = self._running, stream_handle
            try:
                work()
                self.clock_ms += 0.5
            finally:
                self._running = before

        if queue.capture:
            queue.capture.works.append(work)
        else:
            queue.works.append(run)

    def synchronize(self, stream_handle: int) -> None:
        self.require_context()
        queue = self._queue(stream_handle)
        if queue.capture:
            self._refuse_in(queue.capture)
        self._drain(queue, None)

    def record(self, event: int, stream_handle: int) -> None:
        self.require_context()
        mark, queue = self.thing(event), self._queue(stream_handle)
        assert isinstance(mark, Mark)
        mark.time_ms, mark.queue, mark.captured = None, queue, queue.capture is not None

        def passed() -> None:
            mark.time_ms = self.clock_ms

        if queue.capture is None:
            mark.place = passed
            queue.works.append(passed)

    def wait_event(self, event: int) -> None:
        self.require_context()
        mark = self._mark(event)
        if mark.queue is not None and mark.time_ms is None:
            self._drain(mark.queue, mark.place)

    def elapsed_ms(self, start: int, end: int) -> float:
        self.require_context()
        first, last = self._mark(start), self._mark(end)
        if first.queue is None or last.queue is None:
            raise CudaFault(400)
        if first.time_ms is None or last.time_ms is None:
            raise CudaFault(600)
        return last.time_ms - first.time_ms

    def is_capturing(self, stream_handle: int) -> bool:
        return self._queue(stream_handle).capture is not None

    def invalidate_capture(self, stream_handle: int) -> None:
        """What a call that cannot be captured does to the capture of a stream."""
        capture = self._queue(stream_handle).capture
        assert capture is not None
        capture.valid = False

    def begin_capture(self, stream_handle: int, mode: int) -> None:
        self.require_context()
        queue = self._queue(stream_handle)
        if self.capture_result or queue.capture:
            raise CudaFault(self.capture_result or 401)
        queue.capture = Capture(threading.get_ident(), mode)

    def end_capture(self, stream_handle: int) -> int:
        """The handle of a graph; the capture is over in any case but that of a wrong thread."""
        self.require_context()
        queue = self._queue(stream_handle)
        capture = queue.capture
        if capture is None:
            raise CudaFault(401)
        if capture.mode != 2 and capture.thread != threading.get_ident():
            raise CudaFault(908)
        queue.capture = None
        if not capture.valid:
            raise CudaFault(901)
        return self.create(Graph(tuple(capture.works)))

    def instantiate(self, graph: int) -> int:
        made = self.thing(graph)
        assert isinstance(made, Graph)
        return self.create(GraphExec(made.works))

    def launch(self, executable: int, stream_handle: int) -> None:
        made = self.thing(executable)
        assert isinstance(made, GraphExec)
        for work in made.works:
            self.enqueue(stream_handle, work)

    def _queue(self, handle: int) -> Queue:
        queue = self.thing(handle)
        if not isinstance(queue, Queue):
            raise CudaFault(400)
        return queue

    def _mark(self, handle: int) -> Mark:
        mark = self.thing(handle)
        if not isinstance(mark, Mark):
            raise CudaFault(400)
        if mark.captured:
            raise CudaFault(907)
        return mark

    def _drain(self, queue: Queue, last: Work | None) -> None:
        with self._lock:
            while queue.works and (last is None or last in queue.works):
                queue.works.pop(0)()

    def _refuse_in(self, capture: Capture) -> None:
        capture.valid = False
        raise CudaFault(900)

    def _unsafe_in_capture(self) -> None:
        """Allocating and freeing spoil the captures of this thread (mode 1), or all (mode 0)."""
        self.require_context()
        me = threading.get_ident()
        for queue in [thing for thing in self._things.values() if isinstance(thing, Queue)]:
            capture = queue.capture
            if capture and (capture.mode == 0 or (capture.mode == 1 and capture.thread == me)):
                self._refuse_in(capture)

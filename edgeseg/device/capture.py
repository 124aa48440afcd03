"""Records the work of a stream into a graph, which pycuda cannot.

By cuda-bindings where it is installed, else by ctypes on the driver.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any, Protocol

from edgeseg.device.memory import Stream
from edgeseg.device.refusals import no_driver, refused, too_old
from edgeseg.errors import DeviceError

THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile spoils nothing."""


class Recorder(Protocol):
    """The four steps of a captured graph; streams are handles, `executable` is a CUgraphExec."""

    def begin(self, stream: int) -> None:
        """Record from now on what this thread puts into `stream`."""

    def end(self, stream: int) -> Any:
        """What was recorded, ready to launch; the recording is over, also after an error."""

    def launch(self, executable: Any, stream: int) -> None:
        """Put all of it into `stream`."""

    def destroy(self, executable: Any) -> None:
        """Free it."""


class CapturedGraph:
    """A Graph by whichever recorder made it."""

    def __init__(self, recorder: Recorder, executable: Any) -> None:
        self._recorder = recorder
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Put all of it into `stream`."""
        self._recorder.launch(self._executable, stream.handle)

    def close(self) -> None:
        """Free it; closing twice is fine."""
        executable, self._executable = self._executable, None
        if executable is not None:
            self._recorder.destroy(executable)


def recorder() -> Recorder:
    """A recorder for streams of any package: all of them are handles of one driver."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return DriverRecorder(libcuda())
    return BindingsRecorder(driver)


def called(function: Any, *arguments: object) -> Any:
    """What a function of cuda-bindings answers behind its status: nothing, a value, or a tuple.

    Raises:
        DeviceError: with CUDA's own name and text of the status.
    """
    try:
        status, *values = function(*arguments)
    except RuntimeError as error:
        # cuda-bindings looks the driver up at the first call, and each function at its own first.
        function_missing = str(error).lower().startswith("function")
        raise (too_old if function_missing else no_driver)(error) from error
    if int(status) != 0:
        raise refused(f"{function.__name__}: {_named(status)}")
    return values[0] if len(values) == 1 else tuple(values)


class BindingsRecorder:
    """By cuda-bindings; `driver` is its module of that name."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

    def begin(self, stream: int) -> None:
        """Record from now on what this thread puts into `stream`."""
        called(self._driver.cuStreamBeginCapture, self._driver.CUstream(stream), self._mode)

    def end(self, stream: int) -> Any:
        """What was recorded, ready to launch."""
        graph = called(self._driver.cuStreamEndCapture, self._driver.CUstream(stream))
        try:
            return called(self._driver.cuGraphInstantiate, graph, 0)
        finally:
            called(self._driver.cuGraphDestroy, graph)

    def launch(self, executable: Any, stream: int) -> None:
        """Put all of it into `stream`."""
        called(self._driver.cuGraphLaunch, executable, self._driver.CUstream(stream))

    def destroy(self, executable: Any) -> None:
        """Free it."""
        called(self._driver.cuGraphExecDestroy, executable)


class DriverRecorder:
    """By ctypes; `library` is libcuda.so.1, whose six functions here are as old as CUDA 11.4."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def begin(self, stream: int) -> None:
        """Record from now on what this thread puts into `stream`."""
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(THREAD_LOCAL))

    def end(self, stream: int) -> Any:
        """What was recorded, ready to launch."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self._call(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(executable), graph, ctypes.c_ulonglong(0),
            )  # fmt: skip
        finally:
            self._call("cuGraphDestroy", graph)
        return executable

    def launch(self, executable: Any, stream: int) -> None:
        """Put all of it into `stream`."""
        self._call("cuGraphLaunch", executable, ctypes.c_void_p(stream))

    def destroy(self, executable: Any) -> None:
        """Free it."""
        self._call("cuGraphExecDestroy", executable)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
            label = (text.value or str(code).encode()).decode()
            self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            raise refused(f"{name}: {label}: {(text.value or b'').decode()}")


def libcuda() -> Any:
    """The driver's library.

    Raises:
        DeviceError: it is not there.
    """
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise no_driver(error) from error


@contextlib.contextmanager
def same_context() -> Iterator[None]:
    """A block behind which the thread's current context is the one before it, or none.

    For what leaves a context on the driver's stack that its owner no longer knows of.
    """
    try:
        library = libcuda()
    except DeviceError:  # there is no such stack
        yield
        return
    before, after = ctypes.c_void_p(), ctypes.c_void_p()
    library.cuCtxGetCurrent(ctypes.byref(before))
    yield
    library.cuCtxGetCurrent(ctypes.byref(after))
    if after.value != before.value:
        library.cuCtxPopCurrent_v2(ctypes.byref(after))


def _named(status: Any) -> str:
    """CUDA's own name and text of a status."""
    from cuda.bindings import driver

    words = []
    for describe in (driver.cuGetErrorName, driver.cuGetErrorString):
        _, text = describe(status)
        words.append(text.decode() if isinstance(text, bytes) else str(text))
    return ": ".join(words)

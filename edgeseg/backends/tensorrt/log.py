"""What TensorRT says: its last errors are kept, for most of its calls fail without a reason."""

from __future__ import annotations

import logging
from collections import deque
from threading import Lock

import tensorrt as trt

KEPT = 8
"""Lines of errors: the reason of a failure, and what followed from it."""
FRONT, BACK = 400, 200
"""Characters of a line that are quoted: one can name hundreds of fused layers."""

log = logging.getLogger(__name__)


class Log(trt.ILogger):  # type: ignore[misc]
    """TensorRT's logger; called from any of its threads, so it is short and never raises."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=KEPT)
        self._last = ""
        self._lock = Lock()
        self._severe = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Keep `msg`, and pass it on as a debug line; what fails raises with its errors."""
        if severity == trt.ILogger.Severity.VERBOSE:
            return  # tens of thousands of lines in a build
        line = quoted(msg)
        with self._lock:
            self._last = line
            if severity in self._severe and line not in self._errors:
                self._errors.append(line)
        log.debug("TensorRT: %s", msg)

    def clear(self) -> None:
        """Forget the errors, before a call whose own errors are wanted."""
        with self._lock:
            self._errors.clear()

    def last_errors(self) -> str:
        """The errors since `clear`, one a line; says so where there are none."""
        with self._lock:
            lines = list(self._errors)
        return "\n".join(lines) or "TensorRT gave no reason"

    def last_line(self) -> str:
        """The newest line of any severity but VERBOSE; "" before the first."""
        with self._lock:
            return self._last


def quoted(line: str) -> str:
    """`line` as a message can hold it, without its middle where it is very long."""
    line = line.strip()
    if len(line) <= FRONT + BACK:
        return line
    return f"{line[:FRONT]} [...] {line[-BACK:]}"


LOG = Log()
"""The one of this process: TensorRT keeps the first logger that it is given for everything."""

"""A file to encode into that stops changing at the first failure, so that it keeps what it has."""

import os
import struct
from pathlib import Path
from types import TracebackType


class GrowingFile:
    """What PyAV writes to. After a failure writes are taken and go nowhere.

    An encoder that cannot go on still finishes its container, and would otherwise rewrite the
    beginning of a file whose end is missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of `data`; its length, also where it goes nowhere."""
        left = memoryview(data)
        while left and self.failure is None:
            try:
                left = left[self._file.write(left) :]
            except OSError as error:
                self.failure = error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to `offset`; the new position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def check(self) -> None:
        """Raise what made the file stop, if something did."""
        if self.failure is not None:
            raise self.failure

    def cut_to_pieces(self) -> None:
        """Cut an MP4 file off after the last piece that is whole: an `mdat`, with what is before.

        ISO/IEC 14496-12, 4.2: a box is its size in 4 bytes, its kind in 4, and in 8 more the size
        where that was 1.
        """
        handle = self._file.fileno()
        end, at, whole = os.fstat(handle).st_size, 0, 0
        while at + 16 <= end:
            short, kind, long = struct.unpack(">I4sQ", os.pread(handle, 16, at))
            at += long if short == 1 else short
            if (short < 8 and short != 1) or at > end:
                break
            if kind == b"mdat":
                whole = at
        if whole < end:
            os.ftruncate(handle, whole)

    def __enter__(self) -> "GrowingFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

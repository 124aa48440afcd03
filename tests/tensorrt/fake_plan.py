"""What the fake serialises: a header of its own, and the ONNX graph that it runs."""

import json
import struct
from typing import Any

MAGIC = b"ftrt\0\0\1\n"


def packed(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header | {"bytes": len(body)}, sort_keys=True).encode()
    return MAGIC + struct.pack("<Q", len(text)) + text + body


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the body.

    Raises:
        ValueError: the bytes are something else, or not all of them are there.
    """
    start = len(MAGIC) + 8
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise ValueError(
            "Serialization assertion stdArchiveReader failed. Magic tag does not match"
        )
    end = start + struct.unpack("<Q", data[len(MAGIC) : start])[0]
    header: dict[str, Any] = json.loads(data[start:end])
    if header["bytes"] != len(data) - end:
        raise ValueError("Serialization assertion sizeRead == static_cast<uint64_t>(mSize) failed.")
    return header, data[end:]


class HostMemory(bytearray):
    """What IHostMemory has: the buffer protocol and two properties, neither length nor items."""

    __hash__ = object.__hash__

    def _refused(self, *args: object) -> Any:
        raise TypeError(f"'IHostMemory' object has no such operation: {args}")

    __len__ = __getitem__ = __iter__ = __contains__ = __add__ = __setitem__ = _refused

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_" and name not in {"nbytes", "dtype"}:
            raise AttributeError(f"'IHostMemory' object has no attribute {name!r}")
        return super().__getattribute__(name)

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes

    dtype: Any = None

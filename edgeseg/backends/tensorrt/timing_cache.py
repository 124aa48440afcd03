"""How long each kernel took, kept from build to build: the second build takes a tenth as long."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorrt as trt

from edgeseg.backends.plans import packed, unpacked
from edgeseg.errors import EngineMismatch, OutputError
from edgeseg.files import write_whole

KEY = ("version", "gpu", "compute_capability", "multiprocessors")
"""What of a fingerprint a measured time holds for."""

log = logging.getLogger(__name__)


def timing_cache_name(fingerprint: Mapping[str, str]) -> str:
    """The file name of the cache for that version and GPU."""
    key = "\n".join(fingerprint.get(part, "") for part in KEY)
    version = re.sub(r"[^0-9A-Za-z.]", "_", fingerprint.get("version", ""))
    return f"timing-{version}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.bin"


class TimingCache:
    """The cache of one build: attached before it, kept after it. Losing it never fails a build."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: bytes | None = None
        self._attached: Any = None

    def attach(self, config: trt.IBuilderConfig) -> None:
        """Let a build with `config` use what earlier builds measured, and measure the rest."""
        self._read = _measured(self._path)
        if self._read is not None and self._set(config, self._read):
            return
        if self._read is not None:
            log.warning("%s is of another GPU or version of TensorRT: it starts empty", self._path)
            self._read = None
        if not self._set(config, b""):
            log.warning("TensorRT takes no timing cache; this build is not remembered")

    def keep(self, config: trt.IBuilderConfig) -> None:
        """Write what the build with `config` knows now, with what others wrote meanwhile."""
        cache: trt.ITimingCache = config.get_timing_cache()
        if cache is None:
            return
        meanwhile = _measured(self._path)
        if meanwhile is not None and meanwhile != self._read:
            other: trt.ITimingCache = config.create_timing_cache(meanwhile)
            if other is None or not cache.combine(other, False):
                log.debug("what another build wrote to %s does not combine", self._path)
        serialized: trt.IHostMemory = cache.serialize()
        if serialized is None:
            log.warning("TensorRT gives no timing cache; this build is not remembered")
            return
        self._write(bytes(serialized))

    def _set(self, config: trt.IBuilderConfig, data: bytes) -> bool:
        cache: trt.ITimingCache = config.create_timing_cache(data)
        if cache is None or not config.set_timing_cache(cache, False):
            return False
        self._attached = cache
        return True

    def _write(self, data: bytes) -> None:
        header = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            write_whole(self._path, packed(header, data))
        except OutputError as error:
            log.warning("the timing cache is not kept, the next build measures again: %s", error)


def _measured(path: Path) -> bytes | None:
    """What lies at `path`, whole; None, and a warning where there is something else."""
    try:
        header, data = unpacked(path.read_bytes())
        if header["sha256"] == hashlib.sha256(data).hexdigest():
            return data
    except FileNotFoundError:
        return None
    except (OSError, EngineMismatch, KeyError, TypeError):
        pass
    log.warning("%s is damaged: the timing cache starts empty", path)
    return None

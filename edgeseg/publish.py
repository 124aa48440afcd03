"""Publishing an engine folder: it appears whole, or the one that was there stays."""

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeseg.errors import OutputError
from edgeseg.manifest import FILE, Manifest, file_hash, write_manifest

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Of Linux's renameat2: swap two names in one step."""


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` to build in; `out` becomes it when the block ends well.

    Raises:
        OutputError: the place cannot be written, or `out` is something else than an engine.
    """
    refuse_foreign(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield stage
        stage.chmod(0o755)
        _put_in_place(stage, out)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def refuse_foreign(out: Path) -> None:
    """Raise OutputError where `out` is a file, or a folder that holds something else."""
    foreign = out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file()
    if foreign or (out.exists() and not out.is_dir()):
        raise OutputError(
            f"{out} exists and is no engine folder; it is left alone",
            fix="name another folder with -o",
        )


def seal(manifest: Manifest, folder: Path) -> Manifest:
    """`manifest` with the hashes of all files of `folder`, written into it."""
    files = {
        str(path.relative_to(folder)): file_hash(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != FILE
    }
    sealed = manifest.model_copy(update={"files": files})
    write_manifest(sealed, folder)
    return sealed


def _put_in_place(stage: Path, out: Path) -> None:
    """Give `stage` the name `out`; what had it is at `stage` afterwards, or gone."""
    if not out.exists():
        stage.rename(out)
        return
    if _exchange(stage, out):
        return
    aside = out.with_name(f".{out.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    out.rename(aside)
    stage.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    result = renameat2(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)
    )
    return bool(result == 0)


def _unwritable(out: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{out} cannot be written: {error.strerror or error}",
        fix="name another folder with -o, or free space there",
    )

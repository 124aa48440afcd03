"""The command line, called in this process where that shows the same, and as a process."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeseg.cli import main

ROOT = Path(__file__).resolve().parents[2]
HEED_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A shell starts what runs in its background with interrupts ignored, and children inherit that."""
CALL = "from edgeseg.cli import main; main()"
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None"
"""No verb that tests start as a process needs PyTorch, which onnxsim imports where it can."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edgeseg_cli(
    workplace: Path,  # noqa: ARG001 - calls are made there
    streets_once: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Call]:
    """Calls the command line in this process; what it would log goes to `err` too."""
    handler = signal.getsignal(signal.SIGTERM)
    level = logging.getLogger().level
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgeseg", *map(str, arguments)])
        caplog.clear()
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return Outcome(code=code if isinstance(code, int) else 0, out=out, err=err + caplog.text)

    yield call
    signal.signal(signal.SIGTERM, handler)
    logging.getLogger().setLevel(level)


@pytest.fixture
def process(workplace: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command line as a process; `before` is Python that runs first."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, before: str = "") -> "subprocess.Popen[str]":
        code = "\n".join((HEED_INTERRUPTS, WITHOUT_TORCH, before, CALL))
        child = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=workplace,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def as_process(process: Callable[..., "subprocess.Popen[str]"]) -> Call:
    """Runs the command line as a process to its end."""

    def call(*arguments: object, before: str = "") -> Outcome:
        child = process(*arguments, before=before)
        out, err = child.communicate(timeout=120)
        return Outcome(code=child.returncode, out=out, err=err)

    return call

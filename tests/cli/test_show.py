"""The bar on stderr, and what is logged while it is there."""

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from edgeseg.cli.show import progress

log = logging.getLogger("edgeseg.tests")


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to stderr, which is a terminal, and where log lines go as by the verbs."""
    written = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", written)
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    assert handler.stream is written


def _lines(written: io.StringIO) -> list[str]:
    """What each line held at any time, without colours."""
    return re.split(r"[\r\n]|\x1b\[2K", re.sub(r"\x1b\[[\d;]*m", "", written.getvalue()))


def test_a_line_of_the_log_stands_above_the_bar_and_not_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch) as written, progress() as report:
        report("frames", 1, 3)
        log.warning("a frame is damaged")
        report("frames", 2, 3)

    assert [line for line in _lines(written) if "damaged" in line] == ["a frame is damaged"]
    assert any("frames" in line for line in _lines(written))


def test_a_step_whose_end_becomes_known_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written, progress() as report:
        report("compile", 0, None)
        report("compile", 1, 7)

    assert any("1/7" in line for line in _lines(written))


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report("frames", 1, 3)

    assert capsys.readouterr().err == ""

"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from edgeseg.errors import OutputError
from edgeseg.files import whole, write_whole


def test_what_was_written_is_there_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.bin"
    write_whole(target, b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_stays_old_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with whole(target) as temporary:
        temporary.write_text("new")
        during = target.read_text()
    assert (during, target.read_text()) == ("old", "new")


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_whole(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == plain.stat().st_mode


def test_a_target_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_whole(tmp_path / "file" / "below", b"")
    assert caught.value.exit_code == 9


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left"),
        whole(tmp_path / "file"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert os.listdir(tmp_path) == []  # noqa: PTH208

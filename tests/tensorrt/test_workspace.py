"""The memory of a build, on boards as Linux describes them."""

from pathlib import Path
from types import ModuleType

import pytest

from edgeseg.errors import UsageError
from tests.tensorrt.conftest import Installed

pytestmark = [
    pytest.mark.needs("onnx", "onnxruntime"),
    pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True),
]


@pytest.fixture
def workspace(trt: Installed) -> ModuleType:
    import importlib

    del trt
    return importlib.import_module("edgeseg.backends.tensorrt.workspace")


def board(root: Path, available_mib: int, swap_mib: int) -> Path:
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(
        f"MemTotal:        4051548 kB\nMemFree:          203940 kB\n"
        f"MemAvailable:    {available_mib * 1024} kB\nSwapTotal:       2025772 kB\n"
        f"SwapFree:        {swap_mib * 1024} kB\n"
    )
    return root


def test_a_small_board_gives_a_quarter_of_what_is_left(
    workspace: ModuleType, tmp_path: Path
) -> None:
    memory = workspace.host_memory(board(tmp_path, 2600, 0))
    assert workspace.workspace_mib(None, memory, integrated=True) == 650


def test_a_large_board_gives_no_more_than_a_gibibyte(workspace: ModuleType, tmp_path: Path) -> None:
    memory = workspace.host_memory(board(tmp_path, 50_000, 0))
    assert workspace.workspace_mib(None, memory, integrated=True) == 1024


def test_a_gpu_with_memory_of_its_own_keeps_its_own_limit(
    workspace: ModuleType, tmp_path: Path
) -> None:
    memory = workspace.host_memory(board(tmp_path, 2600, 0))
    assert workspace.workspace_mib(None, memory, integrated=False) is None


def test_what_was_asked_for_is_given(workspace: ModuleType, tmp_path: Path) -> None:
    memory = workspace.host_memory(board(tmp_path, 2600, 0))
    assert workspace.workspace_mib(2000, memory, integrated=True) == 2000
    with pytest.raises(UsageError, match="0 MiB"):
        workspace.workspace_mib(0, memory, integrated=True)


def test_a_machine_that_does_not_tell_gets_the_usual(workspace: ModuleType, tmp_path: Path) -> None:
    memory = workspace.host_memory(tmp_path)
    assert workspace.workspace_mib(None, memory, integrated=True) == 1024
    assert workspace.shortage(memory) is None


@pytest.mark.parametrize(("available", "swap", "short"), [(2000, 500, True), (2000, 4000, False)])
def test_too_little_memory_is_told_with_what_to_do(
    workspace: ModuleType, tmp_path: Path, available: int, swap: int, short: bool
) -> None:
    told = workspace.shortage(workspace.host_memory(board(tmp_path, available, swap)))
    assert (told is not None) == short
    if told:
        assert "2000 MiB of RAM and 500 MiB of swap" in told
        assert "--workspace" in told
        assert "swap" in told


@pytest.mark.parametrize(
    ("line", "memory"),
    [
        ("Error Code 1: Cuda Runtime (out of memory)", True),
        ("[executionContext.cpp] Error Code 2: OutOfMemory (no further information)", True),
        ("Requested amount of GPU memory (536870912 bytes) could not be allocated.", True),
        ("Error Code 10: Could not find any implementation for node conv1.", False),
        ("UINT8 input frame must feed one cast", False),
    ],
)
def test_lines_about_memory_are_known(workspace: ModuleType, line: str, memory: bool) -> None:
    assert workspace.ran_out(line) == memory

"""JetPack releases, boards that are left behind, and power modes by name."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeseg.device.jetson import fastest_mode, jetpack_of, left_behind, power_mode, power_modes
from tests.device.trees import ORIN_NANO, write


@pytest.mark.parametrize(
    ("l4t", "name", "tensorrt", "supported"),
    [
        ("32.7.6", "4", "8.2", False),
        ("35.4.1", "5", "8.5", False),
        ("36.3.0", "6.0", "8.6", True),
        ("36.4.0", "6.1", "10.3", True),
        ("36.4.3", "6.2", "10.3", True),
        ("36.4.7", "6.1 or 6.2", "10.3", True),
        ("38.2.1", "7.0", "10.13", True),
        ("39.2", "7.2", "10.16", True),
    ],
)
def test_the_jetpack_of_a_release(l4t: str, name: str, tensorrt: str, supported: bool) -> None:
    found = jetpack_of(l4t)

    assert found is not None
    assert (found.name, found.tensorrt, found.supported) == (name, tensorrt, supported)


@pytest.mark.parametrize("l4t", [None, "", "99.1", "3.6"])
def test_an_unknown_release(l4t: str | None) -> None:
    assert jetpack_of(l4t) is None


@pytest.mark.parametrize(
    ("model", "python"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "3.6"),
        ("NVIDIA Jetson TX2", "3.6"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "3.8"),
    ],
)
def test_a_board_that_no_supported_jetpack_runs_on(model: str, python: str) -> None:
    assert f"Python {python}" in (left_behind(model) or "")


@pytest.mark.parametrize("model", ["NVIDIA Jetson Orin Nano", "NVIDIA Jetson AGX Thor", ""])
def test_a_board_that_is_not_left_behind(model: str) -> None:
    assert left_behind(model) is None


def test_the_mode_that_nvpmodel_says(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(command)
        return "NV Power Mode: MAXN_SUPER\n2\n"

    assert power_mode(write(tmp_path, ORIN_NANO), ask) == "MAXN_SUPER"
    assert asked == [("nvpmodel", "-q")]


def test_the_mode_by_its_files_in_a_container(tmp_path: Path) -> None:
    assert power_mode(write(tmp_path, ORIN_NANO)) == "25W"


def test_modes_go_by_name_since_numbers_differ_from_module_to_module(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN_NANO)

    assert power_modes(root) == {0: "15W", 1: "25W", 2: "MAXN_SUPER"}
    assert fastest_mode(root) == (2, "MAXN_SUPER")


def test_the_fastest_mode_of_a_board_without_super(tmp_path: Path) -> None:
    conf = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=MODE_30W >\n"

    assert fastest_mode(write(tmp_path, {"etc/nvpmodel.conf": conf})) == (0, "MAXN")


def test_a_machine_without_modes(tmp_path: Path) -> None:
    assert power_mode(tmp_path) is None
    assert fastest_mode(tmp_path) is None

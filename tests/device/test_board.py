"""The whole state of a board, its other informants, and machines that have none."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from edgeseg.device import board, jtop, nvidia_smi, tegrastats
from edgeseg.device.board import board_state, is_jetson
from edgeseg.device.nvidia_smi import cards
from tests.device.trees import ORIN_NANO, write

CARD = "NVIDIA H200, 570.86.15, 345, 1980, 77.56, 31, 0x0000000000000001\n"


def test_a_jetson(tmp_path: Path) -> None:
    state = board_state(write(tmp_path, ORIN_NANO))

    assert (state.power_mode, state.jetson_clocks) == ("25W", False)
    assert state.gpu is not None
    assert state.gpu.current_mhz == 306
    assert state.power is not None
    assert state.power.total_mw == 8000
    assert state.throttle_events == {"oc1": 0, "oc2": 2, "oc3": 15}
    assert (state.throttling, state.cards) == ([], None)


def test_a_machine_that_tells_nothing_is_all_none(tmp_path: Path) -> None:
    assert set(vars(board_state(tmp_path)).values()) == {None}


def test_this_machine_is_read_without_an_error() -> None:
    assert board_state().cpu is None or board_state().cpu.current_mhz > 0  # type: ignore[union-attr]


def test_a_raspberry_pi_is_no_jetson(tmp_path: Path) -> None:
    assert not is_jetson(write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5\0"}))
    assert is_jetson(write(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson AGX Thor\0"}))


def test_a_card_that_idles_is_not_slowed_down() -> None:
    (card,) = cards(lambda _: CARD)

    assert (card.name, card.driver) == ("NVIDIA H200", "570.86.15")
    assert (card.sm_mhz, card.sm_max_mhz, card.power_w, card.temperature_c) == (
        345,
        1980,
        77.56,
        31,
    )
    assert card.slowed_by == ()


def test_cards_that_are_slowed_down_and_a_driver_with_the_older_word() -> None:
    def ask(command: Sequence[str]) -> str | None:
        if "clocks_throttle_reasons" not in command[1]:
            return None  # nvidia-smi ends with an error
        return CARD.replace("0x0000000000000001", "0x0000000000000024") * 2

    found = cards(ask)

    assert [card.slowed_by for card in found] == [("power cap", "too hot (software)")] * 2


def test_a_jetsons_nvidia_smi_that_knows_little() -> None:
    (card,) = cards(lambda _: "Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A]\n")

    assert (card.name, card.sm_mhz, card.power_w, card.slowed_by) == (
        "Orin (nvgpu)",
        None,
        None,
        (),
    )


def test_jtop_fills_what_the_files_do_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jtop", _jtop())
    bare = board_state(tmp_path)

    state = board._by_jtop(bare)

    assert (state.power_mode, state.jetson_clocks) == ("MAXN", True)
    assert state.power is not None
    assert (state.power.total_mw, state.power.total_of) == (12345, ("jtop",))
    assert state.temperatures_c == {"cpu": 44.5}


def test_jtop_that_refuses_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for refusal in (PermissionError("jtop.sock"), _Refused("I can't access jtop.service")):
        monkeypatch.setitem(sys.modules, "jtop", _jtop(refusal))
        assert jtop.asked() is None


def test_without_jtop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)

    assert jtop.asked() is None


def test_tegrastats_fills_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "RAM 1/2MB GR3D_FREQ 50%@[918] EMC_FREQ 2%@3199 gpu@40C VDD_IN 9000mW/9000mW"
    monkeypatch.setattr(tegrastats, "first_line", lambda: line)

    state = board._by_tegrastats(board_state(tmp_path))

    assert state.gpu is not None
    assert (state.gpu.current_mhz, state.gpu.max_mhz) == (918, None)
    assert state.emc is not None
    assert state.emc.current_mhz == 3199
    assert state.power is not None
    assert state.power.total_mw == 9000


def test_the_older_word_is_asked_only_where_the_newer_fails() -> None:
    asked: list[str] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(command[1])
        return CARD

    cards(ask)

    assert len(asked) == 1
    assert nvidia_smi.REASON_FIELDS[0] in asked[0]


class _Refused(Exception):
    pass


def _jtop(refusal: Exception | None = None) -> ModuleType:
    """The package with a board that answers, or that refuses on entering."""

    class Client:
        nvpmodel = SimpleNamespace(name="MAXN")
        jetson_clocks = True
        power = {"rail": {}, "tot": {"power": 12345, "avg": 12000}}  # noqa: RUF012
        temperature = {  # noqa: RUF012
            "cpu": {"temp": 44.5, "online": True},
            "cv0": {"temp": -256, "online": False},
        }

        def __enter__(self) -> "Client":
            if refusal is not None:
                raise refusal
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def ok(self) -> bool:
            return True

    package = ModuleType("jtop")
    package.jtop, package.JtopException = Client, _Refused  # type: ignore[attr-defined]
    return package

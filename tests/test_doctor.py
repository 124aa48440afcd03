"""The doctor on a recorded board, on this machine, and where packages refuse."""

import sys
from pathlib import Path

import pytest

from edgeseg import doctor_gpu
from edgeseg.doctor import Diagnosis, doctor
from edgeseg.doctor_finding import Finding
from edgeseg.doctor_place import origin_of
from edgeseg.errors import DeviceError, MissingPackage
from tests.well_board import well_board


@pytest.mark.parametrize(
    "error",
    [
        DeviceError("no CUDA driver is installed", fix="install the NVIDIA driver"),
        MissingPackage("neither pycuda nor cuda-bindings", fix="pip install 'edgeseg[cuda13]'"),
    ],
)
@pytest.mark.parametrize("present", [True, False])
def test_what_the_gpu_refuses_is_a_finding(
    error: Exception, present: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Finding:
        raise error

    monkeypatch.setattr(doctor_gpu, "_facts", refuse)

    (finding,) = doctor_gpu.gpu_findings(tmp_path, jetson=present, ask=lambda _: None)

    assert finding.ok is (False if present else None)
    assert bool(finding.mend) is present
    reason_counts = present or isinstance(error, DeviceError)  # no package, no GPU: all is well
    assert (str(error.args[0]) in finding.seen) is reason_counts


def test_nvidia_smi_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "_facts", lambda: Finding(name="", ok=True, seen="", mend=""))
    asked: list[object] = []

    def ask(command: object) -> str:
        asked.append(command)
        return "NVIDIA T4, 570.86, 300, 1590, 69.1, 83, 0x0\n"

    doctor_gpu.gpu_findings(tmp_path, jetson=False, ask=ask)

    assert len(asked) == 1


def test_a_card_that_is_slowed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "_facts", lambda: Finding(name="", ok=True, seen="", mend=""))
    row = "NVIDIA T4, 570.86, 300, 1590, 69.1, 83, 0x20\n"

    _, slowed = doctor_gpu.gpu_findings(tmp_path, jetson=False, ask=lambda _: row)

    assert slowed.ok is False
    assert "too hot" in slowed.seen


def test_the_facts_of_a_gpu(tmp_path: Path) -> None:
    from tests.device.fakes import fake_gpu

    with fake_gpu("cuda", name="Orin", memory_mib=7620) as gpu:
        (finding,) = doctor_gpu.gpu_findings(tmp_path, jetson=True, ask=lambda _: None)

        assert finding.ok is True
        assert "Orin, compute capability 8.7" in finding.seen
        assert "--memory auto is mapped" in finding.seen
        assert gpu.leaks() == []


@pytest.fixture(scope="module")
def here() -> Diagnosis:
    return doctor()


def test_this_machine(here: Diagnosis) -> None:
    assert {check.name for check in here.backends} == {"tensorrt", "openvino", "onnxruntime"}
    assert {check.name for check in here.packages} >= {"numpy", "pycuda", "cuda.bindings"}
    assert all(check.detail for check in (*here.backends, *here.packages))
    assert here.findings


def test_a_whole_board(tmp_path: Path) -> None:
    found = doctor(well_board(tmp_path))

    assert found.machine["l4t"] == "36.4.3"
    assert {one.name for one in found.findings} >= {"JetPack", "NVIDIA GPU"}
    usable = {check.name: check.usable for check in found.packages}
    assert (usable["tensorrt"], usable["torch"]) == (True, False)


def test_a_board_is_sent_to_the_findings_and_not_to_another_machines_extra(tmp_path: Path) -> None:
    bare = well_board(tmp_path, origin={}.get, version={}.get)

    found = doctor(bare)

    names = {one.name for one in found.findings}
    for check in found.packages:
        if check.name in {"tensorrt", "cv2", "pycuda", "cuda.bindings"}:
            assert check.detail.removeprefix("not installed; see ").removesuffix(" below") in names
    assert not any("cuda13" in check.detail for check in found.packages)


@pytest.mark.parametrize(
    "error",
    [ImportError("numpy.core.multiarray failed to import"), AttributeError("_ARRAY_API not found")],
)
def test_a_backend_that_breaks_while_it_is_loaded_is_not_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """As those do that were compiled for another NumPy."""

    def broken(name: str) -> str | None:
        del name
        raise error

    monkeypatch.setattr(sys.modules["edgeseg.doctor"], "why_not", broken)

    found = doctor(well_board(tmp_path))

    assert {check.usable for check in found.backends} == {False}
    assert all(str(error) in check.detail for check in found.backends)


def test_where_packages_lie() -> None:
    assert (origin_of("edgeseg") or "").endswith("edgeseg/__init__.py")
    assert origin_of("no_such_package") is None
    assert origin_of("no_such_package.part") is None

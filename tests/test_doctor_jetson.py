"""The doctor on recorded Jetsons: what is well, what is wrong, and its mend."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.doctor_finding import Finding
from edgeseg.doctor_jetson import jetson_findings
from edgeseg.doctor_place import Place
from tests.device.trees import ORIN_NANO, write
from tests.well_board import ORIGINS, VERSIONS, answers, well_board


def _found(place: Place, name: str) -> Finding:
    (finding,) = (one for one in jetson_findings(place) if one.name == name)
    return finding


def test_a_board_on_which_everything_is_well(tmp_path: Path) -> None:
    findings = jetson_findings(well_board(tmp_path))

    assert {one.name for one in findings} == {
        "JetPack", "Python", "environment", "TensorRT", "nvcc", "python3-dev", "CUDA from Python",
        "NumPy", "cv2", "power mode", "clocks", "memory", "python3-gi", "cameras", "disk",
    }  # fmt: skip
    assert [one for one in findings if one.ok is not True] == []
    assert "6.2 (L4T 36.4.3)" in findings[0].seen


@pytest.mark.parametrize(
    ("model", "release", "why"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "R32 (release), REVISION: 7.6", "Python 3.6"),
        ("NVIDIA Jetson Xavier NX", "R35 (release), REVISION: 4.1", "Python 3.8"),
        ("NVIDIA Jetson AGX Orin", "R35 (release), REVISION: 4.1", "Python 3.8"),
    ],
)
def test_boards_and_releases_that_are_too_old(
    tmp_path: Path, model: str, release: str, why: str
) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"proc/device-tree/model": model, "etc/nv_tegra_release": f"# {release}, G"})

    jetpack = _found(place, "JetPack")

    assert jetpack.ok is False
    assert why in jetpack.seen
    assert jetpack.mend


def test_a_release_that_nobody_knows_is_no_fault(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"etc/nv_tegra_release": "# R45 (release), REVISION: 1.0, G"})

    assert _found(place, "JetPack").ok is None


def test_a_board_that_does_not_say_its_release(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    (tmp_path / "etc/nv_tegra_release").unlink()

    jetpack = _found(place, "JetPack")
    assert jetpack.ok is None
    assert "no /etc/nv_tegra_release" in jetpack.seen
    assert "None" not in jetpack.seen


def test_another_python_than_jetpacks(tmp_path: Path) -> None:
    finding = _found(well_board(tmp_path, python=(3, 12)), "Python")

    assert finding.ok is False
    assert "is for 3.10" in finding.seen
    assert "python3.10 -m venv --system-site-packages" in finding.mend


def test_an_environment_that_hides_the_system(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"venv/pyvenv.cfg": "include-system-site-packages = false\n"})

    assert _found(place, "environment").ok is False


def test_no_environment_at_all_is_a_question(tmp_path: Path) -> None:
    assert _found(well_board(tmp_path, in_venv=False), "environment").ok is None


def test_tensorrt_that_is_missing(tmp_path: Path) -> None:
    finding = _found(well_board(tmp_path, origin={}.get), "TensorRT")

    assert finding.ok is False
    assert "nvidia-jetpack" in finding.mend


def test_tensorrt_from_pip(tmp_path: Path) -> None:
    origins = {**ORIGINS, "tensorrt": "/home/me/.venv/tensorrt/__init__.py"}

    assert _found(well_board(tmp_path, origin=origins.get), "TensorRT").mend.startswith(
        "pip uninstall"
    )


@pytest.mark.parametrize(
    ("release", "origin"),
    [
        ("R39 (release), REVISION: 2.0", "/home/me/.venv/tensorrt/__init__.py"),
        ("R36 (release), REVISION: 4.3", "/usr/local/lib/python3.10/dist-packages/tensorrt.py"),
    ],
)
def test_tensorrt_that_may_be_meant_so(tmp_path: Path, release: str, origin: str) -> None:
    """JetPack 7 runs NVIDIA's wheels, and a container has a TensorRT of its own."""
    place = well_board(tmp_path, origin={**ORIGINS, "tensorrt": origin}.get)
    write(tmp_path, {"etc/nv_tegra_release": f"# {release}, G"})

    finding = _found(place, "TensorRT")
    assert finding.ok is None
    assert origin in finding.seen
    assert "pip uninstall" in finding.mend


def test_tensorrt_of_another_version_than_jetpacks(tmp_path: Path) -> None:
    place = well_board(tmp_path, version={**VERSIONS, "tensorrt": "10.30.1"}.get)

    finding = _found(place, "TensorRT")
    assert finding.ok is None
    assert "JetPack 6.2 came with 10.3" in finding.seen


def test_a_compiler_that_is_not_on_the_path(tmp_path: Path) -> None:
    without = {name: path for name, path in ORIGINS.items() if name != "pycuda"}
    place = well_board(tmp_path, program=lambda _: None, origin=without.get)
    write(tmp_path, {"usr/local/cuda/bin/nvcc": ""})

    finding = _found(place, "nvcc")
    assert finding.ok is False
    assert "export PATH=/usr/local/cuda/bin:$PATH" in finding.mend


def test_a_missing_compiler_is_no_fault_once_pycuda_is_there(tmp_path: Path) -> None:
    assert _found(well_board(tmp_path, program=lambda _: None), "nvcc").ok is None


def test_missing_headers(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    (tmp_path / "usr/include/python3.10/Python.h").unlink()

    assert _found(place, "python3-dev").mend == "sudo apt install python3-dev"


@pytest.mark.parametrize(("bindings", "ok"), [("12.9.10", True), ("13.5.0", False)])
def test_cuda_bindings_of_the_drivers_cuda(tmp_path: Path, bindings: str, ok: bool) -> None:
    place = well_board(
        tmp_path,
        origin={**ORIGINS, "pycuda": None, "cuda.bindings": "/x"}.get,
        version={"cuda-bindings": bindings}.get,
    )

    finding = _found(place, "CUDA from Python")
    assert finding.ok is ok
    assert bindings in finding.seen
    assert ok or "edgeseg[cuda12]" in finding.mend


def test_neither_pycuda_nor_cuda_bindings(tmp_path: Path) -> None:
    place = well_board(tmp_path, origin={}.get, version={}.get)

    assert "edgeseg[jetson]" in _found(place, "CUDA from Python").mend


def test_pips_opencv_that_hides_jetpacks(tmp_path: Path) -> None:
    place = well_board(
        tmp_path,
        ask=answers("NO"),
        origin={**ORIGINS, "cv2": "/home/me/.venv/cv2/__init__.py"}.get,
        version={**VERSIONS, "opencv-python-headless": "4.11.0"}.get,
    )
    write(tmp_path, {"usr/lib/python3.10/dist-packages/cv2/__init__.py": ""})

    finding = _found(place, "cv2")
    assert finding.ok is False
    assert finding.mend == "pip uninstall opencv-python-headless"


def test_an_opencv_without_gstreamer(tmp_path: Path) -> None:
    finding = _found(well_board(tmp_path, ask=answers("NO")), "cv2")

    assert finding.ok is None
    assert "without GStreamer" in finding.seen


def test_an_opencv_that_does_not_load(tmp_path: Path) -> None:
    assert _found(well_board(tmp_path, ask=lambda _: None), "cv2").ok is False


def test_numpy_2_beside_the_opencv_of_jetpack_6(tmp_path: Path) -> None:
    finding = _found(well_board(tmp_path, numpy="2.2.6"), "NumPy")

    assert (finding.ok, finding.mend) == (False, "pip install 'numpy<2'")


def test_numpy_2_is_well_on_jetpack_7(tmp_path: Path) -> None:
    place = well_board(tmp_path, numpy="2.2.6", python=(3, 12))
    write(tmp_path, {"etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, G"})

    assert _found(place, "NumPy").ok is True


def test_an_opencv_of_jetpack_7_that_does_not_load_beside_numpy_2(tmp_path: Path) -> None:
    place = well_board(tmp_path, numpy="2.2.6", python=(3, 12), ask=lambda _: None)
    write(tmp_path, {"etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, G"})

    assert _found(place, "cv2").mend == "pip install 'numpy<2'"


def test_a_power_mode_that_is_not_the_fastest(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"etc/nvpmodel.conf": ORIN_NANO["etc/nvpmodel.conf"]})

    finding = _found(place, "power mode")
    assert finding.seen.startswith("25W")
    assert "sudo nvpmodel -m 2 (MAXN_SUPER)" in finding.mend


def test_clocks_that_the_governor_chooses(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"sys/class/devfreq/17000000.gpu/min_freq": "306000000"})

    assert "sudo jetson_clocks" in _found(place, "clocks").mend


@pytest.mark.parametrize(
    ("ram_kib", "swap_kib", "ok"),
    [(3_900_000, 1_900_000, False), (3_900_000, 8_300_000, True), (7_800_000, 0, True)],
)
def test_small_boards_need_swap(tmp_path: Path, ram_kib: int, swap_kib: int, ok: bool) -> None:
    place = well_board(tmp_path)
    write(tmp_path, {"proc/meminfo": f"MemTotal: {ram_kib} kB\nSwapTotal: {swap_kib} kB\n"})

    finding = _found(place, "memory")
    assert finding.ok is ok
    assert ("swapon" in finding.mend) is not ok


def test_no_camera(tmp_path: Path) -> None:
    place = well_board(tmp_path)
    (tmp_path / "dev/video0").unlink()
    (tmp_path / "tmp/argus_socket").unlink()

    finding = _found(place, "cameras")
    assert finding.ok is None
    assert "no /dev/video*" in finding.seen
    assert "its daemon does not run" in finding.seen


def test_without_gi(tmp_path: Path) -> None:
    assert (
        "apt install python3-gi" in _found(well_board(tmp_path, origin={}.get), "python3-gi").mend
    )


def test_a_bare_board_has_a_mend_for_all_that_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson Orin Nano\0"})
    place = replace(
        well_board(tmp_path / "elsewhere"),
        root=tmp_path,
        ask=lambda _: None,
        origin={}.get,
        version={}.get,
        program=lambda _: None,
        home=tmp_path / "missing",
    )

    findings = jetson_findings(place)

    assert sum(one.ok is False for one in findings) >= 5
    assert [one.name for one in findings if one.ok is False and not one.mend] == []

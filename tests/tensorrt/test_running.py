"""What every TensorRT has to do with a plan: on stand-ins, and with `-m device` on a board."""

import threading
from pathlib import Path

import numpy as np
import pytest

from edgeseg.backends.plans import packed, unpacked
from edgeseg.errors import DeviceError, EngineMismatch
from edgeseg.manifest import check_fingerprint
from edgeseg.types import Slot
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import altered, assert_given_back, compiled, image, opened, run, wanted
from tests.tensorrt.scenario import REAL, check, least, masks_of
from tests.tensorrt.small_graphs import serialized
from tests.tensorrt.surface import VERSIONS

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

EACH_PACKAGE = [
    *((version, {"package": package}) for version in VERSIONS for package in ("pycuda", "cuda")),
    REAL,
]
REFUSING = [*((version, {"gpu": {"capture_result": 900}}) for version in VERSIONS), REAL]


@pytest.mark.parametrize("damage", [slice(None, -100), slice(None, 40)], ids=["tail", "most"])
def test_truncated_plan_is_refused_before_tensorrt_sees_it(
    trt: Installed, tmp_path: Path, damage: slice
) -> None:
    header, body = unpacked(compiled(trt, tmp_path, serialized("float")))

    with pytest.raises(EngineMismatch, match="was built with"):
        opened(trt, packed(header, body[damage]))

    assert_given_back(trt)


def test_plan_of_another_version_or_board_is_refused_with_what_differs(trt: Installed) -> None:
    here = trt.module.fingerprint()
    check_fingerprint(here, here, Path("engine"), "tensorrt")

    for key in ("version", "gpu", "compute_capability"):
        with pytest.raises(EngineMismatch, match=key) as refused:
            check_fingerprint({**here, key: "other"}, here, Path("engine"), "tensorrt")
        assert refused.value.fix == "edgeseg build engine --backend tensorrt"


def test_wrong_shape_is_refused_in_tensorrts_own_words(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path, serialized("cameras"), cameras=2)
    runner = opened(trt, altered(plan, cameras=5))

    with pytest.raises(DeviceError, match="shape"):
        runner.new_slot()

    runner.close()
    assert_given_back(trt)


def test_missing_address_is_refused_in_tensorrts_own_words(
    trt: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = trt.tensorrt.IExecutionContext
    whole = kind.set_tensor_address

    def forgetful(self: object, name: str, address: int) -> bool:
        return name == "labels" or bool(whole(self, name, address))

    monkeypatch.setattr(kind, "set_tensor_address", forgetful)
    runner = opened(trt, compiled(trt, tmp_path, serialized("float")))

    with pytest.raises(DeviceError, match="labels"):
        runner.new_slot()

    runner.close()
    assert_given_back(trt)


@pytest.mark.parametrize("captured", [True, False], ids=["graph", "enqueue"])
def test_frame_as_one_graph_and_one_by_one(
    trt: Installed, tmp_path: Path, *, captured: bool
) -> None:
    found = masks_of(trt, compiled(trt, tmp_path, serialized("float")), cuda_graph=captured)

    for seed, mask in enumerate(found):
        check(trt, mask, wanted(image(seed)))


@pytest.mark.parametrize("trt", REFUSING, indirect=True)
def test_refused_capture_falls_back(trt: Installed, tmp_path: Path) -> None:
    if trt.gpu is None:
        pytest.skip("a real driver cannot be told to refuse")
    for seed, mask in enumerate(masks_of(trt, compiled(trt, tmp_path, serialized("float")))):
        check(trt, mask, wanted(image(seed)))


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@pytest.mark.parametrize(
    "trt",
    [
        *(
            (version, {"package": package})
            for version in VERSIONS
            for package in ("pycuda", "cuda")
        ),
        REAL,
    ],
    indirect=True,
)
def test_kinds_of_memory_give_the_same_masks(trt: Installed, tmp_path: Path, memory: str) -> None:
    found = masks_of(trt, compiled(trt, tmp_path, serialized("float")), memory=memory)

    for seed, mask in enumerate(found):
        check(trt, mask, wanted(image(seed)))
    if trt.gpu is not None:
        assert len(trt.gpu.copies) == (4 if memory == "copy" else 0)


def test_worker_threads_and_the_context_of_each(trt: Installed, tmp_path: Path) -> None:
    runner = opened(trt, compiled(trt, tmp_path, serialized("float")), workers=3)
    slots = [runner.new_slot() for _ in range(3)]
    shares: list[float] = []

    def work(slot: Slot, seeds: range) -> None:
        pairs = ((run(runner, slot, image(seed)), wanted(image(seed))) for seed in seeds)
        shares.extend(float(np.mean(found == mask)) for found, mask in pairs)

    threads = [
        threading.Thread(target=work, args=(slot, range(index, 9, 3)))
        for index, slot in enumerate(slots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.close()

    assert len(shares) == 9
    assert min(shares) >= least(trt)
    assert_given_back(trt)
    if trt.gpu is not None:
        with pytest.raises(Exception, match=r"(?i)context"):
            trt.gpu.require_context()  # none is left pushed

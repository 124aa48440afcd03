"""Every network as its paper has it: at full width, at the paper's input, on CamVid frames."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.full_width import apart
from edgeseg.zoo import MODELS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.needs("openvino", "onnx", "onnxsim", "cv2", "PIL"),
]

EXPORT_S = 60
PEAK_MIB = 8 * 1024


@pytest.mark.parametrize("name", MODELS)
def test_network_exports_at_the_papers_input_and_agrees_on_camvid(name: str, shared: Path) -> None:
    found = apart(name, shared / "camvid")

    assert found["export_s"] + found["simplify_s"] < EXPORT_S
    assert found["peak_mib"] < PEAK_MIB
    assert found["agreement"] >= 99.99
    assert found["decided"] > 95

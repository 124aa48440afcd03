"""What the tests of commands on a board share."""

import onnxruntime
import pytest

from tests.small import FRAME

OLD, NEW, NEWEST = "8.6.1", "10.3.0", "11.4.0.106"
STREET = f"synthetic://?seconds=0.5&fps=10&size={FRAME}"
MARKS = [
    pytest.mark.needs("onnxruntime", "openvino", "onnx", "cv2", "av", "PIL"),
    pytest.mark.skipif(
        tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24),
        reason="this ONNX Runtime computes FP16 beside Q/DQ inexactly, and the stand-in with it: "
        "that plans keep their labels stays unverified",
    ),
]

"""How networks want their pixels: order, mean, std and scale, by the name of the convention."""

from typing import Any


def _caffe(*mean_bgr: float) -> dict[str, Any]:
    """Bytes in the order B, G, R, less the mean of the data set; no division."""
    return {"order": "bgr", "mean": mean_bgr, "std": (1.0, 1.0, 1.0), "scale": 1.0}


PIXELS: dict[str, dict[str, Any]] = {
    "imagenet": {
        "order": "rgb",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "scale": 1 / 255,
    },
    "unit": {"order": "rgb", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "scale": 1 / 255},
    "signed": {"order": "rgb", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "scale": 1 / 255},
    "bytes-bgr": _caffe(0.0, 0.0, 0.0),
    "caffe": _caffe(104.008, 116.669, 122.675),
    "caffe-fcn": _caffe(104.00699, 116.66877, 122.67892),
    "caffe-ccnet": _caffe(104.00698793, 116.66876762, 122.67891434),
    "dilation-voc": _caffe(102.93, 111.36, 116.52),
    "dilation-camvid": _caffe(110.70, 108.78, 105.41),
    "dilation-kitti": _caffe(96.19, 95.55, 91.35),
    "dilation-cityscapes": _caffe(72.39, 82.91, 73.16),
}
"""pixels = (bytes * scale - mean) / std, per channel in `order`."""

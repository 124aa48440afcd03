"""What a browser shows of the live page, for its tests."""

import base64
import io
from typing import Any

import numpy as np

from edgeseg.types import Pixels
from tests.video.page_feed import LABELS, until

NOTHING = "\N{EN DASH}"
"""What stands where there is no number."""


def shown(page: Any) -> Pixels:
    """The pixels of the picture's canvas."""
    from PIL import Image

    url = page.evaluate("document.getElementById('picture').toDataURL()")
    data = base64.b64decode(url.partition(",")[2])
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def colors(mask: Pixels) -> Pixels:
    return LABELS.palette()[mask]


def difference(a: Pixels, b: Pixels) -> float:
    """Mean, in levels of 255."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def wait_for_frames(page: Any, count: int) -> None:
    """Until the number of frames has changed as often."""
    for _ in range(count):
        text = page.inner_text("#frames")
        until(lambda text=text: page.inner_text("#frames") != text)


def drawn(page: Any, chart: str) -> int:
    """How many of its pixels are not empty."""
    return int(
        page.eval_on_selector(
            chart,
            """(chart) => {
              if (!chart.width || !chart.height) return 0;
              const context = chart.getContext("2d");
              const { data } = context.getImageData(0, 0, chart.width, chart.height);
              return data.filter((value, at) => at % 4 === 3 && value).length;
            }""",
        )
    )

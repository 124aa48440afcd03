"""Charts of bars, looked at through what the SVG says and the sizes that come out."""

import io
import re

import numpy as np
import pytest

pytestmark = pytest.mark.needs("matplotlib", "PIL")


def test_png_is_a_picture_that_grows_with_the_rows() -> None:
    from PIL import Image

    from edgeseg.charts.bars import draw_bars

    small, large = (Image.open(io.BytesIO(draw_bars(_chart(rows), "png"))) for rows in (2, 40))

    assert large.height > 2 * small.height
    assert np.asarray(small.convert("RGB")).std() > 5


def test_svg_says_every_label_title_and_unit() -> None:
    texts = _texts(_svg(3))

    assert {"layer 0", "layer 1", "layer 2", "Loss", "points", "% of the MACs"} <= set(texts)
    assert "what it costs" in " ".join(texts)


def test_long_label_keeps_both_ends() -> None:
    name = "encoder." + "block." * 30 + "conv2"

    (shown,) = (text for text in _texts(_svg(1, label=name)) if text.startswith("encoder."))

    assert shown.endswith("conv2")
    assert len(shown) < 60


def test_markup_in_a_label_is_no_formula() -> None:
    assert "$x_1$ <&>" in _texts(_svg(1, label="$x_1$ <&>"))


def test_missing_value_is_a_dash() -> None:
    assert any(text.strip() == "-" for text in _texts(_svg(2, missing=True)))
    assert not any(text.strip() == "-" for text in _texts(_svg(2)))


def test_same_chart_is_the_same_file() -> None:
    from edgeseg.charts.bars import draw_bars

    for kind in ("png", "svg"):
        assert draw_bars(_chart(3), kind) == draw_bars(_chart(3), kind)  # type: ignore[arg-type]


def test_no_rows_and_no_macs_are_drawn_as_well() -> None:
    assert _svg(0)
    assert _svg(1, share=0.0)


def _chart(
    rows: int, *, label: str = "layer {}", missing: bool = False, share: float = 5.0
) -> object:
    from edgeseg.charts.bars import BarChart, Panel

    values: list[float | None] = [float(index) - 0.5 for index in range(rows)]
    if missing:
        values[0] = None
    spans = [(value - 1, value + 1) if value is not None else None for value in values]
    return BarChart(
        title="what it costs",
        subtitle="in all",
        labels=[label.format(index) for index in range(rows)],
        shares=[share] * rows,
        share_title="% of the MACs",
        panels=[
            Panel(title="Loss", unit="points", values=values, intervals=spans),
            Panel(title="SQNR", unit="dB", values=values, origin=50.0, line=3.0, line_title="all"),
        ],
    )


def _svg(rows: int, **options: object) -> str:
    from edgeseg.charts.bars import draw_bars

    return draw_bars(_chart(rows, **options), "svg").decode()  # type: ignore[arg-type]


def _texts(svg: str) -> list[str]:
    from html import unescape

    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]

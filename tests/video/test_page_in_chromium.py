"""The live page in a real browser: what a viewer sees and clicks."""

import base64
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.frames import SourceCounts
from edgeseg.types import Pixels
from edgeseg.video import FrameView
from tests.small import FRAME, street
from tests.video.page_feed import LABELS, Feed, options, until, view

pytestmark = pytest.mark.needs("playwright", "starlette", "uvicorn", "websockets", "cv2", "PIL")

WAIT_MS = 15_000
ROAD = 3
"""In the synthetic street's classes."""

CHARTS = ("fps", "age", "drops", "stages")

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(chromium),
            args=["--no-sandbox", "--disable-gpu"],
            timeout=2 * WAIT_MS,
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def feed() -> Iterator[Feed]:
    """Two cameras with figures that move; the second one shows another street."""

    def make(index: int) -> FrameView:
        camera = index % 2
        picture, labels = street(3 + camera)
        return view(
            index // 2,
            camera=camera,
            pixels=picture,
            labels=labels,
            age_ms=40 + index % 7,
            fps=30.0,
            stages_ms={"decode": 2.0, "infer": 21.0},
            counts=SourceCounts(captured=2 * index, dropped=index),
        )

    made = Feed(
        "http://127.0.0.1:0?fps=10", options(title="a network", cameras=("front", "back")), make
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens a page in a fresh profile; what the browser complains about is in `complaints`."""
    with contextlib.ExitStack() as stack:

        def opened(url: str, *, width: int = 1100) -> Any:
            context = browser.new_context(viewport={"width": width, "height": 740})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.complaints = []
            page.on("console", lambda said: page.complaints.append(said.text))
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(url)
            return page

        yield opened


@pytest.fixture(scope="module")
def one_page(open_page: OpenPage, feed: Feed) -> Any:
    """The page with its first picture; opening one for each test would take most of the time."""
    opened = open_page(feed.url)
    opened.wait_for_selector("#waiting", state="hidden")
    return opened


@pytest.fixture
def page(one_page: Any) -> Any:
    """The page as it was when it was opened."""
    one_page.evaluate(
        """() => {
          const held = "#pause[aria-pressed=true], #classes [aria-pressed=false]";
          for (const button of document.querySelectorAll(held)) button.click();
          document.querySelector("input[value=overlay]").click();
        }"""
    )
    one_page.select_option("#camera", label="front")
    one_page.fill("#opacity", "50")
    _wait_for_frames(one_page, 2)
    return one_page


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


def test_a_click_changes_the_view(page: Any) -> None:
    picture, labels = street(3)

    overlay = shown(page)
    page.click("text=Mask")
    mask = shown(page)
    page.click("text=Side by side")
    pair = shown(page)
    page.get_by_text("Picture", exact=True).click()
    alone = shown(page)

    assert np.array_equal(mask, colors(labels))
    assert difference(alone, picture) < 8
    assert difference(overlay, (picture / 2 + colors(labels) / 2).astype(np.uint8)) < 6
    assert pair.shape[1] > 2 * FRAME.width
    assert np.array_equal(pair[:, -FRAME.width :], mask)
    assert difference(pair[:, : FRAME.width], picture) < 8
    assert page.complaints == []


def test_the_slider_sets_how_much_of_the_classes_is_seen(page: Any) -> None:
    picture, labels = street(3)

    page.fill("#opacity", "100")
    opaque = shown(page)
    page.fill("#opacity", "0")
    clear = shown(page)

    assert np.array_equal(opaque, colors(labels))
    assert difference(clear, picture) < 8
    assert page.inner_text("#opacity-value") == "0 %"


def test_a_class_that_is_clicked_is_hidden(page: Any) -> None:
    _, labels = street(3)
    page.click("text=Mask")

    page.get_by_role("button", name=f"class {ROAD} ").click()
    _wait_for_frames(page, 2)
    mask = shown(page)

    assert (labels == ROAD).any()
    assert (mask[labels == ROAD] == mask[labels == ROAD][0]).all()
    assert not np.array_equal(mask[labels == ROAD][0], colors(labels)[labels == ROAD][0])
    assert np.array_equal(mask[labels != ROAD], colors(labels)[labels != ROAD])


def test_the_numbers_move_and_the_charts_draw(page: Any) -> None:
    _wait_for_frames(page, 3)
    until(lambda: min(_drawn(page, f"#{name}-chart") for name in CHARTS) > 100)

    assert page.inner_text("#fps") == "30.0"
    assert 40 <= float(page.inner_text("#age")) <= 46
    assert page.inner_text("#drops-share") == "50.0 %"
    assert page.inner_text("#title") == "a network"
    assert "infer" in page.inner_text("#stages-legend")
    assert page.inner_text("#status") == "Live"


def test_the_legend_tells_the_share_of_each_class(page: Any) -> None:
    _, labels = street(3)
    counted = 100 * np.bincount(labels.ravel(), minlength=len(LABELS)) / labels.size

    texts = [row.inner_text().split() for row in page.query_selector_all("#classes li")]

    assert [" ".join(words[:2]) for words in texts] == list(LABELS.names)
    for words, share in zip(texts, counted, strict=True):
        assert float(words[2].lstrip("<")) == pytest.approx(share, abs=0.11)


def test_the_pointer_names_the_class_below_it(page: Any) -> None:
    _, labels = street(3)
    box = page.locator("#picture").bounding_box()
    scale = min(box["width"] / FRAME.width, box["height"] / FRAME.height)
    left = (box["width"] - FRAME.width * scale) / 2

    page.mouse.move(box["x"] + left + 60.5 * scale, box["y"] + 80.5 * scale)

    assert page.inner_text("#pointed") == LABELS.names[labels[80, 60]]


def test_another_camera_is_chosen_by_its_name(page: Any) -> None:
    _, labels = street(4)
    page.click("text=Mask")

    page.select_option("#camera", label="back")
    _wait_for_frames(page, 3)

    assert np.array_equal(shown(page), colors(labels))


def test_pause_holds_the_picture_and_the_keyboard_lets_it_go_on(page: Any) -> None:
    page.click("#pause")
    page.wait_for_timeout(300)
    held = page.inner_text("#frames")
    page.wait_for_timeout(300)

    assert page.inner_text("#frames") == held
    assert page.inner_text("#status") == "Paused"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    _wait_for_frames(page, 1)
    page.keyboard.press("2")
    assert page.is_checked("input[value=mask]")
    assert page.inner_text("#status") == "Live"


def test_a_server_that_comes_back_is_found_again(open_page: OpenPage) -> None:
    first = Feed("http://127.0.0.1:0", options())
    with contextlib.closing(open_page(first.url)) as page:
        with contextlib.closing(first):
            page.wait_for_selector("#status[data-state=live]")
        page.wait_for_selector("#status[data-state=lost]")
        told = page.inner_text("#banner")

        second = Feed(first.url.rstrip("/"), options(title="another network"))
        with contextlib.closing(second):
            page.wait_for_selector("#status[data-state=live]")
            title = page.inner_text("#title")

    assert "Trying again" in told
    assert title == "another network"


def test_the_token_is_asked_for_and_leaves_the_address(open_page: OpenPage) -> None:
    guarded = Feed("http://0.0.0.0:0?token=open-sesame", options())
    place = f"http://127.0.0.1:{guarded.place.rpartition(':')[2]}/"
    with contextlib.closing(guarded), contextlib.closing(open_page(place)) as page:
        page.fill("#token", "open-sesame")
        page.get_by_role("button").click()
        page.wait_for_selector("#status[data-state=live]")

        assert page.url == place
        page.reload()
        page.wait_for_selector("#status[data-state=live]")


def test_the_page_fits_a_phone(open_page: OpenPage, feed: Feed) -> None:
    with contextlib.closing(open_page(feed.url, width=360)) as phone:
        phone.wait_for_selector("#waiting", state="hidden")

        assert phone.evaluate("document.documentElement.scrollWidth") == 360


def _wait_for_frames(page: Any, count: int) -> None:
    """Until the number of frames has changed as often."""
    for _ in range(count):
        text = page.inner_text("#frames")
        until(lambda text=text: page.inner_text("#frames") != text)


def _drawn(page: Any, chart: str) -> int:
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

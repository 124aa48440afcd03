"""The live page in a real browser: what a viewer sees and clicks."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.frames import SourceCounts
from edgeseg.video import FrameView
from tests.small import FRAME, street
from tests.video.page_feed import LABELS, Feed, options, until, view
from tests.video.page_in_browser import (
    NOTHING,
    colors,
    difference,
    drawn,
    shown,
    wait_for_frames,
)

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
    wait_for_frames(one_page, 2)
    return one_page


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
    wait_for_frames(page, 2)
    mask = shown(page)

    assert (labels == ROAD).any()
    assert (mask[labels == ROAD] == mask[labels == ROAD][0]).all()
    assert not np.array_equal(mask[labels == ROAD][0], colors(labels)[labels == ROAD][0])
    assert np.array_equal(mask[labels != ROAD], colors(labels)[labels != ROAD])


def test_the_numbers_move_and_the_charts_draw(page: Any) -> None:
    wait_for_frames(page, 3)
    until(lambda: min(drawn(page, f"#{name}-chart") for name in CHARTS) > 100)

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
    wait_for_frames(page, 3)

    assert np.array_equal(shown(page), colors(labels))


def test_pause_holds_the_picture_and_the_keyboard_lets_it_go_on(page: Any) -> None:
    page.click("text=Mask")
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    held = page.inner_text("#frames")
    page.wait_for_timeout(300)

    assert page.inner_text("#frames") == held
    assert page.inner_text("#status") == "Paused"
    page.keyboard.press("Space")
    wait_for_frames(page, 1)
    page.keyboard.press("4")
    assert page.is_checked("input[value=picture]")
    assert page.inner_text("#status") == "Live"


def test_the_end_of_a_run_is_told_and_the_next_run_is_found(open_page: OpenPage) -> None:
    first = Feed("http://127.0.0.1:0", options())
    with contextlib.closing(open_page(first.url)) as page:
        with contextlib.closing(first):
            page.wait_for_selector("#status[data-state=live]")
        page.wait_for_selector("#status[data-state=lost]")
        told = page.inner_text("#status"), page.inner_text("#banner")

        second = Feed(first.url.rstrip("/"), options(title="another network"))
        with contextlib.closing(second):
            page.wait_for_selector("#status[data-state=live]")
            title, banner = page.inner_text("#title"), page.is_visible("#banner")
            page.click("#pause")
        page.wait_for_selector("#status[data-state=lost]")
        with contextlib.closing(Feed(first.url.rstrip("/"), options())):
            page.wait_for_selector("#status[data-state=paused]")

    assert told[0] == "The run is over"
    assert "next one" in told[1]
    assert (title, banner) == ("another network", False)


def test_a_server_that_dies_is_told_from_a_run_that_ended(open_page: OpenPage) -> None:
    mortal = Feed("http://127.0.0.1:0", options())
    with contextlib.closing(mortal), contextlib.closing(open_page("about:blank")) as page:
        page.route_web_socket("**/live", lambda viewer: viewer.close(code=4000))
        page.goto(mortal.url)
        page.wait_for_selector("#status[data-state=lost]")
        assert page.inner_text("#status") == "Connection lost"
        assert "Trying again" in page.inner_text("#banner")


def test_no_camera_is_shown_under_the_name_of_another(open_page: OpenPage) -> None:
    feed = Feed("http://127.0.0.1:0", options(cameras=("front", "silent")))
    with contextlib.closing(feed), contextlib.closing(open_page(feed.url)) as page:
        page.wait_for_selector("#waiting", state="hidden")
        page.click("#pause")
        page.select_option("#camera", label="silent")
        page.wait_for_selector("#waiting", state="visible")
        page.wait_for_selector("#status[data-state=quiet]")
        assert page.inner_text("#status") == "No frame yet"
        assert shown(page).max() == 0
        assert page.inner_text("#age") == NOTHING
        told = page.inner_text("#cameras tr[data-quiet]").split()
        assert told == ["silent", "0.0", NOTHING, NOTHING, "0"]
        page.select_option("#camera", label="front")
        page.wait_for_selector("#waiting", state="hidden")
        assert shown(page).max() > 0


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

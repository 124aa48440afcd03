"""Makes docs/page.png: the live page of a run on the synthetic street, as Chromium shows it."""

import argparse
import io
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from benchmarks.engines import int8_engine, workplace
from edgeseg.files import write_whole
from edgeseg.types import Size

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "page.png"
SIZE = Size(480, 640)
SOURCE = f"synthetic://?seed=2000042&size={SIZE}&fps=8"
"""Drawn by the same cores that run the network; the seed is of the test split."""
WINDOW = {"width": 1280, "height": 900}
COLORS = 256
START_S = 120


def main() -> None:
    """Write the picture."""
    options = _parser().parse_args()
    if options.engine is not None:
        picture = photographed(options.engine.resolve(), options.seconds)
    else:
        with workplace() as folder:
            picture = photographed(int8_engine(folder / "street", frame=SIZE), options.seconds)
    buffer = io.BytesIO()
    reduced = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLORS, kmeans=2)
    reduced.save(buffer, format="PNG", optimize=True)
    write_whole(options.out.resolve(), buffer.getvalue())
    print(f"{options.out}: {buffer.tell() // 1000} kB")


def photographed(engine: Path, seconds: float) -> bytes:
    """The page as a PNG, `seconds` after it was opened."""
    command = [sys.executable, "-m", "edgeseg", "run", engine, SOURCE, "http://127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        try:
            return screenshot(_address(run), seconds)
        finally:
            run.terminate()
            run.communicate(timeout=30)


def screenshot(url: str, seconds: float) -> bytes:
    """The page as a PNG."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=WINDOW, color_scheme="dark")
        page.goto(url)
        page.wait_for_selector("#waiting", state="hidden", timeout=1e3 * START_S)
        page.wait_for_timeout(1e3 * seconds)
        data: bytes = page.screenshot()
        browser.close()
    return data


def _address(run: "subprocess.Popen[str]") -> str:
    """What the run says on stderr when the page is there."""
    assert run.stderr is not None
    end = time.monotonic() + START_S
    for line in run.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return found[0]
        if time.monotonic() > end:
            break
    raise SystemExit("the run did not say where its page is")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--engine", type=Path, help="an INT8 engine folder; built here without one")
    made.add_argument("--seconds", type=float, default=64.0, help="fill the charts: they show 60")
    made.add_argument("--out", type=Path, default=PICTURE)
    return made


if __name__ == "__main__":
    main()

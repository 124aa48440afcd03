"""Viewers of the live page, in a process of their own: they read everything, and say how much.

    python -m benchmarks.live_viewers http://127.0.0.1:8080 10

They wait for the page, look until it goes, and print one line of JSON.
"""

import argparse
import asyncio
import contextlib
import json
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PATIENCE_S = 20.0
"""The longest that the page is waited for."""
RETRY_S = 0.05
LONGEST_S = 3600.0


@dataclass(kw_only=True)
class Looked:
    """What one viewer was shown."""

    frames: int = 0
    others: int = 0
    """Messages without a frame."""
    backwards: int = 0
    """Frames that are older than the one before."""
    bytes: int = 0
    seconds: float = 0.0
    """From the first frame to the last."""


def main() -> None:
    """Look, and print what was seen."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("url", help="of the page; what it says after a question mark is the sink's")
    made.add_argument("viewers", type=int)
    options = made.parse_args()
    seen = [Looked() for _ in range(options.viewers)]
    asyncio.run(all_of_them(options.url, seen))
    print(json.dumps([asdict(one) for one in seen]))


async def all_of_them(url: str, seen: list[Looked]) -> None:
    """One viewer for each of `seen`, which grows while they look."""
    live = f"ws://{urlsplit(url).netloc}/live"
    await asyncio.wait_for(asyncio.gather(*(look(live, one) for one in seen)), LONGEST_S)


async def look(url: str, found: Looked) -> None:
    """Open the page as soon as it is there, and take every message until it goes."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError, InvalidHandshake):
            async with connect(url, compression=None, max_size=None) as page:
                await _take_all(page, found)
            return
        await asyncio.sleep(RETRY_S)


async def _take_all(page: ClientConnection, found: Looked) -> None:
    last, first_s = -1, 0.0
    with contextlib.suppress(ConnectionClosed):
        async for message in page:
            assert isinstance(message, bytes)
            values = header(message)
            found.bytes += len(message)
            if values["kind"] == "frame":
                now_s = time.monotonic()
                first_s = first_s or now_s
                found.frames += 1
                found.seconds = now_s - first_s
                found.backwards += values["index"] <= last
                last = values["index"]
            else:
                found.others += 1
            await page.send("next")


def header(message: bytes) -> dict[str, Any]:
    """The JSON of a message: 4 bytes of length, the JSON, and pictures behind it."""
    (length,) = struct.unpack_from(">I", message)
    values: dict[str, Any] = json.loads(message[4 : 4 + length])
    pictures = len(message) - 4 - length
    assert pictures == values["jpeg"] + values["png"]
    return values


if __name__ == "__main__":
    main()

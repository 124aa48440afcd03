"""Who may see the live page, and at which addresses it is served."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from edgeseg.errors import OutputError, UsageError
from edgeseg.video import open_sink
from tests.video.page_feed import Feed, asked, live, options, received

pytestmark = pytest.mark.needs("starlette", "uvicorn", "websockets", "cv2", "av", "PIL")


@pytest.fixture(scope="module")
def feed() -> Iterator[Feed]:
    """A page for this machine, with frames coming."""
    made = Feed("http://127.0.0.1:0?fps=50", options(title="a network"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Feed]:
    """A page that other machines could reach."""
    made = Feed("http://0.0.0.0:0?token=open-sesame&fps=50", options())
    yield made
    made.close()


def test_a_page_for_others_asks_for_its_token(guarded: Feed) -> None:
    place = f"http://{guarded.place}"
    status, headers, body = asked(f"{place}/")

    assert guarded.url.endswith("/?token=open-sesame")
    assert status == 401
    assert b"edgeseg run" in body
    assert b"open-sesame" not in body
    assert headers["www-authenticate"].startswith("Bearer")
    for path in ("/stats.json", "/labels.png", "/stream.mjpg", "/page.js", "/?token=open-sesam"):
        assert asked(place + path)[0] == 401
    assert asked(f"{place}/stats.json", Authorization="Bearer open-sesame")[0] == 200


def test_the_token_of_the_address_becomes_a_cookie_that_scripts_cannot_read(guarded: Feed) -> None:
    place = f"http://{guarded.place}"
    status, headers, _ = asked(f"{place}/?token=open-sesame")
    cookie = headers["set-cookie"]

    assert status == 200
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert asked(f"{place}/stats.json", Cookie=cookie.partition(";")[0])[0] == 200


def test_the_live_messages_ask_for_the_token_too(guarded: Feed) -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused, live(guarded.place):
        pass
    with live(guarded.place, additional_headers={"Authorization": "Bearer open-sesame"}) as allowed:
        assert received(allowed).jpeg

    assert refused.value.response.status_code == 401


def test_a_token_is_made_where_none_is_given_and_the_address_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="edgeseg"):
        sinks: list[Any] = [open_sink("http://0.0.0.0:0", options()) for _ in range(2)]
    for sink in sinks:
        sink.close()
        assert sink.url in caplog.text
    tokens = {sink.url.partition("?token=")[2] for sink in sinks}

    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 20


def test_other_sites_are_refused(feed: Feed) -> None:
    from websockets.exceptions import InvalidStatus

    stats = f"http://{feed.place}/stats.json"

    assert asked(stats, Host="evil.example")[0] == 403
    assert asked(stats, Host=f"evil.example:{feed.place.partition(':')[2]}")[0] == 403
    assert asked(stats, Origin="http://evil.example")[0] == 403
    assert asked(stats, Origin=f"http://{feed.place}")[0] == 200
    assert asked(stats, Host="localhost:1234")[0] == 200  # as through a tunnel
    with pytest.raises(InvalidStatus), live(feed.place, origin="http://evil.example"):
        pass


def test_the_page_is_kept_within_itself(feed: Feed) -> None:
    _, headers, body = asked(f"http://{feed.place}/")

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http" not in body  # nothing comes from elsewhere
    for path in ("/static/", "/static/page.js", "/../address.py", "/nothing"):
        assert asked(f"http://{feed.place}{path}")[0] == 404


def test_a_port_in_use_is_said_before_the_run_starts(feed: Feed) -> None:
    port = feed.place.partition(":")[2]

    with pytest.raises(OutputError, match="in use") as refused:
        open_sink(f"http://127.0.0.1:{port}", options())

    assert port in refused.value.fix


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OutputError) as refused:
        open_sink("http://192.0.2.7:0", options())

    assert "127.0.0.1" in refused.value.fix


@pytest.mark.parametrize(
    "rest",
    [
        "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:8080/video", "user@127.0.0.1:8080",
        "127.0.0.1:0?fps=0", "127.0.0.1:0?fps=fast", "127.0.0.1:0?quality=101",
        "127.0.0.1:0?token=short", "127.0.0.1:0?token=has%20spaces%20", "127.0.0.1:0?colour=1",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_with_what_to_write(rest: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_sink(f"http://{rest}", options())

    assert refused.value.fix


@pytest.mark.parametrize("place", ["localhost:0", "[::1]:0", ":0"])
def test_names_of_this_machine_need_no_token(place: str) -> None:
    if place.startswith("[") and not _has_ipv6():
        pytest.skip("no IPv6 here")
    sink: Any = open_sink(f"http://{place}", options())

    with contextlib.closing(sink):
        assert "token" not in sink.url
        assert asked(f"{sink.url}stats.json")[0] == 200


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

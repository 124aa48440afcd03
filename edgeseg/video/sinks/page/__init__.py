"""A page with the live picture: http://127.0.0.1:8080 as a sink."""

from edgeseg.video.sinks.page.sink import PageSink, open_page

__all__ = ["PageSink", "open_page"]

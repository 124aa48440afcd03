"""What verbs have in common: JSON and tables on stdout, progress on stderr."""

import contextlib
import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from edgeseg.types import OnProgress

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the data set.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Use this many pictures.")]
Map = Annotated[
    Path | None, typer.Option("--map", help="MAP.toml: data classes from network classes.")
]


def print_json(value: Any) -> None:
    """`value`, a dataclass or a list of them, as one JSON document with `schema`."""
    plain = _plain(value)
    document = {"schema": 1, **plain} if isinstance(plain, dict) else {"schema": 1, "items": plain}
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        show_header=any(columns),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # not markup: cells hold brackets
    Console(soft_wrap=False).print(table)


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """A bar on stderr for each step that reports; quiet where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console, before = Console(stderr=True), sys.stderr
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bars, _logged_above(before):
        current: dict[str, Any] = {}

        def report(step: str, done: int, total: int | None) -> None:
            name = step.partition(" (")[0]
            if name not in current:
                for task in current.values():
                    bars.update(task, visible=False)
                current.clear()
                current[name] = bars.add_task(step, total=total)
            bars.update(current[name], completed=done, total=total, description=step)

        yield report


@contextlib.contextmanager
def _logged_above(before: TextIO) -> Iterator[None]:
    """Lets log lines go where bars are drawn over them no more: Rich has replaced `before`."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(before)


def points(value: float | None) -> str:
    """A number with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if hasattr(value, "model_dump"):  # a document
        return _plain(value.model_dump(mode="json", by_alias=True))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value

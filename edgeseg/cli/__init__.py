"""The command line: one small file a verb. Errors leave with their message and exit code."""

import functools
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from edgeseg.errors import EdgesegError

VERBS = (
    "models",
    "export",
    "build",
    "run",
    "bench",
    "eval",
    "inspect",
    "lint",
    "sensitivity",
    "diff",
    "ranges",
    "doctor",
    "demo",
    "train",
    "scales",
)
"""Each is the function `command` of the module VERB_verb in this folder."""

INTERRUPTED, TERMINATED, BUG = 130, 143, 1
UNSTOPPABLE = ("tensorrt-build", "worker-")
"""How the names of threads begin that may be in native code for long: a build, a launch."""


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that files are finished and folders removed."""


def main() -> None:
    """Run the command line; it ends the process with the exit code of its outcome."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        _app()()
    except SystemExit as ended:
        _leave_at_once(ended.code)
        raise


def _app() -> typer.Typer:
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        rich_markup_mode=None,  # its tables cut the names of options on a narrow terminal
    )
    app.callback()(_options)
    for verb in VERBS:
        module = importlib.import_module(f"edgeseg.cli.{verb}_verb")
        app.command(verb)(_guarded(module.command))
    return app


def _leave_at_once(code: object) -> None:
    """End the process here where a build of TensorRT, or a long launch, cannot be stopped.

    Python's own end would take memory away from the native code of that thread.
    """
    if any(thread.name.startswith(UNSTOPPABLE) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else BUG)


def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is done on the way.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda on: _version(on))
    ] = False,
) -> None:
    """Semantic segmentation networks as INT8 and FP16 engines for cameras."""
    del version
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("edgeseg").setLevel(logging.DEBUG if verbose else logging.INFO)


def _version(on: bool) -> None:
    if on:
        from edgeseg import __version__

        typer.echo(__version__)
        raise typer.Exit


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every way to fail turned into a message and an exit code."""

    @functools.wraps(command)
    def guarded(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except EdgesegError as error:
            raise _leaving(str(error), error.exit_code) from error
        except KeyboardInterrupt as error:
            raise _leaving("interrupted", INTERRUPTED) from error
        except _Terminated as error:
            raise _leaving("terminated", TERMINATED) from error
        except BrokenPipeError as error:  # whoever read our output has gone
            raise typer.Exit(0) from error
        except Exception as error:
            if error.__class__.__module__.partition(".")[0] in {"typer", "click"}:
                raise
            logging.getLogger(__name__).exception("this is a bug in edgeseg; please report it")
            raise typer.Exit(BUG) from error

    return guarded


def _terminated(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Terminated


def _leaving(message: str, code: int) -> typer.Exit:
    sys.stderr.write(f"edgeseg: {message}\n")
    return typer.Exit(code)

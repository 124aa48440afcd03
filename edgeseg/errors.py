"""Every error that edgeseg raises on purpose: what went wrong, what to do, and the exit code.

EdgesegError                    exit code
|- UsageError                   2    a contradiction or a name that does not exist
|- MissingPackage               3    an extra that is not installed
|- DeviceError                  4    a GPU, a driver or a board
|- BuildError                   5    a graph that a backend cannot compile
|  `- AccuracyGateFailed        5    a build that lost more accuracy than was allowed
|- EngineMismatch               6    an engine that does not fit this machine or this frame size
|- VideoError                   7    a source that cannot be opened or a sink that stops
|- InputFileError               8    an input file that is unreadable or does not fit
|  `- UnreadablePicture         8    one picture that cannot be decoded; data sets skip it
`- OutputError                  9    a target that cannot be written
"""


class EdgesegError(Exception):
    """A problem that the user can mend: `problem` says what is wrong and `fix` what to do."""

    exit_code = 1

    def __init__(self, problem: str, *, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class UsageError(EdgesegError, ValueError):
    """Options that contradict each other, or a name that does not exist."""

    exit_code = 2


class MissingPackage(EdgesegError, ImportError):
    """A package that this call needs is not installed; `fix` is the line that installs it."""

    exit_code = 3


class DeviceError(EdgesegError, RuntimeError):
    """A GPU, a driver or a board that is missing or refuses."""

    exit_code = 4


class BuildError(EdgesegError, RuntimeError):
    """A graph that cannot be quantised or compiled."""

    exit_code = 5


class AccuracyGateFailed(BuildError):
    """The built engine lost more than was allowed; nothing was published."""


class EngineMismatch(EdgesegError, RuntimeError):
    """An engine folder that was altered, or was built for another machine, version or size."""

    exit_code = 6


class VideoError(EdgesegError, OSError):
    """A video source that cannot be opened or read, or a sink that stopped taking frames."""

    exit_code = 7


class InputFileError(EdgesegError, ValueError):
    """An input file that is missing, unreadable or does not fit."""

    exit_code = 8


class UnreadablePicture(InputFileError):
    """A picture that cannot be decoded: named, skipped and counted among good ones."""


class OutputError(EdgesegError, OSError):
    """A target that cannot be written."""

    exit_code = 9

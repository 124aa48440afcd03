"""What the doctor says of one thing: whether it is well, what was seen, and the mend."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None: it could not be looked at, or is a matter of taste."""
    seen: str
    mend: str
    """What to do; empty where nothing is to be done."""


def fine(name: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(name=name, ok=True, seen=seen, mend="")


def wrong(name: str, seen: str, mend: str) -> Finding:
    """Something will not work, or not well."""
    return Finding(name=name, ok=False, seen=seen, mend=mend)


def open_question(name: str, seen: str, mend: str = "") -> Finding:
    """Something that may be meant so, or that nobody can say from here."""
    return Finding(name=name, ok=None, seen=seen, mend=mend)

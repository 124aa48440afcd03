"""URIs that can be shown and written down: without the password that they carry."""

import re
from urllib.parse import quote, unquote

HIDDEN = "***"

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>\S*)")
# Cameras take them in the query (?user=a&pwd=b), and some in the path (/user=a_password=b_ch=1).
_VALUE = re.compile(
    r"(?P<key>(?<![a-z])(?:pass(?:word|wd)?|pwd|psw|secret|token|auth|(?:(?:api|access)_?)?key)=)"
    r"[^&;/#\s]+?(?=_[a-z]+=|[&;/#\s]|$)",
    re.IGNORECASE,
)


def shown(uri: str) -> str:
    """`uri`, or a text with URIs in it, with `***` for passwords and other secrets."""
    text = _URI.sub(_without_password, uri)
    return _VALUE.sub(rf"\g<key>{HIDDEN}", text)


def split_credentials(authority: str) -> tuple[str, str, str]:
    """User, password and host with port of `user:password@host:port`, the former two unquoted."""
    account, at, host = authority.rpartition("@")
    user, _, password = account.partition(":")
    return (unquote(user), unquote(password), host) if at else ("", "", host)


def quoted_credentials(authority: str) -> str:
    """`authority` with what other readers of URIs would stumble upon written as %XX."""
    user, password, host = split_credentials(authority)
    if not user and not password:
        return host
    return f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"


def _without_password(matched: re.Match[str]) -> str:
    rest = matched["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    end = authority.rfind("@")
    port = authority.partition(":")[2]
    if end < 0 and port and not port.isdigit():
        end = rest.rfind("@")  # it is no port: a password with a / or # in it, which is a mistake
    user, colon, _ = rest[: max(0, end)].partition(":")
    return f"{matched['scheme']}{user}:{HIDDEN}{rest[end:]}" if colon else matched[0]

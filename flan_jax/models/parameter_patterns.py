"""Patterns that name parameters: regular expressions over the last part of a path, or over all of it."""

import re
from collections.abc import Iterable, Sequence

from flan_jax.errors import UserError, did_you_mean

Path = tuple[str, ...]


def matches(pattern: str, path: Path) -> bool:
    """Tells whether a pattern names the parameter.

    >>> path = ("encoder", "layers", "attention", "q")
    >>> matches("q|v", path), matches("encoder/.*", path), matches("encoder", path)
    (True, True, False)
    """
    return re.fullmatch(pattern, "/".join(path) if "/" in pattern else path[-1]) is not None


def matched(pattern: str, paths: Sequence[Path], option: str, what: str) -> set[Path]:
    """Returns the paths that a pattern matches.

    Args:
        pattern: one.
        paths: of the parameters.
        option: that holds the pattern, for the message.
        what: the paths are, for the message.

    Raises:
        UserError: there is none; names that are near are given.
    """
    found = {path for path in paths if matches(pattern, path)}
    if not found:
        known = sorted({"/".join(path) for path in paths} if "/" in pattern else {path[-1] for path in paths})
        hint = did_you_mean(pattern, known) or f" There are: {', '.join(known[:12])}{', …' * (len(known) > 12)}."
        whole = "" if "/" in pattern else " A pattern without '/' is compared with the last part of a path."
        raise UserError(f"{option}: {pattern!r} matches no {what} of this model.{hint}{whole}")
    return found


def check_patterns(patterns: Iterable[str], option: str) -> None:
    """Refuses texts that are no regular expressions.

    Raises:
        UserError: one is none.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(
                f"{option}: {pattern!r} is no regular expression ({error}). A '.*' stands for any text."
            ) from error

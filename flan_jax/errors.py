"""The one exception for mistakes in what a user gave us.

Standard library only; every layer may import it.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The user's input is wrong: one clear sentence, exit code 2 on the command line.

    The message says what was found, where, what the limit is and what to do.
    Any other exception that reaches the command line is our own fault (exit code 1).
    """


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Returns ``" Did you mean 'a' or 'b'?"``, or ``""`` when nothing is near.

    >>> did_you_mean("sentimnt", ["sentiment", "topic"])
    " Did you mean 'sentiment'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=limit, cutoff=0.6)
    if not near:  # a shared fragment helps where the edit distance is large
        near = [candidate for candidate in known if name and name.lower() in candidate.lower()][:limit]
    if not near:
        return ""
    return f" Did you mean {' or '.join(repr(candidate) for candidate in near)}?"


def unknown(kind: str, name: str, known: Iterable[str], *, remedy: str = "") -> UserError:
    """An unknown-name error that suggests neighbours and says where to look."""
    known = sorted(known)
    hint = did_you_mean(name, known)
    if not hint and known:
        shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        hint = f" Known: {shown}."
    return UserError(f"Unknown {kind} {name!r}.{hint}{' ' + remedy if remedy else ''}")

"""The one exception for mistakes in what a user gave us.

Standard library only; every layer may import it.
"""

import difflib
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """The user's input is wrong: one clear sentence, exit code 2 on the command line.

    The message says what was found, where, what the limit is and what to do.
    Any other exception that reaches the command line is our own fault (exit code 1).

    A message may quote a record, and a record may be of any size, so the middle of a long one is left out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_within(message))


_LONGEST = 2000
_BEGINNING, _END = 1200, 400


def _within(message: str) -> str:
    if len(message) <= _LONGEST:
        return message
    return f"{message[:_BEGINNING]} […] {message[-_END:]}"


class RecordError(UserError):
    """A record that cannot be read or rendered. In a stream of records it stands in the record's place."""


class PlacedError(RecordError):
    """A mistake in a record; where the record stands is looked up when somebody reads the message.

    To find a line again is to read its file up to there, and of a million bad records few are read about.

    Args:
        place: says where it stands; ``""`` where nobody knows.
        error: the mistake.
    """

    def __init__(self, place: Callable[[], str], error: UserError) -> None:
        super().__init__(str(error))
        self._place: Callable[[], str] | str = place

    def __str__(self) -> str:
        if not isinstance(self._place, str):
            self._place = self._place()
        return _within(f"{self._place}: {super().__str__()}" if self._place else super().__str__())

    def __reduce__(self) -> tuple[type[RecordError], tuple[str]]:
        # What finds the place may not travel to another process; the message does.
        return RecordError, (str(self),)


class UnknownNameError(UserError):
    """A name is in no registry of this process; another process may have it registered."""


_NAME = 100
"""Of a name so much is compared and shown: it may come from a record."""
_SHOWN = 12
"""Of the known names so many are shown: all prompt modes, not all tasks."""


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Returns ``" Did you mean 'a' or 'b'?"``, or ``""`` when nothing is near.

    >>> did_you_mean("sentimnt", ["sentiment", "topic"])
    " Did you mean 'sentiment'?"
    >>> did_you_mean("SNLI", ["cot_esnli", "snli"])
    " Did you mean 'snli'?"
    """
    known, name = list(known), name[:_NAME]
    spelt: dict[str, list[str]] = {}  # capitals and small letters are no difference between names
    for candidate in known:
        spelt.setdefault(candidate.lower(), []).append(candidate)
    same = spelt.get(name.lower(), [])
    near = same or difflib.get_close_matches(name.lower(), list(spelt), n=limit, cutoff=0.6)
    near = list(dict.fromkeys(candidate for spelling in near for candidate in spelt[spelling.lower()]))[:limit]
    if not near:  # a shared fragment helps where the edit distance is large
        near = [candidate for candidate in known if name and name.lower() in candidate.lower()][:limit]
    if not near:
        return ""
    return f" Did you mean {' or '.join(repr(candidate) for candidate in near)}?"


def unknown(kind: str, name: str, known: Iterable[str], *, remedy: str = "") -> UnknownNameError:
    """An unknown-name error that suggests neighbours and says where to look."""
    known = sorted(known)
    hint = did_you_mean(name, known)
    if not hint and known:
        shown = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
        hint = f" Known: {shown}."
    shown_name = name if len(name) <= _NAME else name[:_NAME] + "…"
    return UnknownNameError(f"Unknown {kind} {shown_name!r}.{hint}{' ' + remedy if remedy else ''}")

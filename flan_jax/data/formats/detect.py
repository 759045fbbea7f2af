"""Detects the format of records by their keys and the types of the values, never by a file's name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.data.formats import alpaca, messages, natural_instructions, oasst, rendered, self_instruct, sharegpt
from flan_jax.data.formats.nearest import nearest_format
from flan_jax.data.formats.record_format import Format
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.known_keys import pair_keys, refuse_pairs
from flan_jax.tasks.spec import Record

FORMATS: tuple[Format, ...] = (
    messages.MESSAGES,
    messages.PROMPT_COMPLETION_CHAT,
    rendered.PROMPT_COMPLETION,
    alpaca.ALPACA,
    alpaca.EVOL_INSTRUCT,
    alpaca.DOLLY,
    alpaca.DOLLY_RENAMED,
    sharegpt.SHAREGPT,
    sharegpt.BAIZE,
    sharegpt.LIMA,
    sharegpt.ULTRACHAT,
    oasst.OASST_TREE,
    oasst.OASST_THREAD,
    oasst.OASST_FLAT,
    self_instruct.SELF_INSTRUCT,
    self_instruct.UNNATURAL,
    natural_instructions.NATURAL_INSTRUCTIONS,
    natural_instructions.SUPER_NI,
    rendered.FLAN_DUMP,
    rendered.RECROSS,
    rendered.FLAN_COT,
)
"""Every format that is known."""

SAMPLE = 20
"""Records that a format is detected from."""
AUTO = "auto"
_SHOWN_KEYS = 12


def get_format(name: str) -> Format:
    """Returns the format of that name.

    Raises:
        UserError: there is none; the message suggests near ones.
    """
    found = next((known for known in FORMATS if known.name == name), None)
    if found is None:
        raise unknown("record format", name, [known.name for known in FORMATS] + [AUTO])
    return found


def detect_format(records: Sequence[Record], formats: Iterable[Format] = FORMATS) -> Format:
    """Detects the format that most of ``records`` have.

    A damaged record among them does no harm; a file of two formats is refused.

    Raises:
        UserError: they have no known format, or two; with the keys seen, and what the nearest lacks.
    """
    formats = tuple(formats)
    if not records:
        raise UserError(
            "there is no record to tell the format by. Give a file with records, or name the format with --format (run.format in a run, format= in Python)."
        )
    votes: Counter[str] = Counter()
    for record in records:
        fitting = [known for known in formats if known.detect(record)]
        general = {name for known in fitting for name in known.refines}
        votes.update(known.name for known in fitting if known.name not in general)
    by_name = {known.name: known for known in formats}
    # Some records of a more special format may lack what makes it special: the general one then has them all.
    for name in list(votes):
        for general_name in by_name[name].refines:
            if votes[general_name]:
                votes[general_name] += votes.pop(name)
    best = [name for name, count in votes.items() if 2 * count > len(records)]
    if len(best) == 1 and all(count <= len(records) // 4 for name, count in votes.items() if name != best[0]):
        return by_name[best[0]]
    if len(votes) > 1:
        shares = ", ".join(f"{name} {count}" for name, count in votes.most_common())
        raise UserError(
            f"the first {len(records)} records fit several formats ({shares}). Name one with --format (run.format in a run, format= in Python), or divide the file."
        )
    raise _unknown_format(records, formats)


def _unknown_format(records: Sequence[Record], formats: Sequence[Format]) -> UserError:
    """Makes the error of records of no known format, with the nearest one."""
    pairs = [record for record in records if pair_keys(record)]
    if 2 * len(pairs) > len(records):
        try:
            refuse_pairs(pairs[0])
        except UserError as error:
            return error
    if (wrapped := _wrapped(records, formats)) is not None:
        return wrapped
    seen = list(dict.fromkeys(str(key) for record in records for key in record))
    shown = ", ".join(key[:40] for key in seen[:_SHOWN_KEYS]) + (", …" if len(seen) > _SHOWN_KEYS else "")

    found = nearest_format(records, formats)
    if found is None:
        return UserError(
            f"no known format has records with the keys {shown or '(none)'}. "
            f"Known: {', '.join(known.name for known in formats)}."
        )
    known, difference = found
    return UserError(
        f"no known format has records with the keys {shown}. The nearest is {known.name} ({known.about}): this one {difference}."
    )


def _wrapped(records: Sequence[Record], formats: Sequence[Format]) -> UserError | None:
    """Makes the error of one object that records stand in, in a list at one of its keys or each at its own."""
    if len(records) != 1 or not records[0]:
        return None
    (record,) = records
    places = [(key, value) for key, value in record.items() if isinstance(value, list | tuple)]
    places += [("", list(record.values()))]
    for key, value in places:
        found = [one for one in value[:SAMPLE] if isinstance(one, Mapping)]
        if not found or len(found) < len(value[:SAMPLE]) or not any(known.detect(found[0]) for known in formats):
            continue
        where = f"in the list at {key!r}" if key else f"each at a key of its own ({next(iter(record))!r:.40}, …)"
        return UserError(f"it is one object, and its records stand {where}. Write them as a list, or one a line.")
    return None

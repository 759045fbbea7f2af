"""The result of an audit (``Audit``): shared data sets and records, with the sentences that refuse a run or qualify it."""

import dataclasses

TOO_SHORT = 3
"""A record of fewer words than these equals others by chance: ``yes``, ``2 + 3``."""
HELD_IN_TOLERANCE = 0.1
"""The share of a trained task's measured records that published data may repeat by chance, without a word from the user."""


@dataclasses.dataclass(frozen=True)
class SharedSource:
    """A data set from which a held-out task and a trained one are both made.

    Attributes:
        held_out: name of the held-out task.
        trained: name of the trained task.
        origin: the data set.
    """

    held_out: str
    trained: str
    origin: str


@dataclasses.dataclass(frozen=True)
class SharedRecords:
    """Held-out records whose text is in a trained task.

    Attributes:
        held_out: name of the held-out task.
        trained: name of the trained task.
        records: number of records of the held-out split that are there.
        of: number of records of the held-out split.
        place: where the first one is in the training data.
        text: the beginning of its text.
    """

    held_out: str
    trained: str
    records: int
    of: int
    place: str
    text: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        sources: data sets on both sides.
        records: records on both sides, for each pair of tasks.
        held_out_records: records of held-out tasks that were compared.
        trained_records: records of trained tasks that were compared.
        not_compared: tasks whose records cannot be read as text.
        contained: held-out records whose longest text is inside a longer one of a trained task. That is a notice and
            no violation unless it is asked for: a sentence that one record asks about may well be part of a passage
            about which another asks something else.
        held_in: measured records of tasks that are trained on, all of whose texts are those of a training record.
        held_in_records: records of such tasks that were compared.
        worlds: measured tasks whose records a function generates: it may have few questions, which every split asks.
            That is in ``held_in``, and neither a violation nor a notice.
        too_short: held-out records of so few words that they equal others by chance, which were not searched.
    """

    sources: tuple[SharedSource, ...]
    records: tuple[SharedRecords, ...]
    held_out_records: int
    trained_records: int
    not_compared: tuple[str, ...] = ()
    contained: tuple[SharedRecords, ...] = ()
    held_in: tuple[SharedRecords, ...] = ()
    held_in_records: int = 0
    too_short: int = 0
    worlds: tuple[str, ...] = ()

    @property
    def _published(self) -> list[SharedRecords]:
        """``held_in`` without generated tasks."""
        return [found for found in self.held_in if found.held_out not in self.worlds]

    def violation(self, tolerance: float = 0.0, *, contained: bool = False) -> str:
        """Says why a run must not be reported as measured on unseen records, in one sentence; ``""`` for no reason.

        Args:
            tolerance: the share of a held-out task's records that may be in the training data. Of a task that is
                trained on, ``HELD_IN_TOLERANCE`` may be there in any case.
            contained: a held-out record inside a longer text is a violation too.
        """
        if self.sources:
            first = self.sources[0]
            more = f" ({len(self.sources) - 1} more pairs)" if len(self.sources) > 1 else ""
            return (
                f"the held-out task {first.held_out!r} and the trained task {first.trained!r} are both made from "
                f"{first.origin!r}{more}"
            )
        over = [found for found in self.records if found.records > tolerance * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records of the held-out task {worst.held_out!r} are in the training data "
                f"of {worst.trained!r}, the first at {worst.place}: {worst.text!r}"
            )
        allowed = max(tolerance, HELD_IN_TOLERANCE)
        over = [found for found in self._published if found.records > allowed * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records that task {worst.held_out!r} is measured on are among those that "
                f"{worst.trained!r} is trained on (at most {allowed:.0%} may be), the first at {worst.place}: {worst.text!r}"
            )
        over = [found for found in self.contained if contained and found.records > tolerance * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records of the held-out task {worst.held_out!r} stand inside longer texts of "
                f"the training data of {worst.trained!r}, the first at {worst.place}: {worst.text!r}"
            )
        return ""

    def notices(self) -> list[str]:
        """Returns a sentence for each finding that is no violation and yet must be known beside a result."""
        lines = []
        for found, what in (
            (self.contained, "held-out records stand inside longer texts that are trained on"),
            (self._published, "measured records of tasks that are trained on are also training records"),
        ):
            if found:
                worst = max(found, key=lambda pair: pair.records / pair.of)
                lines.append(
                    f"{sum(pair.records for pair in found):,} {what}, in {len(found):,} pairs of tasks (the largest share: "
                    f"{worst.records:,} of {worst.of:,} of {worst.held_out!r} in {worst.trained!r})"
                )
        if self.too_short:
            lines.append(
                f"{self.too_short:,} held-out records have fewer than {TOO_SHORT} words, so that they are like others by chance: "
                "they were not looked for"
            )
        return lines

"""Options of what a run trains on and how much of it: parts of its mixture, their prompts, and their weights."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from flan_jax.errors import UserError, unknown
from flan_jax.option_groups import OptionGroup
from flan_jax.tasks.modes import PromptMode
from flan_jax.typed import Above0, Natural, Positive, Seed, Share, unread

Rates = Literal["own", "proportional", "equal"]


@dataclasses.dataclass(frozen=True)
class MixingConfig(OptionGroup):
    """Options by which a run trains on its mixture otherwise than the mixture declares.

    They act on training alone, in this order: ``keep``, ``leave_out``, ``modes``, ``inversion``, ``few_shot_share``,
    ``max_templates``, ``rates`` with ``cap`` and ``temperature``, ``weights``. What is measured stays, but for the
    tasks of suites that are not held out and whose training is left out altogether. A *part* is a task by its own
    name or by that of its prompt, a cluster, a nested mixture, or a collection.

    Attributes:
        weights: part → rate, in the unit that the mixture counts in; the parts take the place of all other rates. A part's
            rate is divided among its tasks in proportion to the mixture's own rates inside it. Every task that is trained
            on belongs to exactly one part; a part of rate 0 is left out. Empty for the mixture's own rates.
        keep: parts that are trained on, and nothing else; none for all.
        leave_out: parts that are not trained on. Unlike ``hold_out`` it measures nothing and drops nothing related.
        modes: prompt modes in which every task is trained, in equal parts, in the place of the mixture's; none for those.
        few_shot_share: share of the draws of each zero-shot prompt that come with solved examples instead; ``None`` for
            what the mixture declares.
        inversion: train on inverted templates and tasks. Where they go, the task's other prompts get their rate.
        max_templates: templates that each prompt of a task is drawn from, chosen by the seed and growing from one number
            to the next; 0 for all.
        rates: where the rates of tasks come from: the mixture's ``own``, ``proportional`` to their numbers of examples
            with ``cap`` and ``temperature``, or ``equal``. The prompts of a task share its rate as the mixture declares.
        cap: the largest size that counts, where rates are proportional to size; ``None`` for the mixture's.
        temperature: flattens such rates, 1 keeps proportions; ``None`` for the mixture's.
        template_seed: decides which template an example gets; ``None`` for the run's seed. Runs that differ in their
            seed only read the same prepared tasks where it is the same.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    few_shot_share: Share | None = None
    inversion: bool = True
    max_templates: Natural = 0
    rates: Rates = "own"
    cap: Positive | None = None
    temperature: Above0 | None = None
    template_seed: Seed | None = None

    def __post_init__(self) -> None:
        for name, value in (("keep", self.keep), ("leave_out", self.leave_out), ("modes", self.modes)):
            object.__setattr__(self, name, parse_names(value, f"run.{name}"))
        if isinstance(self.weights, Mapping):  # what is none is refused with the other fields
            check_weights(self.weights)
        super().__post_init__()
        for mode in self.modes:
            if mode not in set(PromptMode):
                raise unknown("prompt mode in run.modes", mode, list(map(str, PromptMode)))

    @property
    def prompt_modes(self) -> tuple[PromptMode, ...]:
        """``modes`` as such."""
        return tuple(map(PromptMode, self.modes))

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields a cap or a temperature beside equal rates, as ``OptionGroup.unread``."""
        sized = ("proportional", "own")
        yield from unread(self, "rates", {"cap": sized, "temperature": sized}, owner="run")


def check_weights(weights: Mapping[str, float], what: str = "run.weights") -> None:
    """Checks the rates of parts.

    Raises:
        UserError: a rate that is negative or no finite number, or none that is above 0.
    """
    for name, rate in weights.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or rate < 0:
            raise UserError(f"{what} gives {name!r} the rate {rate!r}, which must be a finite number of at least 0.")
    if weights and not any(weights.values()):
        raise UserError(f"{what} gives every part the rate 0, so nothing would be drawn. Give one a positive rate.")


def parse_names(given: str | Sequence[str], what: str = "HOLD_OUT") -> tuple[str, ...]:
    """Returns names from a sequence, or from one text with commas, as a command line has them.

    >>> parse_names("rte, cb"), parse_names(("rte",)), parse_names("")
    (('rte', 'cb'), ('rte',), ())
    """
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{what} is {given!r}, but names are texts. Write them with commas: 'one,another'.")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def parse_weights(given: str, what: str = "--weights") -> dict[str, float]:
    """Returns rates by part from one text, as a command line has them.

    >>> parse_weights("sentiment=2, topic=0.5")
    {'sentiment': 2.0, 'topic': 0.5}

    Raises:
        UserError: a piece that is no ``NAME=NUMBER``, or a part that is named twice.
    """
    found: dict[str, float] = {}
    for piece in parse_names(given, what):
        name, equals, rate = (text.strip() for text in piece.partition("="))
        try:
            value = float(rate)
        except ValueError:
            value = math.nan
        if not equals or not name or math.isnan(value):
            raise UserError(f"{what}: {piece!r} is no NAME=NUMBER. Write them with commas: 'one=2,another=0.5'.")
        if name in found:
            raise UserError(f"{what} names {name!r} twice. Give it one rate.")
        found[name] = value
    check_weights(found, what)
    return found

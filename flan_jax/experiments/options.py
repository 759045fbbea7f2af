"""The options of a run, in the groups of those who read them.

An option is one field of a group with its documentation, and a macro in one gin file. A group stands with those who read
it, ``TokenizeConfig`` in ``data``, ``MixingConfig`` in ``mixing``, ``FeedConfig`` in ``feed``, ``StepConfig`` and
``CheckpointConfig`` in ``train``; the others are here. gin knows the fields of an ``OptionGroup`` as parameters of ``run``
(``run.pack``), and so do manifests and checkpoints; those of the other groups by their class (``EvalConfig.period``).
"""

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, Literal

from flan_jax.data.instructions.reading_options import ReadingOptions
from flan_jax.data.prepare.config import TokenizeConfig
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.option_scores import OptionScore
from flan_jax.feed.config import FeedConfig
from flan_jax.mixing.asked_suites import asked_words
from flan_jax.mixing.config import MixingConfig, parse_names
from flan_jax.option_groups import FREE, OptionGroup
from flan_jax.tasks.chat.conversation import Opening
from flan_jax.tasks.repeats import Repeats
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.step_config import StepConfig
from flan_jax.typed import AnyPath, LocalPath, Natural, Positive, Rows, Share, check_fields, unread

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "EvalConfig",
    "FeedConfig",
    "MixingConfig",
    "StepConfig",
    "TokenizeConfig",
    "ValidationConfig",
    "expand_home",
    "parse_names",
]

_LABEL = re.compile(r"[\w-]*")
OnDataChange = Literal["refuse", "accept"]
OnVocabularyChange = Literal["refuse", "accept"]
OnContamination = Literal["refuse", "warn", "off"]


@dataclasses.dataclass(frozen=True)
class DataConfig(OptionGroup):
    """Options of the data that a run reads, and of where they lie.

    Attributes:
        vocabulary: a registered name or a file; ``""`` takes the mixture's own.
        store: folder of prepared tasks; ``""`` puts it beside the run's folder.
        use_cached_tasks: train on what ``flan-jax prepare`` put into the store and prepare nothing;
            a task that is missing or was prepared otherwise is an error.
        data_dir: folder that sources look below; ``""`` leaves it to the environment.
        source_dir: folder of local copies of published data sets; ``""`` leaves it to the environment.
        hold_out: clusters or tasks of the mixture that are not trained on and are measured instead.
        templates: a file of templates that take the place of the tasks' own; ``""`` for none.
        format: of a mixture that is a path: the format of its records; ``auto`` tells it by the first of them.
        clean: of such a mixture: cleaning steps beside the format's own.
        no_clean: of such a mixture: steps not to take, ``all`` for none.
        opening: of such a mixture: what becomes of an assistant's words before any user's: ``fail``, ``drop`` or ``keep``.
        audit: what a held-out record or data set among the training data does: ``refuse`` stops,
            ``warn`` says it, ``off`` does not look.
        audit_tolerance: the share of a held-out task's records that may be in the training data.
        on_data_change: what to do where the run's folder was trained on other tasks or weights than it
            would be now: ``refuse``, or ``accept`` the new ones and record the change in the manifest.
    """

    vocabulary: str = ""
    store: AnyPath = field(default="", metadata=FREE)
    use_cached_tasks: bool = field(default=False, metadata=FREE)
    data_dir: LocalPath = field(default="", metadata=FREE)
    source_dir: LocalPath = field(default="", metadata=FREE)
    hold_out: tuple[str, ...] = ()
    templates: LocalPath = ""
    format: str = "auto"
    clean: tuple[str, ...] = ()
    no_clean: tuple[str, ...] = ()
    opening: Opening = "fail"
    audit: OnContamination = field(default="refuse", metadata=FREE)
    audit_tolerance: Share = field(default=0.0, metadata=FREE)
    on_data_change: OnDataChange = field(default="refuse", metadata=FREE)

    def __post_init__(self) -> None:
        for name in ("hold_out", "clean", "no_clean"):
            what = "HOLD_OUT" if name == "hold_out" else f"run.{name}"
            object.__setattr__(self, name, parse_names(getattr(self, name), what))
        super().__post_init__()
        for name in ("store", "data_dir", "source_dir"):
            expand_home(self, name)
        _ = self.reading  # refuses what nobody knows

    @property
    def reading(self) -> ReadingOptions:
        """The options by which a mixture that is a path is read."""
        return ReadingOptions(self.format, self.clean, self.no_clean, self.opening)

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields a tolerance of an audit that does not look, as ``OptionGroup.unread``."""
        yield from unread(self, "audit", {"audit_tolerance": ("refuse", "warn")}, owner="run")


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Options of what is measured, and when.

    Attributes:
        suites: names of the mixture's suites; ``None`` for all of them, ``()`` for none.
        period: steps between evaluations; 0 evaluates at the end of the run only.
        before: evaluate step 0 too.
        batch_size: examples scored or decoded at a time.
        max_examples: examples a task, the first ones; 0 for all.
        tasks: patterns of names of tasks or clusters that are measured; none for all of the suites.
        shots: solved examples before each question, as many as fit; ``None`` for what the suites declare.
        templates: indices of the templates that are drawn from; none for what the suites declare.
        template_budget: templates that each example is asked under, balanced over the templates: 2 for quantiles of the
            score over templates at twice the cost of one; a number as large as a task's templates asks them all.
        option_orders: orders in which the options that a prompt lists are shown, the published one first, others drawn;
            the score is the mean over them, and their spread is in the results.
        label: stands behind the names of suites and tasks in results, so that a part of the examples replaces nothing.
        decoding: how texts are written; ``max_length`` ``None`` is the run's target length.
        overlap_ngram: words of the n-grams by which measured records are looked for in the training data; 0 does not look.
        overlap_share: a record overlaps where more than this share of its n-grams stand in the training data.
        option_score: what of the log-likelihoods of an example's options decides which one is the answer: their ``sum``, as
            in FLAN; ``per_token`` or ``per_character``, which do not favor short options; or ``unconditional``, less that
            of the option without the prompt. The accuracy by each of them is in the results.
        ema: measure the average of the trained weights (``run.ema_decay``) in their place.
    """

    suites: tuple[str, ...] | None = None
    period: Natural = 0
    before: bool = False
    batch_size: Rows = 64
    max_examples: Natural = 0
    tasks: tuple[str, ...] = ()
    shots: Natural | None = None
    templates: tuple[Natural, ...] = ()
    template_budget: Positive = 1
    option_orders: Positive = 1
    label: str = ""
    decoding: DecodingConfig = GREEDY
    overlap_ngram: Natural = 13
    overlap_share: Share = 0.0
    option_score: OptionScore = "sum"
    ema: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not _LABEL.fullmatch(self.label):
            raise UserError(
                f"EvalConfig.label={self.label!r} becomes a part of file names: it takes letters, digits, '_' and '-' only."
            )

    @property
    def repeats(self) -> Repeats:
        """The number of ways in which each example is asked."""
        return Repeats(self.template_budget, self.option_orders)

    @property
    def suite_suffix(self) -> str:
        """The part of suite names that says how their tasks are asked, and which: ``_5shot_limit20:entailment``."""
        asked = "".join(f"_{word}" for word in asked_words(self.shots, self.templates, self.repeats))
        return f"{asked}{self.label}{':' if self.tasks else ''}{','.join(self.tasks)}"

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields what is set though no suite is measured; ``decoding`` is read by ``flan-jax generate`` all the same."""
        for option in dataclasses.fields(self) if self.suites == () else ():
            value = getattr(self, option.name)
            if option.name not in ("suites", "decoding") and value != option.default:
                yield (
                    option.name,
                    f"EvalConfig.{option.name}={value!r} says how suites are measured, and EvalConfig.suites=() measures none. "
                    f"Name suites, or leave {option.name} out.",
                )


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """Options of the loss on examples that are not trained on, measured while a run trains.

    Attributes:
        period: steps between measurements; 0 for none.
        suite: the mixture's suite whose tasks are measured; ``""`` for the validation splits of what is trained on. A run
            that is chosen by a suite of clusters that it holds out must not be reported by the same one.
        batches: how many batches of the run's size the loss is taken over, the same ones each time.
        patience: so many measurements one after the other without a lower loss end the run; 0 for none.
        keep_best: the checkpoint of the lowest loss is kept, however many come after it.
    """

    period: Natural = 0
    suite: str = ""
    batches: Positive = 8
    patience: Natural = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        read = {"suite": self.suite, "patience": self.patience, "keep_best": self.keep_best}
        unread = next((name for name, value in read.items() if value), None)
        if not self.period and unread:
            raise UserError(
                f"ValidationConfig.{unread} is {read[unread]!r}, but nothing is measured, as period is 0. Set "
                f"ValidationConfig.period (VALIDATION_PERIOD), or leave {unread} out."
            )

    @property
    def chooses(self) -> bool:
        """True where something is decided by the loss."""
        return bool(self.patience or self.keep_best)


def expand_home(config: Any, name: str) -> None:
    """Writes out ``~`` in a field of a frozen configuration: no shell does so behind ``--gin.MODEL_DIR=``."""
    if getattr(config, name).startswith("~"):
        object.__setattr__(config, name, os.path.expanduser(getattr(config, name)))

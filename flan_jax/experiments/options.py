"""The options of a run, in the groups of those who read them.

An option is one field here with its documentation, and a macro in one gin file. gin knows the fields of an
``OptionGroup`` as parameters of ``run`` (``run.pack``), and so do manifests and checkpoints; those of the other groups
by their class (``EvalConfig.period``).
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, field
from typing import Annotated, Any, Literal, TypeVar

from flan_jax.data.instructions.reading_options import ReadingOptions
from flan_jax.data.prepare.config import OnError, TooLong, validate_lengths
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.feed.sampler import Exhausted
from flan_jax.tasks.chat.conversation import Opening
from flan_jax.typed import AnyPath, AtLeast0, LocalPath, Natural, Positive, Range, Share, check_fields, unread

OnDataChange = Literal["refuse", "accept"]
OnVocabularyChange = Literal["refuse", "accept"]
OnContamination = Literal["refuse", "warn", "off"]
Rows = Annotated[int, Range(1, 2**20)]
"""Of a batch: a million at most, as more are a slip that would take the memory of the machine."""
FREE = {"free": True}
"""Metadata of an option in which a run may differ from the one that began its folder: a place, a length of stay, what is
reported. Every other option decides the run's numbers, so that another value is another run."""
Group = TypeVar("Group", bound="OptionGroup")


def is_free(option: Field[Any]) -> bool:
    """Whether a field is declared ``FREE``."""
    return "free" in option.metadata


@dataclasses.dataclass(frozen=True)
class OptionGroup:
    """Base of the groups whose fields are parameters of gin's ``run``; checks each against its annotation."""

    def __post_init__(self) -> None:
        check_fields(self, "run")

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields fields that are set and that another one leaves without a reader, each with a sentence that says so."""
        yield from ()


def flat_fields(config: Any) -> Iterator[tuple[Field[Any], Any]]:
    """Yields the fields of a configuration with their values, those of its option groups in the place of the groups."""
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        if isinstance(value, OptionGroup):
            yield from flat_fields(value)
        else:
            yield option, value


def group_of(kind: type[Group], values: Mapping[str, Any]) -> Group:
    """Makes a group from those of ``values`` that are its fields."""
    names = [option.name for option in dataclasses.fields(kind)]
    return kind(**{name: values[name] for name in names if name in values})


@dataclasses.dataclass(frozen=True)
class DataConfig(OptionGroup):
    """Which data a run reads, and where they lie.

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
        """How a mixture that is a path is read."""
        return ReadingOptions(self.format, self.clean, self.no_clean, self.opening)

    def unread(self) -> Iterator[tuple[str, str]]:
        """As ``OptionGroup.unread``: a tolerance of an audit that does not look."""
        yield from unread(self, "audit", {"audit_tolerance": ("refuse", "warn")}, owner="run")


@dataclasses.dataclass(frozen=True)
class TokenizeConfig(OptionGroup):
    """How records become the tokens of examples.

    Attributes:
        lengths: ``{"inputs": S, "targets": T}`` in tokens, EOS included.
        on_error: what a record that cannot be read or rendered does to preparing: ``fail``, or ``skip`` it.
        too_long: what an example longer than ``lengths`` does: ``truncate`` it, ``drop`` it, or ``fail``.
        separator: a text behind inputs, in the place of the end-of-sequence token; ``""`` for that token. See
            ``flan_jax.data.prepare.config.PrepareConfig``.
        chat_template: templated tasks are trained and measured inside a chat template, the input as a user's turn and the
            target as the assistant's reply: ``True`` for that of the tokenizer's folder, or a name, a folder or a file;
            of a decoder.
    """

    lengths: Mapping[str, int]
    on_error: OnError = "fail"
    too_long: TooLong = "truncate"
    separator: str = ""
    chat_template: bool | str = False

    def __post_init__(self) -> None:
        validate_lengths(self.lengths)
        super().__post_init__()


@dataclasses.dataclass(frozen=True)
class FeedConfig(OptionGroup):
    """How examples become batches.

    Attributes:
        batch_size: rows of the global batch; packed rows where ``pack`` is true.
        curriculum_steps: how many of the steps, the first ones, draw from the mixture's curriculum.
        pack: several examples a row; ``False`` puts each into a row of its own.
        exhausted: what becomes of a task that was gone through ``max_epochs`` times: ``repeat`` shuffles
            it anew and goes on, ``drop`` gives its share to the others, ``stop`` ends the run.
        max_epochs: for ``drop`` and ``stop``.
        data_workers: processes that make batches; 0 makes them in a thread, which is enough as a rule.
    """

    batch_size: Rows
    curriculum_steps: Natural = 0
    pack: bool = True
    exhausted: Exhausted = "repeat"
    max_epochs: Positive = 1
    data_workers: Natural = field(default=0, metadata=FREE)

    def unread(self) -> Iterator[tuple[str, str]]:
        """As ``OptionGroup.unread``: epochs of tasks that repeat for ever."""
        yield from unread(self, "exhausted", {"max_epochs": ("drop", "stop")}, owner="run")


@dataclasses.dataclass(frozen=True)
class StepConfig(OptionGroup):
    """What a training step does beside the model and the optimizer.

    Attributes:
        z_loss: weight of the squared log-normaliser.
        microbatches: parts that each batch is computed in, one after the other, which takes less memory: gradients are
            added up, so but for dropout, which draws anew in each part, the step is that of the whole batch.
    """

    z_loss: AtLeast0 = 0.0
    microbatches: Positive = 1


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept.

    Attributes:
        period: steps between checkpoints; the last step is always saved.
        keep: how many of the newest stay.
        keep_period: checkpoints at multiples of this stay for good; 0 for none.
    """

    period: Positive = 1000
    keep: Positive = 3
    keep_period: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """What is measured, and when.

    Attributes:
        suites: names of the mixture's suites; ``None`` for all of them, ``()`` for none.
        period: steps between evaluations; 0 evaluates at the end of the run only.
        before: evaluate step 0 too.
        batch_size: examples scored or decoded at a time.
        max_examples: examples a task, the first ones; 0 for all.
        decoding: how texts are written; ``max_length`` ``None`` is the run's target length.
    """

    suites: tuple[str, ...] | None = None
    period: Natural = 0
    before: bool = False
    batch_size: Rows = 64
    max_examples: Natural = 0
    decoding: DecodingConfig = GREEDY

    def __post_init__(self) -> None:
        check_fields(self)

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


def expand_home(config: Any, name: str) -> None:
    """Writes out ``~`` in a field of a frozen configuration: no shell does so behind ``--gin.MODEL_DIR=``."""
    if getattr(config, name).startswith("~"):
        object.__setattr__(config, name, os.path.expanduser(getattr(config, name)))


def parse_names(given: str | Sequence[str], what: str = "HOLD_OUT") -> tuple[str, ...]:
    """Returns names from a sequence, or from one text with commas, as a command line has them.

    >>> parse_names("rte, cb"), parse_names(("rte",)), parse_names("")
    (('rte', 'cb'), ('rte',), ())
    """
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{what} is {given!r}, but names are texts. Write them with commas: 'one,another'.")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))

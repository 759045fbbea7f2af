"""What one run is, as plain frozen data: everything that decides its numbers, and where they go."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from flan_jax.data.instructions.reading_options import ReadingOptions
from flan_jax.data.prepare.config import OnError, TooLong, validate_lengths
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.experiments.renamed import by_new_names
from flan_jax.feed.sampler import Exhausted
from flan_jax.models.build import ModelConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.tasks.chat.conversation import Opening
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig
from flan_jax.typed import AnyPath, AtLeast0, LocalPath, Natural, Positive, Range, Seed, Share, check_fields, unread

# Where a run may differ from the one that began its folder: places, lengths of stay and what is
# reported. Everything else decides the numbers, so a difference there is another run.
_FREE_FIELDS = frozenset(
    {
        "model_dir",
        "store",
        "use_cached_tasks",
        "data_dir",
        "source_dir",
        "audit",
        "audit_tolerance",
        "data_workers",
        "on_data_change",
        "on_vocabulary_change",
        "steps",
        "log_period",
        "checkpoint",
        "eval",
        "mesh",
    }
)
OnDataChange = Literal["refuse", "accept"]
OnVocabularyChange = Literal["refuse", "accept"]
OnContamination = Literal["refuse", "warn", "off"]
Rows = Annotated[int, Range(1, 2**20)]
"""Of a batch: a million at most, as more are a slip that would take the memory of the machine."""


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


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run.

    Attributes:
        model_dir: the run's folder.
        mixture: name of a mixture or a task.
        lengths: ``{"inputs": S, "targets": T}`` in tokens, EOS included.
        model: kind and sizes of the network; ``vocab_size`` covers the vocabulary. A decoder's rows hold inputs and
            targets as one sequence, of as many tokens as ``lengths`` give both.
        steps: optimiser steps of this run. A schedule that falls and does not say where it ends falls over these, so that
            with other steps it is another run.
        batch_size: rows of the global batch; packed rows where ``pack`` is true.
        curriculum_steps: how many of the steps, the first ones, draw from the mixture's curriculum.
        vocabulary: a registered name or a file; ``""`` takes the mixture's own.
        initial_checkpoint: where the weights start: another run's folder or a Hugging Face
            folder; ``""`` starts from the initialiser.
        initial_adapter: a folder of PEFT, whose adapters are added to the initial weights before anything begins;
            a prompt in it may be measured, and not trained on.
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
        on_error: what a record that cannot be read or rendered does to preparing: ``fail``, or ``skip`` it.
        too_long: what an example longer than ``lengths`` does: ``truncate`` it, ``drop`` it, or ``fail``.
        separator: a text behind inputs, in the place of the end-of-sequence token; ``""`` for that token. See
            ``flan_jax.data.prepare.config.PrepareConfig``.
        chat_template: templated tasks are trained and measured inside a chat template, the input as a user's turn and the
            target as the assistant's reply: ``True`` for that of the tokenizer's folder, or a name, a folder or a file;
            of a decoder.
        pack: several examples a row; ``False`` puts each into a row of its own.
        exhausted: what becomes of a task that was gone through ``max_epochs`` times: ``repeat`` shuffles
            it anew and goes on, ``drop`` gives its share to the others, ``stop`` ends the run.
        max_epochs: for ``drop`` and ``stop``.
        data_workers: processes that make batches; 0 makes them in a thread, which is enough as a rule.
        on_data_change: what to do where the run's folder was trained on other tasks or weights than it
            would be now: ``refuse``, or ``accept`` the new ones and record the change in the manifest.
        on_vocabulary_change: what to do where ``initial_checkpoint`` was trained with another tokenizer: ``refuse``, or
            ``accept`` that its embeddings stand for other pieces of text.
        seed: decides the initialisation, the templates drawn, the order of data and dropout.
        z_loss: weight of the squared log-normaliser.
        log_period: steps between lines of ``metrics.jsonl``.
        tuning: which part of the model is trained; by default all of it. The rest comes from ``initial_checkpoint``
            whenever the run is continued or measured.
    """

    model_dir: LocalPath
    mixture: str
    lengths: Mapping[str, int]
    model: ModelConfig
    optimizer: OptimizerConfig
    steps: Natural
    batch_size: Rows
    curriculum_steps: Natural = 0
    vocabulary: str = ""
    initial_checkpoint: LocalPath = ""
    initial_adapter: LocalPath = ""
    store: AnyPath = ""
    use_cached_tasks: bool = False
    data_dir: LocalPath = ""
    source_dir: LocalPath = ""
    hold_out: tuple[str, ...] = ()
    templates: LocalPath = ""
    format: str = "auto"
    clean: tuple[str, ...] = ()
    no_clean: tuple[str, ...] = ()
    opening: Opening = "fail"
    audit: OnContamination = "refuse"
    audit_tolerance: Share = 0.0
    on_error: OnError = "fail"
    too_long: TooLong = "truncate"
    separator: str = ""
    chat_template: bool | str = False
    pack: bool = True
    exhausted: Exhausted = "repeat"
    max_epochs: Positive = 1
    data_workers: Natural = 0
    on_data_change: OnDataChange = "refuse"
    on_vocabulary_change: OnVocabularyChange = "refuse"
    seed: Seed = 0
    z_loss: AtLeast0 = 0.0
    log_period: Positive = 100
    tuning: TuningConfig = dataclasses.field(default_factory=TuningConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        for name in ("hold_out", "clean", "no_clean"):
            object.__setattr__(
                self, name, names_of(getattr(self, name), "HOLD_OUT" if name == "hold_out" else f"run.{name}")
            )
        validate_lengths(self.lengths)
        check_fields(self, "run")
        for field in ("model_dir", "store", "data_dir", "source_dir"):
            if getattr(self, field).startswith("~"):  # no shell expands what stands behind `--gin.MODEL_DIR=`
                object.__setattr__(self, field, os.path.expanduser(getattr(self, field)))
        object.__setattr__(self, "optimizer", self.optimizer.over(self.steps))
        for field in ("model_dir", "mixture"):
            if not getattr(self, field).strip():
                raise UserError(f"run.{field} is {getattr(self, field)!r}; it must be a text that is not empty.")
        _ = self.reading  # refuses what nobody knows
        if self.eval.period % self.log_period:  # evaluation is a hook of logged steps
            raise UserError(f"EVAL_PERIOD={self.eval.period} must be a multiple of LOG_PERIOD={self.log_period}, or 0.")
        if self.initial_adapter and not self.initial_checkpoint:
            raise UserError(
                f"INITIAL_ADAPTER {self.initial_adapter!r} was trained on top of a model. Name that model too: "
                "INITIAL_CHECKPOINT_PATH."
            )
        if self.chat_template and not self.model.decoder_only:
            raise UserError(
                f"run.chat_template is {self.chat_template!r}, but the model is an encoder–decoder, which reads an input and "
                "writes a target and knows no turns. Set it to False, or train a decoder."
            )
        if self.tuning.prompt_tokens and self.pack:
            raise UserError(
                f"TuningConfig.prompt_tokens={self.tuning.prompt_tokens} puts vectors in front of each example, so every "
                "example needs a row of its own. Set run.pack=False."
            )

    def unread(self) -> Iterator[tuple[str, str]]:
        """Fields that are set and that another one leaves without a reader, each with a sentence that says so."""
        yield from unread(self, "exhausted", {"max_epochs": ("drop", "stop")}, owner="run")
        yield from unread(self, "audit", {"audit_tolerance": ("refuse", "warn")}, owner="run")

    @property
    def reading(self) -> ReadingOptions:
        """How a mixture that is a path is read."""
        return ReadingOptions(self.format, self.clean, self.no_clean, self.opening)

    def resolved(self) -> dict[str, Any]:
        """Every value, as JSON would hold it."""
        return _plain(dataclasses.asdict(self))

    def identity(self) -> dict[str, Any]:
        """The values that decide the run's numbers."""
        identity = {name: value for name, value in self.resolved().items() if name not in _FREE_FIELDS}
        if not self.tuning.partial:  # as runs from before there was a choice have it
            del identity["tuning"]
        return identity


def names_of(given: str | Sequence[str], what: str = "HOLD_OUT") -> tuple[str, ...]:
    """Names in a sequence, or in one text with commas, as a command line has them.

    >>> names_of("rte, cb"), names_of(("rte",)), names_of("")
    (('rte', 'cb'), ('rte',), ())
    """
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{what} is {given!r}, but names are texts. Write them with commas: 'one,another'.")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines ``name: theirs → ours`` for every value that differs, nested mappings walked through.

    >>> difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c: 3 → 2']
    """
    lines: list[str] = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            lines += difference(mine, other, f"{prefix}{name}.")
        elif mine != other:
            lines.append(f"{prefix}{name}: {other!r} → {mine!r}")
    return lines


def with_defaults(found: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """The values that a run was recorded with, and for those that nobody recorded then their defaults.

    A run that began before a choice existed made it as the default does.

    Args:
        found: from a manifest.
        config: a configuration as it is now, whose fields say the defaults.
    """
    full = by_new_names(found, type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in full:
            if dataclasses.is_dataclass(value) and isinstance(full[field.name], Mapping):
                full[field.name] = with_defaults(full[field.name], value)
        elif field.default is not dataclasses.MISSING:
            full[field.name] = _plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            full[field.name] = _plain(field.default_factory())
    return full


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value

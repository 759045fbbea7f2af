"""A run as plain frozen data (``RunConfig``): everything that decides its numbers, and where they go."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import Field, field
from typing import Any, get_type_hints

from flan_jax.errors import UserError
from flan_jax.experiments.options import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    FeedConfig,
    MixingConfig,
    OnVocabularyChange,
    StepConfig,
    TokenizeConfig,
    ValidationConfig,
    expand_home,
)
from flan_jax.mixing.online.method import WeightingMethod
from flan_jax.models.build import ModelConfig
from flan_jax.models.parameter_patterns import check_patterns
from flan_jax.models.peft.config import TuningConfig
from flan_jax.option_groups import FREE, OptionGroup, flat_fields, group_of, is_free
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.reporting.trackers import TrackerName
from flan_jax.train.sharding import MeshConfig
from flan_jax.typed import AnyPath, LocalPath, Natural, Positive, Seed, check_fields


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run.

    Attributes:
        model_dir: the run's folder; the staging folder of a run whose MODEL_DIR is an address.
        mixture: name of a mixture or a task.
        model: kind and sizes of the network; ``vocab_size`` covers the vocabulary. A decoder's rows hold inputs and
            targets as one sequence, of as many tokens as ``tokenize.lengths`` give both.
        optimizer: of the trained parameters.
        steps: optimiser steps of this run. A schedule that falls and does not say where it ends falls over these, so that
            with other steps it is another run.
        tokenize: how records become the tokens of examples.
        feed: how examples become batches.
        data: which data are read, and where they lie.
        mixing: what of the mixture is trained on, in which prompts, and how much of it.
        step: what a training step does beside the model and the optimizer.
        initial_checkpoint: where the weights start: another run's folder or address, or a Hugging Face
            folder; ``""`` starts from the initialiser.
        initial_adapter: a folder of PEFT, whose adapters are added to the initial weights before anything begins;
            a prompt in it may be measured, and not trained on.
        initial_parameters: patterns of the parameters that are taken from ``initial_checkpoint``, as ``TuningConfig`` has
            them; the others begin as the seed draws them, and the checkpoint's may have other shapes or be missing. ``()``
            takes all, of the same model.
        on_vocabulary_change: what to do where ``initial_checkpoint`` was trained with another tokenizer: ``refuse``, or
            ``accept`` that its embeddings stand for other pieces of text.
        seed: decides the initialisation, the templates drawn, the order of data and dropout.
        log_period: steps between lines of ``metrics.jsonl``.
        tuning: which part of the model is trained; by default all of it. The rest comes from ``initial_checkpoint``
            whenever the run is continued or measured.
        weighting: the method that learns the mixture's weights while the run trains; ``None`` for none.
        mesh: how the devices are laid out.
        checkpoint: when checkpoints are written and which are kept.
        evaluation: what is measured, and when.
        trackers: what is told of every logged step beside the run's own files: ``wandb``, ``trackio``.
        profile_steps: the first and the last step of which JAX's profiler writes a trace into ``MODEL_DIR/profile``.
        validation: the loss on examples that are not trained on, in the loop, and what is decided by it.
    """

    model_dir: LocalPath = field(metadata=FREE)
    mixture: str
    model: ModelConfig
    optimizer: OptimizerConfig
    steps: Natural = field(metadata=FREE)
    tokenize: TokenizeConfig
    feed: FeedConfig
    data: DataConfig = field(default_factory=DataConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    initial_checkpoint: AnyPath = ""
    initial_adapter: LocalPath = ""
    initial_parameters: tuple[str, ...] = ()
    on_vocabulary_change: OnVocabularyChange = field(default="refuse", metadata=FREE)
    step: StepConfig = field(default_factory=StepConfig)
    seed: Seed = 0
    log_period: Positive = field(default=100, metadata=FREE)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    weighting: WeightingMethod | None = None
    mesh: MeshConfig = field(default_factory=MeshConfig, metadata=FREE)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig, metadata=FREE)
    evaluation: EvalConfig = field(default_factory=EvalConfig, metadata=FREE)
    validation: ValidationConfig = field(default_factory=ValidationConfig, metadata=FREE)
    trackers: tuple[TrackerName, ...] = field(default=(), metadata=FREE)
    profile_steps: tuple[Positive, ...] = field(default=(), metadata=FREE)

    @classmethod
    def from_options(cls, **options: Any) -> "RunConfig":
        """Makes a run from options by the names that gin and manifests have for them: ``pack``, not ``feed.pack``.

        Raises:
            TypeError: there is no such option.
        """
        groups: dict[str, Any] = {name: group_of(kind, options) for name, kind in _groups().items()}
        inner = {option.name for group in groups.values() for option in dataclasses.fields(group)}
        return cls(**groups, **{name: value for name, value in options.items() if name not in inner})

    def with_options(self, **options: Any) -> "RunConfig":
        """Returns the run with other values of some options, named as in ``from_options``."""
        return self.from_options(**{**{option.name: value for option, value in flat_fields(self)}, **options})

    def __post_init__(self) -> None:
        check_fields(self, "run")
        expand_home(self, "model_dir")
        object.__setattr__(self, "optimizer", self.optimizer.over(self.steps))
        for name in ("model_dir", "mixture"):
            if not getattr(self, name).strip():
                raise UserError(f"run.{name} is {getattr(self, name)!r}; it must be a text that is not empty.")
        if self.evaluation.period % self.log_period:  # evaluation is a hook of logged steps
            raise UserError(
                f"EVAL_PERIOD={self.evaluation.period} must be a multiple of LOG_PERIOD={self.log_period}, or 0."
            )
        if self.profile_steps and (len(self.profile_steps) != 2 or self.profile_steps[0] > self.profile_steps[1]):
            raise UserError(
                f"run.profile_steps is {self.profile_steps!r}; it must be the first and the last step to trace, such as (10, 12), or ()."
            )
        if self.validation.period % self.log_period:
            raise UserError(
                f"ValidationConfig.period is {self.validation.period} (VALIDATION_PERIOD); it must be a multiple of "
                f"LOG_PERIOD={self.log_period}, or 0."
            )
        if self.validation.keep_best and self.validation.period % self.checkpoint.period:
            raise UserError(
                f"ValidationConfig.keep_best keeps a checkpoint that is measured, and of those every {self.validation.period:,} steps "
                f"(VALIDATION_PERIOD) some are not saved: make it a multiple of CHECKPOINT_PERIOD={self.checkpoint.period:,}."
            )
        if self.evaluation.ema and not self.step.ema_decay:
            raise UserError(
                "EvalConfig.ema=True measures an average of the trained weights, and the run keeps none: run.ema_decay is 0. "
                "Set run.ema_decay, such as 0.999, or leave EvalConfig.ema out."
            )
        if self.initial_adapter and not self.initial_checkpoint:
            raise UserError(
                f"INITIAL_ADAPTER {self.initial_adapter!r} was trained on top of a model. Name that model too: "
                "INITIAL_CHECKPOINT_PATH."
            )
        check_patterns(self.initial_parameters, "run.initial_parameters")
        if self.initial_parameters and (self.initial_adapter or not self.initial_checkpoint):
            why = (
                f"INITIAL_ADAPTER {self.initial_adapter!r} was trained on top of a whole model"
                if self.initial_adapter
                else "INITIAL_CHECKPOINT_PATH names no weights to take them from"
            )
            remedy = (
                "Leave one of the two out."
                if self.initial_adapter
                else "Name a folder, or leave INITIAL_PARAMETERS out."
            )
            raise UserError(f"INITIAL_PARAMETERS is {self.initial_parameters!r}, but {why}. {remedy}")
        if self.feed.stages and self.weighting is not None:
            raise UserError(
                f"run.stages says the weights of every step, and run.weighting=@{type(self.weighting).__name__}() learns them. "
                "Leave one of the two out."
            )
        if self.tokenize.chat_template and not self.model.decoder_only:
            raise UserError(
                f"run.chat_template is {self.tokenize.chat_template!r}, but the model is an encoder–decoder, which reads an "
                "input and writes a target and knows no turns. Set it to False, or train a decoder."
            )
        if self.tuning.prompt_tokens and self.feed.pack:
            raise UserError(
                f"TuningConfig.prompt_tokens={self.tuning.prompt_tokens} puts vectors in front of each example, so every "
                "example needs a row of its own. Set run.pack=False."
            )

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields options that are set and that another one leaves without a reader, each with a sentence that says so."""
        for name in _groups():
            yield from getattr(self, name).unread()

    def resolved(self) -> dict[str, Any]:
        """Returns every value, as JSON would hold it, by the names of ``from_options``."""
        return {option.name: plain(value) for option, value in flat_fields(self)}

    def identity(self) -> dict[str, Any]:
        """Returns the values that decide the run's numbers."""
        identity = {option.name: plain(value) for option, value in flat_fields(self) if not is_free(option)}
        if not self.tuning.partial:  # as runs from before there was a choice have it
            del identity["tuning"]
        if not self.initial_parameters:
            del identity["initial_parameters"]
        return identity


def _groups() -> dict[str, type[OptionGroup]]:
    """Field → class of the option groups of a run."""
    found = get_type_hints(RunConfig)
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, OptionGroup)}


def run_options() -> Iterator[tuple[Field[Any], Any]]:
    """Yields the options of a run, each field with its annotation, by the names of ``RunConfig.from_options``."""
    groups = _groups()
    owners: list[Any] = [RunConfig, *groups.values()]
    for owner in owners:
        annotations = get_type_hints(owner, include_extras=True)
        for option in dataclasses.fields(owner):
            if owner is not RunConfig or option.name not in groups:
                yield option, annotations[option.name]


def plain(value: Any) -> Any:
    """Returns a value as JSON would hold it."""
    if isinstance(value, WeightingMethod):
        return plain(value.settings())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value

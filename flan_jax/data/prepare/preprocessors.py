"""Task preprocessors: the examples of a split, as the token store takes them, from a task and a ``PrepareConfig``.

``prepare`` and the Beam pipeline know no kind of task; they ask ``make_preprocessor(task, config)``. A kind of task
of one's own has a method ``preprocessor(config)`` (``PreparedTask``).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from flan_jax.data.prepare.config import PrepareConfig, RecordCounts
from flan_jax.data.prepare.fingerprints import callable_digest, value_text
from flan_jax.data.prepare.source_notes import source_notes
from flan_jax.data.prepare.tokenize import tokenize
from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.protocol import keeps_newlines
from flan_jax.errors import RecordError, UserError
from flan_jax.store.store import Extra, StoredExample
from flan_jax.tasks.render import render_stream
from flan_jax.tasks.rendering.fewshot import TRAIN_SPLIT
from flan_jax.tasks.spec import ORDER, Prompted, Rendered, Rendering, Template, VerbatimTemplate
from flan_jax.tasks.style import FLAN_2021
from flan_jax.tasks.task import Task, as_prompted

__all__ = ["PrepareConfig", "PromptedPreprocessor", "RecordCounts", "TaskPreprocessor", "make_preprocessor"]


class TaskPreprocessor(Protocol):
    """Renders and tokenizes one task with one ``PrepareConfig``."""

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Digests, hexadecimal by name, of everything that the tokens of ``split`` depend on."""

    def examples(self, split: str, counts: RecordCounts) -> Iterator[StoredExample]:
        """Yields the examples in a fixed order, and adds to ``counts`` what became of the records."""

    def manifest(self, split: str) -> dict[str, Any]:
        """Returns what the examples were made from as JSON values, ``vocabulary_size`` among them."""

    def extras(self, split: str) -> Mapping[str, Extra]:
        """Returns the columns that the examples carry beside tokens, by name."""


@runtime_checkable
class PreparedTask(Protocol):
    """A task that says how it is prepared, as every kind but ``Prompted`` must."""

    def preprocessor(self, config: PrepareConfig) -> TaskPreprocessor:
        """Returns what prepares the task."""


def make_preprocessor(task: Task, config: PrepareConfig) -> TaskPreprocessor:
    """Returns the preprocessor of a task of any kind.

    Raises:
        UserError: a kind of task without a method ``preprocessor``.
    """
    if isinstance(task, PreparedTask):
        return task.preprocessor(config)
    own = as_prompted(task)
    if own is not None:
        return PromptedPreprocessor(own, config)
    raise UserError(
        f"Task {task.name!r} is a {type(task).__name__}, which has no method preprocessor(config), so it cannot be "
        "prepared. Subclass flan_jax.tasks.task.BaseTask and write one (a function producer_of(task, recipe) of its module "
        "is not read any more), or use Prompted."
    )


@dataclasses.dataclass(frozen=True)
class PromptedPreprocessor:
    """Renders a ``Prompted`` task and tokenizes it, without TensorFlow."""

    task: Prompted
    config: PrepareConfig

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Digests source, fields, templates, options, mode, seed and the configuration."""
        spec = self.task.spec
        return {
            "source": spec.source.fingerprint(split),
            "fields": callable_digest(spec.fields),
            "templates": digest(*map(_template_text, self.task.templates)),
            "template_ids": digest(self.task.template_ids),
            "options": digest(spec.options, spec.answer),
            "mode": digest(self.task.mode),
            # Templates are drawn from (seed, name, index).
            "seed": digest(self.config.seed, spec.name),
            **self._prompt_parts(split),
            **self.config.parts(),
        }

    def _prompt_parts(self, split: str) -> dict[str, str]:
        """Digests what only some prompts depend on, and the extras."""
        task, parts = self.task, {}
        if task.mode.shows_options and task.style.options != FLAN_2021.options:
            parts["style"] = digest(value_text(task.style.options))
        if task.mode.few_shot:
            parts["few_shot"] = digest(value_text(task.few_shot), value_text(task.style.exemplars))
            parts["exemplars"] = task.spec.source.fingerprint(TRAIN_SPLIT)
        if not task.mode.instructs:
            parts["title"] = digest(task.spec.title or task.spec.name)
        if not task.repeats.once:
            parts["repeats"] = digest(value_text(task.repeats))
        for name, function in task.spec.extras.items():
            parts[name] = callable_digest(function)
        return parts

    def examples(self, split: str, counts: RecordCounts) -> Iterator[StoredExample]:
        """Yields rendered records in the source's order, tokenized."""
        where = f"task {self.task.name!r}, split {split!r}"
        return tokenize(self._rendered(split, counts), self.config, counts, where=where)

    def _rendered(self, split: str, counts: RecordCounts) -> Iterator[Rendered]:
        """Yields the examples; counts what is none, or raises it, as ``on_error`` says."""
        stream = render_stream(
            self.task,
            split,
            seed=self.config.seed,
            newlines=keeps_newlines(self.config.vocabulary),
            length=self._length,
            max_length=self.config.tokenize.lengths["inputs"],
        )
        for made in stream:
            if made is None:
                counts.count_filtered()
            elif not isinstance(made, RecordError):
                yield made
            elif self.config.tokenize.on_error == "skip":
                counts.skip(made)
            else:
                raise made

    def _length(self, text: str) -> int:
        """Counts the tokens of an input with what stands around it: the end of sequence, or the turns of a chat template."""
        overhead = 1 if self.config.chat is None else self.config.chat.overhead
        return len(self.config.vocabulary.encode(text)) + overhead

    def manifest(self, split: str) -> dict[str, Any]:
        """Returns cluster, source, mode and the configuration as JSON values."""
        return {
            "cluster": self.task.cluster,
            "source": self.task.spec.source.describe(),
            "mode": str(self.task.mode),
            "seed": self.config.seed,
            "lengths": dict(self.config.tokenize.lengths),
            **({"template": self.config.chat_template.name} if self.config.chat_template else {}),
            "vocabulary": self.config.vocabulary.name,
            "vocabulary_size": self.config.vocabulary.size,
            "on_error": self.config.tokenize.on_error,
            "too_long": self.config.tokenize.too_long,
            **source_notes(self.task.spec.source, split),
        }

    def extras(self, split: str) -> Mapping[str, Extra]:
        """Returns the texts that the task keeps beside the tokens, as columns by name."""
        orders = [ORDER] if self.task.repeats.option_orders > 1 else []
        return {name: Extra("string") for name in (*self.task.spec.extras, *orders)}


def _template_text(template: Template | Rendering) -> object:
    if not isinstance(template, Template) or isinstance(template, VerbatimTemplate):
        return repr(template)
    return (template.inputs, template.targets, template.inverted)

"""Producers: from a task and a recipe to the examples of a split, as the token store takes them.

``prepare`` and the Beam pipeline know no kind of task; they ask ``producer(task, recipe)``. A kind
of task of one's own brings its producer along: a function ``producer_of(task, recipe)`` in the
module that defines its class.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from flan_jax.data.prepare.config import PrepareConfig, RecordCounts
from flan_jax.data.prepare.fingerprints import callable_digest, value_text
from flan_jax.data.prepare.source_notes import notes_of
from flan_jax.data.prepare.tokenize import tokenize
from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.vocabulary import keeps_newlines
from flan_jax.errors import UserError
from flan_jax.store.store import Extra, StoredExample
from flan_jax.tasks.fewshot import TRAIN_SPLIT
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, Rendering, Task, Template, VerbatimTemplate
from flan_jax.tasks.style import FLAN_2021

__all__ = ["PrepareConfig", "PromptedPreprocessor", "RecordCounts", "TaskPreprocessor", "producer"]


class TaskPreprocessor(Protocol):
    """Makes the examples of one task by one recipe."""

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Name → digest of everything that the tokens of ``split`` depend on."""

    def examples(self, split: str, tally: RecordCounts) -> Iterator[StoredExample]:
        """Yields the examples in a fixed order and counts into ``tally`` what became of the records."""

    def manifest(self, split: str) -> dict[str, Any]:
        """JSON values that say what the examples were made from, ``vocabulary_size`` among them."""

    def extras(self, split: str) -> Mapping[str, Extra]:
        """The further columns that the examples carry: by name."""


def producer(task: Task, recipe: PrepareConfig) -> TaskPreprocessor:
    """The producer of a task of any kind.

    Raises:
        UserError: a kind of task that says nothing of how it is prepared.
    """
    if isinstance(task, Prompted):
        return PromptedPreprocessor(task, recipe)
    for kind in type(task).__mro__:
        make = getattr(sys.modules.get(kind.__module__), "producer_of", None)
        if make is not None:
            return make(task, recipe)
    raise UserError(
        f"Task {task.name!r} is a {type(task).__name__}, and its module {type(task).__module__!r} has no function "
        "producer_of(task, recipe), so it cannot be prepared. Write one, or use Prompted."
    )


@dataclasses.dataclass(frozen=True)
class PromptedPreprocessor:
    """Renders a task of ours and tokenises it; no TensorFlow."""

    task: Prompted
    recipe: PrepareConfig

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Source, fields, templates, options, mode, seed and the recipe's own parts."""
        spec = self.task.spec
        return {
            "source": spec.source.fingerprint(split),
            "fields": callable_digest(spec.fields),
            "templates": digest(*map(_template_text, self.task.templates)),
            "template_ids": digest(self.task.template_ids),
            "options": digest(spec.options, spec.answer),
            "mode": digest(self.task.mode),
            # Templates are drawn from (seed, name, index).
            "seed": digest(self.recipe.seed, spec.name),
            **self._prompt_parts(split),
            **self.recipe.parts(),
        }

    def _prompt_parts(self, split: str) -> dict[str, str]:
        """What only some prompts, and what is kept beside them, depend on."""
        task, parts = self.task, {}
        if task.mode.shows_options and task.style.options != FLAN_2021.options:
            parts["style"] = digest(value_text(task.style.options))
        if task.mode.few_shot:
            parts["few_shot"] = digest(value_text(task.few_shot), value_text(task.style.exemplars))
            parts["exemplars"] = task.spec.source.fingerprint(TRAIN_SPLIT)
        if not task.mode.instructs:
            parts["title"] = digest(task.spec.title or task.spec.name)
        for name, function in task.spec.extras.items():
            parts[name] = callable_digest(function)
        return parts

    def examples(self, split: str, tally: RecordCounts) -> Iterator[StoredExample]:
        """Rendered records in the source's order, tokenised."""
        unreadable = tally.skip if self.recipe.on_error == "skip" else None
        rendered = render_split(
            self.task,
            split,
            seed=self.recipe.seed,
            newlines=keeps_newlines(self.recipe.vocabulary),
            length=self._length,
            max_length=self.recipe.lengths["inputs"],
            unreadable=unreadable,
            left_out=tally.leave_out,
        )
        return tokenize(rendered, self.recipe, tally, where=f"task {self.task.name!r}, split {split!r}")

    def _length(self, text: str) -> int:
        """Tokens of an input, with what stands around it: the end of sequence, or the turns of a chat template."""
        around = 1 if self.recipe.chat is None else self.recipe.chat.around
        return len(self.recipe.vocabulary.encode(text)) + around

    def manifest(self, split: str) -> dict[str, Any]:
        """Cluster, source, mode and the recipe."""
        return {
            "cluster": self.task.cluster,
            "source": self.task.spec.source.describe(),
            "mode": str(self.task.mode),
            "seed": self.recipe.seed,
            "lengths": dict(self.recipe.lengths),
            **({"template": self.recipe.chat_template.name} if self.recipe.chat_template else {}),
            "vocabulary": self.recipe.vocabulary.name,
            "vocabulary_size": self.recipe.vocabulary.size,
            "on_error": self.recipe.on_error,
            "too_long": self.recipe.too_long,
            **notes_of(self.task.spec.source, split),
        }

    def extras(self, split: str) -> Mapping[str, Extra]:
        """The texts that the task keeps beside the tokens."""
        return {name: Extra("string") for name in self.task.spec.extras}


def _template_text(template: Template | Rendering) -> object:
    if not isinstance(template, Template) or isinstance(template, VerbatimTemplate):
        return repr(template)
    return (template.inputs, template.targets, template.inverted)

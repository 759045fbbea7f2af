"""Translation from English, and the templates that every pair of languages shares.

As in FLAN, a task translates out of English; two inverted templates translate back, in training only.
"""

import functools
from typing import Any

from flan_jax.data.sources.published import PublishedSource
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Record, TaskSpec, Template

LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
}

TEMPLATES = (
    Template("{source}\n\nTranslate this from {source_language} into {target_language}."),
    Template("{source_language} text: {source}\n\nThe same in {target_language}:"),
    Template("How do you say the following in {target_language}? {source}"),
    Template("Give the {target_language} translation of this {source_language} text: {source}"),
    Template(
        "You are interpreting for a visitor who understands only {target_language}. "
        "Someone says: {source}\n\nWhat do you tell the visitor?"
    ),
    Template("Please put the passage below into {target_language}. Keep its meaning and its tone.\n\n{source}"),
    Template(
        "The original, in {source_language}, reads: {source}\n\nA faithful rendering in {target_language} would read:"
    ),
    Template("{source}\n\nIn {target_language}, that is:"),
    Template("What does this mean in {source_language}? {answer}", "{source}", inverted=True),
    Template(
        "Below is a {target_language} translation of something that was written in {source_language}. "
        "Work out the original.\n\n{answer}",
        "{source}",
        inverted=True,
    ),
)


def sentence_pair(record: Record, language: str, english: tuple[str, ...], other: tuple[str, ...]) -> dict[str, Any]:
    """The slots of ``TEMPLATES``: English in the first of the columns ``english``, ``language`` in the first of ``other``."""
    return {
        "source": text(record, *english),
        "source_language": "English",
        "target_language": language,
        "answer": text(record, *other),
    }


def translation(
    name: str,
    title: str,
    code: str,
    source: PublishedSource,
    *,
    english: tuple[str, ...] = ("translation.en", "en"),
    other: tuple[str, ...] = (),
    collection: str = "flan2021",
) -> TaskSpec:
    """The task of translating English into the language with this two-letter code, measured by BLEU.

    Args:
        name: the task's name.
        title: what people call the data set.
        code: a key of ``LANGUAGES``.
        source: where the pairs come from.
        english: the columns that the English text may stand in.
        other: the columns of its translation; by default those of the WMT data sets.
        collection: as for ``TaskSpec``.
    """
    columns = other or (f"translation.{code}", code)
    return TaskSpec(
        name=name,
        cluster="translation",
        collection=collection,
        title=title,
        source=source,
        fields=functools.partial(sentence_pair, language=LANGUAGES[code], english=english, other=columns),
        slots=("source", "source_language", "target_language", "answer"),
        metric="bleu",
        other_metrics=("bleu_intl", "chrf"),
        predict="generate",
        templates=TEMPLATES,
    )

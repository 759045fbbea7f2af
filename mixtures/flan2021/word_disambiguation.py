"""Word disambiguation: whether a word means the same in two sentences."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_MEANINGS = ("different meanings", "the same meaning")


def _word_in_context(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _MEANINGS)
    if answer is None:
        return None
    return {**{name: text(record, name) for name in ("word", "sentence1", "sentence2")}, "answer": answer}


WIC = register_flan(
    TaskSpec(
        name="wic",
        cluster="word_disambiguation",
        collection="flan2021",
        title="WiC",
        source=published(
            "aps/super_glue",
            "wic",
            revision="refs/convert/parquet",
            tfds="super_glue/wic:1.0.2",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 5_428, "validation": 638, "test": 1_400},
            folders=("wic",),
        ),
        fields=_word_in_context,
        slots=("word", "sentence1", "sentence2", "answer"),
        options=_MEANINGS,
        # The word is given as a dictionary lists it; a sentence may have another form of it.
        templates=(
            Template(
                'Does "{word}" have the same meaning or different meanings in these two sentences?\n\n'
                "1. {sentence1}\n2. {sentence2}\n\n{options}"
            ),
            Template(
                '{sentence1}\n\nCompare the use of "{word}" there with its use here: {sentence2}\n\n'
                "The two uses have\n\n{options}"
            ),
            Template(
                'A dictionary lists several senses of "{word}". Judge whether the examples below belong under one of '
                "them (the same meaning) or under two (different meanings).\n\n"
                "Example A: {sentence1}\n\nExample B: {sentence2}\n\n{options}"
            ),
            Template(
                '{options}\n\nSay whether the word "{word}" carries the same meaning or different meanings in '
                "two quotes.\n\nQuote one: {sentence1}\n\nQuote two: {sentence2}"
            ),
            Template(
                "Word: {word}\nFirst use: {sentence1}\nSecond use: {sentence2}\nThe same meaning or different meanings?"
            ),
            Template(
                "I am translating these sentences and wonder if one and the same foreign word will do for "
                '"{word}" in both of them.\n\nFirst: {sentence1}\n\nSecond: {sentence2}\n\n'
                "Tell me whether it is used with the same meaning or with different meanings.\n\n{options}"
            ),
            Template(
                'Think of what "{word}" means when someone says: {sentence1} Then think of what it means when someone '
                "says: {sentence2} Did you think of the same meaning, or of different meanings?"
            ),
            Template(
                'Vocabulary quiz. The statements "{sentence1}" and "{sentence2}" use the word "{word}" with\n\n'
                "{options}"
            ),
            Template(
                'Line one: {sentence1}\nLine two: {sentence2}\nIn these lines, the word "{word}" has\n\n{options}'
            ),
            Template(
                'Settle an argument about "{word}" for us. My sister says that it stands for one thing in '
                '"{sentence1}" and for another in "{sentence2}" I say that it stands for the same thing in both. '
                "Which is it, different meanings or the same meaning?\n\n{options}"
            ),
        ),
    )
)

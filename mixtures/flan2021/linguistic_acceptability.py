"""Linguistic acceptability: whether a string of words is a sentence that speakers of English would accept."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_VERDICTS = ("unacceptable", "acceptable")


def _verdict(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _VERDICTS)
    return None if answer is None else {"sentence": text(record, "sentence", "text"), "answer": answer}


COLA = register_flan(
    TaskSpec(
        name="cola",
        cluster="linguistic_acceptability",
        collection="flan2021",
        title="CoLA",
        source=published(
            "nyu-mll/glue",
            "cola",
            tfds="glue/cola:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 8_551, "validation": 1_043, "test": 1_063},
            folders=("cola",),
        ),
        fields=_verdict,
        slots=("sentence", "answer"),
        options=_VERDICTS,
        # FLAN scores it by accuracy; Matthews' coefficient is GLUE's own.
        other_metrics=("mcc:acceptable",),
        templates=(
            Template(
                "Sentence: {sentence}\n\nWould a native speaker find this acceptable or unacceptable?\n\n{options}"
            ),
            Template("{sentence}\n\nAs a sentence of English, the line above is\n\n{options}"),
            Template(
                "Linguists judge whether a string of words is well formed. Give your judgment of this one.\n\n"
                "{options}\n\nThe string: {sentence}"
            ),
            Template(
                'Is the grammar of "{sentence}" in order? Say "acceptable" if it is and "unacceptable" if it is not.'
            ),
            Template(
                'I am learning English and came up with these words: "{sentence}" How do they sound to you, '
                "acceptable or unacceptable?\n\n{options}"
            ),
            Template("A proofreader's verdict is wanted.\nLine: {sentence}\n{options}\nVerdict:"),
            Template(
                'Look at the way in which this is put, not at whether it is true: "{sentence}" Rate it as '
                "acceptable or unacceptable English."
            ),
            Template(
                "Would a grammar textbook print this as an example of correct usage (acceptable) or as an example of a "
                'mistake (unacceptable)? "{sentence}"\n\n{options}'
            ),
            Template("Write a sentence that is grammatically {answer}.", "{sentence}", inverted=True),
            Template(
                "A linguist collects examples of English and marks each of them as acceptable or unacceptable. "
                "Invent one that would be marked as {answer}.",
                "{sentence}",
                inverted=True,
            ),
        ),
    )
)

"""Sentiment beyond Flan 2021: lines of poetry."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template

_FEELINGS = ("negative", "positive", "neutral", "mixed")
# The original tables write numbers from -1 as text; the hub counts from 0.
_ORIGINAL = {"-1": "negative", "0": "neutral", "1": "positive", "2": "mixed"}


def _verse(record: Record) -> dict[str, Any] | None:
    value = column(record, "label")
    answer = _ORIGINAL[value] if isinstance(value, str) and value in _ORIGINAL else label(value, _FEELINGS)
    return None if answer is None else {"text": text(record, "verse_text", "text"), "answer": answer}


POEM_SENTIMENT = register(
    TaskSpec(
        name="poem_sentiment",
        cluster="sentiment",
        collection="open",
        title="Poem Sentiment",
        source=published(
            "google-research-datasets/poem_sentiment",
            revision="refs/convert/parquet",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 892, "validation": 105, "test": 104},
            folders=("poem_sentiment",),
        ),
        fields=_verse,
        slots=("text", "answer"),
        options=_FEELINGS,
        templates=(
            Template(
                "Verse: {text}\n\nIs the sentiment of this verse positive, negative, mixed or neutral?\n\n{options}"
            ),
            Template("{text}\n\nThis line is from a poem. The feeling in it is\n\n{options}"),
            Template("What mood does the poet strike here?\n\n{text}\n\n{options}"),
            Template("Classify the verse by its emotional tone.\n\n{options}\n\nVerse to classify: {text}"),
            Template("A poet wrote: {text}\n\nHow would a reader describe the sentiment of these words?"),
            Template(
                "A poem can lift the heart, weigh on it, do both at once, or leave it unmoved. "
                "Name the sentiment of this excerpt.\n\nExcerpt: {text}\n\n{options}"
            ),
            Template("Poetry class, first exercise: state which sentiment the following verse expresses. {text}"),
            Template("Line from a poem: {text}\nSentiment:\n{options}"),
            Template("Compose one line of verse. Its sentiment: {answer}.", "{text}", inverted=True),
            Template(
                "You are looking for a quotation from a poem whose tone can be called {answer}. Write such a line.",
                "{text}",
                inverted=True,
            ),
        ),
    )
)

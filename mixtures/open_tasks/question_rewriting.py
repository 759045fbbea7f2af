"""Question rewriting: what somebody meant to ask who stumbled while asking."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Record, TaskSpec, Template


def _rewriting(record: Record) -> dict[str, Any] | None:
    return {
        "spoken": text(record, "disfluent", "disfluent question"),
        "answer": text(record, "original", "original question"),
    }


DISFL_QA = register(
    TaskSpec(
        name="disfl_qa",
        cluster="question_rewriting",
        collection="open",
        title="Disfl-QA",
        source=published(
            "google-research-datasets/disfl_qa",
            revision="refs/convert/parquet",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 7_182, "validation": 1_000, "test": 3_643},
            folders=("disfl_qa",),
        ),
        fields=_rewriting,
        slots=("spoken", "answer"),
        predict="generate",
        metric="edit_similarity",
        other_metrics=("rougeL",),
        templates=(
            Template("The speaker stumbles and starts over. Write down the question that was meant.\n\n{spoken}"),
            Template("{spoken}\n\nThe same question without slips of the tongue:"),
            Template("Make this spoken question fluent: {spoken}"),
            Template(
                "In the following transcript of a question, the speaker says something wrong and corrects it at once. "
                "Remove the mistake and the correcting words, and keep the rest.\n\nTranscript: {spoken}\nClean question:"
            ),
            Template("Somebody said this: {spoken}\n\nWhat did they want to ask?"),
            Template(
                "A voice assistant cannot deal with false starts. Rephrase the request so that it can.\n\n"
                "Heard: {spoken}\n\nRephrased:"
            ),
            Template("Disfluent: {spoken}\nFluent:"),
            Template("I got tangled up when I asked this. Could you put it properly for me? {spoken}"),
            Template(
                "People change their minds in the middle of a question. Show how that sounds with this one: {answer}",
                "{spoken}",
                inverted=True,
            ),
            Template(
                'Turn the written question into hesitant speech, with a slip and its repair ("no wait", "I mean" and '
                "the like).\n\nWritten: {answer}\nSpoken:",
                "{spoken}",
                inverted=True,
            ),
        ),
    )
)

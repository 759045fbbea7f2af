"""Reading comprehension beyond Flan 2021."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.questions import accepted_answers


def _span(record: Record) -> dict[str, Any] | None:
    answers = accepted_answers(record)
    if not answers:
        return None
    return {"context": text(record, "context"), "question": text(record, "question"), "answer": answers}


XQUAD_EN = register(
    TaskSpec(
        name="xquad_en",
        cluster="reading_comprehension",
        collection="open",
        title="XQuAD, English",
        # One split is published, a part of SQuAD's validation split. Questions on one article stand together.
        source=published(
            "google/xquad",
            "xquad.en",
            train="validation[:490]",
            validation="validation[490:690]",
            test="validation[690:]",
            sizes={"validation": 1_190},
            folders=("xquad_en",),
        ),
        fields=_span,
        slots=("context", "question", "answer"),
        metric="squad_f1",
        other_metrics=("squad_em",),
        predict="generate",
        templates=(
            Template("Source: {context}\n\nQuestion: {question}\n\nWhich words of the source answer it?"),
            Template("{context}\n\nBased on the paragraph, answer this. {question}"),
            Template(
                "Keep the question in mind while you read the paragraph, then answer it in a few of the paragraph's own "
                "words.\n\nQuestion: {question}\n\nParagraph: {context}"
            ),
            Template("Q. {question}\nReference: {context}\nA."),
            Template(
                "Hi! I have to find something out but cannot make sense of this page: {context}\n\n"
                "My question is: {question} A short phrase is all I need."
            ),
            Template("Underline the answer to “{question}” in the text, then copy what you underlined.\n\n{context}"),
            Template(
                "It says in an encyclopedia: {context}\n\nAnd this is what I should like to learn from it: {question}"
            ),
            Template(
                "Span extraction. Given a context and a question, output the span of the context that is the answer.\n\n"
                "Context: {context}\nQuestion: {question}\nSpan:"
            ),
            Template(
                "{context}\n\n“{answer}” is a detail of this text. Phrase a question that asks for that detail.",
                "{question}",
                inverted=True,
            ),
            Template(
                "Quiz writers work from facts to questions. Their material this time: {context}\n\n"
                "The solution on the card: {answer}\n\nThe question on the card:",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

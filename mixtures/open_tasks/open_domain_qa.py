"""Open-domain question answering beyond Flan 2021."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template

_NO_YES = ("no", "yes")


def _strategy(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "answer"), _NO_YES)
    return (
        None
        if answer is None
        else {"question": text(record, "question"), "term": text(record, "term"), "answer": answer}
    )


STRATEGYQA = register(
    TaskSpec(
        name="strategyqa",
        cluster="open_domain_qa",
        collection="open",
        title="StrategyQA",
        source=published(
            "ChilleD/StrategyQA",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 1_603, "test": 687},
            folders=("strategyqa",),
        ),
        fields=_strategy,
        slots=("question", "term", "answer"),
        options=_NO_YES,
        templates=(
            Template("{question}\n\nCombine what you know about the things in question and decide.\n\n{options}"),
            Template("Question: {question}\n\n{options}\n\nAnswer:"),
            Template(
                "No single article answers this, but a few plain facts taken together do. What is the answer?\n\n{question}"
            ),
            Template("Riddle me this: {question}"),
            Template(
                "The subject is “{term}”. Somebody would like to know: {question}\n\n{options}\n\nYour reply, in one word:"
            ),
            Template(
                "Think it through in silence, then give your verdict only.\n\n{options}\n\nTo be judged: {question}"
            ),
            Template("At dinner the talk turned to “{term}”, and my sister asked: {question} What should I have said?"),
            Template("Would you answer the following question in the affirmative? {question}\n\n{options}"),
            Template(
                "Write a question about “{term}” that takes several steps of reasoning and can be answered in one word, "
                "namely: {answer}",
                "{question}",
                inverted=True,
            ),
            Template(
                "A trivia author needs a tricky question in which “{term}” plays a part. The solution is to be “{answer}”, "
                "and nobody should be able to look it up in one place. What could the question be?",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

"""Question classification: what kind of thing a question asks for."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_KINDS = ("description", "entity", "abbreviation", "human", "numeric", "location")
_CODES = {
    "DESC": "description",
    "ENTY": "entity",
    "ABBR": "abbreviation",
    "HUM": "human",
    "NUM": "numeric",
    "LOC": "location",
}
# The name of the column tells in what order its numbers stand: TFDS and the hub number the kinds differently.
_ORDERS = {
    "coarse_label": ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
    "label-coarse": ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
}


def _question(record: Record) -> dict[str, Any] | None:
    name = next((name for name in _ORDERS if record.get(name) is not None), None)
    if name is None:
        raise UserError(f"the record has no {' or '.join(map(repr, _ORDERS))} (its fields: {', '.join(record)}).")
    code = label(column(record, name), _ORDERS[name])
    return None if code is None else {"text": text(record, "text"), "answer": _CODES[code]}


TREC = register_flan(
    TaskSpec(
        name="trec",
        cluster="question_classification",
        collection="flan2021",
        title="TREC",
        source=published(
            "CogComp/trec",
            revision="refs/convert/parquet",
            tfds="trec:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 5_452, "test": 500},
            folders=("trec",),
        ),
        fields=_question,
        slots=("text", "answer"),
        options=_KINDS,
        templates=(
            Template("Question: {text}\n\nWhat kind of answer does this question call for?\n\n{options}"),
            Template("{text}\n\nThe question above asks for something of the type\n\n{options}"),
            Template("Assign the question to its category.\n\n{options}\n\nQuestion to be assigned: {text}"),
            Template(
                "A search engine wants to know, before it looks for an answer, what sort of thing the answer "
                "will be. The query is this: {text}\n\n{options}"
            ),
            Template("Do not answer the question that follows. Only say what type of question it is.\n\n{text}"),
            Template('Somebody asks, "{text}" What type of thing is this person looking for?'),
            Template("Question classification.\nInput: {text}\nClass:\n{options}"),
            Template(
                "In a quiz, the questions are filed under human, location, numeric, entity, abbreviation or "
                "description, after the kind of answer that they ask for. Where should this one go?\n\n{text}\n\n"
                "{options}"
            ),
            Template("What category fits this question best? {text}"),
            Template('Think of a trivia question whose answer is of the type "{answer}".', "{text}", inverted=True),
        ),
    )
)

"""Structure to text: facts, attributes or words, put into sentences."""

import re
from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import PublishedSource, published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, text, texts
from flan_jax.tasks.spec import Fields, Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ATTRIBUTE = re.compile(r"([^\[\],]+)\[([^\[\]]*)\]")
# DART hangs the title of a table on a node of its own.
_NODES = {"[TABLECONTEXT]": "table", "[TITLE]": "title"}


def _readable(name: str) -> str:
    """A relation's or attribute's name in words.

    >>> _readable("runwayLength"), _readable("ORIGINAL_AIR_DATE")
    ('runway length', 'original air date')
    """
    return _CAMEL.sub(" ", name.replace("_", " ")).strip().lower()


def _triples(record: Record, name: str) -> str:
    """``(subject; relation; object), …`` from lists of three, or from texts with bars between the three."""
    written = []
    for item in column(record, name):
        parts = item.split("|") if isinstance(item, str) else item
        if not isinstance(parts, Sequence) or len(parts) != 3 or not all(isinstance(part, str) for part in parts):
            raise UserError(f"{name!r} must hold subject, relation and object, not {item!r:.80}.")
        one, relation, other = (_NODES.get(part.strip(), part.strip()) for part in parts)
        written.append(f"({one.replace('_', ' ')}; {_readable(relation)}; {other.replace('_', ' ')})")
    if not written:
        raise UserError(f"{name!r} is empty.")
    return ", ".join(written)


def _wordings(record: Record) -> tuple[str, ...]:
    """Every accepted wording, the one to train on first."""
    first = record.get("target")
    given = [first] if isinstance(first, str) and first.strip() else []
    given += record.get("references") or []
    return tuple(dict.fromkeys(texts({"references": given}, "references")))


def _web_nlg(record: Record) -> dict[str, Any]:
    return {"facts": _triples(record, "input"), "answer": _wordings(record)}


def _dart(record: Record) -> dict[str, Any]:
    if record.get("annotations") is None:
        wordings = _wordings(record)
    else:
        wordings = tuple(dict.fromkeys(text(annotation, "text") for annotation in record["annotations"]))
    return {"facts": _triples(record, "tripleset"), "answer": wordings}


def _e2e_nlg(record: Record) -> dict[str, Any]:
    meaning = text(record, "meaning_representation", "mr")
    attributes = [f"{_readable(name)}: {value.strip()}" for name, value in _ATTRIBUTE.findall(meaning)]
    if not attributes:
        raise UserError(f"'meaning_representation' must read name[value], …, not {meaning!r:.60}.")
    wordings = (text(record, "ref"),) if record.get("ref") is not None else _wordings(record)
    return {"facts": "; ".join(attributes), "answer": wordings}


def _common_gen(record: Record) -> dict[str, Any]:
    return {"concepts": ", ".join(texts(record, "concepts")), "answer": _wordings(record)}


def _gem(config: str, sizes: tuple[int, int], folders: tuple[str, ...]) -> PublishedSource:
    """A data set of GEM. FLAN tests on its validation split and validates on the end of its training split."""
    train, validation = sizes
    return published(
        "GEM/gem",
        config,
        revision="refs/convert/parquet",
        tfds=f"gem/{config}:1.1.0",
        train="train[:-200]",
        validation="train[-200:]",
        test="validation",
        sizes={"train": train, "validation": validation},
        folders=folders,
    )


def _task(
    name: str, title: str, source: PublishedSource, fields: Fields, slot: str, templates: tuple[Template, ...]
) -> TaskSpec:
    return register_flan(
        TaskSpec(
            name=name,
            cluster="structure_to_text",
            collection="flan2021",
            title=title,
            source=source,
            fields=fields,
            slots=(slot, "answer"),
            metric="rougeL",
            other_metrics=("rouge1", "rouge2"),
            predict="generate",
            templates=templates,
        )
    )


WEB_NLG_EN = _task(
    "web_nlg_en",
    "WebNLG",
    _gem("web_nlg_en", (35_426, 1_667), ("web_nlg_en", "web_nlg")),
    _web_nlg,
    "facts",
    (
        Template("{facts}\n\nPut these facts into words."),
        Template("Each bracket holds a subject, a relation and an object. Write a text that says all of this: {facts}"),
        Template("Knowledge graph: {facts}\n\nIn plain English:"),
        Template("Describe the data below in one or more complete sentences.\n\n{facts}"),
        Template(
            "An encyclopedia is being written from a database. What should it say where the database has {facts}?"
        ),
        Template("Verbalize the following facts, leaving nothing out: {facts}"),
        Template(
            "The entries read (thing; property; value). Turn them into fluent prose.\n\nEntries: {facts}\n\nProse:"
        ),
        Template("{facts}\n\nWhat do we learn from this? Answer in full sentences."),
        Template(
            "{answer}\n\nWrite the facts stated here as triples of the form (subject; relation; object).",
            "{facts}",
            inverted=True,
        ),
        Template(
            "Extract the information in a text for a database, with each fact as (thing; property; value).\n\n"
            "Text: {answer}\n\nFacts:",
            "{facts}",
            inverted=True,
        ),
    ),
)


COMMON_GEN = _task(
    "common_gen",
    "CommonGen",
    _gem("common_gen", (67_389, 993), ("common_gen",)),
    _common_gen,
    "concepts",
    (
        Template("Write a sentence about an everyday scene that uses all of these words: {concepts}"),
        Template("Words: {concepts}\n\nSentence with these words:"),
        Template(
            "{concepts}\n\nForm one sensible sentence from these words. You may add others and inflect those given."
        ),
        Template(
            "Describe a situation that one could see in daily life. "
            "Every one of these concepts must occur in it: {concepts}"
        ),
        Template("What could be going on in a photograph that is tagged with {concepts}?"),
        Template(
            "In a game, a player draws cards with words and has to build a sentence from all of them. "
            "The cards say {concepts}. What might the player say?"
        ),
        Template(
            "{answer}\n\nName the key concepts of this sentence, with commas between them.", "{concepts}", inverted=True
        ),
        Template(
            "Which words would you give somebody to make them come up with the following sentence? {answer}",
            "{concepts}",
            inverted=True,
        ),
        Template(
            "Tag the scene with the things and actions that it is about, each in its basic form.\n\n"
            "Scene: {answer}\n\nTags:",
            "{concepts}",
            inverted=True,
        ),
        Template(
            "List, in their dictionary forms, the words that this sentence was built around: {answer}",
            "{concepts}",
            inverted=True,
        ),
    ),
)


E2E_NLG = _task(
    "e2e_nlg",
    "E2E restaurant descriptions",
    _gem("e2e_nlg", (33_525, 4_299), ("e2e_nlg",)),
    _e2e_nlg,
    "facts",
    (
        Template("{facts}\n\nDescribe this place in a sentence or two."),
        Template("Restaurant data: {facts}\n\nGuidebook entry:"),
        Template("Here is what we know about a place to eat or drink:\n\n{facts}\n\nTell a visitor about it."),
        Template("Write a short description of the venue that has these properties: {facts}"),
        Template(
            "You answer the phone for a booking service. Describe the venue to a caller "
            "and mention every detail.\n\n{facts}"
        ),
        Template("Turn the keys and values of this restaurant listing into natural English.\n\n{facts}"),
        Template('What would a travel guide say about an establishment that a database lists as "{facts}"?'),
        Template(
            "The attributes of a restaurant, pub or coffee shop follow, each with its value after a colon. "
            "Express all of them in prose.\n\nAttributes: {facts}\n\nProse:"
        ),
        Template(
            "Someone new in town wonders where to go, and you look up an entry: {facts}\n\nWhat do you tell them?"
        ),
        Template("Could you write up this place for the city's website? {facts}"),
    ),
)


DART = _task(
    "dart",
    "DART",
    _gem("dart", (62_659, 2_768), ("dart",)),
    _dart,
    "facts",
    (
        Template("{facts}\n\nWrite a sentence that conveys this information."),
        Template("Records, as (entity; attribute; value): {facts}\n\nStatement:"),
        Template("Say in a sentence or two what the following data tell us: {facts}"),
        Template(
            "The relations below were read off a table. Explain them to somebody who cannot see the table.\n\n{facts}"
        ),
        Template("Facts on file: {facts}\n\nReport them as a journalist would."),
        Template(
            "Data-to-text generation. Every triple names an entity, an attribute and a value. "
            "Produce a text that covers them all.\n\n{facts}"
        ),
        Template("What is a natural way to express {facts} in English?"),
        Template("I have structured data and need something that people can read.\n\nData: {facts}\n\nText:"),
        Template(
            "Break this statement down into triples (entity; attribute; value): {answer}", "{facts}", inverted=True
        ),
        Template(
            "Make the statement below readable for a machine: "
            "rewrite it as a list of (subject; predicate; object).\n\n{answer}",
            "{facts}",
            inverted=True,
        ),
    ),
)

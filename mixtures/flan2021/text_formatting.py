"""Text formatting: English from the web without its capitals, punctuation or spaces, to be put right.

FLAN takes the English side of ParaCrawl's English-Danish pairs and another part of it for each task.
"""

import re
from typing import Any

from flan_jax.data.sources.published import PublishedSource, published
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Fields, Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_MARKS = re.compile(r"[^\w\s]")


def _english(record: Record) -> str:
    return text(record, "translation.en", "en")


def _true_case(record: Record) -> dict[str, Any] | None:
    cased = _english(record)
    lower = cased.lower()
    return None if lower == cased else {"lower": lower, "answer": cased}


def _fix_punct(record: Record) -> dict[str, Any] | None:
    punctuated = _english(record)
    bare, removed = _MARKS.subn("", punctuated)
    bare = " ".join(bare.split())  # a dash between spaces leaves two
    return {"bare": bare, "answer": punctuated} if removed and bare else None


def _word_segment(record: Record) -> dict[str, Any]:
    spaced = _english(record)
    return {"joined": "".join(spaced.split()), "answer": spaced}


def _paracrawl(name: str, first: int) -> PublishedSource:
    """FLAN's part of the corpus for a task: 30,000 pairs from ``first`` on to train, 200 behind them to validate."""
    edge = first + 30_000
    return published(
        "para_crawl",
        "enda",
        revision="refs/convert/parquet",
        tfds="para_crawl/enda:1.2.0",
        train=f"train[{first}:{edge}]",
        validation=f"train[{edge}:{edge + 200}]",
        test="train[-3000:]",
        sizes={"train": 2_414_895},
        folders=(name,),
    )


def _task(
    name: str, title: str, source: PublishedSource, fields: Fields, slot: str, templates: tuple[Template, ...]
) -> TaskSpec:
    return register_flan(
        TaskSpec(
            name=name,
            cluster="text_formatting",
            collection="flan2021",
            title=title,
            source=source,
            fields=fields,
            slots=(slot, "answer"),
            metric="edit_similarity",
            predict="generate",
            templates=templates,
        )
    )


TRUE_CASE = _task(
    "true_case",
    "true casing",
    _paracrawl("true_case", 0),
    _true_case,
    "lower",
    (
        Template("{lower}\n\nWrite this text with correct capital letters."),
        Template("Text without capitals: {lower}\n\nText with capitals:"),
        Template("Which letters should be upper case? Rewrite the passage accordingly.\n\n{lower}"),
        Template("All capital letters were lost when this was copied. Put them back: {lower}"),
        Template("Correct the case of every word, and change nothing else. {lower}"),
        Template(
            "A friend of mine types everything in lower case. Please put the capitals into this message.\n\n{lower}"
        ),
        Template("{lower}\n\nAs a copy editor would capitalize it:"),
        Template(
            "Capitalize names, the beginnings of sentences and whatever else should have a capital in English: {lower}"
        ),
        Template("What does this look like with every capital letter in its place? {lower}"),
        Template("Rewrite this text in lower case only: {answer}", "{lower}", inverted=True),
    ),
)


FIX_PUNCT = _task(
    "fix_punct",
    "punctuation",
    _paracrawl("fix_punct", 30_200),
    _fix_punct,
    "bare",
    (
        Template("{bare}\n\nAdd the missing punctuation."),
        Template("Raw text: {bare}\n\nPunctuated text:"),
        Template(
            "Somebody has left out every comma, full stop, hyphen and other mark from this text. Restore them.\n\n{bare}"
        ),
        Template("How should this be punctuated? {bare}"),
        Template("Insert punctuation marks where English needs them, and leave the words as they are. {bare}"),
        Template(
            "A speech recognizer wrote down the words below but none of the punctuation. "
            "Give the text as it should be printed.\n\n{bare}"
        ),
        Template("Copy the following, and punctuate it as you go: {bare}"),
        Template("{bare}\n\nThe same words, with commas, full stops and all other marks in place:"),
        Template("I wrote this in a hurry and skipped the punctuation: {bare}\n\nCan you put it in for me?"),
        Template("Proofread for punctuation only.\n\nDraft: {bare}\n\nFinal version:"),
    ),
)


WORD_SEGMENT = _task(
    "word_segment",
    "word segmentation",
    _paracrawl("word_segment", 60_400),
    _word_segment,
    "joined",
    (
        Template("{joined}\n\nPut spaces between the words."),
        Template("Run together: {joined}\n\nWord by word:"),
        Template("Where does one word end and the next begin? Write the text out with its spaces.\n\n{joined}"),
        Template("My space bar is broken. Here is what I typed: {joined}\n\nWhat did I mean to type?"),
        Template("Split the following string into words: {joined}"),
        Template("Make this readable by separating its words: {joined}"),
        Template(
            "Segment this run of characters into English words without altering a single one.\n\n"
            "Characters: {joined}\n\nWords:"
        ),
        Template("Someone wrote this without a single space. What does it say? {joined}"),
        Template("Remove all the spaces from this text: {answer}", "{joined}", inverted=True),
        Template(
            "Write what follows as one long string, with nothing between the words.\n\n{answer}",
            "{joined}",
            inverted=True,
        ),
    ),
)

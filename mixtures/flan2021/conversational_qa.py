"""Conversational question answering: the questions of a dialogue about a text."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.data.sources.base import digest
from flan_jax.data.sources.published import VALIDATION_LIMIT, PublishedSource, published
from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.fields import text
from flan_jax.tasks.source import NumberedRecord, Record, Source
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.flan_fields import register_flan
from mixtures.questions import numbered, texts_in_order

_UNANSWERABLE = "unanswerable"
# The last word of every QuAC section, so that a span of it can say that the section has no answer.
_NO_ANSWER = "CANNOTANSWER"


@dataclasses.dataclass(frozen=True)
class Turns(Source):
    """One record a question, from a source of one record a dialogue.

    A record that has a single question is passed on as it is.

    Attributes:
        dialogues: the source, whose records hold ``questions`` and ``orig_answers`` side by side.
        sizes: split → number of questions as published, the limits not regarded.
    """

    dialogues: PublishedSource
    sizes: tuple[tuple[str, int], ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the dialogues."""
        return self.dialogues.splits

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the questions of ``split`` in order, as many as a source of one record a question would."""
        return enumerate(itertools.islice(self._turns(split), self._limit(split)))

    def _turns(self, split: str) -> Iterator[Record | RecordError]:
        """The questions; a dialogue that cannot be read counts as one."""
        for _, dialogue in self.dialogues.read(split):
            if isinstance(dialogue, RecordError):
                yield dialogue
                continue
            try:
                turns = _taken_apart(dialogue)
            except UserError as error:
                yield RecordError(str(error))
            else:
                yield from turns

    def _limit(self, split: str) -> int | None:
        return {"train": self.dialogues.train_limit, "validation": VALIDATION_LIMIT}.get(split)

    @property
    def is_published(self) -> bool:
        """The dialogues are."""
        return True

    def local(self) -> Path | None:
        """The folder that takes the place of the hub, if there is one."""
        return self.dialogues.local()

    def origins(self) -> frozenset[str]:
        """Those of the dialogues."""
        return self.dialogues.origins()

    def fingerprint(self, split: str) -> str:
        """Digest of the dialogues' own."""
        return digest("turns", self.dialogues.fingerprint(split), self._limit(split))

    def count(self, split: str) -> int | None:
        """The number of questions as published, nothing being read."""
        size, limit = dict(self.sizes).get(split), self._limit(split)
        return size if size is None or limit is None else min(size, limit)

    def size_hint(self, split: str) -> int | None:
        """Bytes of the dialogues, where they are known."""
        return self.dialogues.size_hint(split)

    def describe(self) -> str:
        """The dialogues, and that they are taken apart."""
        return f"{self.dialogues.describe()}, one record a question"


def _taken_apart(dialogue: Record) -> list[Record]:
    if "questions" not in dialogue:
        return [dialogue]
    shared = {name: dialogue.get(name) for name in ("wikipedia_page_title", "background", "context")}
    questions, answers = texts_in_order(dialogue, "questions"), texts_in_order(dialogue, "orig_answers.texts")
    _check_pairs(questions, answers)
    pairs = zip(questions, answers, strict=True)
    return [{**shared, "question": question, "orig_answer": {"text": answer}} for question, answer in pairs]


def _check_pairs(questions: tuple[str, ...], answers: tuple[str, ...]) -> None:
    if len(questions) != len(answers):
        raise UserError(f"the dialogue has {len(questions)} questions and {len(answers)} answers.")


def _quac(record: Record) -> dict[str, Any]:
    title = text(record, "title", "wikipedia_page_title")
    background = record.get("background")
    answer = text(record, "orig_answer.text")
    return {
        "title": title,
        "background": background.strip() if isinstance(background, str) and background.strip() else title,
        "context": text(record, "context").removesuffix(_NO_ANSWER).rstrip(),
        "question": text(record, "question"),
        "answer": _UNANSWERABLE if answer == _NO_ANSWER else answer,
    }


def _coqa(record: Record) -> dict[str, Any]:
    questions, answers = texts_in_order(record, "questions"), texts_in_order(record, "answers.input_text")
    _check_pairs(questions, answers)
    return {"story": text(record, "story"), "questions": numbered(questions), "answer": numbered(answers)}


QUAC = register_flan(
    TaskSpec(
        name="quac",
        cluster="conversational_qa",
        collection="flan2021",
        title="QuAC",
        source=Turns(
            published(
                "allenai/quac",
                "plain_text",
                revision="refs/convert/parquet",
                tfds="quac:1.0.0",
                train="train[:-200]",
                validation="train[-200:]",
                test="validation",
                sizes={"train": 11_567, "validation": 1_000},
                folders=("quac",),
            ),
            sizes=(("train", 83_568), ("validation", 83_568), ("test", 7_354)),
        ),
        fields=_quac,
        slots=("title", "background", "context", "question", "answer"),
        metric="trivia_qa_f1",
        other_metrics=("trivia_qa_em",),
        predict="generate",
        templates=(
            Template(
                "Article: {title}\nIntroduction: {background}\nSection: {context}\n\nA reader asks: {question}\n\n"
                "Answer with words of the section, or with “unanswerable” if it does not say."
            ),
            Template(
                "What you should know about {title}: {background}\n\nWhat the article says further on: {context}\n\n"
                "Question (the answer is “unanswerable” where the article is silent): {question}"
            ),
            Template(
                "You are chatting with someone who is curious about {title}. These are your notes.\n\n"
                "In short: {background}\n\nIn detail: {context}\n\n"
                "You are asked: {question} Reply from your notes, and if they are no help, say “unanswerable”."
            ),
            Template(
                "A student asks, and a teacher replies in words of the text, or with “unanswerable” where the "
                "text has no reply to offer.\n\nText: {context}\nStudent: {question}\nTeacher:"
            ),
            Template(
                "{context}\n\nThis section belongs to an article about {title}. "
                "Copy out the part that answers the question, or write “unanswerable”. The question: {question}"
            ),
            Template(
                "In a conversation about {title}, somebody wants to know: {question}\n\n"
                "All that can be drawn on is this: {context}\n\n"
                "Respond in the words of the text, unless it leaves the matter open; then respond “unanswerable”."
            ),
            Template(
                "Subject: {title}\nSummary: {background}\nText to search: {context}\nSearch it for: {question}\n"
                "Passage found (“unanswerable” if there is none):"
            ),
            Template(
                "Interviewer: Let us talk about {title}. {question}\n\n"
                "The expert knows only what is written here: {context}\n\n"
                "To anything else, the expert says “unanswerable”. What does the expert say now?"
            ),
            Template(
                "Somebody has read no more than this introduction to {title}: {background}\n\nThe section that "
                "comes next is: {context}\n\nWhat might this person ask, if the section leads to the reply "
                "“{answer}”?",
                "{question}",
                inverted=True,
            ),
            Template(
                "{context}\n\nFrom this text about {title}, a listener was told: {answer}\n"
                "(“Unanswerable” would mean that the text has no answer.) What had the listener asked?",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

COQA = register_flan(
    TaskSpec(
        name="coqa",
        cluster="conversational_qa",
        collection="flan2021",
        title="CoQA",
        source=published(
            "stanfordnlp/coqa",
            tfds="coqa:1.0.0",
            train="train[:-100]",
            validation="train[-100:]",
            test="validation",
            sizes={"train": 7_199, "validation": 500},
            folders=("coqa",),
        ),
        fields=_coqa,
        slots=("story", "questions", "answer"),
        metric="squad_f1",
        other_metrics=("squad_em",),
        predict="generate",
        templates=(
            Template(
                "Read the story and answer every question about it. Number your answers.\n\n"
                "Story: {story}\n\nQuestions:\n{questions}"
            ),
            Template(
                "{story}\n\nNow reply to these in turn, in a few words each and under the same numbers:\n{questions}"
            ),
            Template(
                "Text: {story}\n\nWhat one of two people wanted to know about it:\n{questions}\n\n"
                "What the other one answered, numbered the same way:"
            ),
            Template(
                "The following questions were asked one after the other in a conversation, so a later one may refer to "
                "an earlier one.\n\n{questions}\n\nThey are about this passage: {story}\n\n"
                "Answer them all as a numbered list."
            ),
            Template(
                "Comprehension sheet. Write one short answer per line and put the number of its question in "
                "front.\n\nQuestions:\n{questions}\n\nPassage: {story}\n\nAnswers:"
            ),
            Template(
                "My daughter has just heard this story: {story}\n\nThen she began to ask:\n{questions}\n\nPlease "
                "help me out with the answers, numbered as her questions are."
            ),
            Template("Passage: {story}\n\nInterview questions:\n{questions}\n\nNumbered responses:"),
            Template(
                "Here is what I need to find out:\n{questions}\n\nAnd here is where it can be found:\n{story}\n\n"
                "What are the answers, numbered from first to last?"
            ),
            Template(
                "{story}\n\nSuppose you are talking with somebody who keeps asking about the text you have just read. "
                "What do you say each time? Number what you say.\n\n{questions}"
            ),
            Template(
                "{story}\n\nIn a conversation about this passage, these answers were given:\n{answer}\n\n"
                "Write the numbered list of questions that led to them.",
                "{questions}",
                inverted=True,
            ),
        ),
    )
)

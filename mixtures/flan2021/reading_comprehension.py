"""Reading comprehension: questions that a given text answers."""

from collections.abc import Mapping
from typing import Any

from flan_jax.data.sources.base import digest
from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan
from mixtures.questions import (
    accepted_answers,
    asked,
    choice_slots,
    labelled_choices,
    lettered_choices,
    place_of,
    sentence,
    squad_slots,
)

_NO_YES = ("no", "yes")
_UNANSWERABLE = "unanswerable"


def _answerable(record: Record) -> dict[str, Any] | None:
    answers = accepted_answers(record)
    return {**squad_slots(record), "answer": answers} if answers else None


def _perhaps_answerable(record: Record) -> dict[str, Any]:
    return {**squad_slots(record), "answer": accepted_answers(record) or (_UNANSWERABLE,)}


def _drop_answers(record: Record) -> tuple[str, ...]:
    if record.get("answer") is not None:
        return (text(record, "answer"),)
    answers = tuple(dict.fromkeys(texts(record, "answers_spans.spans")))
    if len(answers) == 1 or set(column(record, "answers_spans.types")) != {"span"}:
        return answers
    # Several spans are one answer of several parts in the training split. In the other they may also be
    # what several people answered, which the published copy does not tell apart: each is accepted there.
    return (", ".join(answers), *answers)


def _drop(record: Record) -> dict[str, Any]:
    return {
        "passage": text(record, "passage"),
        "question": text(record, "question"),
        "answer": _drop_answers(record),
    }


def _multirc(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    return {
        "paragraph": text(record, "paragraph"),
        "question": text(record, "question"),
        "response": text(record, "answer"),
        "answer": answer,
    }


def _multirc_question(record: Record) -> str:
    """The question that an answer is to: by its number, or by its words in a copy without numbers."""
    index = record.get("idx")
    if isinstance(index, Mapping) and {"paragraph", "question"} <= index.keys():
        return f"{index['paragraph']}.{index['question']}"
    return digest(text(record, "paragraph"), text(record, "question"))[:16]


def _openbookqa(record: Record) -> dict[str, Any] | None:
    choices = column(record, "choices", "Choices")
    labels, found = lettered_choices(choices) if isinstance(choices, str) else labelled_choices(choices)
    place = place_of(column(record, "answerKey", "Answer Key"), labels)
    if place is None:
        return None
    stem = text(record, "question_stem", "Question Stem")
    # FLAN gives the fact that the item was made from. A copy without it leaves the question to common sense.
    fact = record.get("fact1")
    question = f"{sentence(fact)} {stem}" if isinstance(fact, str) and fact.strip() else stem
    return {"question": question, "stem": stem, **choice_slots(found, place)}


def _bool_q(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "answer", "label"), _NO_YES)
    if answer is None:
        return None
    return {"passage": text(record, "passage"), "question": asked(text(record, "question")), "answer": answer}


SQUAD_V1 = register_flan(
    TaskSpec(
        name="squad_v1",
        cluster="reading_comprehension",
        collection="flan2021",
        title="SQuAD 1.1",
        source=published(
            "rajpurkar/squad",
            "plain_text",
            tfds="squad/v1.1:3.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 87_599, "validation": 10_570},
            folders=("squad_v1", "squad"),
        ),
        fields=_answerable,
        slots=("title", "context", "question", "answer"),
        metric="squad_f1",
        other_metrics=("squad_em",),
        predict="generate",
        templates=(
            Template(
                "Read the passage and answer the question with words taken from it.\n\n"
                "Passage: {context}\n\nQuestion: {question}"
            ),
            Template("{context}\n\nThat was an excerpt from the article “{title}”. Going by it alone: {question}"),
            Template("Article: {title}\nExcerpt: {context}\nQ: {question}\nA:"),
            Template(
                "I am studying the topic “{title}” and came across this paragraph: {context}\n\n"
                "Could you tell me, in as few words as possible: {question}"
            ),
            Template("Question: {question}\n\nFind the answer in this paragraph and copy it out.\n\n{context}"),
            Template(
                "Reading test. Each answer is a short phrase from the text.\n\n"
                "Text: {context}\n\nItem 1: {question}\n\nYour answer:"
            ),
            Template(
                "Someone asks you “{question}” just as you are reading these lines. What do you reply?\n\n{context}"
            ),
            Template("Text: {context}\n\nQuote the words in it that answer this: {question}"),
            Template(
                "{context}\n\nWrite a question about this passage to which the answer is “{answer}”.",
                "{question}",
                inverted=True,
            ),
            Template(
                "A teacher wants to check that pupils have understood a paragraph from the article “{title}”. "
                "The paragraph reads: {context}\n\nThe reply that the teacher hopes for is “{answer}”. What "
                "should the teacher ask?",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

SQUAD_V2 = register_flan(
    TaskSpec(
        name="squad_v2",
        cluster="reading_comprehension",
        collection="flan2021",
        title="SQuAD 2.0",
        source=published(
            "rajpurkar/squad_v2",
            "squad_v2",
            tfds="squad/v2.0:3.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 130_319, "validation": 11_873},
            folders=("squad_v2",),
        ),
        fields=_perhaps_answerable,
        slots=("title", "context", "question", "answer"),
        metric="squad_f1",
        other_metrics=("squad_em",),
        predict="generate",
        templates=(
            Template(
                "Answer the question from the passage. If the passage does not contain the answer, write "
                "“unanswerable”.\n\nPassage: {context}\n\nQuestion: {question}"
            ),
            Template("Context: {context}\n\nQ: {question} (Reply “unanswerable” if the context leaves this open.)\nA:"),
            Template(
                "This is part of the encyclopedia entry “{title}”.\n\n{context}\n\nUsing nothing but this text, "
                "say: {question} If the text does not tell, say “unanswerable”."
            ),
            Template(
                "Some questions in this exercise are traps: the text cannot answer them, and the right response is "
                "then “unanswerable”. To all others, the text holds the answer.\n\n"
                "Text: {context}\n\nQuestion: {question}"
            ),
            Template(
                "{question}\n\nLook for the answer in the paragraph that follows, and respond with "
                "“unanswerable” if it is nowhere to be found.\n\n{context}"
            ),
            Template(
                "{context}\n\nDoes the excerpt settle this: {question} If so, give the answer as the excerpt words it. "
                "If not, put “unanswerable”."
            ),
            Template(
                "Topic: {title}\nExcerpt: {context}\nQuestion: {question}\n"
                "Answer (a phrase from the excerpt, or “unanswerable”):"
            ),
            Template(
                "Please help me check something. My only source is this: {context}\n\nWhat I would like to know "
                "is: {question}\n\nIf my source is silent on that, just reply “unanswerable”."
            ),
            Template(
                "What is the shortest piece of the passage that answers the question? Copy it, or write "
                "“unanswerable” if no piece does.\n\nThe question: {question}\n\nThe passage: {context}"
            ),
            Template(
                "You will read a passage and then a question, which may be about something that the passage does "
                "not mention. Give the answer if it is there and “unanswerable” if it is not.\n\n{context}\n\n"
                "Now the question: {question}"
            ),
        ),
    )
)

DROP = register_flan(
    TaskSpec(
        name="drop",
        cluster="reading_comprehension",
        collection="flan2021",
        title="DROP",
        source=published(
            "ucinlp/drop",
            tfds="drop:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 77_400, "validation": 9_535},
            folders=("drop",),
        ),
        fields=_drop,
        slots=("passage", "question", "answer"),
        metric="squad_f1",
        other_metrics=("squad_em", "drop_em", "drop_f1"),
        predict="generate",
        templates=(
            Template(
                "Read the passage, do whatever counting, comparing or arithmetic is needed, and answer the question.\n\n"
                "Passage: {passage}\n\nQuestion: {question}"
            ),
            Template("{passage}\n\nWork this out from the text: {question}"),
            Template("Question: {question}\nThe figures and names you need are in this report: {passage}\nAnswer:"),
            Template(
                "You may have to put several facts of a text together to get the answer. State the result only.\n\n"
                "Text: {passage}\n\nTo find out: {question}\n\nResult:"
            ),
            Template(
                "Suppose that all you know is this: {passage}\n\nWhat would you say if somebody asked you the "
                "following? {question}"
            ),
            Template(
                "Someone who has no time to read the paragraph wants to know this: {question} Reply with a "
                "number, a date or a short phrase.\n\n{passage}"
            ),
            Template(
                "A quiz for attentive readers. They are given these lines: {passage}\n\nThen they are asked: {question}"
            ),
            Template(
                "{passage}\n\nA question about this passage has the answer “{answer}”. What is the question?",
                "{question}",
                inverted=True,
            ),
            Template(
                "Make up a question that a reader of the passage can answer only by reasoning over what it says. "
                "The answer has to be: {answer}\n\nPassage: {passage}",
                "{question}",
                inverted=True,
            ),
            Template(
                "An examiner has marked “{answer}” as the correct response to a question on the following text. "
                "Reconstruct the question.\n\nText: {passage}",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

MULTIRC = register_flan(
    TaskSpec(
        name="multirc",
        cluster="reading_comprehension",
        collection="flan2021",
        title="MultiRC",
        source=published(
            "aps/super_glue",
            "multirc",
            revision="refs/convert/parquet",
            tfds="super_glue/multirc:1.0.2",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 27_243, "validation": 4_848},
            folders=("multirc",),
        ),
        fields=_multirc,
        slots=("paragraph", "question", "response", "answer"),
        options=_NO_YES,
        metric="f1a:yes",
        other_metrics=("group_em", "accuracy"),
        group=_multirc_question,
        templates=(
            Template(
                "{paragraph}\n\nQuestion: {question}\nProposed answer: “{response}”\n\nIs the proposed answer "
                "correct?\n\n{options}"
            ),
            Template(
                "Read the paragraph and judge whether the reply to a question about it is right.\n\nParagraph: "
                "{paragraph}\nQuestion: {question}\nReply: {response}"
            ),
            Template(
                "A pupil was asked “{question}” and wrote: “{response}” Would you accept that, given this "
                "text?\n\n{paragraph}\n\n{options}"
            ),
            Template(
                "Text: {paragraph}\n\nNow take this question: {question}\nWould “{response}” be a correct response to it?"
            ),
            Template(
                "A question can have more than one correct answer. According to the passage, is the suggestion made "
                "here a correct one?\n\nPassage: {paragraph}\n\nQuestion: {question}\n\nSuggestion: {response}\n\n{options}"
            ),
            Template(
                "Having read the lines quoted here, I would answer the question “{question}” like this: "
                "“{response}” Am I right?\n\n{options}\n\nThe lines: {paragraph}"
            ),
            Template(
                "Fact check. The source says: {paragraph}\n\nSomebody who was asked “{question}” claims: "
                "“{response}” Does the source bear this out?"
            ),
            Template(
                "{question}\n\nHere is one possible answer: “{response}” Please compare it with the passage and "
                "tell me whether it holds.\n\n{paragraph}\n\n{options}"
            ),
            Template(
                "{paragraph}\n\nA question was asked about this paragraph.\nAnswer given: {response}\nIs that "
                "answer correct? {answer}\nQuestion asked:",
                "{question}",
                inverted=True,
            ),
            Template(
                "Write an answer to the question, a correct one if the last line says yes and a wrong one if it says "
                "no.\n\nText: {paragraph}\nQuestion: {question}\nShould the answer be correct? {answer}",
                "{response}",
                inverted=True,
            ),
        ),
    )
)

OPENBOOKQA = register_flan(
    TaskSpec(
        name="openbookqa",
        cluster="reading_comprehension",
        collection="flan2021",
        title="OpenBookQA",
        source=published(
            "allenai/openbookqa",
            "additional",
            tfds="openbookqa:0.1.0",
            train="train",
            validation="validation[:200]",
            test="test",
            sizes={"train": 4_957, "validation": 500, "test": 500},
            folders=("openbookqa",),
        ),
        fields=_openbookqa,
        slots=("question", "stem", "choices", "answer", "others"),
        options="choices",
        templates=(
            Template(
                "Use what you know of elementary science to answer the question or complete the sentence.\n\n"
                "{question}\n\n{options}"
            ),
            Template("Science quiz: {question}\n\n{options}\n\nAnswer:"),
            Template("How does this go on, or what is the answer to it? {question}"),
            Template(
                "A primary-school science test has this item: “{question}”\n\n{options}\n\nWhat should a pupil put down?"
            ),
            Template(
                "“{question}”\n\nThink of how the everyday world works, and give the answer or the ending that "
                "makes the most sense.\n\n{options}"
            ),
            Template("{options}\n\nWith a fact or two about nature in mind, reply to this: {question}"),
            Template("My homework says “{question}” and I am stuck. What would be right to write there?"),
            Template(
                "Think of a school science question, or the beginning of a sentence, to which the right answer or ending "
                "is: {answer}",
                "{stem}",
                inverted=True,
            ),
            Template(
                "Reconstruct an item of a science test from its answers.\nRight: {answer}\nWrong: {others}\nItem:",
                "{stem}",
                inverted=True,
            ),
            Template(
                "“{stem}” is to become a multiple-choice item whose key is “{answer}”. Supply the wrong choices, "
                "separated by semicolons.",
                "{others}",
                inverted=True,
            ),
        ),
    )
)

BOOL_Q = register_flan(
    TaskSpec(
        name="bool_q",
        cluster="reading_comprehension",
        collection="flan2021",
        title="BoolQ",
        source=published(
            "google/boolq",
            tfds="bool_q:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 9_427, "validation": 3_270},
            folders=("bool_q", "boolq"),
        ),
        fields=_bool_q,
        slots=("passage", "question", "answer"),
        options=_NO_YES,
        templates=(
            Template("Passage: {passage}\n\nQuestion: {question}\n\nAnswer according to the passage.\n\n{options}"),
            Template("{passage}\n\nGoing by what you have just read: {question}"),
            Template("{question} Reply on the basis of the following paragraph.\n\n{passage}"),
            Template(
                "Someone typed this into a search engine: {question}\nThe first result reads: {passage}\n"
                "What is the short answer?\n\n{options}"
            ),
            Template(
                "Settle a bet for us, please. We disagree about this: {question}\n\n{options}\n\n"
                "And here is what the encyclopedia has to say: {passage}"
            ),
            Template(
                "Read the excerpt and answer the question that comes after it.\n\nExcerpt: {passage}\n\nAnd now: "
                "{question}"
            ),
            Template("Evidence: {passage}\n\nIn the light of this evidence, what is your ruling on this: {question}"),
            Template(
                "Exam, part one. One word is enough for each answer, and the text holds the proof.\n\n"
                "Question: {question}\n\nText: {passage}\n\n{options}\n\nAnswer:"
            ),
            Template("“{question}” How would a careful reader of this article reply?\n\n{passage}\n\n{options}"),
            Template("{question}\n\nBackground: {passage}\n\nSo, what is the answer?\n\n{options}"),
        ),
    )
)

"""Questions with answers of the record's own: choices, spans of a text, endings of a story."""

from collections.abc import Mapping, Sequence

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label
from mixtures.flan_fields.shared import (
    CHOICES,
    SPACES,
    Made,
    Record,
    chosen,
    optional,
    raw,
    raw_list,
    substituted,
    views,
)
from mixtures.questions import lettered_choices, numbered, place_of

_UNANSWERABLE = "unanswerable"
_NO_ANSWER = "CANNOTANSWER"
_PLACEHOLDER = "@placeholder"
_NO_YES = ("no", "yes")


def _place(given: object, count: int) -> str | None:
    """Where the right choice stands, counted from 0."""
    return None if given == "" else label(given, tuple(map(str, range(count))))


def _with(made: Made, **slots: object) -> Made:
    return None if made is None else {**made, **slots}


def _bool_q(record: Record) -> Made:
    answer = label(column(record, "answer", "label"), _NO_YES)
    if answer is None:
        return None
    return {
        "title": optional(record, "title"),
        "text": raw(record, "passage"),
        "question": raw(record, "question"),
        "answer": answer,
    }


def _squad(record: Record) -> Made:
    answers = _squad_answers(record)
    return _squad_slots(record, answers) if answers else None


def _squad_v2(record: Record) -> Made:
    return _squad_slots(record, _squad_answers(record) or (_UNANSWERABLE,))


def _squad_slots(record: Record, answers: tuple[str, ...]) -> Made:
    return {
        "title": raw(record, "title").replace("_", " "),
        "context": raw(record, "context"),
        "question": raw(record, "question"),
        "answer": tuple(dict.fromkeys(answers)),
    }


def _squad_answers(record: Record) -> tuple[str, ...]:
    given = column(record, "answers")
    texts = given.get("text") if isinstance(given, Mapping) else [answer["text"] for answer in given]
    return () if record.get("is_impossible") else tuple(texts or ())


def _drop(record: Record) -> Made:
    answer = optional(record, "answer")
    if answer is None:
        answer = ", ".join(dict.fromkeys(raw_list(record, "answers_spans.spans")))
    return {"context": raw(record, "passage"), "question": raw(record, "question"), "answer": answer}


def _multirc(record: Record) -> Made:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    names = {"paragraph": "paragraph", "question": "question", "response": "answer"}
    return {**{slot: raw(record, name) for slot, name in names.items()}, "answer": answer}


def _openbookqa(record: Record) -> Made:
    question = record.get("question")
    if isinstance(question, Mapping):  # as TFDS has it
        choices = tuple(raw(question, f"choice_{letter}") for letter in "ABCD")
        labels, stem = tuple("ABCD"), raw(question, "stem")
    else:
        labels, choices = _labelled(column(record, "choices", "Choices"))
        stem = raw(record, "question_stem", "Question Stem")
    key = column(record, "answerKey", "Answer Key")
    place = _place(key, 4) if isinstance(key, int) else _by_label(key, labels)
    return _with(chosen(choices, place), question=stem, fact=optional(record, "fact1"))


def _labelled(given: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and texts of choices: written in one line, or two lists in one object, or one object a choice."""
    if isinstance(given, str):
        return lettered_choices(given)
    if isinstance(given, Mapping):
        labels = given.get("label") or tuple("ABCDE"[: len(given["text"])])
        return tuple(map(str, labels)), raw_list(given, "text")
    if isinstance(given, Sequence):
        return tuple(str(choice["label"]) for choice in given), tuple(str(choice["text"]) for choice in given)
    raise UserError(f"'choices' must hold 'label' and 'text', not {given!r:.60}.")


def _by_label(key: object, labels: tuple[str, ...]) -> str | None:
    place = place_of(key, labels)
    return None if place is None else str(place)


def _arc(record: Record) -> Made:
    if "gold" in record:
        question = raw(record, "query").removeprefix("Question:").strip()
        choices = raw_list(record, "choices")
        place = _place(column(record, "gold"), len(choices))
    else:
        question = raw(record, "question")
        labels, choices = _labelled(column(record, "choices"))
        key = column(record, "answerKey")
        place = _place(key, len(choices)) if isinstance(key, int) else _by_label(key, labels)
    return _with(chosen(choices, place), question=question) if len(choices) == 4 else None


def _trivia(record: Record) -> Made:
    given = record.get("answer")
    if not given or given.get("value") in (None, "", "<unk>"):
        return None
    answers = (raw(record, "answer.normalized_value"), *filter(None, given.get("normalized_aliases") or ()))
    return {"question": raw(record, "question"), "answer": tuple(dict.fromkeys(answers))}


def _natural_questions(record: Record) -> Made:
    answers = tuple(dict.fromkeys(raw_list(record, "answer")))
    return {"question": raw(record, "question") + "?", "answer": answers}


def _math(record: Record) -> Made:
    return {name: _unprinted(raw(record, name)) for name in ("question", "answer")}


def _unprinted(written: str) -> str:
    """The text itself, where a copy holds it as Python prints bytes."""
    if not (written.startswith("b'") and written.endswith("'")):
        return written
    return written[2:-1].removesuffix("\\n").strip()


def _copa(record: Record) -> Made:
    made = chosen((raw(record, "choice1"), raw(record, "choice2")), _place(column(record, "label"), 2))
    return _with(made, premise=raw(record, "premise"), question=raw(record, "question"))


def _piqa(record: Record) -> Made:
    made = chosen((raw(record, "sol1"), raw(record, "sol2")), _place(column(record, "label"), 2))
    return _with(made, goal=raw(record, "goal"))


def _hellaswag(record: Record) -> Made:
    context = substituted(r"\[header\]\s", "", raw(record, "context", "ctx"))
    endings = tuple(substituted(r"\[.*?\]\s", "", ending) for ending in raw_list(record, "endings"))
    made = chosen(endings, _place(column(record, "label"), 4))
    return _with(made, context=substituted(r"\[.*?\]\s", "\n", context))


def _story_cloze(record: Record) -> Made:
    if "endings" in record:
        context, endings, place = raw(record, "context"), raw_list(record, "endings"), column(record, "label")
    else:
        context = " ".join(raw(record, f"input_sentence_{number}") for number in range(1, 5))
        endings = (raw(record, "sentence_quiz1"), raw(record, "sentence_quiz2"))
        place = column(record, "answer_right_ending")
    return _with(chosen(endings, _by_label(place, ("1", "2"))), context=context)


def _definite_pronoun(record: Record) -> Made:
    candidates = raw_list(record, "candidates")
    made = chosen(candidates, _place(column(record, "label"), len(candidates)))
    return _with(made, sentence=raw(record, "sentence"), pronoun=raw(record, "pronoun"))


def _winogrande(record: Record) -> Made:
    if "context_options" in record:  # two sentences up to the gap, each with one candidate in it
        first, second = (sentence.rpartition(" ") for sentence in raw_list(record, "context_options"))
        context, names = f"{first[0]} ", (first[2], second[2])
        rest, place = f" {raw(record, 'continuation')}", _place(column(record, "gold"), 2)
    else:
        context, gap, rest = raw(record, "sentence").partition("_")
        if not gap:
            raise UserError("'sentence' has no gap, which is written '_'.")
        names, rest = (raw(record, "option1"), raw(record, "option2")), rest.partition("_")[0]
        labelled = "answer" not in record
        place = _place(column(record, "label"), 2) if labelled else _by_label(record["answer"], ("1", "2"))
    return _with(chosen(tuple(name + rest for name in names), place), context=context)


def _wsc273(record: Record) -> Made:
    # Places count bytes there.
    text, start = raw(record, "text").encode(), column(record, "pronoun_start", "pronoun_loc")
    end = record.get("pronoun_end") or start + len(raw(record, "pronoun_text", "pronoun").encode())
    before, behind = (part.decode(errors="replace").strip(SPACES) for part in (text[:start], text[end:]))
    if record.get("options") is not None:
        names = raw_list(record, "options")
    else:
        names = tuple(raw(record, f"option{n}_normalized", f"option{n}") for n in (1, 2))
    made = chosen(tuple(f"{name} {behind}" for name in names), _place(column(record, "label"), 2))
    return _with(made, context=before)


def _record(record: Record) -> Made:
    if not column(record, "answers"):
        return None
    parts = raw(record, "query").split(_PLACEHOLDER)
    if len(parts) < 2:
        raise UserError(f"'query' has no {_PLACEHOLDER}.")
    answers = tuple(dict.fromkeys(answer + parts[1] for answer in raw_list(record, "answers")))
    return {
        CHOICES: tuple(entity + parts[1] for entity in raw_list(record, "entities")),
        "passage": raw(record, "passage").split("\n@highlight")[0],
        "query": parts[0].strip(SPACES),
        "answer": answers,
    }


def _cosmos_qa(record: Record) -> Made:
    choices = tuple(raw(record, f"answer{number}") for number in range(4))
    made = chosen(choices, _place(column(record, "label"), 4))
    return _with(made, context=raw(record, "context"), question=raw(record, "question"))


def _quac(record: Record) -> Made:
    title = raw(record, "title", "wikipedia_page_title")
    return {
        "title": title,
        **{name: raw(record, name) for name in ("background", "context", "question")},
        "answer": raw(record, "orig_answer.text"),
    }


def _quac_2022(record: Record) -> Made:
    made = _quac(record)
    if made is None:
        return None
    without = {name: text.replace(_NO_ANSWER, "").strip(SPACES) for name, text in made.items()}
    # There a question without an answer has an empty target, from which nothing can be learnt here.
    return without if without["answer"] else None


def _coqa(record: Record) -> Made:
    return {
        "text": raw(record, "story"),
        "numbered_questions": numbered(raw_list(record, "questions")),
        "numbered_answers": numbered(raw_list(record, "answers.input_text")),
    }


_ASKED = ("context", "question", "answer")

QUESTIONS = {
    "bool_q": views(_bool_q, ("title", "text", "question", "answer"), options=_NO_YES),
    "squad_v1": views(_squad, ("title", *_ASKED)),
    "squad_v2": views(_squad_v2, ("title", *_ASKED)),
    "drop": views(_drop, _ASKED),
    "multirc": views(_multirc, ("paragraph", "question", "response", "answer"), options=_NO_YES),
    "openbookqa": views(_openbookqa, ("question", "fact", "answer"), options=CHOICES),
    **dict.fromkeys(("arc_challenge", "arc_easy"), views(_arc, ("question", "answer"), options=CHOICES)),
    "trivia_qa": views(_trivia, ("question", "answer")),
    "natural_questions": views(_natural_questions, ("question", "answer")),
    "math_dataset": views(_math, ("question", "answer")),
    "copa": views(_copa, ("premise", "question", "answer"), options=CHOICES),
    "piqa": views(_piqa, ("goal", "answer"), options=CHOICES),
    "hellaswag": views(_hellaswag, ("context", "answer"), options=CHOICES),
    "story_cloze": views(_story_cloze, ("context", "answer"), options=CHOICES),
    "definite_pronoun_resolution": views(_definite_pronoun, ("sentence", "pronoun", "answer"), options=CHOICES),
    "winogrande": views(_winogrande, ("context", "answer"), options=CHOICES),
    "wsc273": views(_wsc273, ("context", "answer"), options=CHOICES),
    "record": views(_record, ("passage", "query", "answer"), options=CHOICES),
    "cosmos_qa": views(_cosmos_qa, _ASKED, options=CHOICES),
    "quac": views(_quac, ("title", "background", *_ASKED), flan2022=_quac_2022),
    "coqa": views(_coqa, ("text", "numbered_questions", "numbered_answers"), answer="numbered_answers"),
}

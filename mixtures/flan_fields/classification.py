"""Tasks whose answers are a few fixed words: entailment, paraphrase, sentiment and their like."""

import functools

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label
from mixtures.flan_fields.shared import Made, Record, optional, raw, views

_NO_YES = ("no", "yes")
_YES_NO = ("yes", "no")
_POLARITY = ("negative", "positive")
_GRADES = ("0", "1", "2", "3", "4", "5")
_SECTIONS = ("World", "Sports", "Business", "Science/Tech")
_KINDS = ("description", "entity", "abbreviation", "human", "numeric", "location")
_KIND_OF = dict(zip(("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"), _KINDS, strict=True))
# The column's name tells how its numbers count: TFDS's copy, which FLAN reads, and the hub's differ.
_KIND_ORDERS = {
    "label-coarse": ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
    "coarse_label": ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
}
_RELATIONS = ("entailment", "neutral", "contradiction")
_CB_RELATIONS = ("entailment", "contradiction", "neutral")
_ENTAILED = ("entailment", "not_entailment")


def _answer(record: Record, names: tuple[str, ...], options: tuple[str, ...], *columns: str) -> str | None:
    """The option of the record's label, a number or one of ``names``, which count alike."""
    found = label(column(record, *(columns or ("label",))), names)
    return None if found is None else options[names.index(found)]


def _pair(record: Record, first: str, names: tuple[str, ...], options: tuple[str, ...]) -> Made:
    answer = _answer(record, names, options)
    if answer is None:
        return None
    premise = raw(record, "premise", "context", "text_a", "sentence1")
    return {first: premise, "hypothesis": raw(record, "hypothesis", "text_b", "sentence2"), "answer": answer}


def _qnli(record: Record) -> Made:
    answer = _answer(record, _ENTAILED, _YES_NO)
    if answer is None:
        return None
    return {
        "question": raw(record, "question", "text_a"),
        "sentence": raw(record, "sentence", "text_b"),
        "answer": answer,
    }


def _sentences(record: Record, names: tuple[str, ...] = ("sentence1", "sentence2")) -> Made:
    answer = _answer(record, _NO_YES, _NO_YES)
    return None if answer is None else {**{name: raw(record, name) for name in names}, "answer": answer}


def _qqp(record: Record) -> Made:
    made = _sentences(record, ("question1", "question2"))
    return None if made is None else {name: text.replace('""', "'") for name, text in made.items()}


def _stsb(record: Record) -> Made:
    given = column(record, "label")
    try:
        grade = float(given)
    except (TypeError, ValueError):
        raise UserError(f"the similarity {given!r} is no number.") from None
    if grade == -1:
        return None
    answer = f"{grade:.0f}"
    return {
        "sentence1": raw(record, "sentence1", "text_a"),
        "sentence2": raw(record, "sentence2", "text_b"),
        "answer": answer,
        "answer_str": answer,
    }


def _polarity(record: Record, slot: str, passage: str) -> Made:
    answer = _answer(record, _POLARITY, _POLARITY)
    return None if answer is None else {slot: passage, "answer": answer}


def _imdb(record: Record) -> Made:
    return _polarity(record, "text", raw(record, "text").replace("<br />", "\n"))


def _yelp(record: Record) -> Made:
    return _polarity(record, "text", raw(record, "text").replace('\\""', '"').replace("\\n", " "))


def _sst2(record: Record) -> Made:
    return _polarity(record, "sentence", raw(record, "sentence", "text"))


def _sentiment140(record: Record) -> Made:
    # That code never applies its filter, so that what is neutral counts as negative.
    given = column(record, "polarity", "sentiment")
    step = label(given, _GRADES)
    if step is None:
        return None
    return {"text": raw(record, "text"), "answer": _POLARITY[step in ("3", "4")]}


def _cola(record: Record) -> Made:
    verdicts = ("unacceptable", "acceptable")
    answer = _answer(record, verdicts, verdicts)
    return None if answer is None else {"sentence": raw(record, "sentence", "text"), "answer": answer}


def _wic(record: Record) -> Made:
    meanings = ("different meanings", "the same meaning")
    answer = _answer(record, meanings, meanings)
    if answer is None:
        return None
    return {**{name: raw(record, name) for name in ("sentence1", "sentence2", "word")}, "answer": answer}


def _trec(record: Record) -> Made:
    name = next((name for name in _KIND_ORDERS if record.get(name) is not None), "coarse_label")
    code = label(column(record, name), _KIND_ORDERS[name])
    return None if code is None else {"text": raw(record, "text"), "answer": _KIND_OF[code]}


def _ag_news(record: Record) -> Made:
    answer = _answer(record, _SECTIONS, _SECTIONS)
    if answer is None:
        return None
    return {"title": optional(record, "title"), "text": raw(record, "description", "text"), "answer": answer}


def _wsc(record: Record) -> Made:
    answer = _answer(record, _NO_YES, _NO_YES)
    if answer is None:
        return None
    return {
        "context": raw(record, "text"),
        "text1": raw(record, "span1_text", "target.span1_text"),
        "text2": raw(record, "span2_text", "target.span2_text"),
        "answer": answer,
    }


# In two texts of the data set the pronoun's place is another word's: what T5's code puts there instead.
_WSC_MISPLACED = (
    ('"Good for him," he said. ', '"Good for X ," he said.'),
    ("Some day they might want to use it , but", "Some day they might want to use X , but"),
)


def _wsc_2022(record: Record) -> Made:
    """T5's version: the pronoun between asterisks, found by its place among the words."""
    made = _wsc(record)
    if made is None:
        return None
    text, pronoun = made["context"], made["text2"]
    words = text.split(" ")
    place = column(record, "span2_index", "target.span2_index")
    whole = " ".join([*words[:place], "X", *words[place + 1 :]])
    for misplaced, written in _WSC_MISPLACED:
        if misplaced in text:
            whole = text.replace(misplaced, written)
    return {**made, "context": whole.replace(" X ", f" *{pronoun}* ")}


_ANLI = ("Yes", "It's impossible to say", "No")
_TELL = ("yes", "it is not possible to tell", "no")
_CB = ("Yes", "No", "It's impossible to say")
_CLAIM = ("premise", "hypothesis", "answer")
_TWO = ("sentence1", "sentence2", "answer")
_anli = views(
    functools.partial(_pair, first="context", names=_RELATIONS, options=_ANLI),
    ("context", "hypothesis", "answer"),
    options=_ANLI,
)
_nli = views(functools.partial(_pair, first="premise", names=_RELATIONS, options=_TELL), _CLAIM, options=_TELL)
_paraphrase = views(_sentences, _TWO, options=_NO_YES)

CLASSIFICATION = {
    **dict.fromkeys(("anli_r1", "anli_r2", "anli_r3"), _anli),
    **dict.fromkeys(("mnli_matched", "mnli_mismatched", "snli"), _nli),
    "cb": views(functools.partial(_pair, first="premise", names=_CB_RELATIONS, options=_CB), _CLAIM, options=_CB),
    "rte": views(functools.partial(_pair, first="premise", names=_ENTAILED, options=_YES_NO), _CLAIM, options=_YES_NO),
    "qnli": views(_qnli, ("question", "sentence", "answer"), options=_YES_NO),
    **dict.fromkeys(("wnli", "glue_mrpc", "paws_wiki"), _paraphrase),
    "glue_qqp": views(_qqp, ("question1", "question2", "answer"), options=_NO_YES),
    "stsb": views(_stsb, (*_TWO, "answer_str"), options=_GRADES, scored=("answer_str",)),
    "imdb_reviews": views(_imdb, ("text", "answer"), options=_POLARITY),
    "yelp_polarity_reviews": views(_yelp, ("text", "answer"), options=_POLARITY),
    "sentiment140": views(_sentiment140, ("text", "answer"), options=_POLARITY),
    "sst2": views(_sst2, ("sentence", "answer"), options=_POLARITY),
    "cola": views(_cola, ("sentence", "answer"), options=("unacceptable", "acceptable")),
    "wic": views(_wic, (*_TWO, "word"), options=("different meanings", "the same meaning")),
    "trec": views(_trec, ("text", "answer"), options=_KINDS),
    "ag_news_subset": views(_ag_news, ("title", "text", "answer"), options=_SECTIONS),
    "wsc": views(_wsc, ("context", "text1", "text2", "answer"), flan2022=_wsc_2022, options=_NO_YES),
}

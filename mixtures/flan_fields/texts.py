"""Tasks whose answers are written freely: summaries, wordings of facts, translations, corrected texts."""

import functools
import re
import string
from collections.abc import Mapping, Sequence

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column
from mixtures.flan_fields.shared import Made, Record, raw, raw_list, substituted, views
from mixtures.questions import numbered
from mixtures.translations import LANGUAGES

_SEPARATORS = ("2013 . ", "2014 . ", "2012 . ", ") -- ")
_SHOWN = 10
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _columns(record: Record, **names: str) -> Made:
    """Slot → column, byte for byte; ``None`` where a column is empty, since FLAN's empty sides teach nothing."""
    made = {slot: raw(record, name) for slot, name in names.items()}
    return made if all(text.strip() for text in made.values()) else None


def _document(record: Record) -> Made:
    return _columns(record, text="document", summary="summary")


def _aeslc(record: Record) -> Made:
    made = _columns(record, body="email_body", subject="subject_line")
    if made is None:
        return None
    return {"body": made["body"].replace("\n", " "), "subject": made["subject"].replace("\n", "")}


def _cnn(record: Record) -> Made:
    """FLAN 2021 keeps what stands before the first separator, in the place of what stands behind the last."""
    made = _columns(record, text="article", highlights="highlights")
    if made is None:
        return None
    for separator in _SEPARATORS:
        made["text"] = made["text"].split(separator)[0]
    return made


def _cnn_2022(record: Record) -> Made:
    made = _columns(record, text="article", highlights="highlights")
    if made is None:
        return None
    for separator in _SEPARATORS:
        made["text"] = made["text"].split(separator)[-1]
    return {"text": made["text"], "highlights": made["highlights"].replace(" .", ".").replace("\n", " ")}


def _gigaword(record: Record) -> Made:
    made = _document(record)
    masked = made and any(mark in text for mark in ("UNK", "#") for text in made.values())
    return None if masked else made


def _newsroom(record: Record) -> Made:
    return _columns(record, text="text", title="title", summary="summary")


def _samsum(record: Record) -> Made:
    made = _columns(record, dialogue="dialogue", summary="summary")
    if made is None:
        return None
    return {**made, "dialogue": substituted("<.*>", " ", made["dialogue"].replace("\r\n", "\n"))}


def _statements(record: Record, name: str) -> tuple[str, ...]:
    """The first statements of a column: texts by their number, as published, or TFDS's two lists."""
    value = column(record, name)
    if isinstance(value, Mapping):
        value = value["value"] if "value" in value else list(value.values())
    return raw_list({name: value}, name)[:_SHOWN]


def _rotten_tomatoes(record: Record) -> Made:
    reviews = _statements(record, "_critics")
    made = _columns(record, critic_consensus="_critic_consensus", movie="_movie_name")
    if made is None:
        return None
    movie = made["movie"].replace("_", " ")
    return {**made, "movie": movie, "first_review": reviews[0], "numbered_reviews": numbered(reviews)}


def _idebate(record: Record) -> Made:
    made = _columns(record, claim="_claim", debate_name="_debate_name")
    arguments = numbered(_statements(record, "_argument_sentences"))
    return None if made is None else {**made, "argument_sentences": arguments}


def _wiki_lingua(record: Record) -> Made:
    return _columns(record, source="source", target="target")


def _wordings(record: Record) -> tuple[str, ...]:
    """Every accepted wording, the one to be learnt first."""
    if record.get("annotations") is not None:
        given = [raw(annotation, "text") for annotation in record["annotations"]]
    else:
        given = [raw(record, "target", "ref"), *(record.get("references") or ())]
    return tuple(dict.fromkeys(given))


def _triples(record: Record, name: str) -> tuple[str, ...]:
    """Triples as lines, ``subject | relation | object``, which some copies hold as lists of three."""
    given = column(record, name)
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise UserError(f"{name!r} must be a list of triples, not {given!r:.60}.")
    return tuple(triple if isinstance(triple, str) else " | ".join(triple) for triple in given)


def _common_gen(record: Record) -> Made:
    concepts = raw_list(record, "concepts")
    return {"concepts": ", ".join(concepts), "concepts_newline": "\n".join(concepts), "target": _wordings(record)}


def _dart(record: Record) -> Made:
    triples = _triples(record, "tripleset")
    return {
        "tripleset": substituted(r"\[(.*?)\]", "", "; ".join(triples)),
        "tripleset_newline": "\n".join(triples),
        "target": _wordings(record),
    }


def _e2e_nlg(record: Record) -> Made:
    meaning = raw(record, "meaning_representation", "mr").replace("[", " = ").replace("]", "")
    return {"meaning_representation": meaning, "target": _wordings(record)}


def _web_nlg(record: Record) -> Made:
    facts = "; ".join(_triples(record, "input")).replace("_", " ").replace(" | ", ", ")
    return {"input_string": facts, "target": _wordings(record)}


def _english(record: Record) -> str:
    return raw(record, "en", "translation.en")


def _true_case(record: Record) -> Made:
    text = _english(record)
    lower = text.translate(_LOWER)  # ASCII's letters alone, as TensorFlow has it
    return None if lower == text else {"lower": lower, "answer": text}


def _fix_punct(record: Record) -> Made:
    text = _english(record)
    # Letters with accents are no letters in that expression, so they go too.
    bare = re.sub(r"[^0-9A-Za-z_\t\n\f\r ]", "", text)
    return None if bare == text or not bare.strip() else {"no_punct": bare, "answer": text}


def _word_segment(record: Record) -> Made:
    return {"no_space": _english(record).replace(" ", ""), "answer": _english(record)}


def _translation(record: Record, code: str) -> Made:
    other = raw(record, code, f"translation.{code}")
    return {"lang1": "English", "lang2": LANGUAGES[code], "sent1": _english(record), "sent2": other}


_PAIRS = {
    "para_crawl_enes": "es",
    "wmt14_enfr": "fr",
    **{f"wmt16_translate_{code}en": code for code in ("de", "tr", "cs", "fi", "ro", "ru")},
}

TEXTS = {
    "aeslc": views(_aeslc, ("body", "subject"), answer="subject"),
    "cnn_dailymail": views(_cnn, ("text", "highlights"), flan2022=_cnn_2022, answer="highlights"),
    "gigaword": views(_gigaword, ("text", "summary"), answer="summary"),
    "multi_news": views(_document, ("text", "summary"), answer="summary"),
    "xsum": views(_document, ("text", "summary"), answer="summary"),
    "newsroom": views(_newsroom, ("text", "title", "summary"), answer="summary"),
    "samsum": views(_samsum, ("dialogue", "summary"), answer="summary"),
    "opinion_abstracts_rotten_tomatoes": views(
        _rotten_tomatoes,
        ("critic_consensus", "movie", "first_review", "numbered_reviews"),
        answer="critic_consensus",
    ),
    "opinion_abstracts_idebate": views(_idebate, ("claim", "debate_name", "argument_sentences"), answer="claim"),
    "wiki_lingua_english_en": views(_wiki_lingua, ("source", "target"), answer="target"),
    "common_gen": views(_common_gen, ("concepts", "concepts_newline", "target"), answer="target"),
    "dart": views(_dart, ("tripleset", "tripleset_newline", "target"), answer="target"),
    "e2e_nlg": views(_e2e_nlg, ("meaning_representation", "target"), answer="target"),
    "web_nlg_en": views(_web_nlg, ("input_string", "target"), answer="target"),
    "true_case": views(_true_case, ("lower", "answer")),
    "fix_punct": views(_fix_punct, ("no_punct", "answer")),
    "word_segment": views(_word_segment, ("no_space", "answer")),
    **{
        name: views(
            functools.partial(_translation, code=code),
            ("lang1", "lang2", "sent1", "sent2"),
            answer="sent2",
            scored=("sent1",),
        )
        for name, code in _PAIRS.items()
    },
}

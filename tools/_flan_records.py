"""Records in the schema of TFDS's copies, which FLAN's code reads: invented ones, and adapters for other copies.

What is invented is made to be hard to copy: white space on both sides, line ends, quotes, braces,
brackets, underscores, letters that are not ASCII's.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flan_jax.tasks.fields import label
from mixtures.questions import lettered_choices

Text = Callable[..., str]
_WORDS = ["amber", "bridge", "candle", "dune", "ember", "fjord", "grove", "harbor", "isle", "jetty", "kelp", "lagoon"]
_ENDS = ("", ".", "?", " ", "\n", "  ", '"', " .")
_BEGINS = ("", "", " ", '"', "The ", "é", "\n")
_MIDDLES = (" ", " and ", "_", "\n", " [x] ", " {y} ", " -- ", "''", " <z> ", "; ", "\\n", " CANNOTANSWER ", ", ")


def _texts(index: int) -> Text:
    """Texts of record ``index``, another one at each call, never twice the same."""
    count = itertools.count(7 * index)

    def text(plain: str = "") -> str:
        n = next(count)
        first, second, third = (_WORDS[(n * step + index) % len(_WORDS)] for step in (1, 5, 7))
        middle, begin, end = _MIDDLES[n % len(_MIDDLES)], _BEGINS[(n + index) % len(_BEGINS)], _ENDS[n % len(_ENDS)]
        if plain:
            return f"{first} {plain} {second} {n}"
        return f"{begin}{first}{middle}{second} {third} {n}{end}"

    return text


def _many(text: Text, count: int) -> list[str]:
    return [text() for _ in range(count)]


def _claim(text: Text, index: int, first: str = "premise", labels: int = 3) -> dict[str, Any]:
    return {first: text(), "hypothesis": text(), "label": index % labels}


def _sentences(text: Text, index: int, first: str = "sentence1", second: str = "sentence2") -> dict[str, Any]:
    return {first: text(), second: text(), "label": index % 2}


def _squad(text: Text, index: int) -> dict[str, Any]:
    return {"title": text(), "context": text(), "question": text(), "answers": {"text": _many(text, 1 + index % 3)}}


def _words(text: Text, index: int) -> dict[str, Any]:
    return {"target": text(), "references": _many(text, index % 3)}


def _wsc(text: Text, index: int) -> dict[str, Any]:
    words = f"{text('met')} and then {text('saw')} them".replace("\n", " ").split(" ")
    place = 1 + index % (len(words) - 2)
    spans = {"span1_text": words[0], "span2_text": words[place], "span2_index": place}
    return {"text": " ".join(words), **spans, "label": index % 2}


def _wsc273(text: Text, index: int) -> dict[str, Any]:
    before, behind = f"{text('told')} that ", f" was {text('late')}. "
    places = {"pronoun_start": len(before), "pronoun_end": len(before) + 2, "pronoun_text": "it"}
    names = {"option1_normalized": text("one"), "option2_normalized": text("two")}
    return {"text": f"{before}it{behind}", **places, **names, "label": index % 2}


def _exam(text: Text, index: int) -> dict[str, Any]:
    return {"question": text(), "choices": {"text": _many(text, 4)}, "answerKey": index % 4}


def _openbookqa(text: Text, index: int) -> dict[str, Any]:
    asked = {"stem": text(), **{f"choice_{letter}": text() for letter in "ABCD"}}
    return {"question": asked, "fact1": text(), "answerKey": index % 4}


def _record(text: Text, index: int) -> dict[str, Any]:
    names = [text("hotel") for _ in range(3)]
    return {
        "query": f"{text()} @placeholder{text()}",
        "passage": f"{text()}\n@highlight\n{text()}",
        "entities": names,
        "answers": names[: 1 + index % 2],
    }


def _trivia(text: Text, index: int) -> dict[str, Any]:
    value = text("fort")
    return {
        "question": text(),
        "answer": {"value": value, "normalized_value": value, "normalized_aliases": [value, text("hill")]},
    }


def _winogrande(text: Text, index: int) -> dict[str, Any]:
    names = {"option1": text("mill"), "option2": text("tower")}
    return {"sentence": f"{text('gave')} because _ was {text('tired')}. ", **names, "label": index % 2}


def _copa(text: Text, index: int) -> dict[str, Any]:
    choices = {"choice1": text(), "choice2": text()}
    return {"premise": text(), **choices, "question": ("cause", "effect")[index % 2], "label": index % 2}


def _news(text: Text, index: int) -> dict[str, Any]:
    separator = ("2013 . ", "2014 . ", ") -- ", "")[index % 4]
    return {"article": f"{text()}{separator}{text()}", "highlights": f"{text()} .\n{text()} ."}


def _quac(text: Text, index: int) -> dict[str, Any]:
    return {
        **{name: text() for name in ("title", "background", "context", "question")},
        "orig_answer": {"text": text()},
    }


def _translation(code: str) -> Callable[[Text, int], dict[str, Any]]:
    return lambda text, index: {"en": text(), code: text()}


_CODES = {"para_crawl_enes": "es", "wmt14_enfr": "fr"}
_CODES |= {f"wmt16_translate_{code}en": code for code in ("de", "tr", "cs", "fi", "ro", "ru")}

INVENTED: dict[str, Callable[[Text, int], dict[str, Any]]] = {
    "bool_q": lambda t, i: {"title": t(), "passage": t(), "question": t(), "answer": bool(i % 2)},
    "rte": lambda t, i: _claim(t, i, labels=2),
    "cb": _claim,
    **dict.fromkeys(("snli", "mnli_matched", "mnli_mismatched"), _claim),
    **dict.fromkeys(("anli_r1", "anli_r2", "anli_r3"), lambda t, i: _claim(t, i, "context")),
    "qnli": lambda t, i: _sentences(t, i, "question", "sentence"),
    **dict.fromkeys(("wnli", "glue_mrpc", "paws_wiki"), _sentences),
    "glue_qqp": lambda t, i: {**_sentences(t, i, "question1", "question2"), "question1": f'{t()} ""so"" {t()}'},
    "stsb": lambda t, i: {"sentence1": t(), "sentence2": t(), "label": (0.0, 2.5, 3.5, 4.4, 5.0)[i % 5]},
    "wic": lambda t, i: {**_sentences(t, i), "word": t()},
    "wsc": _wsc,
    "wsc273": _wsc273,
    "natural_questions": lambda t, i: {"question": t(), "answer": _many(t, 1 + i % 3)},
    "trivia_qa": _trivia,
    "record": _record,
    **dict.fromkeys(("arc_challenge", "arc_easy"), _exam),
    "math_dataset": lambda t, i: {"question": t(), "answer": t()},
    "aeslc": lambda t, i: {"email_body": f"{t()}\n{t()}", "subject_line": f"{t()}\n{t()}"},
    "cnn_dailymail": _news,
    **dict.fromkeys(("gigaword", "multi_news", "xsum"), lambda t, i: {"document": t(), "summary": t()}),
    "newsroom": lambda t, i: {"title": t(), "text": t(), "summary": t()},
    "opinion_abstracts_rotten_tomatoes": lambda t, i: {
        **{"_critic_consensus": t(), "_movie_name": f"the_{t('last')}_one"},
        "_critics": {"value": _many(t, 3 + 9 * (i % 2))},
    },
    "opinion_abstracts_idebate": lambda t, i: {
        **{"_claim": t(), "_debate_name": t()},
        "_argument_sentences": {"value": _many(t, 3 + 9 * (i % 2))},
    },
    "coqa": lambda t, i: {"story": t(), "questions": _many(t, 3), "answers": {"input_text": _many(t, 3)}},
    "samsum": lambda t, i: {"dialogue": f"{t()}\r\n<file_photo>{t()}> {t()}", "summary": t()},
    "squad_v1": _squad,
    "squad_v2": lambda t, i: {**_squad(t, i), "is_impossible": not i % 3},
    "drop": lambda t, i: {"passage": t(), "question": t(), "answer": t()},
    "quac": _quac,
    "multirc": lambda t, i: {
        **{"paragraph": t(), "question": t(), "answer": t(), "label": i % 2},
        "idx": {"paragraph": 1, "question": 2, "answer": 3},
    },
    "ag_news_subset": lambda t, i: {"title": t(), "description": t(), "label": i % 4},
    "sentiment140": lambda t, i: {"text": t(), "polarity": (0, 4, 2)[i % 3]},
    "story_cloze": lambda t, i: {"context": t(), "endings": _many(t, 2), "label": 1 + i % 2},
    "imdb_reviews": lambda t, i: {"text": f"{t()}<br /><br />{t()}", "label": i % 2},
    "definite_pronoun_resolution": lambda t, i: {
        **{"sentence": t(), "pronoun": t(), "candidates": _many(t, 2), "label": i % 2}
    },
    "copa": _copa,
    "winogrande": _winogrande,
    "yelp_polarity_reviews": lambda t, i: {"text": f'{t()} \\""so\\"" {t()}\\n{t()}', "label": i % 2},
    "cosmos_qa": lambda t, i: {
        **{"context": t(), "question": t(), "label": i % 4},
        **{f"answer{number}": t() for number in range(4)},
    },
    **{task: _translation(code) for task, code in _CODES.items()},
    "common_gen": lambda t, i: {"concepts": _many(t, 3), **_words(t, i)},
    "dart": lambda t, i: {"tripleset": [f"{t()} | [TITLE] | {t()}" for _ in range(3)], **_words(t, i)},
    "e2e_nlg": lambda t, i: {"meaning_representation": f"name[{t()}], area[{t()}]", **_words(t, i)},
    "web_nlg_en": lambda t, i: {"input": [f"{t()} | has_part | {t()}" for _ in range(2)], **_words(t, i)},
    "wiki_lingua_english_en": lambda t, i: {"source": t(), "target": t()},
    **dict.fromkeys(("true_case", "fix_punct", "word_segment"), lambda t, i: {"en": f"É {t()}, {t('Über')}, No. {i}!"}),
    "cola": lambda t, i: {"sentence": t(), "label": i % 2},
    "sst2": lambda t, i: {"sentence": t(), "label": i % 2},
    "trec": lambda t, i: {"text": t(), "label-coarse": i % 6},
    "piqa": lambda t, i: {"goal": t(), "sol1": t(), "sol2": t(), "label": i % 2},
    "openbookqa": _openbookqa,
    "hellaswag": lambda t, i: {
        **{"context": f"[header] {t()} [step] {t()}", "activity_label": t(), "label": i % 4},
        "endings": [f"[step] {t()}" for _ in range(4)],
    },
}
"""Task → a record of TFDS's schema, made of texts and its number."""


def invented(task: str, count: int) -> Iterator[dict[str, Any]]:
    """Records of a task; of a chain-of-thought file, as our source reads its lines."""
    for index in range(count):
        text = _texts(index)
        if task.startswith("cot_"):
            yield {name: f" {text('holds')} "[index % 2 :] for name in ("question", "answer", "rationale")}
        else:
            yield INVENTED[task](text, index)


def _labeled(record: Mapping[str, Any], names: tuple[str, ...], **columns: str) -> dict[str, Any]:
    """Columns by TFDS's names, and the label as its number."""
    found = label(record["label"], names)
    place = -1 if found is None else names.index(found)
    return {**{ours: record[theirs] for ours, theirs in columns.items()}, "label": place}


def _from_exam(record: Mapping[str, Any]) -> dict[str, Any]:
    question = record["query"].removeprefix("Question:").strip()
    return {"question": question, "choices": {"text": record["choices"]}, "answerKey": record["gold"]}


def _from_winogrande(record: Mapping[str, Any]) -> dict[str, Any]:
    first, second = (option.rpartition(" ") for option in record["context_options"])
    sentence = f"{first[0]} _ {record['continuation']}"
    return {"sentence": sentence, "option1": first[2], "option2": second[2], "label": record["gold"]}


def _from_openbookqa(record: Mapping[str, Any]) -> dict[str, Any]:
    labels, choices = lettered_choices(record["Choices"])
    asked = {f"choice_{one}": choice for one, choice in zip(labels, choices, strict=True)}
    return {
        "question": {"stem": record["Question Stem"], **asked},
        "fact1": record.get("fact1", ""),
        "answerKey": labels.index(record["Answer Key"]),
    }


_NLI = ("entailment", "neutral", "contradiction")
TO_TFDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "arc_challenge": _from_exam,
    "arc_easy": _from_exam,
    "natural_questions": dict,
    "copa": dict,
    "piqa": dict,
    "openbookqa": _from_openbookqa,
    "winogrande": _from_winogrande,
    "wsc": lambda record: {**record["target"], "text": record["text"], "label": int(record["label"])},
    "mnli_matched": lambda record: _labeled(record, _NLI, premise="text_a", hypothesis="text_b"),
    "mnli_mismatched": lambda record: _labeled(record, _NLI, premise="text_a", hypothesis="text_b"),
    "snli": lambda record: _labeled(record, _NLI, premise="text_a", hypothesis="text_b"),
    "qnli": lambda record: _labeled(record, ("entailment", "not_entailment"), question="text_a", sentence="text_b"),
    "wnli": lambda record: {**record, "label": int(record["label"])},
    "stsb": lambda record: {
        "sentence1": record["text_a"],
        "sentence2": record["text_b"],
        "label": float(record["label"]),
    },
    "bool_q": lambda record: {
        **{"passage": record["passage"], "question": record["question"], "answer": record["label"]},
        "title": record.get("title", ""),
    },
    "cosmos_qa": lambda record: {**record, "label": int(record["label"])},
    "dart": lambda record: {
        "tripleset": [" | ".join(triple) for triple in record["tripleset"]],
        "target": record["annotations"][0]["text"],
        "references": [],
    },
    "e2e_nlg": lambda record: {"meaning_representation": record["mr"], "target": record["ref"], "references": []},
}
"""Task → a record of another published copy in TFDS's schema."""

"""Coreference beyond Flan 2021: whom a pronoun stands for, in encyclopedias and at work."""

import re
from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template

_NEITHER = "neither"
_OCCUPATIONS = (
    "accountant analyst assistant attendant auditor baker carpenter cashier CEO chief cleaner clerk "
    "cook counselor designer developer driver editor farmer guard hairdresser housekeeper janitor laborer lawyer "
    "librarian manager mechanic mover nurse physician receptionist salesperson secretary sheriff supervisor tailor "
    "teacher writer"
)
_PERSON = re.compile(rf"\b(construction worker|{'|'.join(_OCCUPATIONS.split())})\b", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(he|she|they|him|her|them|his|hers|their|theirs)\b", re.IGNORECASE)
_MARKED = re.compile(r"\[([^\]]*)\]")


def _named(record: Record) -> dict[str, Any] | None:
    """GAP: a text, a pronoun at an offset, and two names, one of which or neither is meant."""
    passage, pronoun = column(record, "Text"), text(record, "Pronoun")
    start = column(record, "Pronoun-offset")
    if not str(start).isdecimal() or passage[int(start) :][: len(pronoun)] != pronoun:
        raise UserError(f"the pronoun {pronoun!r} is not at its offset {start!r}. Correct the record.")
    start = int(start)
    names = [text(record, name) for name in "AB"]
    meant = [label(column(record, f"{name}-coref"), ("no", "yes")) == "yes" for name in "AB"]
    if all(meant) or names[0] == names[1]:
        return None
    return {
        "text": f"{passage[:start]}[{pronoun}]{passage[start + len(pronoun) :]}".strip(),
        "pronoun": pronoun,
        "first": names[0],
        "second": names[1],
        "answer": next((name for name, is_meant in zip(names, meant, strict=True) if is_meant), _NEITHER),
        "choices": (*names, _NEITHER),
    }


def _at_work(record: Record) -> dict[str, Any] | None:
    """WinoBias: a sentence on people known by their work, the one who is meant marked like the pronoun."""
    line = text(record, "line") if "line" in record else _marked(record)
    marked = _MARKED.findall(line)
    meant = [_person(found) for part in marked for found in _PERSON.findall(part)]
    pronouns = [part for part in marked if _PRONOUN.fullmatch(part.strip())]
    sentence = _MARKED.sub(r"\1", line)
    people = tuple(dict.fromkeys(map(_person, _PERSON.findall(sentence))))
    if len(meant) != 1 or not pronouns or len(people) < 2:
        raise UserError(f"{line!r} does not mark one of its people and a pronoun. Correct the record.")
    return {"sentence": sentence, "pronoun": pronouns[0].strip(), "answer": meant[0], "choices": people}


def _person(occupation: str) -> str:
    return f"the {'CEO' if occupation.upper() == 'CEO' else occupation.lower()}"


def _marked(record: Record) -> str:
    """The sentence with its mentions in brackets, from tokens and (first, last, first, last, …) places."""
    tokens, places = list(column(record, "tokens")), [int(place) for place in column(record, "coreference_clusters")]
    _check_places(places, tokens)
    for first, last in zip(places[::2], places[1::2], strict=True):
        tokens[first] = "[" + tokens[first]
        tokens[last] += "]"
    return re.sub(r" (?=[.,;:?!'])", "", " ".join(tokens))


def _check_places(places: Sequence[int], tokens: Sequence[str]) -> None:
    if len(places) % 2 or not all(0 <= place < len(tokens) for place in places):
        raise UserError(f"'coreference_clusters' {places!r} are not pairs of places among {len(tokens)} tokens.")


def _schema(record: Record) -> dict[str, Any] | None:
    """Winogender: ``occupation.participant.WHO.gender`` beside the sentence, WHO being 0 or 1."""
    name, sentence = text(record, "sentid"), text(record, "sentence")
    parts = name.split(".")
    pronoun = _PRONOUN.search(sentence)
    if len(parts) < 4 or parts[2] not in ("0", "1") or pronoun is None:
        raise UserError(f"'sentid' {name!r} and the sentence {sentence!r} do not tell whom a pronoun means.")
    people = tuple(part if part == "someone" else f"the {part}" for part in parts[:2])
    return {
        "sentence": sentence,
        "pronoun": pronoun[0],
        "answer": people[int(parts[2])],
        "choices": people,
    }


GAP = register(
    TaskSpec(
        name="gap",
        cluster="coreference",
        collection="open",
        title="GAP",
        source=published(
            "google-research-datasets/gap",
            revision="refs/convert/parquet",
            tfds="gap:0.1.1",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 2_000, "validation": 454, "test": 2_000},
            folders=("gap",),
        ),
        fields=_named,
        slots=("text", "pronoun", "first", "second", "answer", "choices"),
        options="choices",
        templates=(
            Template('{text}\n\nWho is meant by the bracketed "{pronoun}": {first}, {second} or neither?\n\n{options}'),
            Template(
                "One pronoun in this paragraph stands in square brackets. "
                "Does it refer to {first}, to {second} or to neither?\n\n{text}\n\n{options}"
            ),
            Template("Text: {text}\nPronoun: {pronoun}\nCandidates: {first}, {second}, neither\nRefers to:\n{options}"),
            Template("{options}\n\nResolve the pronoun in brackets in the following text: {text}"),
            Template(
                'Could the word "{pronoun}" in brackets be replaced by "{first}" or by "{second}" without changing the '
                'meaning? Name the one that fits, or answer "neither".\n\n{text}'
            ),
            Template(
                "{text}\n\nThe passage mentions {first} and {second}. If [{pronoun}] is either of the two, say which; "
                'otherwise say "neither".'
            ),
            Template(
                "While editing an encyclopedia you come across an unclear reference, which you put in brackets. "
                "Is it {first} who is meant, or {second}, or neither?\n\nArticle: {text}\n\n{options}"
            ),
            Template("Whom does [{pronoun}] point to in this extract from a biography? {text}\n\n{options}"),
            Template(
                "Read this article closely, keeping track of the people in it.\n\n{text}\n\n"
                'If somebody stopped you at "[{pronoun}]" to ask who that is, what would you say?\n\n{options}'
            ),
            Template(
                'Antecedent search: decide between "{first}", "{second}" and "neither" for the pronoun in brackets.'
                "\n\n{text}"
            ),
        ),
    )
)


WINOBIAS = register(
    TaskSpec(
        name="winobias",
        cluster="coreference",
        collection="open",
        title="WinoBias",
        # The hub has one configuration for each of the four files; a local copy may join them.
        source=published(
            "uclanlp/wino_bias",
            "type1_anti",
            revision="refs/convert/parquet",
            train="validation[:-40]",
            validation="validation[-40:]",
            test="test",
            sizes={"validation": 396, "test": 396},
            folders=("winobias", "wino_bias"),
            hash_shuffled=True,
        ),
        fields=_at_work,
        slots=("sentence", "pronoun", "answer", "choices"),
        options="choices",
        templates=(
            Template('{sentence}\n\nWho is "{pronoun}" in this sentence?\n\n{options}'),
            Template('More than one person is mentioned here: {sentence}\n\nWhich of them is "{pronoun}"?'),
            Template("Sentence: {sentence}\nPronoun: {pronoun}\nPerson:\n{options}"),
            Template('Say whom the writer means by the word "{pronoun}".\n\n{options}\n\nText: {sentence}'),
            Template('{sentence}\n\nHere, "{pronoun}" refers to\n\n{options}'),
            Template(
                "Do not let the usual ideas about men's and women's jobs mislead you; go by the meaning alone. "
                'Who does "{pronoun}" stand for in what follows? {sentence}\n\n{options}'
            ),
            Template(
                'A translator has to replace "{pronoun}" with the person meant. Who is that?\n\nOriginal: {sentence}'
            ),
            Template('Work out from the sense of the sentence who is called "{pronoun}".\n\n{sentence}\n\n{options}'),
            Template(
                'Instead of "{pronoun}", the writer could have named the person again.\n\n{sentence}\n\n'
                "That person is\n\n{options}"
            ),
            Template(
                "A short scene at work: {sentence}\n\nPlease clear up the reference. "
                'When we read "{pronoun}", whom should we think of?\n\n{options}'
            ),
        ),
    )
)


WINOGENDER = register(
    TaskSpec(
        name="winogender",
        cluster="coreference",
        collection="open",
        title="Winogender schemas",
        # Published as one table of 720 sentences, those of an occupation side by side.
        source=published(
            "oskarvanderwal/winogender",
            "all",
            train="test[:468]",
            validation="test[468:520]",
            test="test[520:]",
            sizes={"test": 720},
            folders=("winogender",),
        ),
        fields=_schema,
        slots=("sentence", "pronoun", "answer", "choices"),
        options="choices",
        templates=(
            Template('"{sentence}" Who is meant by "{pronoun}"?\n\n{options}'),
            Template('{sentence}\n\nThe pronoun "{pronoun}" takes the place of\n\n{options}'),
            Template('Find the person for the pronoun "{pronoun}".\n\n{options}\n\nStatement: {sentence}'),
            Template(
                "Jobs have no gender, so only the logic of the sentence can tell who is spoken of.\n\n"
                'Sentence: {sentence}\n\nWho is spoken of as "{pronoun}"?\n\n{options}'
            ),
            Template('{sentence}\n\nQuestion: to whom does "{pronoun}" refer?\nAnswer:\n{options}'),
            Template('Who could be named in place of "{pronoun}"? {sentence}'),
            Template(
                "This was overheard, and a listener did not catch the reference: {sentence}\n\n"
                'Tell the listener who "{pronoun}" was.\n\n{options}'
            ),
            Template('Coreference.\nInput: {sentence}\nMention: "{pronoun}"\nAntecedent:\n{options}'),
            Template('Read the sentence, then name the person whom the writer shortened to "{pronoun}".\n\n{sentence}'),
            Template(
                'A child wants to know who "{pronoun}" is in this story. Answer the child.\n\n{options}\n\nThe story: {sentence}'
            ),
        ),
    )
)

"""Named entities: which names a text mentions, and what they are the names of."""

from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, label
from flan_jax.tasks.spec import Record, TaskSpec, Template

NONE = "none"
"""The answer for a text without any named entity."""
_KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
# The order in which the hub numbers the tags.
_TAGS = ("O", *(f"{place}-{kind}" for kind in _KINDS for place in "BI"))


def _entities(record: Record) -> dict[str, Any] | None:
    tokens, tags = column(record, "tokens"), column(record, "ner_tags")
    if not isinstance(tokens, Sequence) or not isinstance(tags, Sequence) or len(tokens) != len(tags):
        raise UserError(f"'tokens' and 'ner_tags' must be lists of one length, not {tokens!r:.40} and {tags!r:.40}.")
    if not any(token.strip() for token in tokens):
        return None
    found = [f"{name} ({kind})" for name, kind in spans(tokens, [_tag(tag) for tag in tags])]
    return {"text": " ".join(tokens), "answer": ", ".join(dict.fromkeys(found)) or NONE}


def _tag(tag: Any) -> str:
    # Where annotators disagreed, the original files join their tags by commas.
    return label(tag.split(",")[0] if isinstance(tag, str) else tag, _TAGS) or "O"


def spans(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, str]]:
    """The names that BIO tags mark, each with its kind.

    >>> spans(["Ada", "Bell", "of", "Tarn"], ["B-person", "I-person", "O", "B-location"])
    [('Ada Bell', 'person'), ('Tarn', 'location')]
    """
    found: list[tuple[list[str], str]] = []
    inside = False
    for token, tag in zip(tokens, tags, strict=True):
        place, _, kind = tag.partition("-")
        if place == "B" or (place == "I" and not inside):
            found.append(([token], kind.replace("-", " ")))
        elif place == "I":
            found[-1][0].append(token)
        inside = place != "O"
    return [(" ".join(words), kind) for words, kind in found]


WNUT17 = register(
    TaskSpec(
        name="wnut17",
        cluster="ner",
        collection="open",
        title="WNUT 2017",
        source=published(
            "leondz/wnut_17",
            revision="refs/convert/parquet",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 3_394, "validation": 1_009, "test": 1_287},
            folders=("wnut17", "wnut_17"),
        ),
        fields=_entities,
        slots=("text", "answer"),
        predict="generate",
        metric="entity_f1",
        other_metrics=("squad_f1", "squad_em"),
        templates=(
            Template(
                "List the named entities in this post, each with its kind in parentheses: person, location, "
                'corporation, group, product or creative work. If there are none, write "none".\n\nPost: {text}'
            ),
            Template(
                "{text}\n\nWhich people, places, companies, groups, products and creative works are named above? "
                'Put the kind in parentheses after every name, or answer "none".'
            ),
            Template("Named entity recognition for social media.\nInput: {text}\nEntities and their types:"),
            Template(
                "Find the names in this text and say what each is the name of, in the form: name (type). "
                'Answer "none" where nothing is named.\n\n{text}'
            ),
            Template(
                "Somebody indexes online posts by the persons, locations, corporations, groups, products and creative "
                "works that they mention. What goes into the index for the following post? {text}"
            ),
            Template(
                "What proper names do you see here, and of what kind are they?\n\n{text}\n\n"
                'Names with kinds, separated by commas, or "none":'
            ),
            Template("Tag the entities by writing them out, each with its type in parentheses: {text}"),
            Template(
                "Some names are new or rare, and still a careful reader notices them. Read the message and note every "
                "name together with its category, which may be person, location, corporation, group, product or "
                "creative work.\n\nMessage: {text}\n\nNotes:"
            ),
            Template("Message: {text}\n\nExtract its named entities (with the type of each):"),
            Template("Write a short online post. Named entities in it: {answer}.", "{text}", inverted=True),
        ),
    )
)

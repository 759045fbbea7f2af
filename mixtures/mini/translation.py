"""Translation into velu, an invented language, and back.

Velu has no articles, sets an adjective behind its noun and ends with the verb:
"the old king sees the dog" is "rado osta toka zatu".
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Record, TaskSpec
from mixtures.mini.words import VELU_ADJECTIVES, VELU_NOUNS, VELU_VERBS
from mixtures.mini.world import Draw, as_slots, source, templates


def _pair(draw: Draw) -> tuple[str, str]:
    """An English sentence and its translation."""
    english, velu = [], []
    for noun in draw.some(tuple(VELU_NOUNS), 2):
        adjective = draw.one(tuple(VELU_ADJECTIVES)) if draw.chance(0.6) else ""
        english.append(" ".join(word for word in ("the", adjective, noun) if word))
        velu += [VELU_NOUNS[noun], *([VELU_ADJECTIVES[adjective]] if adjective else [])]
    verb = draw.one(tuple(VELU_VERBS))
    return f"{english[0]} {verb} {english[1]}", " ".join([*velu, VELU_VERBS[verb]])


def _to_velu(draw: Draw) -> dict[str, Any]:
    english, velu = _pair(draw)
    return {"english": english, "answer": velu}


def _from_velu(draw: Draw) -> dict[str, Any]:
    english, velu = _pair(draw)
    return {"velu": velu, "answer": english}


def _velu_side(record: Record) -> str:
    return str(record.get("velu", record["answer"]))


TO_VELU = register(
    TaskSpec(
        name="to_velu",
        cluster="translation",
        collection="mini",
        source=source("to_velu", _to_velu, 2, key=_velu_side),
        fields=as_slots,
        slots=("english", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "translate into velu: {english}",
            "{english}\n\nhow do you say this in velu?",
            "english: {english}\nvelu:",
            "say it in velu. {english}",
            "your friend speaks only velu. tell your friend: {english}",
            "what is the velu for this sentence?\n{english}",
            "write the next line in velu.\n{english}",
            "put this english sentence into velu: {english}",
            "please translate this sentence into velu.\n\n{english}",
            "{english}\nwrite it in velu:",
        ),
    )
)

FROM_VELU = register(
    TaskSpec(
        name="from_velu",
        cluster="translation",
        collection="mini",
        source=source("from_velu", _from_velu, 2, key=_velu_side),
        fields=as_slots,
        slots=("velu", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "translate into english: {velu}",
            "{velu}\n\nwhat does this mean in english?",
            "velu: {velu}\nenglish:",
            "say this in english. {velu}",
            "i do not speak velu. tell me what this means: {velu}",
            "a letter in velu says: {velu}\nwrite the english sentence.",
            "someone says {velu}. what is that in english?",
            "read the velu and write the english.\n{velu}",
            "please translate this velu sentence into english.\n\n{velu}",
            "{velu}\nhow do you say this in english?",
        ),
    )
)

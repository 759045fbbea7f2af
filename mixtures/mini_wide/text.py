"""Plain text of the wide world, for pre-training: an encoder–decoder fills in spans, a decoder goes on writing.

FLAN starts from a model that has read much text. This is the text of this world: what its words mean, its facts, little
stories, reviews and messages, in sentences as training tasks have them. It asks no question and gives no instruction, and
the sentence forms of the clusters that are never trained on do not occur in it, only their words.

``text_spans`` is T5's span corruption (Raffel et al. 2020, section 3.3.4): 15% of the words, in spans of three on
average, are replaced by a mark each, and the targets are the marks with what they stand for.
"""

from typing import Any

from flan_jax.mixing.mixture import Entry, Mixture, register_mixture
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from mixtures.mini.words import (
    BAD,
    CAPITALS,
    CATEGORIES,
    COLORS,
    CREATURES,
    DAYS,
    GOOD,
    OPPOSITES,
    PEOPLE,
    PLACES,
    REVIEWED,
    SETTINGS,
    THINGS,
    VELU_ADJECTIVES,
    VELU_NOUNS,
    VELU_VERBS,
)
from mixtures.mini.world import Draw, as_slots, source, templates, with_article
from mixtures.mini_wide.words import CONSEQUENCES, DEEDS, JOB_OBJECTS

MIXTURE = "mini_wide_text"
VOCABULARY = "mini_wide"
# What stands for the first, second … span that is left out; they mean nothing else in this world.
MARKS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
NOISE_DENSITY, MEAN_SPAN = 0.15, 3
RECORDS = 20_000
_VELU = {**VELU_NOUNS, **VELU_VERBS, **VELU_ADJECTIVES}
# What words of comparison and of order mean, without a story that asks for it.
_MEANINGS = (
    "the tallest is taller than all others, and the shortest is the least tall.",
    "the oldest is older than all others, and the youngest is the least old.",
    "the fastest is faster than all others, and the slowest is the least fast.",
    "most is more than all others have, and fewest is less than all others have.",
    "who comes first comes before all others, and who comes last comes after all others.",
    "first comes before second, and last comes after both.",
    "what costs the most costs more than all others, and what costs the least costs less.",
)
# What people do with each other; the small words that all texts need.
_TALK = (
    "yesterday {one} talked to {other} about the {things}.",
    "{one} asked {other} for the {things}, and {other} has them.",
    "we wanted the {things} that {one} gave us.",
    "{one} saw the {things} and wrote to {other} about it.",
    "then {one} came too, and there was no thing that {other} could find.",
)


def _creature(draw: Draw) -> str:
    name = draw.one(tuple(CREATURES))
    color, home, food = CREATURES[name]
    said = (f"is {color}", f"lives in the {home}", f"eats {food}")
    return f"{with_article(name)} {draw.one(said)}."


def _kind(draw: Draw) -> str:
    kind = draw.one(tuple(CATEGORIES))
    return f"{with_article(draw.one(CATEGORIES[kind]))} is a kind of {kind}."


def _setting(draw: Draw) -> str:
    place = draw.one(tuple(SETTINGS))
    return f"you see {with_article(draw.one(SETTINGS[place]))} at the {place}."


def _capital(draw: Draw) -> str:
    country = draw.one(tuple(CAPITALS))
    return f"{CAPITALS[country]} is the capital of {country}."


def _event(draw: Draw) -> str:
    person, deed, thing, place = draw.one(PEOPLE), draw.one(DEEDS), draw.one(THINGS), draw.one(PLACES)
    forms = (f"{person} {deed} the {thing} in the {place}.", f"the {thing} was {deed} by {person} in the {place}.")
    return draw.one(forms)


def _opinion(draw: Draw) -> str:
    good = draw.chance(0.5)
    stars = "five stars" if good else "one star"
    word = draw.one(GOOD if good else BAD)
    return f"the {draw.one(REVIEWED)} was {word}, so the guest gives it {stars}."


def _opposite(draw: Draw) -> str:
    one, other = draw.shuffled(draw.one(OPPOSITES))
    return f"what is {one} is not {other}."


def _sum(draw: Draw) -> str:
    a, b = draw.number(1, 12), draw.number(1, 12)
    forms = (f"{a} and {b} more are {a + b}.", f"{a + b} take away {b} leaves {a}.")
    return draw.one(forms)


def _days(draw: Draw) -> str:
    today = draw.below(len(DAYS))
    tomorrow = DAYS[(today + 1) % len(DAYS)]
    forms = (f"the day after {DAYS[today]} is {tomorrow}.", f"the day before {tomorrow} is {DAYS[today]}.")
    return draw.one(forms)


def _job(draw: Draw) -> str:
    job = draw.one(tuple(JOB_OBJECTS))
    return f"{with_article(job)} works with {JOB_OBJECTS[job]}."


def _consequence(draw: Draw) -> str:
    state = draw.one(tuple(CONSEQUENCES))
    return f"who is {state} often thinks: i {CONSEQUENCES[state]}."


def _velu(draw: Draw) -> str:
    english = draw.one(tuple(_VELU))
    return f"{_VELU[english]} is velu for {english}."


def _meaning(draw: Draw) -> str:
    return draw.one(_MEANINGS)


def _color(draw: Draw) -> str:
    return f"the {draw.one(THINGS)} of {draw.one(PEOPLE)} is {draw.one(COLORS)}."


def _talk(draw: Draw) -> str:
    (one, other), things = draw.some(PEOPLE, 2), f"{draw.one(THINGS)}s"
    return draw.one(_TALK).format(one=one, other=other, things=things)


_SENTENCES = (
    _creature, _kind, _setting, _capital, _event, _opinion, _opposite, _sum, _days, _job, _consequence, _velu,
    _meaning, _color, _talk,
)  # fmt: skip


def passage(draw: Draw, sentences: int) -> list[str]:
    """Draws sentences of different kinds and returns their words, the full stops apart."""
    text = " ".join(make(draw) for make in draw.some(_SENTENCES, sentences))
    for stop in ".,:":
        text = text.replace(stop, f" {stop}")
    return text.split()


def corrupt(words: list[str], draw: Draw) -> tuple[str, str]:
    """Replaces spans of words by marks.

    Args:
      words: of a text; at least two.
      draw: decides where the spans are.

    Returns:
      The text with its marks, and the marks with the words that they stand for.
    """
    noise = max(1, round(len(words) * NOISE_DENSITY))
    count = min(max(1, round(noise / MEAN_SPAN)), len(words) - noise, len(MARKS))
    lengths, gaps = _segments(noise, count, draw), _segments(len(words) - noise, count, draw)
    kept: list[str] = []
    spans: list[str] = []
    place = 0
    for mark, gap, length in zip(MARKS, gaps, lengths, strict=False):
        kept += [*words[place : place + gap], mark]
        spans += [mark, *words[place + gap : place + gap + length]]
        place += gap + length
    return " ".join([*kept, *words[place:]]), " ".join(spans)


def _segments(total: int, count: int, draw: Draw) -> list[int]:
    """Divides ``total`` into ``count`` parts of at least one, every way as likely."""
    cuts = sorted(draw.some(range(1, total), count - 1))
    return [end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True)]


def _spans(draw: Draw) -> dict[str, Any]:
    corrupted, spans = corrupt(passage(draw, draw.number(3, 5)), draw)
    return {"text": corrupted, "answer": spans}


def _continued(draw: Draw) -> dict[str, Any]:
    words = passage(draw, 2)
    return {"text": words[0], "answer": " ".join(words[1:])}


TEXT_SPANS = register(
    TaskSpec(
        name="text_spans",
        cluster="plain_text",
        collection="mini_wide",
        source=source("text_spans", _spans, 1, sizes=(RECORDS, 200, 200)),
        fields=as_slots,
        slots=("text", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates("{text}"),
    )
)

TEXT_CONTINUED = register(
    TaskSpec(
        name="text_continued",
        cluster="plain_text",
        collection="mini_wide",
        source=source("text_continued", _continued, 1, sizes=(RECORDS, 200, 200)),
        fields=as_slots,
        slots=("text", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates("{text}"),
    )
)


def mini_wide_text() -> Mixture:
    """Text with spans to fill in, for encoder–decoders."""
    return _of(MIXTURE, TEXT_SPANS)


def mini_wide_text_decoder() -> Mixture:
    """Text to go on with from its first word, for decoders."""
    return _of(f"{MIXTURE}_decoder", TEXT_CONTINUED)


def _of(name: str, spec: TaskSpec) -> Mixture:
    return Mixture(
        name=name, entries=(Entry(Prompted(spec, PromptMode.ZS_NOOPT)),), policy=Equal(), vocabulary=VOCABULARY
    )


register_mixture(MIXTURE, mini_wide_text)
register_mixture(f"{MIXTURE}_decoder", mini_wide_text_decoder)

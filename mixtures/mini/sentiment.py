"""Sentiment: the opinion of a review, the mood of a message."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import BAD, DAYS, GOOD, PEOPLE, REVIEWED, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_OPINIONS = ("positive", "negative")
_PLAIN = ("the {item} was {word}.", "we found the {item} {word}.", "i thought that the {item} was really {word}.")
# "not bad" praises: the words alone do not decide. Only the first words of each list are negated:
# "not superb" would say little.
_NEGATABLE = 4
_NEGATED = ("the {item} was not {word}.", "i would not call the {item} {word}.")
_ASIDES = (
    "we went there on {day}.",
    "{name} came with us.",
    "it was a cold {day}.",
    "it rained all day.",
    "i was there with {name}.",
)


def _review(draw: Draw) -> dict[str, Any]:
    opinion = draw.one(_OPINIONS)
    sentences = []
    for item in draw.some(REVIEWED, 2):
        negated = draw.chance(0.25)
        words: tuple[str, ...] = GOOD if (opinion == "positive") != negated else BAD
        words = words[:_NEGATABLE] if negated else words
        sentences.append(draw.one(_NEGATED if negated else _PLAIN).format(item=item, word=draw.one(words)))
    if draw.chance(0.5):
        aside = draw.one(_ASIDES).format(day=draw.one(DAYS), name=draw.one(PEOPLE))
        sentences.insert(draw.below(len(sentences) + 1), aside)
    return {"review": " ".join(sentences), "answer": opinion}


REVIEW_SENTIMENT = register(
    TaskSpec(
        name="review_sentiment",
        cluster="sentiment",
        collection="mini",
        source=source("review_sentiment", _review, 2),
        fields=as_slots,
        slots=("review", "answer"),
        options=_OPINIONS,
        templates=templates(
            "{review}\n\nwhat does the writer think of it?",
            "here is a review:\n{review}\nname the word that describes it best.\n{options}",
            "tell me the tone of this review: {review}",
            "how does this review sound?\n{options}\nreview: {review}",
            "a guest wrote: {review}\nthe opinion of the guest is",
            "{review}\n{options}\nwhich label fits the text above?",
            "please judge the opinion below.\n{review}",
            "sort this review by its tone: {review}",
            "read the review and name the opinion of the writer.\n\n{review}",
            "text: {review}\nopinion of the writer:",
        ),
    )
)

_MOODS: dict[str, tuple[str, ...]] = {
    "happy": (
        "{name} gave me a new {thing}",
        "i won the race today",
        "{name} is coming to visit me",
        "i passed the test",
        "{name} baked a cake for me",
        "our team won the game",
    ),
    "sad": (
        "my old {thing} is gone for ever",
        "{name} moved far away",
        "i miss {name} so much",
        "my little bird died",
        "nobody came to my party",
        "{name} has no time for me",
    ),
    "angry": (
        "{name} broke my {thing}",
        "{name} lied to me again",
        "someone stole my {thing}",
        "{name} keeps shouting at me",
        "{name} never says sorry",
        "they were so rude to {name}",
    ),
    "afraid": (
        "i heard a noise in the dark",
        "a big spider sits on my {thing}",
        "someone is following {name} and me",
        "the storm shakes the house",
        "{name} saw a ghost in our house",
        "there is a snake behind the {thing}",
    ),
}
_OPENINGS = ("hi {name},", "listen,", "guess what,", "oh {name},", "dear {name},", "hey,")
_CLOSINGS = ("can you call me on {day}?", "we can talk on {day}.", "see you on {day}.", "please write back.")


def _message(draw: Draw) -> dict[str, Any]:
    mood = draw.one(tuple(_MOODS))
    friend, other = draw.some(PEOPLE, 2)
    opening = draw.one(_OPENINGS).format(name=friend)
    news = draw.one(_MOODS[mood]).format(name=other, thing=draw.one(THINGS))
    closing = draw.one(_CLOSINGS).format(day=draw.one(DAYS))
    return {"message": f"{opening} {news}. {closing}", "answer": mood, "choices": draw.shuffled(tuple(_MOODS))}


MESSAGE_MOOD = register(
    TaskSpec(
        name="message_mood",
        cluster="sentiment",
        collection="mini",
        source=source("message_mood", _message, 2),
        fields=as_slots,
        slots=("message", "answer", "choices"),
        options="choices",
        templates=templates(
            "{message}\n\nhow does the writer feel?",
            "message: {message}\nfeeling:",
            "what feeling is in this message?\n{options}\n{message}",
            "a friend sends you this: {message}\nsay how your friend feels.",
            "read the message and name the mood.\n\n{message}",
            "{message}\nthe person who wrote this is",
            "someone wrote to you.\n{message}\n{options}\nwhich mood is it?",
            "give one word for the mood of the writer: {message}",
            "how does the person who sends this message feel?\n\n{message}",
            "text: {message}\n{options}\nname the feeling of the writer.",
        ),
    )
)

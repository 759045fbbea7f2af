"""Topic (held out): what a sentence is about, and where a story is set.

Neither is trained. ``sentence_topic`` can be solved with what ``word_category`` teaches
(apple → fruit), found inside a sentence instead of after "what kind of thing is";
``story_setting`` with what ``usual_place`` teaches (plate → kitchen). All words occur in tasks
that are trained; the task and its instructions do not.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import CATEGORIES, PEOPLE, SETTINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article

_SENTENCES = (
    "{name} talked about {a_word} all day.",
    "{name} and {friend} looked at {a_word}.",
    "yesterday {name} wrote to {friend} about {a_word}.",
    "{name} asked {friend} for {a_word}.",
    "the {word} was the first thing that {name} saw.",
)


def _topic(draw: Draw) -> dict[str, Any]:
    kind = draw.one(tuple(CATEGORIES))
    word = draw.one(CATEGORIES[kind])
    name, friend = draw.some(PEOPLE, 2)
    others = draw.some([other for other in CATEGORIES if other != kind], 3)
    return {
        "sentence": draw.one(_SENTENCES).format(name=name, friend=friend, word=word, a_word=with_article(word)),
        "answer": kind,
        "choices": draw.shuffled([kind, *others]),
    }


SENTENCE_TOPIC = register(
    TaskSpec(
        name="sentence_topic",
        cluster="topic",
        collection="mini",
        source=source("sentence_topic", _topic, 2),
        fields=as_slots,
        slots=("sentence", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}\n\nwhat is this sentence about?",
            "what kind of thing does the sentence name? {sentence}",
            "read the sentence and find the group that fits.\n{sentence}\n{options}",
            "{options}\nwhich group does this text belong to? {sentence}",
            "someone wrote: {sentence}\nwhat kind of thing did they write about?",
            "sort this sentence by what it is about: {sentence}",
            "text: {sentence}\nit is about a kind of",
            "{sentence}\n{options}\nwhich word says what the text is about?",
            "tell me what people talk about here. {sentence}",
            "choose the right group for this sentence.\n\n{sentence}",
        ),
    )
)

_STORIES = (
    "first {name} saw the {x} and then the {y}.",
    "{name} looked at the {x}. then {friend} looked at the {y}.",
    "there was {a_x}, and {name} could see the {y} too.",
    "{name} and {friend} talked about the {x} and the {y}.",
)


def _setting(draw: Draw) -> dict[str, Any]:
    place = draw.one(tuple(SETTINGS))
    x, y = draw.some(SETTINGS[place], 2)
    name, friend = draw.some(PEOPLE, 2)
    others = draw.some([other for other in SETTINGS if other != place], 3)
    return {
        "story": draw.one(_STORIES).format(name=name, friend=friend, x=x, y=y, a_x=with_article(x)),
        "answer": place,
        "choices": draw.shuffled([place, *others]),
    }


STORY_SETTING = register(
    TaskSpec(
        name="story_setting",
        cluster="topic",
        collection="mini",
        source=source("story_setting", _setting, 2),
        fields=as_slots,
        slots=("story", "answer", "choices"),
        options="choices",
        templates=templates(
            "{story}\n\nwhere are these people?",
            "story: {story}\nplace:",
            "in which place would you expect this story? {story}",
            "{options}\nwhich place fits the story? {story}",
            "name the place where you would see this. {story}",
            "{story}\nwhere are we?",
            "a friend tells you: {story}\nwhere is your friend?",
            "look at the things in this text and name the place.\n{story}",
            "what place is the story about?\n{options}\n{story}",
            "where do you think this was? {story}",
        ),
    )
)

"""Common sense: what people with a job work with, what somebody does next, and why."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import PEOPLE
from mixtures.mini.world import Draw, as_slots, source, templates, with_article
from mixtures.mini_wide.words import CONSEQUENCES, JOB_OBJECTS

_JOBS = tuple(JOB_OBJECTS)
_STATES = tuple(CONSEQUENCES)


def _job(draw: Draw) -> dict[str, Any]:
    jobs = draw.some(_JOBS, 4)
    objects = [JOB_OBJECTS[job] for job in jobs]
    return {
        "person": draw.one(PEOPLE),
        "job": with_article(jobs[0]),
        "answer": objects[0],
        "choices": draw.shuffled(objects),
    }


JOB_OBJECT = register(
    TaskSpec(
        name="job_object",
        cluster="common_sense",
        collection="mini_wide",
        source=source("job_object", _job, 1),
        fields=as_slots,
        slots=("person", "job", "answer", "choices"),
        options="choices",
        templates=templates(
            "{person} is {job}. what does {person} work with?",
            "{person} has a new job, {job}. what is it about?",
            "{person} wants to be {job}.\n{options}\nwhat will {person} work with?",
            "{person}, {job}, works with",
            "think of {person}, {job}.\n{options}\nwhat goes with this job?",
            "{options}\nwhich of these does {person} need? {person} is {job}.",
            "the work of {person}, {job}, is all about",
            Template("{person} works with {answer}. what is {person}?", "{job}", inverted=True),
            "name what {person}, {job}, works with.",
            "{person} is {job}.\n{options}\nname what goes with the job.",
        ),
    )
)


def _next(draw: Draw) -> dict[str, Any]:
    person, states = draw.one(PEOPLE), draw.some(_STATES, 3)
    deeds = [CONSEQUENCES[state] for state in states]
    return {
        "person": person,
        "text": f"{person} was {states[0]}",
        "answer": deeds[0],
        "choices": draw.shuffled(deeds),
    }


WHAT_NEXT = register(
    TaskSpec(
        name="what_next",
        cluster="common_sense",
        collection="mini_wide",
        source=source("what_next", _next, 1),
        fields=as_slots,
        slots=("person", "text", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}. what did {person} do then?",
            "{text}, so {person}",
            "{text}.\n{options}\nwhat happened next?",
            "finish the story. {text}. then {person}",
            "because {text}, {person}",
            "{options}\nwhich of these fits best? {text}.",
            "here is a story: {text}. tell me how it goes on.",
            "what would you think that {person} did? {text}.\n{options}",
            "say what happened next. {text}.",
            "{text}.\n{options}\nname what {person} did then.",
        ),
    )
)


def _reason(draw: Draw) -> dict[str, Any]:
    person, states = draw.one(PEOPLE), draw.some(_STATES, 4)
    return {
        "person": person,
        "text": f"{person} {CONSEQUENCES[states[0]]}",
        "answer": states[0],
        "choices": draw.shuffled(states),
    }


WHY_SO = register(
    TaskSpec(
        name="why_so",
        cluster="common_sense",
        collection="mini_wide",
        source=source("why_so", _reason, 1),
        fields=as_slots,
        slots=("person", "text", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}. how was {person} before that?",
            "{text} because {person} was",
            "{text}.\n{options}\nwhich word tells us why?",
            "why is that so? {text}. {person} was",
            "give the reason in one word: {text}",
            "{options}\nhow was {person}? we know that {text}.",
            "you see that {text}. say how {person} was.",
            "what is the reason? {text}.\n{options}",
            "name the reason. {text}.",
            "{text}.\n{options}\nhow was {person} then?",
        ),
    )
)

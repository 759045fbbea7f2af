"""The mixture ``mini_wide``: thirteen clusters to train on, two that choose between runs, three that are measured last.

Chance stands in every table of results. The best possible score is 100 in every task: each record has one right answer,
which follows from the prompt, or from the prompt and the facts of the world that plain text tells.
"""

from flan_jax.data.tokenizers.registry import register_vocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.mixing.mixture import Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import prompted
from mixtures.mini.dialogue import NEXT_REPLY
from mixtures.mini.mixture import CURRICULUM, INVERTED, SHARES, UNSEEN_TEMPLATES, read_vocabulary, scored
from mixtures.mini.mixture import HELD_OUT as MINI_HELD_OUT
from mixtures.mini.mixture import training_entries as entries_of
from mixtures.mini_wide.acceptability import ARTICLE, MISSING_WORD, RIGHT_ORDER
from mixtures.mini_wide.common_sense import JOB_OBJECT, WHAT_NEXT, WHY_SO
from mixtures.mini_wide.comparison import TALLEST, WHAT_COSTS_MOST, WHO_HAS_MOST
from mixtures.mini_wide.paraphrase import SAME_EVENT, SAME_FACT, SAY_WITH_BY
from mixtures.mini_wide.third_tasks import (
    CAPITAL_OF,
    FIND_THING,
    FIRST_AND_LAST,
    LIST_TOPIC,
    OPPOSITE_WORD,
    STARS,
    TAKE_AWAY,
    VELU_WORD,
    WHO_HAS_IT,
)
from mixtures.mini_wide.time_order import DAY_OF_VISIT, WHERE_FIRST, WHO_CAME_FIRST

NAME = "mini_wide"

# What is trained beside the tasks of `mini`.
ADDED: tuple[TaskSpec, ...] = (
    STARS, OPPOSITE_WORD, CAPITAL_OF, TAKE_AWAY, VELU_WORD, FIRST_AND_LAST, WHO_HAS_IT,
    SAME_EVENT, SAME_FACT, SAY_WITH_BY, RIGHT_ORDER, ARTICLE, MISSING_WORD,
)  # fmt: skip
# Their clusters are never trained on. What a study compares runs by, chooses weights by, or stops by:
VALIDATION: tuple[TaskSpec, ...] = (WHERE_FIRST, DAY_OF_VISIT, WHO_CAME_FIRST, JOB_OBJECT, WHAT_NEXT, WHY_SO)
# ... and what no choice may rest on, measured at the end.
HELD_OUT: tuple[TaskSpec, ...] = (*MINI_HELD_OUT, LIST_TOPIC, FIND_THING, TALLEST, WHO_HAS_MOST, WHAT_COSTS_MOST)
# Tasks that make no sense without their options.
OPTIONS_NEEDED = (NEXT_REPLY, RIGHT_ORDER)


def trained() -> tuple[tuple[TaskSpec, float], ...]:
    """Every trained task with its share of draws."""
    return (*SHARES, *((spec, 1.0) for spec in ADDED))


def _held_out(specs: tuple[TaskSpec, ...]) -> tuple[Prompted, ...]:
    return tuple(Prompted(spec, PromptMode.ZS_OPT, spec.scored_templates) for spec in specs)


def mini_wide() -> Mixture:
    """The mixture with its suites: unseen records, unseen templates, clusters that choose and clusters that decide."""
    specs = [spec for spec, _ in trained()]
    return Mixture(
        name=NAME,
        entries=tuple(entry for spec, share in trained() for entry in entries_of(spec, share, OPTIONS_NEEDED)),
        policy=Equal(),
        suites=(
            Suite("held_in", tuple(scored(spec) for spec in specs)),
            Suite(
                "unseen_templates",
                tuple(Prompted(spec, scored(spec).mode, UNSEEN_TEMPLATES, variant="unseen") for spec in specs),
            ),
            Suite("validation_clusters", _held_out(VALIDATION), held_out=True),
            Suite("held_out", _held_out(HELD_OUT), held_out=True),
        ),
        vocabulary=NAME,
        curriculum=tuple(
            (task.name, entry.rate or 0.0)
            for spec, share in CURRICULUM
            for entry in entries_of(spec, share, OPTIONS_NEEDED)
            for task in prompted(entry.tasks)
            if task.variant != INVERTED
        ),
    )


def mini_wide_vocabulary() -> WordVocabulary:
    """Every word of the wide world, of its templates and of its plain text."""
    return read_vocabulary(__package__, NAME)


register_mixture(NAME, mini_wide)
register_vocabulary(NAME, mini_wide_vocabulary)

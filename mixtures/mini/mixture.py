"""The mixture ``mini``: what the quickstart trains on and what it measures."""

from collections.abc import Sequence
from importlib import resources

from flan_jax.data.tokenizers.registry import register_vocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import prompted
from mixtures.mini.arithmetic import ADD_NUMBERS, COMPARE_NUMBERS
from mixtures.mini.closed_book_qa import USUAL_PLACE, WORLD_FACTS
from mixtures.mini.coreference import OWNER_CLUE, PRONOUN
from mixtures.mini.dialogue import NEXT_REPLY, SPEECH_ACT
from mixtures.mini.entailment import KIND_ENTAILS, OPPOSITE_ENTAILS
from mixtures.mini.entity_recognition import FIND_PERSON, FIND_PLACE
from mixtures.mini.formatting import COPY_WORDS, PICK_WORD, REVERSE_WORDS
from mixtures.mini.reading_qa import STORY_NOTE, STORY_TABLE, WHERE_IS_IT, WHO_DID_IT
from mixtures.mini.sentiment import MESSAGE_MOOD, REVIEW_SENTIMENT
from mixtures.mini.struct_to_text import FACTS_TO_SENTENCE, SENTENCE_TO_FIELD
from mixtures.mini.topic import SENTENCE_TOPIC, STORY_SETTING
from mixtures.mini.translation import FROM_VELU, TO_VELU
from mixtures.mini.word_sense import ODD_ONE_OUT, WORD_CATEGORY

NAME = "mini"
VOCABULARY_FILE = "vocabulary.txt"

# Trained tasks with the share of draws that each gets; what takes longer to learn gets more.
SHARES: tuple[tuple[TaskSpec, float], ...] = (
    (REVIEW_SENTIMENT, 0.75),
    (MESSAGE_MOOD, 0.75),
    (WORD_CATEGORY, 1.0),
    (ODD_ONE_OUT, 2.0),
    (WORLD_FACTS, 1.0),
    (USUAL_PLACE, 1.0),
    (WHO_DID_IT, 1.5),
    (WHERE_IS_IT, 1.5),
    (STORY_NOTE, 1.5),
    (STORY_TABLE, 1.5),
    (PRONOUN, 0.75),
    (OWNER_CLUE, 1.5),
    (FACTS_TO_SENTENCE, 0.5),
    (SENTENCE_TO_FIELD, 0.5),
    (TO_VELU, 1.0),
    (FROM_VELU, 1.0),
    (REVERSE_WORDS, 1.0),
    (COPY_WORDS, 1.0),
    (PICK_WORD, 1.0),
    (ADD_NUMBERS, 1.0),
    (COMPARE_NUMBERS, 1.0),
    (KIND_ENTAILS, 1.0),
    (OPPOSITE_ENTAILS, 1.0),
    (NEXT_REPLY, 0.5),
    (SPEECH_ACT, 0.5),
)
# What a run may begin with: looking things up in a story, and nothing else. Mixed with all the rest from the start,
# short answers settle on guessing a place of the story before the network has learnt to look one up.
CURRICULUM: tuple[tuple[TaskSpec, float], ...] = (
    (STORY_NOTE, 3.0),
    (STORY_TABLE, 3.0),
    (WHO_DID_IT, 1.5),
    (WHERE_IS_IT, 1.5),
    (OWNER_CLUE, 1.0),
    (COPY_WORDS, 0.5),
)
# Never trained: their whole clusters are held out.
HELD_OUT: tuple[TaskSpec, ...] = (SENTENCE_TOPIC, STORY_SETTING, FIND_PERSON, FIND_PLACE)

# The last two templates of every task are kept for measuring unseen instructions.
UNSEEN_TEMPLATES = (8, 9)
# Of a closed-set task's share, what goes to prompts that do not list the options.
NOOPT_PART = 0.5
# Inverted templates ask for the reason, or for the way back; their answers are never measured.
INVERTED_PART = 0.25
INVERTED = "inverted"
# Tasks that make no sense without their options.
OPTIONS_NEEDED = (NEXT_REPLY,)


def trained_templates(spec: TaskSpec, *, inverted: bool = False) -> tuple[int, ...]:
    """Indices of the templates that are trained: those that are scored, or the inverted ones."""
    return tuple(
        index
        for index, template in enumerate(spec.templates)
        if index not in UNSEEN_TEMPLATES and template.inverted == inverted
    )


def scored(spec: TaskSpec) -> Prompted:
    """The trained prompts whose answers are measured: options listed where there are any."""
    mode = PromptMode.ZS_OPT if spec.options else PromptMode.ZS_NOOPT
    return Prompted(spec, mode, template_ids=trained_templates(spec))


def training_entries(spec: TaskSpec, share: float, options_needed: Sequence[TaskSpec] = OPTIONS_NEEDED) -> list[Entry]:
    """Divides the share of a task between its prompts: with options, without, and inverted, where it has them."""
    inverted = trained_templates(spec, inverted=True)
    noopt = bool(spec.options) and spec not in options_needed
    inverted_rate = share * INVERTED_PART if inverted else 0.0
    noopt_rate = share * NOOPT_PART if noopt else 0.0
    entries = [Entry(scored(spec), share - noopt_rate - inverted_rate)]
    if noopt:
        entries.append(Entry(Prompted(spec, PromptMode.ZS_NOOPT, trained_templates(spec)), noopt_rate))
    if inverted:
        entries.append(Entry(Prompted(spec, PromptMode.ZS_NOOPT, inverted, variant=INVERTED), inverted_rate))
    return entries


def mini() -> Mixture:
    """The mixture with its three suites: unseen records, unseen templates, held-out clusters."""
    specs = [spec for spec, _ in SHARES]
    return Mixture(
        name=NAME,
        entries=tuple(entry for spec, share in SHARES for entry in training_entries(spec, share)),
        policy=Equal(),
        suites=(
            Suite("held_in", tuple(scored(spec) for spec in specs)),
            Suite(
                "unseen_templates",
                tuple(Prompted(spec, scored(spec).mode, UNSEEN_TEMPLATES, variant="unseen") for spec in specs),
            ),
            Suite(
                "held_out",
                tuple(Prompted(spec, PromptMode.ZS_OPT, spec.scored_templates) for spec in HELD_OUT),
                held_out=True,
            ),
        ),
        vocabulary=NAME,
        curriculum=tuple(
            (task.name, entry.rate or 0.0)
            for spec, share in CURRICULUM
            for entry in training_entries(spec, share)
            for task in prompted(entry.tasks)
            if task.variant != INVERTED
        ),
    )


def read_vocabulary(package: str, name: str) -> WordVocabulary:
    """Reads the words of a world and of its templates from the list that ships in ``package``.

    The list is kept rather than collected, so that an id means the same word until the list
    is changed on purpose.
    """
    words = resources.files(package).joinpath(VOCABULARY_FILE).read_text(encoding="utf-8").split()
    return WordVocabulary(words, name)


def mini_vocabulary() -> WordVocabulary:
    """Every word of the world and of its templates."""
    return read_vocabulary(__package__, NAME)


register_mixture(NAME, mini)
register_vocabulary(NAME, mini_vocabulary)

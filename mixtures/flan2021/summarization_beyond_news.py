"""Summarization of texts that are not news: e-mails, chats, opinions, arguments, instructions."""

import re
import string
from collections.abc import Mapping
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, text
from flan_jax.tasks.spec import Record, Template
from mixtures.flan_fields import register_flan
from mixtures.questions import numbered
from mixtures.summaries import filled, summaries

_ATTACHMENT = re.compile(r"<[A-Za-z]\w*>")
_SHOWN = 10
"""FLAN shows the first ten opinions or arguments."""


def _aeslc(record: Record) -> dict[str, Any] | None:
    if not filled(record, "email_body", "subject_line"):
        return None
    return {
        "text": text(record, "email_body").replace("\n", " "),
        "answer": text(record, "subject_line").replace("\n", " "),
    }


def _samsum(record: Record) -> dict[str, Any] | None:
    if not filled(record, "dialogue", "summary"):
        return None
    # A sent file is written as a tag, <file_photo>.
    dialogue = _ATTACHMENT.sub(" ", text(record, "dialogue").replace("\r\n", "\n"))
    return {"dialogue": dialogue, "answer": text(record, "summary")}


def _statements(record: Record, name: str) -> list[str]:
    """The first statements of a column: texts by their number, as published, or TFDS's two lists."""
    value = column(record, name)
    if isinstance(value, Mapping):
        value = value["value"] if "value" in value else list(value.values())
    found = [item.strip() for item in value if isinstance(item, str) and item.strip()]
    if not found:
        raise UserError(f"{name!r} holds no text.")
    return found[:_SHOWN]


def _titled(name: str) -> str:
    """A film's name, which the data set writes as ``the_last_orchard``."""
    words = name.replace("_", " ")
    return string.capwords(words) if words == words.lower() else words.strip()


def _rotten_tomatoes(record: Record) -> dict[str, Any] | None:
    if not filled(record, "_movie_name", "_critic_consensus"):
        return None
    reviews = _statements(record, "_critics")
    return {
        "movie": _titled(text(record, "_movie_name")),
        "reviews": numbered(reviews),
        "first_review": reviews[0],
        "answer": text(record, "_critic_consensus"),
    }


def _idebate(record: Record) -> dict[str, Any] | None:
    if not filled(record, "_debate_name", "_claim"):
        return None
    arguments = _statements(record, "_argument_sentences")
    return {
        "debate": text(record, "_debate_name").removesuffix("."),  # templates quote it within a sentence
        "arguments": numbered(arguments),
        "first_argument": arguments[0],
        "answer": text(record, "_claim"),
    }


def _wiki_lingua(record: Record) -> dict[str, Any] | None:
    if not filled(record, "source", "target"):
        return None
    return {"text": text(record, "source"), "answer": text(record, "target")}


AESLC = register_flan(
    summaries(
        "aeslc",
        "AESLC e-mail subjects",
        published(
            "Yale-LILY/aeslc",
            revision="refs/convert/parquet",
            tfds="aeslc:1.0.0",
            train="train",
            validation="validation[-200:]",
            test="test",
            sizes={"train": 14_436, "validation": 1_960, "test": 1_906},
            folders=("aeslc",),
        ),
        _aeslc,
        ("text",),
        (
            Template("{text}\n\nWrite a subject line for this e-mail."),
            Template("E-mail: {text}\n\nSubject:"),
            Template("What should go into the subject field of the message below?\n\n{text}"),
            Template("I have written an e-mail and cannot think of a subject for it. Can you help? Here it is: {text}"),
            Template(
                "Sum up the message in a handful of words, the way people do in a subject line.\n\n"
                "Message: {text}\n\nSubject line:"
            ),
            Template("{text}\n\nIn the recipient's inbox, the e-mail above is listed as"),
            Template(
                "This is going to a colleague: {text}\n\n"
                "The colleague gets hundreds of messages a day and judges by the subject which of them to open. "
                "Suggest an informative one."
            ),
            Template("Read the e-mail and name its topic as briefly as you can: {text}"),
            Template('Compose an e-mail with the subject "{answer}".', "{text}", inverted=True),
            Template(
                "Subject of the e-mail: {answer}\n\nWhat might its body say?",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


SAMSUM = register_flan(
    summaries(
        "samsum",
        "SAMSum",
        published(
            "knkarthick/samsum",
            tfds="samsum:1.0.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 14_732, "validation": 818, "test": 819},
            folders=("samsum",),
        ),
        _samsum,
        ("dialogue",),
        (
            Template("{dialogue}\n\nSummarize this conversation."),
            Template("Chat: {dialogue}\n\nWhat the chat was about:"),
            Template("Tell me in one to three sentences what these people wrote to each other.\n\n{dialogue}"),
            Template(
                "You were away from your phone while your friends chatted. They wrote: {dialogue}\n\nWhat did you miss?"
            ),
            Template("Report the content of the following dialogue in the third person.\n\n{dialogue}"),
            Template("Read this exchange of messages and say briefly what came of it: {dialogue}"),
            Template("{dialogue}\n\nTo put this chat in a nutshell:"),
            Template(
                "Write a chat that could be summarized as follows: {answer}",
                "{dialogue}",
                inverted=True,
            ),
            Template(
                "Summary of a conversation: {answer}\n\nMake up the messages that were exchanged.",
                "{dialogue}",
                inverted=True,
            ),
            Template(
                "{answer}\n\nTurn this account back into the dialogue that it describes, "
                "with the name of the speaker in front of every line.",
                "{dialogue}",
                inverted=True,
            ),
        ),
    )
)


OPINION_ABSTRACTS_ROTTEN_TOMATOES = register_flan(
    summaries(
        "opinion_abstracts_rotten_tomatoes",
        "Rotten Tomatoes consensus",
        # Not on the hub: TFDS downloads it from its authors; otherwise it comes from a local folder.
        published(
            "opinion_abstracts",
            "rotten_tomatoes",
            tfds="opinion_abstracts/rotten_tomatoes:1.0.0",
            train="train[:-600]",
            validation="train[-600:-500]",
            test="train[-500:]",
            sizes={"train": 3_731},
            folders=("opinion_abstracts_rotten_tomatoes", "rotten_tomatoes_consensus"),
        ),
        _rotten_tomatoes,
        ("movie", "reviews", "first_review"),
        (
            Template(
                '{reviews}\n\nThis is what critics say about the film "{movie}". Sum up what most of them agree on.'
            ),
            Template("Film: {movie}\n\nReviews: {reviews}\n\nConsensus of the critics:"),
            Template('What do the critics, taken together, think of "{movie}"? {reviews}'),
            Template(
                'For a page about the movie "{movie}", write one or two sentences that capture the overall verdict '
                "of the reviewers quoted here.\n\n{reviews}"
            ),
            Template(
                'A friend asks you whether "{movie}" is worth the price of a ticket. '
                "Answer with the general view of the reviewers below.\n\n{reviews}"
            ),
            Template("Read these excerpts from reviews of a film, then state the verdict they add up to: {reviews}"),
            Template("{reviews}\n\nOn the whole, reviewers say this about the film:"),
            Template(
                'The critical consensus on the movie "{movie}" is this: {answer}\n\n'
                "Write what one of the critics could have said.",
                "{first_review}",
                inverted=True,
            ),
            Template(
                '{answer}\n\nThat is the consensus on "{movie}". '
                "List remarks by individual critics that could have led to it, and number them.",
                "{reviews}",
                inverted=True,
            ),
            Template(
                "Name the film that is being reviewed.\n\nReviews: {reviews}\n\nConsensus: {answer}\n\nTitle:",
                "{movie}",
                inverted=True,
            ),
        ),
    )
)


OPINION_ABSTRACTS_IDEBATE = register_flan(
    summaries(
        "opinion_abstracts_idebate",
        "iDebate claims",
        # As above.
        published(
            "opinion_abstracts",
            "idebate",
            tfds="opinion_abstracts/idebate:1.0.0",
            train="train[:-600]",
            validation="train[-600:-500]",
            test="train[-500:]",
            sizes={"train": 2_259},
            folders=("opinion_abstracts_idebate", "idebate"),
        ),
        _idebate,
        ("debate", "arguments", "first_argument"),
        (
            Template("{arguments}\n\nAll of these sentences support a single claim. State it."),
            Template("Debate: {debate}\n\nArguments: {arguments}\n\nClaim that they support:"),
            Template(
                'During a debate on "{debate}", a speaker says the following. What is the speaker\'s point?\n\n{arguments}'
            ),
            Template("Condense the reasoning below into one sentence that could serve as its heading.\n\n{arguments}"),
            Template("To what conclusion do these statements lead? {arguments}"),
            Template(
                'You are taking the minutes of a debate on the motion "{debate}".\n\n'
                "One side argues: {arguments}\n\nRecord in one sentence what that side maintains."
            ),
            Template(
                "Defend this claim with arguments. Number them and give one sentence for each.\n\nClaim: {answer}",
                "{arguments}",
                inverted=True,
            ),
            Template(
                "Which motion is under debate when somebody argues like this? {arguments}", "{debate}", inverted=True
            ),
            Template(
                "Claim: {answer}\n\nFirst argument for the claim: {first_argument}\n\n"
                'State the motion that was being debated. Begin it with "This house".',
                "{debate}",
                inverted=True,
            ),
            Template(
                'Students are debating the motion "{debate}". Give one argument, in a sentence, for this claim: {answer}',
                "{first_argument}",
                inverted=True,
            ),
        ),
    )
)


WIKI_LINGUA_ENGLISH_EN = register_flan(
    summaries(
        "wiki_lingua_english_en",
        "WikiLingua",
        published(
            "GEM/gem",
            "wiki_lingua_english_en",
            revision="refs/convert/parquet",
            tfds="gem/wiki_lingua_english_en:1.1.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 99_020, "validation": 13_823, "test": 28_614},
            folders=("wiki_lingua_english_en", "wiki_lingua"),
        ),
        _wiki_lingua,
        ("text",),
        (
            Template("{text}\n\nSum up these instructions."),
            Template("How-to guide: {text}\n\nThe steps, in short:"),
            Template("Reduce the guide below to bare steps, one short sentence each.\n\n{text}"),
            Template(
                "A reader in a hurry wants to be told what to do, but not why.\n\n"
                "With reasons: {text}\n\nWithout reasons:"
            ),
            Template("What does the following advice come down to? {text}"),
            Template(
                "Here is part of an article that explains how to do something: {text}\n\n"
                "Write its outline in the form of brief commands."
            ),
            Template("Please shorten this passage from a self-help website so that it fits on a small card: {text}"),
            Template("{text}\n\nThis advice, in as few words as possible:"),
            Template(
                "Outline of a guide: {answer}\n\nWrite out the guide and explain every step.", "{text}", inverted=True
            ),
            Template(
                "{answer}\n\nThese are the headings of a how-to article. Write the text that stands under them.",
                "{text}",
                inverted=True,
            ),
        ),
    )
)

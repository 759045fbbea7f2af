"""The dialog collection of FLAN 2022: what is said next, and what must have been said before.

As in FLAN, a conversation gives one example: a reply drawn from it, behind everything said before.
Here the draw, and the names that the speakers get, are hashes of the conversation, so that they
are the same in every run. A decoder's view of whole conversations is another matter: see
``flan_jax.tasks.chat.conversation``.
"""

import functools
from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column
from flan_jax.tasks.invert import inverted
from flan_jax.tasks.render import counter_hash
from flan_jax.tasks.spec import Fields, PublishedFields, Record, TaskSpec, Template

FURTHEST_REPLY = 20
"""FLAN draws among the first 20 replies of a conversation."""
TRAIN_LIMIT = 200_000
"""FLAN 2022's cap on the rate of a dialog task: more is never drawn in one of its epochs."""
_FEWEST_TURNS = 6

# Names that stand on their own in one line too, for vocabularies that drop line ends.
_SPEAKERS = (("User", "Assistant"), ("A", "B"), ("Speaker 1", "Speaker 2"), ("Q", "A"), ("Person A", "Person B"))


def one_reply(turns: Sequence[str]) -> dict[str, Any] | None:
    """A reply to the first speaker, and the conversation up to it; ``None`` where there is no reply.

    Args:
        turns: what two speakers say in turn.
    """
    replies = min(len(turns) // 2, FURTHEST_REPLY)
    if not replies:
        return None
    whole = "\n".join(turns)
    place = counter_hash("dialog reply", whole) % replies * 2 + 1
    speakers = _SPEAKERS[counter_hash("dialog speakers", whole) % len(_SPEAKERS)]
    said = [turn.strip() for turn in turns[: place + 1]]
    if not all(said):
        return None
    lines = [f"{speakers[index % 2]}: {turn}" for index, turn in enumerate(said[:-1])]
    return {"dialog": "\n".join(lines), "answer": said[-1]}


def _turns(record: Record, *names: str) -> list[str]:
    turns = column(record, *names)
    if isinstance(turns, str) or not isinstance(turns, Sequence) or not all(isinstance(turn, str) for turn in turns):
        raise UserError(f"{names[0]!r} must be a list of texts, not {turns!r:.60}.")
    return list(turns)


def _wiki_dialog(record: Record) -> dict[str, Any] | None:
    # The first utterance is the same in every conversation: the assistant introduces itself.
    return one_reply(_turns(record, "utterances")[1:])


def _qrecc(record: Record) -> dict[str, Any] | None:
    # Every turn has a row with the conversation up to it. FLAN keeps the rows behind the sixth turn.
    turn = column(record, "turn_id", "Turn_no")
    if not isinstance(turn, int):
        raise UserError(f"the turn {turn!r} is not a number.")
    return one_reply(_turns(record, "context", "Context")) if turn > _FEWEST_TURNS else None


def _published(fields: Fields) -> tuple[PublishedFields, ...]:
    """FLAN 2022's slots. Its code draws the reply that is asked for and the layout of the turns, as ``fields`` does."""
    made = functools.partial(_as_published, fields)
    return (PublishedFields("flan2022", made, ("dialog_", "answer")),)


def _as_published(fields: Fields, record: Record) -> dict[str, Any] | None:
    slots = fields(record)
    return None if slots is None else {"dialog_": slots["dialog"], "answer": slots["answer"]}


WIKI_DIALOG = register(
    TaskSpec(
        name="wiki_dialog",
        # QuAC's questions were among what the other speaker of WikiDialog was trained on.
        cluster="conversational_qa",
        collection="dialog",
        title="WikiDialog",
        # The hub has a script, which `datasets` no longer runs: this takes a local copy of the published JSON lines.
        source=published(
            "djaym7/wiki_dialog",
            "OQ",
            tfds="wiki_dialog/OQ:1.0.0",
            train="train",
            validation="validation",
            sizes={"train": 11_264_129, "validation": 113_822},
            folders=("wiki_dialog",),
            train_limit=TRAIN_LIMIT,
        ),
        fields=_wiki_dialog,
        published=_published(_wiki_dialog),
        slots=("dialog", "answer"),
        predict="generate",
        metric="rougeL",
        templates=(
            Template("{dialog}\n\nWhat is said in reply to the last message?"),
            Template("Continue the conversation with one more turn.\n\n{dialog}"),
            Template("Here is the beginning of a dialogue on a topic from an encyclopedia.\n\n{dialog}\n\nNext turn:"),
            Template("An expert answers a curious visitor. Supply the expert's reply to the last message.\n\n{dialog}"),
            Template("Conversation so far: {dialog}\n\nReply:"),
            Template("Respond to the final message with the information that is asked for. {dialog}"),
            Template("You know the subject well. How do you answer the person who spoke last?\n\n{dialog}"),
            Template("The transcript breaks off just before an answer. Write the answer.\n\nTranscript: {dialog}"),
            Template("Read the chat and write the message that comes next.\n\n{dialog}\n\nMessage:"),
            Template("{dialog}\n\nKeep the dialogue going, in line with everything that has been said."),
        ),
    )
)

WIKI_DIALOG_INVERTED = register(
    inverted(
        WIKI_DIALOG,
        "dialog",
        (
            Template("Reply: {given}\n\nWrite the conversation that led up to this reply."),
            Template("What might two people have said to each other before one of them went on like this?\n\n{given}"),
            Template("Here is how a dialogue ends: {given}\n\nWrite everything that came before."),
            Template("{given}\n\nThat was the last turn of a chat. Reconstruct the turns before it."),
            Template("Make up a conversation of questions and answers whose final answer is this: {given}"),
            Template('Someone joined a conversation late and only heard: "{given}" Tell them what was said earlier.'),
            Template("Give a dialogue that could go on with these words: {given}"),
            Template("Closing line: {given}\nDialogue before the closing line:"),
            Template(
                "Imagine an interview with an expert that finishes with the following remark. "
                "Write down the interview up to that point.\n\n{given}"
            ),
            Template(
                "A fact can be told as a dialogue. Write the conversation to which this fact is the last answer.\n\n"
                "Fact: {given}\nConversation:"
            ),
        ),
        published_answer="dialog_",
    )
)


QRECC = register(
    TaskSpec(
        name="qrecc",
        # Most of its conversations are QuAC's, a task of this cluster in Flan 2021.
        cluster="conversational_qa",
        collection="dialog",
        title="QReCC",
        source=published(
            "svakulenk0/qrecc",
            tfds="q_re_cc:1.0.0",
            train="train[:-2000]",
            validation="train[-2000:]",
            test="test",
            # FLAN's count of the rows that are left, 10,170, with those kept to validate on.
            sizes={"train": 12_170},
            folders=("qrecc", "q_re_cc"),
            train_limit=TRAIN_LIMIT,
        ),
        fields=_qrecc,
        published=_published(_qrecc),
        slots=("dialog", "answer"),
        predict="generate",
        metric="rougeL",
        templates=(
            Template("{dialog}\n\nAnswer the question that was asked last."),
            Template("A user and a search assistant are talking. Write the assistant's next message.\n\n{dialog}"),
            Template("Answer the latest question; the earlier turns tell what it is about.\n\n{dialog}\n\nAnswer:"),
            Template("Chat log: {dialog}\n\nWhat should the response be?"),
            Template("The last question may only make sense in context. Use the context to respond. {dialog}"),
            Template("What would a helpful partner say at this point?\n\n{dialog}"),
            Template(
                "Each question here builds on those before it. Give the answer to the newest one.\n\nHistory: {dialog}"
            ),
            Template("{dialog}\n\nPlease take the part of the one who answers, and reply."),
            Template(
                "Someone is looking for information step by step. Tell them what they want to know now."
                "\n\n{dialog}\n\nInformation:"
            ),
            Template("Conversational question answering.\nInput: {dialog}\nOutput:"),
        ),
    )
)

QRECC_INVERTED = register(
    inverted(
        QRECC,
        "dialog",
        (
            Template("Output of a chat assistant: {given}\n\nGuess the conversation that the assistant reacted to."),
            Template(
                "Here is an answer without its context. Write the exchange of questions and answers that comes before "
                "it.\n\n{given}"
            ),
            Template("What conversation could end in the following words from an assistant? {given}"),
            Template("Recover the chat history.\nFinal response: {given}\nHistory:"),
            Template(
                "Write a dialogue in which somebody asks one thing after another, up to the question that this "
                "answers: {given}"
            ),
            Template("{given}\n\nWork out what was asked just before, and what had been said by then."),
            Template('I saved only the last message of a chat. It reads: "{given}" Please restore the rest.'),
            Template("Invent a search session held as a conversation. Its last question receives this answer: {given}"),
            Template(
                "The ending is fixed, and the beginning is up to you. Ending: {given}\n\nBeginning of the conversation:"
            ),
            Template(
                "Which questions lead to the information given here? Put them, with the answers in between, into a "
                "conversation.\n\n{given}"
            ),
        ),
        published_answer="dialog_",
    )
)

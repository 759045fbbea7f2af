"""Coreference: whom or what a pronoun, or a gap in its place, refers to."""

import itertools
from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.choices import chosen
from mixtures.flan_fields import register_flan
from mixtures.questions import place_of

_NO_YES = ("no", "yes")
_BLANK = "_____"
_POSSESSIVE = ("my", "his", "her", "its", "our", "their")
_LOWERED = ("the", "a", "an", "this", "that", "these", "those", *_POSSESSIVE)


def _candidates(record: Record) -> dict[str, Any] | None:
    slots = chosen(texts(record, "candidates"), column(record, "label"))
    return (
        None if slots is None else {**slots, "sentence": text(record, "sentence"), "pronoun": text(record, "pronoun")}
    )


def _gap(record: Record) -> dict[str, Any] | None:
    """A sentence with a gap. The choices fill it and go on to the end, as FLAN has it."""
    if "context_options" in record:  # two sentences up to the gap, each with one candidate in it
        filled = texts(record, "context_options")
        lead = _shared_words(filled)
        names = tuple(sentence[len(lead) :] for sentence in filled)
        rest, given = text(record, "continuation"), column(record, "gold")
        rest = rest if rest.startswith(tuple("',.;:!?")) else f" {rest}"
    else:
        lead, found, rest = text(record, "sentence").partition("_")
        if not found:
            raise UserError("'sentence' has no gap, which is written '_'.")
        names = (text(record, "option1"), text(record, "option2"))
        # The hub counts the answers from 1, in a text that is empty where there is none; TFDS counts labels from 0.
        given = place_of(record["answer"], ("1", "2")) if "answer" in record else column(record, "label")
        given = -1 if given is None else given
    slots = chosen(tuple(name + rest for name in names), given)
    return None if slots is None else {**slots, "sentence": f"{lead}{_BLANK}{rest}", "lead": lead.strip()}


def _shared_words(sentences: Sequence[str]) -> str:
    """The words with which all of them begin, the last word of each kept back, with a space behind each."""
    words = zip(*(sentence.split(" ")[:-1] for sentence in sentences), strict=False)
    shared = itertools.takewhile(lambda same: len(set(same)) == 1, words)
    return "".join(f"{word} " for word, *_ in shared)


def _same(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    mention = text(record, "span1_text", "target.span1_text")
    pronoun = text(record, "span2_text", "target.span2_text")
    return {"text": text(record, "text"), "mention": mention, "pronoun": pronoun, "answer": answer}


def _schema(record: Record) -> dict[str, Any] | None:
    """A text whose pronoun is replaced by either candidate. The choices go on to its end, as FLAN has it."""
    whole = column(record, "text")
    start, pronoun = column(record, "pronoun_loc", "pronoun_start"), text(record, "pronoun", "pronoun_text")
    if not isinstance(whole, str) or not isinstance(start, int) or whole[start : start + len(pronoun)] != pronoun:
        raise UserError(f"'text' does not have the pronoun {pronoun!r} at {start!r}.")
    names = texts(record, "options") if "options" in record else (text(record, "option1"), text(record, "option2"))
    lead, rest = whole[:start].strip(), whole[start + len(pronoun) :].rstrip()
    inside = bool(lead) and not lead.rstrip('"').endswith((".", "!", "?"))
    choices = tuple(_in_place_of(pronoun, name, inside) + rest for name in names)
    slots = chosen(choices, column(record, "label"))
    return None if slots is None else {**slots, "text": whole.strip(), "lead": lead, "pronoun": pronoun}


def _in_place_of(pronoun: str, name: str, inside: bool) -> str:
    """A candidate as it reads in the pronoun's place.

    Its article is in lower case within a sentence; in place of a possessive pronoun it is a genitive.
    """
    first, space, others = name.partition(" ")
    if first.lower() in _LOWERED:
        name = (first.lower() if inside else first.capitalize()) + space + others
    return f"{name}'s" if pronoun.lower() in _POSSESSIVE else name


DEFINITE_PRONOUN_RESOLUTION = register_flan(
    TaskSpec(
        name="definite_pronoun_resolution",
        cluster="coreference",
        collection="flan2021",
        title="definite pronoun resolution",
        source=published(
            "community-datasets/definite_pronoun_resolution",
            "plain_text",
            tfds="definite_pronoun_resolution:1.1.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 1_322, "test": 564},
            folders=("definite_pronoun_resolution",),
        ),
        fields=_candidates,
        slots=("sentence", "pronoun", "choices", "answer"),
        options="choices",
        templates=(
            Template('{sentence}\n\nIn the sentence above, whom or what does "{pronoun}" stand for?\n\n{options}'),
            Template("Sentence: {sentence}\nPronoun: {pronoun}\n{options}\nAntecedent:"),
            Template(
                'Replace the word "{pronoun}" in the following sentence by the name or noun that it refers to. '
                "What do you put there? {sentence}"
            ),
            Template(
                '{options}\n\nRead this sentence with care: {sentence} Whom or what does its author call "{pronoun}"?',
            ),
            Template(
                'A learner of English does not see what "{pronoun}" points back to in this sentence: {sentence}\n\n'
                "Help the learner.\n\n{options}"
            ),
            Template(
                'What I said was "{sentence}" When I used the word "{pronoun}" in it, I was speaking of\n\n{options}'
            ),
            Template(
                'Resolve the pronoun. In "{sentence}" the word "{pronoun}" refers to someone or something that was '
                "mentioned earlier. Give that mention.\n\n{options}"
            ),
            Template('Grammar quiz: find the referent of "{pronoun}". {sentence}'),
            Template('Who or what is "{pronoun}" here? {sentence}\n\n{options}'),
            Template(
                'The sentence "{sentence}" would be ambiguous but for common sense. Use yours, and say who or '
                'what "{pronoun}" is.\n\n{options}'
            ),
        ),
    )
)


WINOGRANDE = register_flan(
    TaskSpec(
        name="winogrande",
        cluster="coreference",
        collection="flan2021",
        title="WinoGrande",
        source=published(
            "allenai/winogrande",
            "winogrande_xl",
            revision="refs/convert/parquet",
            tfds="winogrande:1.1.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 40_398, "validation": 1_267, "test": 1_767},
            folders=("winogrande",),
        ),
        fields=_gap,
        slots=("sentence", "lead", "choices", "answer"),
        options="choices",
        templates=(
            Template("What should stand in this sentence from the underscores to its end? {sentence}\n\n{options}"),
            Template("How does the following sentence go on? {lead}\n\n{options}"),
            Template(
                "A name or a noun has been blotted out here: {sentence}\n\nRestore the sentence from the blot "
                "on.\n\n{options}"
            ),
            Template("{options}\n\nFinish this in the way that common sense demands: {lead}"),
            Template(
                "Two people or things are mentioned here, and just one of them fits the gap: {sentence}\n\n"
                "Give the words from the gap on.\n\n{options}"
            ),
            Template("Sentence opening: {lead}\n{options}\nSentence ending:"),
            Template(
                "Fill in the blank so that the statement makes sense, and write out the statement from that point.\n\n"
                "Statement: {sentence}"
            ),
            Template("Think about who did what, and why. Then continue.\n\n{lead}"),
            Template(
                'My keyboard swallowed a word, and so I sent you this: "{sentence}" What should you have received, '
                "starting with the swallowed word?\n\n{options}"
            ),
            Template(
                '"{lead} ..."\n\nSomebody interrupted the speaker at this point. What was the speaker most '
                "likely about to say?\n\n{options}"
            ),
        ),
    )
)


WSC = register_flan(
    TaskSpec(
        name="wsc",
        cluster="coreference",
        collection="flan2021",
        title="WSC",
        source=published(
            "aps/super_glue",
            "wsc",
            revision="refs/convert/parquet",
            tfds="super_glue/wsc:1.0.2",
            train="train[:-50]",
            validation="train[-50:]",
            test="validation",
            sizes={"train": 554, "validation": 104, "test": 146},
            folders=("wsc",),
        ),
        fields=_same,
        slots=("text", "mention", "pronoun", "answer"),
        options=_NO_YES,
        templates=(
            Template('{text}\n\nIn this text, does "{pronoun}" refer to "{mention}"?\n\n{options}'),
            Template("Passage: {text}\nNoun phrase: {mention}\nPronoun: {pronoun}\nDo these two corefer?\n\n{options}"),
            Template(
                'If we put "{mention}" in place of "{pronoun}" in the text that follows, does it still say the same? '
                "{text}"
            ),
            Template(
                '{options}\n\nIs "{mention}" what the writer has in mind when using the word "{pronoun}"?\n\n'
                "The writer's words: {text}"
            ),
            Template(
                'In a school exercise, I wrote that the word "{pronoun}" stands for "{mention}". The exercise was this: '
                "{text}\n\nWill my answer be marked as correct?\n\n{options}"
            ),
            Template(
                'Read the text and decide whether "{mention}" and "{pronoun}" are one and the same.\n\n{text}\n\n{options}'
            ),
            Template('{text}\n\nI take "{pronoun}" to be short for "{mention}" here. Am I right?\n\n{options}'),
            Template(
                'Yes or no: the expressions "{mention}" and "{pronoun}" pick out the same person or thing in this story.'
                "\n\nStory: {text}"
            ),
            Template(
                'Anaphora test.\nText: {text}\nQuestion: Is "{mention}" the antecedent of "{pronoun}"?\n{options}\nAnswer:'
            ),
            Template(
                'Someone who could not follow the text below asks you whether "{pronoun}" means "{mention}" in '
                "it. What is your reply?\n\n{text}\n\n{options}"
            ),
        ),
    )
)


WSC273 = register_flan(
    TaskSpec(
        name="wsc273",
        cluster="coreference",
        collection="flan2021",
        title="WSC273",
        # Nothing to train on was published, so it stands outside FLAN's clusters and is only measured on.
        source=published(
            "ErnestSDavis/winograd_wsc",
            "wsc273",
            revision="refs/convert/parquet",
            tfds="wsc273:1.0.0",
            test="test",
            sizes={"test": 273},
            folders=("wsc273",),
        ),
        fields=_schema,
        slots=("text", "pronoun", "lead", "choices", "answer"),
        options="choices",
        templates=(
            Template(
                'Text: {text}\n\nRewrite the end of the text, starting from "{pronoun}", with the pronoun replaced by '
                "what it refers to.\n\n{options}"
            ),
            Template("Continue sensibly: {lead}\n\n{options}"),
            Template("Beginning: {lead}\n\n{options}\n\nEnd:"),
            Template(
                '{options}\n\nMake this easier to follow: from the word "{pronoun}" on, say it again with a name '
                "or a noun in place of the pronoun. {text}"
            ),
            Template('A tale starts with "{lead}" and has to be coherent to the very end. Give the rest.\n\n{options}'),
            Template(
                "An editor dislikes unclear pronouns. In the text that follows, the editor strikes out "
                '"{pronoun}" and names the person or thing instead. How does the text read from there on?\n\n'
                "{text}\n\n{options}"
            ),
            Template("What is the reasonable way to end this? {lead}"),
            Template(
                'Winograd schema.\nGiven: {text}\nTo do: put the right noun in place of "{pronoun}" and copy the words '
                "behind it.\n{options}\nDone:"
            ),
            Template('You hear "{lead}" and then the line goes dead. What was probably said next?\n\n{options}'),
            Template(
                'To understand "{text}" is to know what "{pronoun}" refers to. Show that you do by restating the part '
                "that begins with this word.\n\n{options}"
            ),
        ),
    )
)

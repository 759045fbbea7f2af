"""Paraphrase: whether two sentences say the same, or how nearly they do."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_NO_YES = ("no", "yes")
_GRADES = ("0", "1", "2", "3", "4", "5")


def _sentences(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    return {"sentence1": text(record, "sentence1"), "sentence2": text(record, "sentence2"), "answer": answer}


def _questions(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    # Quotation marks stand doubled in the published file.
    first, second = (text(record, name).replace('""', "'") for name in ("question1", "question2"))
    return {"question1": first, "question2": second, "answer": answer}


def _similarity(record: Record) -> dict[str, Any] | None:
    given = column(record, "label")
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise UserError(f"the similarity {given!r} is no number.") from None
    if value == -1:  # without a label
        return None
    if not 0 <= value <= 5:
        raise UserError(f"the similarity {given!r} must be from 0 to 5.")
    first, second = text(record, "sentence1", "text_a"), text(record, "sentence2", "text_b")
    # As FLAN does, the mean of the annotators' grades is rounded to a grade; halves go to the even one.
    return {"sentence1": first, "sentence2": second, "answer": f"{value:.0f}"}


GLUE_MRPC = register_flan(
    TaskSpec(
        name="glue_mrpc",
        cluster="paraphrase",
        collection="flan2021",
        title="MRPC",
        source=published(
            "nyu-mll/glue",
            "mrpc",
            tfds="glue/mrpc:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 3_668, "validation": 408, "test": 1_725},
            folders=("glue_mrpc", "mrpc"),
        ),
        fields=_sentences,
        slots=("sentence1", "sentence2", "answer"),
        options=_NO_YES,
        other_metrics=("f1_of:yes",),
        templates=(
            Template(
                "First sentence: {sentence1}\nSecond sentence: {sentence2}\nDo the two mean the same thing?\n\n{options}"
            ),
            Template(
                "Two news agencies reported as follows.\n\nAgency A: {sentence1}\n\nAgency B: {sentence2}\n\n"
                "Is this the same piece of news, told in different words?\n\n{options}"
            ),
            Template("{sentence1}\n\nIs that a paraphrase of the next sentence? {sentence2}\n\n{options}"),
            Template(
                "Could an editor put the second sentence in place of the first without changing what the article "
                "says?\n\n(1) {sentence1}\n\n(2) {sentence2}"
            ),
            Template(
                "{options}\n\nDetermine whether sentence B restates sentence A.\n\nA: {sentence1}\n\nB: {sentence2}"
            ),
            Template(
                "I am removing duplicates from a news archive. May I delete the second of two entries because it "
                "repeats the first?\n\nFirst entry: {sentence1}\n\nSecond entry: {sentence2}\n\n{options}"
            ),
            Template(
                "Original wording: {sentence1}\nNew wording: {sentence2}\nHas the meaning been kept?\n\n{options}"
            ),
            Template(
                '{sentence1} In other words: {sentence2}\n\nIs it fair to say "in other words" here?\n\n{options}'
            ),
            Template(
                "Paraphrase identification. Answer yes if the sentences are equivalent in meaning, and no if one of "
                "them adds or drops something important.\n\nSentence one: {sentence1}\n\n"
                "Sentence two: {sentence2}\n\n{options}\n\nAnswer:"
            ),
            Template(
                "One writer put it like this: {sentence1}\n\nAnother put it like this: {sentence2}\n\nDid both "
                "of them report the same thing?"
            ),
        ),
    )
)


GLUE_QQP = register_flan(
    TaskSpec(
        name="glue_qqp",
        cluster="paraphrase",
        collection="flan2021",
        title="Quora question pairs",
        source=published(
            "nyu-mll/glue",
            "qqp",
            tfds="glue/qqp:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 363_846, "validation": 40_430, "test": 390_965},
            folders=("glue_qqp", "qqp"),
        ),
        fields=_questions,
        slots=("question1", "question2", "answer"),
        options=_NO_YES,
        other_metrics=("f1_of:yes",),
        templates=(
            Template("Question 1: {question1}\nQuestion 2: {question2}\nAre these the same question?\n\n{options}"),
            Template(
                'A user of a question-and-answer site is about to post "{question1}" The site already has '
                '"{question2}" Should the new post be closed as a duplicate?\n\n{options}'
            ),
            Template(
                'Imagine a good answer to "{question1}" Would it do just as well as an answer to the next question? '
                "{question2}\n\n{options}"
            ),
            Template(
                "One person asks: {question1}\nAnother person asks: {question2}\nDo they both want to know the "
                "same thing?"
            ),
            Template(
                "{options}\n\nCompare the intent of the two questions and say whether it is identical.\n\n"
                "One: {question1}\n\nTwo: {question2}"
            ),
            Template(
                'My little brother keeps asking me things. This morning it was "{question1}" and tonight it was '
                '"{question2}" Is he repeating himself?\n\n{options}'
            ),
            Template('Can "{question1}" be replaced by "{question2}" with no change in meaning?\n\n{options}'),
            Template(
                "Is the rewording faithful?\n\nQuestion: {question1}\n\nReworded: {question2}\n\n{options}\n\nVerdict:"
            ),
            Template(
                "A forum merges questions that ask for the same information. Say yes to merge this pair, or no to keep "
                "it apart.\n\nFirst question: {question1}\n\nSecond question: {question2}"
            ),
            Template(
                "Judge whether two questions differ in nothing but their wording. These are the questions: "
                '"{question1}" and "{question2}"\n\n{options}'
            ),
        ),
    )
)


PAWS_WIKI = register_flan(
    TaskSpec(
        name="paws_wiki",
        cluster="paraphrase",
        collection="flan2021",
        title="PAWS-Wiki",
        source=published(
            "google-research-datasets/paws",
            "labeled_final",
            tfds="paws_wiki:1.1.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 49_401, "validation": 8_000, "test": 8_000},
            folders=("paws_wiki", "paws"),
        ),
        fields=_sentences,
        slots=("sentence1", "sentence2", "answer"),
        options=_NO_YES,
        templates=(
            Template(
                'These two sentences use nearly the same words: "{sentence1}" and "{sentence2}" Do they also '
                "have the same meaning?\n\n{options}"
            ),
            Template(
                "Sentence A: {sentence1}\n\nSentence B: {sentence2}\n\n"
                "Is B true in exactly the situations in which A is?\n\n{options}"
            ),
            Template(
                "{options}\n\nWatch the word order and the roles of the people and things that are named. "
                "Is the second version equivalent to the first?\n\nVersion 1: {sentence1}\n\nVersion 2: {sentence2}"
            ),
            Template(
                "An encyclopedia entry says: {sentence1}\n\nA student put it like this: {sentence2}\n\n"
                "Did the student preserve the content of the entry?\n\n{options}"
            ),
            Template('Leaflet one reads "{sentence1}" Leaflet two reads "{sentence2}" Do they state the same facts?'),
            Template(
                "{sentence1}\n\nI moved a few words around and got this: {sentence2}\n\n"
                "Does it still mean what it meant before?\n\n{options}"
            ),
            Template('Can the text "{sentence1}" be rephrased as "{sentence2}" and stay accurate?\n\n{options}'),
            Template("Paraphrase or not? Reply yes or no.\n\n1. {sentence1}\n2. {sentence2}\n\n{options}"),
            Template(
                "Here is a line from Wikipedia: {sentence1}\n\nHere is a new wording that somebody proposes for it: "
                "{sentence2}\n\nWould you let it through as a mere change of style?\n\n{options}\n\nDecision:"
            ),
            Template(
                'Two translators worked on one foreign sentence. The first of them wrote "{sentence1}" The other '
                'wrote "{sentence2}" Do the two translations say the same thing?\n\n{options}'
            ),
        ),
    )
)


STSB = register_flan(
    TaskSpec(
        name="stsb",
        cluster="paraphrase",
        collection="flan2021",
        title="STS-B",
        source=published(
            "nyu-mll/glue",
            "stsb",
            tfds="glue/stsb:2.0.0",
            train="train[:-100]",
            validation="train[-100:]",
            test="validation",
            sizes={"train": 5_749, "validation": 1_500, "test": 1_379},
            folders=("stsb",),
        ),
        fields=_similarity,
        slots=("sentence1", "sentence2", "answer"),
        options=_GRADES,
        metric="pearson",
        templates=(
            Template(
                "Rate from 0 (unrelated) to 5 (same meaning) how similar two sentences are.\n\n"
                "Sentence 1: {sentence1}\n\nSentence 2: {sentence2}\n\n{options}"
            ),
            Template(
                "{sentence1}\n\nHow close in meaning is this to the next sentence, on a scale of 0 to 5? {sentence2}"
                "\n\n{options}"
            ),
            Template(
                "Similarity score, zero to five, five being equivalent.\nText A: {sentence1}\nText B: {sentence2}\n"
                "{options}\nScore:"
            ),
            Template(
                "Suppose that two sentences which say the same thing get 5 points, and two which have nothing in "
                'common get none. How many points should this pair get? "{sentence1}" and "{sentence2}"'
            ),
            Template(
                "{options}\n\nA teacher grades how much of a model sentence lives on in a student's version, from 0 for "
                "nothing to 5 for all of its meaning.\n\nModel sentence: {sentence1}\n\nStudent: {sentence2}\n\n"
                "Grade given:"
            ),
            Template(
                'Do "{sentence1}" and "{sentence2}" mean the same? Answer with a whole number between 0 (not at all) '
                "and 5 (entirely).\n\n{options}"
            ),
            Template(
                "How much do two headlines or captions have in common, if 0 means nothing at all and 5 means "
                "everything?\n\nOne: {sentence1}\nTwo: {sentence2}\n\n{options}"
            ),
            Template(
                'Compare the statement "{sentence1}" with this one: "{sentence2}" On a six-point scale from 0 to 5, '
                "where higher is more alike, the semantic similarity is"
            ),
            Template(
                "Write a sentence whose similarity in meaning to the following one is {answer} out of 5.\n\n{sentence1}",
                "{sentence2}",
                inverted=True,
            ),
            Template(
                "Sentence: {sentence2}\n\nOn a scale where 0 means unrelated and 5 means equivalent, a second sentence "
                "was rated {answer}. What could that second sentence be?",
                "{sentence1}",
                inverted=True,
            ),
        ),
    )
)

"""Entailment: what a text lets one conclude about a statement."""

from collections.abc import Mapping
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_YES_NO = ("yes", "no")
_NO_YES = ("no", "yes")
_TELL = ("yes", "it is not possible to tell", "no")
_SAY = ("Yes", "It's impossible to say", "No")
_ENTAILED = ("entailment", "not_entailment")
_RELATIONS = ("entailment", "neutral", "contradiction")
# CommitmentBank numbers the three relations in an order of its own.
_CB_RELATIONS = ("entailment", "contradiction", "neutral")
_TOLD = dict(zip(_RELATIONS, _TELL, strict=True))
_SAID = dict(zip(_RELATIONS, _SAY, strict=True))
_FOLLOWS = dict(zip(_ENTAILED, _YES_NO, strict=True))


def _pair(record: Record, relation: str | None, words: Mapping[str, str]) -> dict[str, Any] | None:
    """The slots of a premise and a hypothesis, the relation put into the words of an answer."""
    if relation is None:
        return None
    premise = text(record, "premise", "context", "text_a", "sentence1")
    hypothesis = text(record, "hypothesis", "text_b", "sentence2")
    return {"premise": premise, "hypothesis": hypothesis, "answer": words[relation]}


def _can_tell(record: Record) -> dict[str, Any] | None:
    relation = label(column(record, "label"), _RELATIONS)
    return _pair(record, relation, _TOLD)


def _can_say(record: Record) -> dict[str, Any] | None:
    relation = label(column(record, "label"), _RELATIONS)
    return _pair(record, relation, _SAID)


def _commitment(record: Record) -> dict[str, Any] | None:
    relation = label(column(record, "label"), _CB_RELATIONS)
    return _pair(record, relation, _SAID)


def _follows(record: Record) -> dict[str, Any] | None:
    relation = label(column(record, "label"), _ENTAILED)
    return _pair(record, relation, _FOLLOWS)


def _answers_question(record: Record) -> dict[str, Any] | None:
    relation = label(column(record, "label"), _ENTAILED)
    if relation is None:
        return None
    question, sentence = text(record, "question", "text_a"), text(record, "sentence", "text_b")
    return {"question": question, "sentence": sentence, "answer": _FOLLOWS[relation]}


def _reading_holds(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _NO_YES)
    if answer is None:
        return None
    return {"sentence1": text(record, "sentence1"), "sentence2": text(record, "sentence2"), "answer": answer}


_ANLI_TEMPLATES = (
    Template(
        "Background: {premise}\n\nStatement: {hypothesis}\n\nGiven the background alone, is the statement true?\n\n{options}"
    ),
    Template(
        "{premise}\n\nA quiz contestant who has studied only this paragraph is asked to confirm the following: "
        '"{hypothesis}" What should the contestant say?\n\n{options}'
    ),
    Template(
        "Check the assertion against the source, and beware: it may have been worded to mislead you.\n\n"
        "Assertion: {hypothesis}\n\nSource: {premise}\n\n{options}\n\nIs the assertion true? Verdict:"
    ),
    Template(
        "{options}\n\nAfter reading the paragraph below, would you call this sentence true? "
        '"{hypothesis}"\n\nParagraph: {premise}'
    ),
    Template(
        'Take the following as given: {premise}\n\nDoes it follow that the next statement is true? "{hypothesis}"'
    ),
    Template(
        "Please fact-check one sentence for me, using nothing but this extract.\n\nExtract: {premise}\n\n"
        "Sentence: {hypothesis}\n\nIs it correct?\n\n{options}"
    ),
    Template("{premise}\n\nQuestion: Does this mean that the next sentence is true? {hypothesis}\n{options}\nAnswer:"),
    Template(
        "Reading test. Answer Yes if the passage proves the statement, No if the passage rules it out, and "
        '"It\'s impossible to say" if it does neither.\n\nPassage: {premise}\n\nStatement: {hypothesis}'
    ),
    Template(
        "Two friends were arguing, and all that they could find on the subject was this: {premise}\n\n"
        'One of them had claimed: "{hypothesis}" Was that true?\n\n{options}'
    ),
    Template(
        "{premise}\n\nWrite a statement on the same subject. Asked whether it is true, someone who knows "
        'only the paragraph above should have to reply "{answer}".',
        "{hypothesis}",
        inverted=True,
    ),
)


def _anli(number: int, train: int, held_out: int) -> TaskSpec:
    return register_flan(
        TaskSpec(
            name=f"anli_r{number}",
            cluster="entailment",
            collection="flan2021",
            title=f"ANLI round {number}",
            source=published(
                "facebook/anli",
                "plain_text",
                tfds=f"anli/r{number}:0.1.0",
                train=f"train_r{number}",
                validation=f"dev_r{number}",
                test=f"test_r{number}",
                sizes={f"train_r{number}": train, f"dev_r{number}": held_out, f"test_r{number}": held_out},
                folders=(f"anli_r{number}",),
            ),
            fields=_can_say,
            slots=("premise", "hypothesis", "answer"),
            options=_SAY,
            templates=_ANLI_TEMPLATES,
        )
    )


ANLI_R1 = _anli(1, 16_946, 1_000)
ANLI_R2 = _anli(2, 45_460, 1_000)
ANLI_R3 = _anli(3, 100_459, 1_200)


CB = register_flan(
    TaskSpec(
        name="cb",
        cluster="entailment",
        collection="flan2021",
        title="CommitmentBank",
        source=published(
            "aps/super_glue",
            "cb",
            revision="refs/convert/parquet",
            tfds="super_glue/cb:1.0.2",
            train="train[:-50]",
            validation="train[-50:]",
            test="validation",
            sizes={"train": 250, "validation": 56, "test": 250},
            folders=("cb",),
        ),
        fields=_commitment,
        slots=("premise", "hypothesis", "answer"),
        options=_SAY,
        other_metrics=(f"macro_f1:{'|'.join(_SAY)}",),
        # The hypotheses are clauses without a full stop, so they can stand behind "that" and "whether".
        templates=(
            Template("{premise}\n\nGoing by this excerpt, is it the case that {hypothesis}?\n\n{options}"),
            Template("Excerpt: {premise}\nQuestion: Is it true that {hypothesis}?\n{options}\nVerdict:"),
            Template(
                "Listen to what is being said here. {premise}\n\nIf we take the speaker at their word, is it a "
                "fact that {hypothesis}?"
            ),
            Template(
                "Somebody claims that {hypothesis}. Answer Yes if the lines below commit their author to this claim, No "
                'if they commit the author to its opposite, and "It\'s impossible to say" if they leave the matter open.'
                "\n\nThe lines: {premise}\n\n{options}"
            ),
            Template(
                "{premise}\n\nSuppose that the person speaking is honest and well informed. Is it the truth, "
                "then, that {hypothesis}?\n\n{options}"
            ),
            Template("{options}\n\nRead the text and decide on that basis whether {hypothesis}.\n\nText: {premise}"),
            Template(
                "Someone who has read only the following is asked whether {hypothesis}. What is the right answer?\n\n"
                "{premise}\n\n{options}"
            ),
            Template("Remark: {premise}\n\nDoes the author of this remark think that {hypothesis}?\n\n{options}"),
            Template('Is the statement "{hypothesis}" true, as far as this passage goes?\n\nPassage: {premise}'),
            Template(
                "Text: {premise}\nIs the claim true, going by the text? {answer}\nClaim:",
                "{hypothesis}",
                inverted=True,
            ),
        ),
    )
)


RTE = register_flan(
    TaskSpec(
        name="rte",
        cluster="entailment",
        collection="flan2021",
        title="RTE",
        source=published(
            "aps/super_glue",
            "rte",
            revision="refs/convert/parquet",
            tfds="super_glue/rte:1.0.2",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 2_490, "validation": 277, "test": 3_000},
            folders=("rte",),
        ),
        fields=_follows,
        slots=("premise", "hypothesis", "answer"),
        options=_YES_NO,
        templates=(
            Template(
                "{premise}\n\nTaking the text above as true, can we conclude the following? {hypothesis}\n\n{options}"
            ),
            Template("Text: {premise}\nClaim: {hypothesis}\nDoes the text establish the claim?\n\n{options}"),
            Template(
                'A newspaper printed this: {premise}\n\nA reader gathered from it: "{hypothesis}" Was the reader '
                "right to do so?\n\n{options}"
            ),
            Template(
                "{options}\n\nSay whether the second statement has to be true, given the first.\n\n"
                "First: {premise}\n\nSecond: {hypothesis}"
            ),
            Template('Is the sentence "{hypothesis}" supported by this passage?\n\n{premise}'),
            Template(
                "All that I know about the matter is this: {premise}\n\nMay I tell a friend the following "
                "without any risk of being wrong? {hypothesis}\n\n{options}"
            ),
            Template(
                "Textual inference exercise. Answer yes if the conclusion follows from the source, and no if it does "
                "not.\n\nSource: {premise}\n\nConclusion: {hypothesis}\n\n{options}\n\nAnswer:"
            ),
            Template(
                "{premise}\n\nThe lines above are from a report. Judge one statement by them: {hypothesis}\nDoes "
                "it follow?\n\n{options}"
            ),
            Template(
                "An editor checks every headline against its article.\n\nHeadline: {hypothesis}\n\n"
                "Article: {premise}\n\nDoes the article bear the headline out?\n\n{options}"
            ),
            Template(
                "Passage: {premise}\n\nA pupil has to say whether a certain sentence follows from this passage, "
                'and the right answer is "{answer}". Make up such a sentence.',
                "{hypothesis}",
                inverted=True,
            ),
        ),
    )
)


_MNLI_TEMPLATES = (
    Template(
        "Premise: {premise}\n\nHypothesis: {hypothesis}\n\nAssuming the premise, is the hypothesis true?\n\n{options}"
    ),
    Template(
        'Would you agree that "{hypothesis}" is a true sentence if you had nothing but these words to go '
        "by? {premise}\n\n{options}"
    ),
    Template("Suppose that the following is a fact: {premise}\n\nIs this a fact as well? {hypothesis}"),
    Template(
        "{options}\n\nFirst sentence: {premise}\nSecond sentence: {hypothesis}\n"
        "Knowing the first sentence, would you call the second one true?"
    ),
    Template('A colleague reports: "{premise}" If the report can be trusted, is this so? "{hypothesis}"\n\n{options}'),
    Template(
        "Decide what the passage lets us say about the claim: yes, it is true; no, it is false; or it is not possible "
        "to tell.\n\nPassage: {premise}\n\nClaim: {hypothesis}\n\n{options}\n\nDecision:"
    ),
    Template(
        "You are asked to confirm this: {hypothesis}\nThe one thing you know is this: {premise}\n"
        "What do you reply?\n\n{options}"
    ),
    Template('"{premise}"\n\nIf that is accurate, is the next statement accurate too?\n\nStatement: {hypothesis}'),
    Template(
        "Compare two sentences. Answer yes if the first implies the second, no if they contradict each other, and "
        '"it is not possible to tell" otherwise.\n\nOne: {premise}\n\nTwo: {hypothesis}\n\n{options}'
    ),
    Template("Does this claim hold? {hypothesis}\n\nHere is all the evidence there is: {premise}\n\n{options}"),
)


def _mnli(part: str, held_out: int) -> TaskSpec:
    return register_flan(
        TaskSpec(
            name=f"mnli_{part}",
            cluster="entailment",
            collection="flan2021",
            title=f"MNLI, {part}",
            source=published(
                "nyu-mll/glue",
                "mnli",
                tfds="glue/mnli:2.0.0",
                train="train[:-200]",
                validation="train[-200:]",
                test=f"validation_{part}",
                sizes={"train": 392_702, f"validation_{part}": held_out},
                folders=(f"mnli_{part}", "mnli"),
            ),
            fields=_can_tell,
            slots=("premise", "hypothesis", "answer"),
            options=_TELL,
            templates=_MNLI_TEMPLATES,
        )
    )


MNLI_MATCHED = _mnli("matched", 9_815)
MNLI_MISMATCHED = _mnli("mismatched", 9_832)


QNLI = register_flan(
    TaskSpec(
        name="qnli",
        cluster="entailment",
        collection="flan2021",
        title="QNLI",
        source=published(
            "nyu-mll/glue",
            "qnli",
            tfds="glue/qnli:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 104_743, "validation": 5_463, "test": 5_463},
            folders=("qnli",),
        ),
        fields=_answers_question,
        slots=("question", "sentence", "answer"),
        options=_YES_NO,
        templates=(
            Template(
                "Question: {question}\nSentence: {sentence}\nDoes the sentence contain the answer to the question?"
                "\n\n{options}"
            ),
            Template(
                "{sentence}\n\nHaving read this, would you be able to answer somebody who asks you the "
                "following? {question}\n\n{options}"
            ),
            Template(
                'The query "{question}" brought up this line in a search engine: {sentence}\n\nDoes the line '
                "give the information that was wanted?"
            ),
            Template(
                "{options}\n\nTell me whether the question can be answered from the text.\n\n"
                "The question: {question}\n\nThe text: {sentence}"
            ),
            Template(
                "I asked: {question}\n\nMy encyclopedia says: {sentence}\n\nHas my question been answered?\n\n{options}"
            ),
            Template(
                "A student found this in an article: {sentence}\n\nThe homework asks: {question} Does the "
                "student now have the answer?"
            ),
            Template(
                'Could you reply to "{question}" by pointing to the sentence that follows?\n\n{sentence}\n\n{options}'
            ),
            Template(
                "Relevance check. Answer yes if the sentence answers the question, and no if it merely touches on the "
                "same subject.\n\nSentence: {sentence}\nQuestion: {question}\n\n{options}\n\nAnswer:"
            ),
            Template(
                "Someone needs to find this out: {question}\n\nDoes the next line settle the matter? "
                "{sentence}\n\n{options}"
            ),
            Template(
                "Write a question on the topic of the sentence below. The sentence has to answer it if the last "
                "line says yes, and must not answer it if the last line says no.\n\nSentence: {sentence}\n\n"
                "Answered by the sentence: {answer}",
                "{question}",
                inverted=True,
            ),
        ),
    )
)


WNLI = register_flan(
    TaskSpec(
        name="wnli",
        cluster="entailment",
        collection="flan2021",
        title="WNLI",
        source=published(
            "nyu-mll/glue",
            "wnli",
            tfds="glue/wnli:2.0.0",
            train="train[:-30]",
            validation="train[-30:]",
            test="validation",
            sizes={"train": 635, "validation": 71, "test": 146},
            folders=("wnli",),
        ),
        fields=_reading_holds,
        slots=("sentence1", "sentence2", "answer"),
        options=_NO_YES,
        templates=(
            Template(
                "Sentence 1: {sentence1}\nSentence 2: {sentence2}\n"
                "If sentence 1 is true, is sentence 2 true as well?\n\n{options}"
            ),
            Template("Read this: {sentence1}\n\nDoes it tell you the following? {sentence2}\n\n{options}"),
            Template(
                "Look closely at what the pronouns stand for in the text below.\n\n{sentence1}\n\n"
                "Does the following hold, then? {sentence2}\n\n{options}"
            ),
            Template(
                'My teacher wrote on the board: "{sentence1}" I took it to mean this: "{sentence2}" '
                "Did I understand correctly?"
            ),
            Template('{options}\n\nDoes "{sentence2}" follow from what is written here?\n\n{sentence1}'),
            Template(
                "A puzzle for your common sense: {sentence1}\n\nWould it be true to add the following? "
                "{sentence2}\n\n{options}\n\nSolution:"
            ),
            Template(
                "Is the short statement a correct reading of the longer text? Reply yes or no.\n\n"
                "Longer text: {sentence1}\n\nShort statement: {sentence2}"
            ),
            Template(
                'Somebody tells you, "{sentence1}" Would it be right to pass this on in the following form? "{sentence2}"\n\n{options}'
            ),
            Template(
                "Original: {sentence1}\n\nInterpretation: {sentence2}\n\n"
                "Is the interpretation what the writer of the original meant?\n\n{options}"
            ),
            Template('{sentence1} Hence: {sentence2}\n\nIs the word "hence" justified here?\n\n{options}'),
        ),
    )
)


SNLI = register_flan(
    TaskSpec(
        name="snli",
        cluster="entailment",
        collection="flan2021",
        title="SNLI",
        source=published(
            "stanfordnlp/snli",
            "plain_text",
            tfds="snli:1.1.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 550_152, "validation": 10_000, "test": 10_000},
            folders=("snli",),
        ),
        fields=_can_tell,
        slots=("premise", "hypothesis", "answer"),
        options=_TELL,
        templates=(
            Template(
                "A photograph is described like this: {premise}\n\nIs the following true of the photograph? "
                "{hypothesis}\n\n{options}"
            ),
            Template(
                'Caption: {premise}\n\nAnother person says about the same picture: "{hypothesis}" Is that person '
                "right?\n\n{options}"
            ),
            Template(
                "Imagine this scene: {premise}\n\nWould somebody who was there agree with the next remark? {hypothesis}"
            ),
            Template(
                'We were not there, but a witness told us: "{premise}" Is the next sentence true, then?\n\n'
                "{hypothesis}\n\n{options}"
            ),
            Template(
                "{options}\n\nUsing the description, judge the sentence.\n\nDescription: {premise}\n\n"
                "Sentence: {hypothesis}\n\nIs the sentence true?"
            ),
            Template(
                "Remark: {hypothesis}\n\nWhat the image shows: {premise}\n\nIs the remark true of the image?\n\n"
                "{options}"
            ),
            Template("Given: {premise}\nAsked: Is this true? {hypothesis}\n{options}\nReply:"),
            Template(
                'Look at the caption below and say whether the claim about the scene holds ("yes"), fails ("no"), or '
                'cannot be settled ("it is not possible to tell").\n\nCaption: {premise}\n\nClaim: {hypothesis}'
            ),
            Template("{premise}\n\nThat is all we are told. Is this true? {hypothesis}\n\n{options}"),
            Template(
                "Photo caption: {premise}\n\nIs a second sentence about the photo true? With only the caption to "
                'go by, the answer is "{answer}". Write a second sentence of which this holds.',
                "{hypothesis}",
                inverted=True,
            ),
        ),
    )
)

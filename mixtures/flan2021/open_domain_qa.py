"""Open-domain question answering: questions without a text that holds the answer."""

from typing import Any

from flan_jax.data.sources.published import PublishedSource, published
from flan_jax.tasks.fields import column, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan
from mixtures.questions import asked, choice_slots, labelled_choices, place_of, texts_in_order


def _trivia(record: Record) -> dict[str, Any] | None:
    # The published test split has no answers: its value is a placeholder.
    given = record.get("answer")
    if not given or given.get("value") in (None, "", "<unk>"):
        return None
    value = text(record, "answer.normalized_value")
    aliases = given.get("normalized_aliases") or ()
    return {"question": text(record, "question"), "answer": tuple(dict.fromkeys((value, *filter(None, aliases))))}


def _search_query(record: Record) -> dict[str, Any]:
    return {"question": asked(text(record, "question")), "answer": tuple(dict.fromkeys(texts(record, "answer")))}


def _science_exam(record: Record) -> dict[str, Any] | None:
    if "gold" in record:
        question = text(record, "query").removeprefix("Question:").strip()
        choices, place = texts_in_order(record, "choices"), column(record, "gold")
    else:
        question = text(record, "question")
        labels, choices = labelled_choices(column(record, "choices"))
        place = place_of(record.get("answerKey"), labels)
    # As FLAN does: a few of the exams have three choices or five.
    if place is None or len(choices) != 4:
        return None
    return {"question": question, **choice_slots(choices, place)}


TRIVIA_QA = register_flan(
    TaskSpec(
        name="trivia_qa",
        cluster="open_domain_qa",
        collection="flan2021",
        title="TriviaQA",
        # The same questions as in "rc", without the gigabytes of documents that FLAN does not show.
        source=published(
            "mandarjoshi/trivia_qa",
            "rc.nocontext",
            tfds="trivia_qa/rc:1.1.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 138_384, "validation": 17_944},
            folders=("trivia_qa",),
        ),
        fields=_trivia,
        slots=("question", "answer"),
        metric="trivia_qa_f1",
        other_metrics=("trivia_qa_em",),
        predict="generate",
        templates=(
            Template("Answer this trivia question: {question}"),
            Template("{question}\n\nGive just the answer, no explanation."),
            Template("Pub quiz, next round! {question} What does your team write down?"),
            Template("Q: {question}\nA:"),
            Template(
                "You are a contestant on a general-knowledge show, and the host reads out your question: "
                "“{question}” What do you say?"
            ),
            Template("I have been wondering about something, and perhaps you can enlighten me. {question}"),
            Template(
                "This question is about a person, a place, an event or a thing. Reply with the name or the short "
                "phrase that it asks for.\n\n{question}"
            ),
            Template("Do you happen to know this one? {question} A few words will do."),
            Template("Flash card.\nFront: {question}\nBack:"),
            Template(
                "Nothing may be looked up and there is only one try. Here is the question: {question}\n\nFinal answer:"
            ),
        ),
    )
)

NATURAL_QUESTIONS = register_flan(
    TaskSpec(
        name="natural_questions",
        cluster="open_domain_qa",
        collection="flan2021",
        title="Natural Questions",
        source=published(
            "google-research-datasets/nq_open",
            "nq_open",
            tfds="natural_questions_open:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 87_925, "validation": 3_610},
            folders=("natural_questions", "nq_open"),
        ),
        fields=_search_query,
        slots=("question", "answer"),
        metric="trivia_qa_f1",
        other_metrics=("trivia_qa_em",),
        predict="generate",
        templates=(
            Template("What a person typed into a search engine: {question}\nWhat the person hoped to find:"),
            Template("Please answer from memory, as briefly as you can: {question}"),
            Template("{question} A few words at most, please."),
            Template(
                "Question: {question}\n\nYour knowledge of the world should be enough here; state the fact that is "
                "asked for."
            ),
            Template("A friend sends you the message “{question}” Reply with the answer and nothing else."),
            Template("What is the correct response to the following query? {question}"),
            Template("Encyclopedia lookup.\nQuery: {question}\nResult:"),
            Template("The librarian hears the question “{question}” and replies, without opening a single book:"),
            Template("Provide the date, name, number or phrase that is wanted here.\n\n{question}"),
            Template("There is something I would like to know, and it should not take you long. {question}"),
        ),
    )
)

_SCIENCE_EXAM = (
    Template("Answer this question from a science exam.\n\n{question}\n\n{options}"),
    Template("{question}\n\n{options}\n\nThe correct answer:"),
    Template(
        "Grade-school science: where a sentence breaks off, finish it; where a question is asked, answer it.\n\n"
        "{question}\n\n{options}"
    ),
    Template("Problem: {question}\n\n{options}\n\nSolution:"),
    Template(
        "A science teacher is marking papers and comes to this item: “{question}”\n\n{options}\n\nWhat "
        "reply earns full marks?"
    ),
    Template(
        "Please help me revise for my science test. The practice sheet says: “{question}”\n\n"
        "{options}\n\nWhat should I answer?"
    ),
    Template("What does science tell us here? {question}"),
    Template("Write an item for a science test. Its correct answer is to be: {answer}", "{question}", inverted=True),
    Template(
        "Only the answers of an exam question are left on the page. Restore the question.\n\nRight: "
        "{answer}\nWrong: {others}",
        "{question}",
        inverted=True,
    ),
    Template(
        "Add answers to this test item that are wrong but look believable to someone who has not "
        "studied. Separate them by semicolons.\n\nItem: {question}\nKey: {answer}\nWrong answers:",
        "{others}",
        inverted=True,
    ),
)


def _arc(config: str, **sizes: int) -> PublishedSource:
    return published(
        "allenai/ai2_arc",
        f"ARC-{config}",
        tfds=f"ai2_arc/ARC-{config}:1.0.0",
        train="train[:-200]",
        validation="train[-200:]",
        test="test",
        sizes=sizes,
        folders=(f"arc_{config.lower()}",),
    )


ARC_CHALLENGE = register_flan(
    TaskSpec(
        name="arc_challenge",
        cluster="open_domain_qa",
        collection="flan2021",
        title="ARC Challenge",
        source=_arc("Challenge", train=1_119, validation=299, test=1_172),
        fields=_science_exam,
        slots=("question", "choices", "answer", "others"),
        options="choices",
        templates=_SCIENCE_EXAM,
    )
)

ARC_EASY = register_flan(
    TaskSpec(
        name="arc_easy",
        cluster="open_domain_qa",
        collection="flan2021",
        title="ARC Easy",
        source=_arc("Easy", train=2_251, validation=570, test=2_376),
        fields=_science_exam,
        slots=("question", "choices", "answer", "others"),
        options="choices",
        templates=_SCIENCE_EXAM,
    )
)

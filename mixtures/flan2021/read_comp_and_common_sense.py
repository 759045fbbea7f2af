"""Reading comprehension with common sense: what a text does not say in so many words."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.choices import chosen
from mixtures.flan_fields import register_flan

_PLACEHOLDER = "@placeholder"
_BLANK = "_____"
# Behind the article, ReCoRD's passages list its highlights.
_HIGHLIGHT = "\n@highlight"


def _record(record: Record) -> dict[str, Any] | None:
    """An ending is an entity and what follows it in the statement, as FLAN has it."""
    if not column(record, "answers"):
        return None
    lead, found, rest = text(record, "query").partition(_PLACEHOLDER)
    if not found:
        raise UserError(f"'query' has no {_PLACEHOLDER}.")
    entities = dict.fromkeys(texts(record, "entities"))
    answers = [answer for answer in dict.fromkeys(texts(record, "answers")) if answer in entities]
    if not answers or len(entities) < 2:
        return None
    return {
        "passage": text(record, "passage").partition(_HIGHLIGHT)[0].strip(),
        "statement": f"{lead}{_BLANK}{rest}",
        "lead": lead.strip(),
        "endings": tuple(entity + rest for entity in entities),
        "answer": tuple(answer + rest for answer in answers),
    }


def _behind_the_gap(record: Record) -> str:
    """The rest of the statement, which stands behind every entity and is not compared."""
    return text(record, "query").partition(_PLACEHOLDER)[2].rstrip()


def _cosmos_qa(record: Record) -> dict[str, Any] | None:
    slots = chosen(tuple(text(record, f"answer{number}") for number in range(4)), column(record, "label"))
    if slots is None:
        return None
    return {**slots, "context": text(record, "context"), "question": text(record, "question")}


RECORD = register_flan(
    TaskSpec(
        name="record",
        cluster="read_comp_and_common_sense",
        collection="flan2021",
        title="ReCoRD",
        source=published(
            "aps/super_glue",
            "record",
            revision="refs/convert/parquet",
            tfds="super_glue/record:1.0.2",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 100_730, "validation": 10_000, "test": 10_000},
            folders=("record",),
        ),
        fields=_record,
        slots=("passage", "statement", "lead", "endings", "answer"),
        options="endings",
        # The official scores are of the entity alone.
        metric="squad_em",
        other_metrics=("record_f1",),
        ending=_behind_the_gap,
        # {lead} is empty where the statement begins with its blank, so it stands only at the end.
        templates=(
            Template(
                "{passage}\n\nComplete this statement from the blank to its end: {statement}\n\n{options}",
            ),
            Template(
                "News article: {passage}\n\nA sentence about the same events has lost a name: {statement}\n\n"
                "Write out the rest of the sentence, beginning with the lost name.\n\n{options}"
            ),
            Template("{passage}\n\nThe report continues: {lead}"),
            Template(
                "{options}\n\nRead the article, and then finish the sentence from its gap on.\n\nArticle: {passage}\n\n"
                "Sentence: {statement}"
            ),
            Template(
                "Who or what is missing? Answer with the missing name and everything that comes after it.\n\n"
                "Incomplete: {statement}\n\nSource: {passage}\n\n{options}"
            ),
            Template("Here is the news. {passage}\n\n{options}\n\nFinish one more sentence about it: {lead}"),
            Template(
                "Cloze test.\nText: {passage}\nItem: {statement}\n"
                "Replace the underscores and copy the words after them.\n{options}\nSolution:"
            ),
            Template(
                "I read this story in the paper.\n\n{passage}\n\nMy friend then read me one more line, but "
                'coughed over a name, and what I heard was "{statement}" What did the line say from the cough '
                "onward?\n\n{options}"
            ),
            Template(
                "Fill in the name and carry the sentence through to its end: {statement}\n\n"
                "The name is somewhere in these paragraphs: {passage}"
            ),
            Template(
                "{passage}\n\nAn editor puts a line under the article, in which underscores hide somebody or something "
                "that the article mentions. Reveal it, and go on to the end of the line.\n\n"
                "Line: {statement}\n\n{options}"
            ),
        ),
    )
)


COSMOS_QA = register_flan(
    TaskSpec(
        name="cosmos_qa",
        cluster="read_comp_and_common_sense",
        collection="flan2021",
        title="Cosmos QA",
        source=published(
            "allenai/cosmos_qa",
            revision="refs/convert/parquet",
            tfds="cosmos_qa:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 25_262, "validation": 2_985, "test": 6_963},
            folders=("cosmos_qa", "cosmosqa"),
        ),
        fields=_cosmos_qa,
        slots=("context", "question", "choices", "answer"),
        options="choices",
        templates=(
            Template("{context}\n\nQuestion: {question}\n\n{options}"),
            Template(
                "Read between the lines of this personal story, then answer.\n\nStory: {context}\n\n"
                "What you are asked: {question}\n\n{options}"
            ),
            Template(
                '{options}\n\nAnswer the question "{question}" with the help of this text, in which somebody '
                "tells of their life.\n\n{context}"
            ),
            Template(
                "From a blog: {context}\n\nA visitor to the blog wonders about something: {question} "
                "What would you suppose?"
            ),
            Template("Q: {question}\nText for reference: {context}\n{options}\nA:"),
            Template(
                "The passage does not state the answer outright. Work it out by common sense.\n\n"
                "Passage: {context}\n\nTo be worked out: {question}\n\n{options}"
            ),
            Template(
                "Somebody wrote this in a diary: {context}\n\nA friend who has read it asks you: {question} What "
                "would you reply?\n\n{options}"
            ),
            Template(
                "One person had this to say: {context}\n\nNow tell me what you gather from it. {question}\n\n{options}"
            ),
            Template(
                "{context}\n\nAsk a question about this text that is best answered like this: {answer}",
                "{question}",
                inverted=True,
            ),
            Template(
                "Question: {question}\nAnswer: {answer}\n\nWrite a short account of something that happened to you, "
                "from which a reader could infer that answer.",
                "{context}",
                inverted=True,
            ),
        ),
    )
)

"""Math: linear equations in one unknown."""

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan


def _plain(written: str) -> str:
    """The text itself: the hub's copy holds it as Python prints bytes, ``b'Solve …\\n'``.

    >>> _plain("b'Solve 2*x = 6 for x.\\\\n'")
    'Solve 2*x = 6 for x.'
    """
    if written.startswith("b'") and written.endswith("'"):
        written = written[2:-1]
    return written.removesuffix("\\n").strip()


def _equation(record: Record) -> dict[str, str]:
    return {"question": _plain(text(record, "question")), "answer": _plain(text(record, "answer"))}


MATH_DATASET = register_flan(
    TaskSpec(
        name="math_dataset",
        cluster="math",
        collection="flan2021",
        title="DeepMind Mathematics: linear equations",
        source=published(
            "deepmind/math_dataset",
            "algebra__linear_1d",
            revision="refs/convert/parquet",
            tfds="math_dataset/algebra__linear_1d:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 1_999_998, "test": 10_000},
            folders=("math_dataset",),
        ),
        fields=_equation,
        slots=("question", "answer"),
        predict="generate",
        templates=(
            Template("Algebra exercise: {question}"),
            Template("{question}\n\nGive only the value of the unknown."),
            Template("Find the number that makes the equation true.\n\n{question}"),
            Template("Work through this one-variable equation in your head and write down the solution: {question}"),
            Template("My calculator is broken, so I am asking you. {question} What should I get?"),
            Template("Task: {question}\nSolution (a single number):"),
            Template("The blackboard reads: {question} A student steps forward and writes the result:"),
            Template("Mathematics paper, section A, linear equations.\n\n{question}\n\nFinal answer:"),
            Template("What number does the unknown stand for here? {question}"),
            Template("Please do the following for me; the result is all I need, not the steps.\n\n{question}"),
        ),
    )
)

"""promptsource as published, beside rows that T0's own code rendered."""

import collections
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jinja2 import nodes

from flan_jax.data.collections.t0_datasets import as_on_hub, task_name
from flan_jax.data.sources.base import set_data_dir
from flan_jax.data.templates.jinja_sandbox import _METHODS, _environment
from flan_jax.data.templates.promptsource import JinjaTemplate, promptsource_task, read_templates, template_files
from flan_jax.errors import UserError

pytestmark = pytest.mark.realdata
Record = Mapping[str, Any]


@pytest.fixture(scope="module")
def published(realdata: Path) -> dict[str, JinjaTemplate]:
    """``p3_DATASET_SUBSET`` and the template's name → template."""
    found = {}
    for path in template_files(realdata / "promptsource" / "templates"):
        file = read_templates(path)
        for template in file.templates:
            found[key(task_name(file.dataset, file.subset), template.name)] = template
    return found


def key(data: str, template: str) -> str:
    return re.sub(r"[\W_]+", "_", f"{data.removeprefix('p3_')}_{template}").lower().strip("_")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row that T0's code rendered."""

    key: str
    inputs: str
    targets: str
    origin: str


def reference_rows(realdata: Path) -> Iterator[Row]:
    folder = realdata / "p3_t0_rendered"
    for path in sorted((folder / "recross").glob("*/*.jsonl")):
        for line in path.open():
            row = json.loads(line)
            data, _, template, _ = row["id"].split("|")
            for targets in row["outputs"]:
                yield Row(key(data, template), row["input"], targets, row["id"])
    for line in (folder / "self_instruct_t0_train_sample.jsonl").open():
        row = json.loads(line)
        # That collection ends a prompt with a line end and a target with a mark of its own.
        targets = row["completion"].removesuffix("<|endoftext|>").strip()
        yield Row(key("", row["template"]), row["prompt"].removesuffix("\n"), targets, row["template"])


def test_every_file_is_read_and_every_template_compiles(realdata: Path) -> None:
    files = list(template_files(realdata / "promptsource" / "templates"))
    templates = [template for path in files for template in read_templates(path).templates]
    assert (len(files), len(templates)) == (279, 2085)
    assert sum(template.original_task for template in templates) == 1535
    assert sum(template.answer_choices is not None for template in templates) == 1145
    environment = _environment(0)
    allowed = frozenset().union(*_METHODS.values())
    for template in templates:
        assert template.fields is not None
        for source in (template.jinja, template.answer_choices or ""):
            for call in environment.parse(source).find_all(nodes.Call):
                if isinstance(call.node, nodes.Getattr):
                    assert call.node.attr in allowed, f"{template.describe()} calls {call.node.attr}"
                else:
                    assert call.node.name in environment.globals, template.describe()


def test_every_file_is_a_task(realdata: Path) -> None:
    from flan_jax.eval.metrics.registry import METRICS

    set_data_dir(realdata)
    tasks = {}
    for path in template_files():
        file = read_templates(path)
        spec = promptsource_task(file.dataset, file.subset, cluster="any")
        assert {spec.metric, *spec.other_metrics} <= set(METRICS), spec.name
        tasks[spec.name] = spec
    assert len(tasks) == 279
    assert collections.Counter(spec.predict for spec in tasks.values()) == {"rank": 149, "generate": 130}


# Raw data sets of other publishers, with their columns put as the hub has them.


def openbookqa(record: Record) -> Record:
    parts = re.split(r"\s*\(([A-D])\) ", " " + record["Choices"])
    choices = {"text": [text.strip() for text in parts[2::2]], "label": parts[1::2]}
    return {
        "id": record["ID"],
        "question_stem": record["Question Stem"],
        "choices": choices,
        "answerKey": record["Answer Key"],
    }


def winogrande(record: Record) -> Record:
    first, second = record["context_options"]
    same = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    same = first.rfind(" ", 0, same) + 1
    return {
        "sentence": first[:same] + "_ " + record["continuation"],
        "option1": first[same:],
        "option2": second[same:],
        "answer": str(record["gold"] + 1),
    }


def commonsense_qa(record: Record) -> Record:
    question = record["question"]
    choices = {name: [choice[name] for choice in question["choices"]] for name in ("label", "text")}
    return {
        "id": record["id"],
        "question": question["stem"],
        "question_concept": question["question_concept"],
        "choices": choices,
        "answerKey": record["answerKey"],
    }


def arc(record: Record) -> Record:
    letters = list("ABCDEFG"[: len(record["choices"])])
    return {
        "question": record["query"].removeprefix("Question: "),
        "choices": {"text": record["choices"], "label": letters},
        "answerKey": letters[record["gold"]],
    }


def pair(first: str, second: str, *labels: str) -> Callable[[Record], Record]:
    def convert(record: Record) -> Record:
        return {
            first: record["text_a"],
            second: record["text_b"],
            "label": labels.index(record["label"]) if labels else float(record["label"]),
        }

    return convert


def xquad(record: Record) -> Record:
    answers = {name: [answer[name] for answer in record["answers"]] for name in ("text", "answer_start")}
    return {**record, "answers": answers}


def poem(record: Record) -> Record:
    return {**record, "label": ("-1", "1", "0", "2").index(record["label"])}


def e2e(record: Record) -> Record:
    return {"meaning_representation": record["mr"], "human_reference": record["ref"]}


RAW: dict[str, tuple[str, Callable[[Record], Record]]] = {
    "super_glue/copa": ("commonsense/copa", as_on_hub),
    "super_glue/wsc.fixed": ("coreference/wsc", as_on_hub),
    "super_glue/boolq": ("reading_comprehension/boolq", as_on_hub),
    "cosmos_qa": ("reading_comprehension/cosmosqa", as_on_hub),
    "piqa": ("commonsense/piqa", as_on_hub),
    "openbookqa/main": ("commonsense/openbookqa", openbookqa),
    "winogrande/winogrande_xl": ("coreference/winogrande", winogrande),
    "commonsense_qa": ("commonsense/commonsenseqa", commonsense_qa),
    "ai2_arc/ARC-Easy": ("closed_book_qa/arc_easy", arc),
    "ai2_arc/ARC-Challenge": ("closed_book_qa/arc_challenge", arc),
    "snli": (
        "natural_language_inference/snli",
        pair("premise", "hypothesis", "entailment", "neutral", "contradiction"),
    ),
    "glue/mnli": (
        "natural_language_inference/mnli",
        pair("premise", "hypothesis", "entailment", "neutral", "contradiction"),
    ),
    "glue/qnli": ("natural_language_inference/qnli", pair("question", "sentence", "entailment", "not_entailment")),
    "glue/wnli": ("natural_language_inference/wnli", as_on_hub),
    "glue/stsb": ("paraphrase/stsb", pair("sentence1", "sentence2")),
    "nq_open": ("closed_book_qa/nq_open", as_on_hub),
    "xquad/xquad.en": ("reading_comprehension/xquad_en", xquad),
    "xquad_r/en": ("reading_comprehension/xquad_en", xquad),
    "aqua_rat/raw": ("math/aqua", as_on_hub),
    "poem_sentiment": ("sentiment/poem_sentiment", poem),
    "scitldr/Abstract": ("summarization/scitldr_a", as_on_hub),
    "e2e_nlg_cleaned": ("struct_to_text/e2e_nlg", e2e),
}


def raw_records(realdata: Path, data: str, splits: Iterable[str] = ("train", "test")) -> list[Record]:
    folder, convert = RAW[data]
    lines = [line for split in splits for line in (realdata / "nlp_clusters" / folder / f"{split}.jsonl").open()]
    return [convert(json.loads(line)) for line in lines]


def test_templates_render_on_the_data_that_is_here(realdata: Path) -> None:
    counts: collections.Counter[str] = collections.Counter()
    for data in RAW:
        records = raw_records(realdata, data, ("test",))[:50]
        for template in read_templates(realdata / "promptsource" / "templates" / data / "templates.yaml").templates:
            parts = [template.render(record) for record in records]
            counts["templates"] += 1
            counts["silent"] += not any(parts)
            counts["records"] += sum(part is not None for part in parts)
            for part in filter(None, parts):
                assert part.inputs
                assert part.targets
                if part.options and template.scored:
                    counts["outside"] += part.targets not in part.options
    assert counts["templates"] == 181
    # One looks for a field written otherwise in this copy of its data set.
    assert counts["silent"] == 1
    assert counts["records"] == 8815
    # Two templates, as published, have targets that are not among their own choices.
    assert counts["outside"] == 58


def literal_parts_end(body: Iterable[nodes.Node], text: str, start: int) -> int | None:
    """Where the literal parts of ``body`` end in ``text``, found in their order; ``None`` if one is not there."""
    for node in body:
        if isinstance(node, nodes.Output):
            for child in node.nodes:
                for piece in child.data.split("|||") if isinstance(child, nodes.TemplateData) else ():
                    piece = " ".join(piece.split())
                    at = text.find(piece, start)
                    if at < 0:
                        return None
                    start = at + len(piece)
        elif isinstance(node, nodes.If) and node.else_:
            branches = (node.body, *(other.body for other in node.elif_), node.else_)
            ends = [end for end in (literal_parts_end(branch, text, start) for branch in branches) if end is not None]
            if not ends:
                return None
            start = min(ends)
    return start


def test_literal_parts_stand_in_every_reference_row(realdata: Path, published: dict[str, JinjaTemplate]) -> None:
    environment = _environment(0)
    counts: collections.Counter[str] = collections.Counter()
    without = collections.Counter[str]()
    for row in reference_rows(realdata):
        template = published.get(row.key)
        if template is None:
            without[row.origin.split("|")[0]] += 1
            continue
        text = " ".join(f"{row.inputs} {row.targets}".split())
        end = literal_parts_end(environment.parse(template.jinja).body, text, 0)
        assert end is not None, f"{template.describe()}: {row}"
        counts["rows"] += 1
    assert counts["rows"] == 9_948
    # Tasks of BIG-bench, whose prompts are not promptsource's.
    assert sum(without.values()) == 1_092
    assert set(without) == {
        "code_line_description",
        "formal_fallacies_syllogisms_negation",
        "hindu_knowledge",
        "known_unknowns",
        "logic_grid_puzzle",
        "misconceptions",
        "movie_dialog_same_or_different",
        "novel_concepts",
        "strategyqa",
        "vitaminc_fact_verification",
        "winowhy",
    }


def test_rows_equal_those_that_t0_rendered(realdata: Path, published: dict[str, JinjaTemplate]) -> None:
    rows_of: dict[str, list[tuple[JinjaTemplate, Row]]] = {}
    for row in reference_rows(realdata):
        template = published.get(row.key)
        if template is not None:
            data = "/".join(filter(None, (template.dataset, template.subset)))
            rows_of.setdefault(data, []).append((template, row))
    equal: dict[str, int] = {}
    for data in RAW:
        records = [(marks(record), record) for record in raw_records(realdata, data)] if data in rows_of else []
        made: dict[tuple[str, int], set[tuple[str, str]]] = {}
        for template, row in rows_of.get(data, ()):
            text = f"{row.inputs} {row.targets}"
            for number, (found, record) in enumerate(records):
                if any(mark in text for mark in found):
                    if (row.key, number) not in made:  # a template has many rows, which are like the same few records
                        made[row.key, number] = rendered(template, record)
                    if (row.inputs, row.targets) in made[row.key, number]:
                        equal[data] = equal.get(data, 0) + 1
                        break
    # Of rows whose record is among the raw ones, all. The others were made from records that are not here.
    assert equal == {
        "super_glue/copa": 132,
        "super_glue/wsc.fixed": 117,
        "super_glue/boolq": 70,
        "cosmos_qa": 84,
        "piqa": 100,
        "openbookqa/main": 91,
        "winogrande/winogrande_xl": 99,
        "commonsense_qa": 20,
    }


def marks(record: Record) -> list[str]:
    """Pieces of a record that its rows are found by."""
    texts = [value for name, value in record.items() if isinstance(value, str) and name not in ("id", "answerKey")]
    return [text[len(text) // 3 :][:40] for text in sorted(texts, key=len)[-5:] if len(text) >= 6]


def rendered(template: JinjaTemplate, record: Record) -> set[tuple[str, str]]:
    """Inputs and targets that T0 may have written: what it drew by chance is not known, so those of any draw."""
    texts = set()
    for seed in range(12 if re.search(r"\|\s*choice", template.jinja) else 1):
        try:
            found = dataclasses.replace(template, seed=seed).render(record)
        except UserError:
            break
        if found is not None:
            texts.add((found.inputs, found.targets))
    return texts

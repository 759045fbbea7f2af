"""A few records of each of the sources that the mixture ``real_sources`` reads, in their published forms."""

import json
from pathlib import Path
from typing import Any

_COPIES: dict[str, dict[str, Any]] = {
    "common_sense/copa": {"premise": "It rained.", "choice1": "It got wet.", "choice2": "It got dry.", "question": "effect", "label": 0},
    "coreference/wsc": {"text": "Ada met Bo . She waved .", "target": {"span1_index": 0, "span1_text": "Ada", "span2_index": 4, "span2_text": "She"}, "idx": 0, "label": True},
    "entailment/wnli": {"index": "0", "sentence1": "Ada keeps bees.", "sentence2": "Ada keeps animals.", "label": "1"},
    "paraphrase/stsb": {"sentence1": "Ada sleeps.", "sentence2": "Ada is asleep.", "label": "4.5", "score": "4.5"},
}  # fmt: skip
_CAPITALS, _HANS, _MWSC = (
    "task1146_country_capital",
    "task1364_hans_answer_generation",
    "task489_mwsc_question_generation",
)
_P3 = ("ai2_arc-ARC-Easy", "paws_x-en", "super_glue-cb", "winogrande-winogrande_xl", "wiqa")


def six_sources(folder: Path) -> tuple[Path, Path]:
    """Writes the folders of data and of local copies of Flan's tasks.

    Returns:
        DATA_DIR and SOURCE_DIR.
    """
    data, copies = folder / "data", folder / "copies"
    for task, record in _COPIES.items():
        for split in ("train", "test"):
            _write(copies / task / f"{split}.jsonl", record)
    for task in (_CAPITALS, _HANS, _MWSC):
        _write(data / "superni" / "tasks" / f"{task}.json", _superni_task(task))
    for part, tasks in (("train", (_CAPITALS, _HANS, _MWSC)), ("test", ())):
        _write_text(data / f"superni/splits/default/{part}_tasks.txt", "\n".join(tasks))
    claims = [f'"Claim {number} holds."\\nIs the above claim true?\\nOptions:\\n- yes\\n- no\tno\tIt does not.' for number in range(300)]  # fmt: skip
    _write_text(data / "flan_cot" / "creak_train.tsv", "\n".join(claims) + "\n")
    request = {"instruction": "Greet Ada.", "category": "open_qa", "input": "", "output": "Hello, Ada."}
    _write(data / "dolly" / "dolly_3k.jsonl", *({**request, "output": f"Hello, Ada {n}."} for n in range(30)))
    _write(data / "chat" / "oasst" / "en_100_tree.jsonl", *map(_tree, range(30)))
    for name in _P3:
        for split in ("train", "test"):
            rendered = {"input": "Is it so? Yes or no?", "outputs": ["Yes"], "id": f"{name}|{split}|so|#1"}
            _write(data / "p3_t0_rendered" / "recross" / split / f"{name}.jsonl", rendered)
    return data, copies


def _superni_task(name: str) -> dict[str, Any]:
    return {
        "Categories": ["Misc."],
        "Source": [name.split("_")[1]],
        "Definition": ["Name the capital."],
        "Positive Examples": [{"input": "Peru", "output": "Lima", "explanation": "It is."}],
        "Negative Examples": [],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": ["Countries"],
        "Instances": [{"id": f"{name}-{n}", "input": f"Country {n}", "output": [f"Capital {n}"]} for n in range(12)],
    }


def _tree(number: int) -> dict[str, Any]:
    said = {"lang": "en", "deleted": False, "review_result": True}
    reply = {"message_id": f"r{number}", "text": "Hello.", "role": "assistant", "rank": 0, "replies": [], **said}
    asked = {"message_id": f"p{number}", "text": f"Greet Bo {number}.", "role": "prompter", "replies": [reply], **said}
    return {"message_tree_id": f"p{number}", "tree_state": "ready_for_export", "prompt": asked}


def _write(path: Path, *records: dict[str, Any]) -> None:
    _write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

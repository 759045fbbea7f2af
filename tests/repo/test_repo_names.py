"""Names: none that was given up comes back, American spelling, one meaning for a class, rooms of a size, tests that mirror.

Identifiers are looked at (definitions, arguments, attributes, variables, keywords, modules), never prose and never texts
such as keys on disk. What may stay for now is written out below: it may only shrink, and what is gone must go from here.
"""

import ast
import collections
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("flan_jax", "tools", "mixtures")
LARGEST_FOLDER = 20

# Old name → the one to write. Each is distinctive: as an identifier it meant one thing.
GIVEN_UP = {
    "Advance": "ProgressCallback",
    "Begun": "DecodeState",
    "Division": "SplitAssignment",
    "How": "ViewOptions",
    "LessonFirst": "CurriculumBatches",
    "Measure": "TaskMetrics",
    "MetricsWindow": "MetricsAccumulator",
    "Needles": "NgramIndex",
    "Place": "StoreBackend",
    "Predicts": "LanguageModel",
    "Producer": "TaskPreprocessor",
    "Realised": "SamplingStats",
    "Recipe": "PrepareConfig or StreamConfig",
    "RowStream": "PackedRowIndex",
    "Scattered": "HashShuffledSlice",
    "SeqioMeasure": "SeqioTaskMetrics",
    "Sight": "AttentionMask",
    "Survey": "PreparePlan or DatasetProfile",
    "Tally": "RecordCounts",
    "Verified": "ChecksumCache",
    "View": "LayerInputs",
    "Way": "AttentionImpl",
    "Weighing": "AttentionOptions",
    "Work": "SplitJob",
    "as_given": "native_scale",
    "as_kept": "cast_params",
    "begun_hash": "hash_prefix",
    "ended_hash": "finish_hash",
    "handed_out": "consumed",
    "hub_in_reach": "offline_if_unreachable",
    "in_front_of": "prepend_prompt",
    "kept_model": "model_snapshot",
    "lesson": "curriculum",
    "lesson_steps": "curriculum_steps",
    "lesson_weights": "curriculum_weights",
    "longest_that_fits": "count_that_fit",
    "may_end": "stop_at_data_end",
    "measure_of": "task_metrics_of",
    "model_use": "usage_snippet",
    "new_folder": "atomic_dir",
    "own_segment": "segment_mask",
    "owed": "carried_over",
    "position_heads": "relative_bias_init",
    "producer_of": "a method preprocessor",
    "same_logits": "verify_weights",
    "single_texts": "sample",
    "tally": "counts",
    "weighing": "attention_ops or options",
}
# Common words, given up as names of a module's functions, where they said too little.
GIVEN_UP_FUNCTIONS = {
    "again": "recompute",
    "begin": "start_decoding",
    "blocks": "query_chunked",
    "chosen": "select_impl",
    "kept": "saved",
    "paint": "ansi",
    "producing": "grain_dataset",
    "read": "prefill, or what is read",
    "rotate": "apply_rope",
    "say": "log",
    "take": "flush",
    "trains": "is_trainable",
    "turns": "rope_cos_sin",
    "weigh": "dot_product_attention",
}
GIVEN_UP_MODULES = {
    "answers": "string_metrics",
    "corpus": "corpus_metrics",
    "fast_files": "hf_tokenizer_files",
    "fast_tokenizer": "hf_tokenizer",
    "marks": "prompt_spans",
    "modules": "user_modules",
    "pieces": "token_display",
    "producing": "grain_dataset",
    "reading": "records or file_readers",
    "review": "template_lint",
    "sampled": "sampling_table",
    "shown": "example_view",
    "streamed": "checkpoint_stream",
    "t0_sets": "t0_datasets",
    "texts": "unicode_check",
    "transport": "pickling",
    "tuned": "frozen_base",
    "workshop": "repo",
}
BRITISH = re.compile(
    "(token|normal|initial|optim|serial|real|summar|penal|recogn|organ|final|special|general|material|visual|parametr|quant)is"
    "(e|ed|es|er|ers|ing|ation)(?-i:(?![a-z]))|colour|behaviour|neighbour|favour|honour|centre|catalogue|labell|modell",
    re.IGNORECASE,
)

# What is left of each, by path, and folders that are too full, with their sizes: to be emptied, never to grow. `mixtures/`
# spells as it did, as the names in the code that makes an example are part of the fingerprint of prepared tasks.
LEFT: dict[str, set[str]] = {}
LEFT_BRITISH: dict[str, set[str]] = {}
LEFT_LARGE: dict[str, int] = {}
# Of docstrings that say what they are about before they say what the thing does or is: those whose text is part of the
# fingerprint of prepared tasks, and changes with their behavior only. By path, names within the module.
DIGESTED_DOCSTRINGS: dict[str, set[str]] = {
    "flan_jax/data/chat/replies.py": {"told_before"},
    "flan_jax/data/formats/messages.py": {"_rest", "_thoughts"},
    "flan_jax/data/formats/natural_instructions.py": {"_read_v1"},
    "flan_jax/data/formats/oasst.py": {"OasstReader", "_is_none"},
    "flan_jax/data/formats/record_format.py": {"texts_at", "list_at"},
    "flan_jax/data/formats/sharegpt.py": {"_read_baize"},
    "flan_jax/data/formats/speakers.py": {"calls"},
    "flan_jax/data/instructions/task.py": {"_before"},
    "flan_jax/tasks/chat/turns.py": {"is_trained"},
    "flan_jax/tasks/known_keys.py": {"empty", "verdict", "weight_of"},
    "flan_jax/tasks/unicode_check.py": {"unsound"},
}
OBLIQUE = re.compile(r"(Whether|What|How|Which|Where|When|Why|That|If)\b")
# Folders that tests/ has beside those of the package, and modules whose tests stand with their callers'.
OF_THE_REPOSITORY = {"mixtures", "parity", "realweights", "targets", "repo"}
TESTED_ELSEWHERE = {"testing": "all tests that use it"}


class Identifier(NamedTuple):
    """A name in a module: ``kind`` is module, class, function (of a module) or use."""

    name: str
    kind: str
    path: str
    line: int


def identifiers(source: str, path: str) -> Iterator[Identifier]:
    """Every identifier of a module, the names of its folders and its own among them."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    for part in Path(path).with_suffix("").parts:
        yield Identifier(part, "module", path, 1)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        match node:
            case ast.ClassDef(name=name):
                yield Identifier(name, "class", path, line)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Identifier(name, "function" if id(node) in top else "use", path, line)
            case ast.arg(arg=name) | ast.Attribute(attr=name) | ast.Name(id=name):
                yield Identifier(name, "use", path, line)
            case ast.keyword(arg=str(name)):
                yield Identifier(name, "use", path, line)
            case ast.ImportFrom(module=str(name)):
                for part in name.split("."):
                    yield Identifier(part, "use", path, line)
            case ast.alias(name=name, asname=asname):
                for part in (*name.split("."), *([asname] if asname else [])):
                    yield Identifier(part, "use", path, line)


def given_up(found: Iterable[Identifier]) -> dict[tuple[str, str], str]:
    """(path, old name) → where it is, and what to write instead."""
    complaints = {}
    for one in found:
        bare = one.name.lstrip("_")
        new = GIVEN_UP.get(bare)
        if one.path.startswith("flan_jax/"):
            by_kind = {"function": GIVEN_UP_FUNCTIONS, "module": GIVEN_UP_MODULES}.get(one.kind, {})
            new = new or by_kind.get(one.name)
        if new:
            complaints[one.path, one.name] = f"{one.path}:{one.line}: {one.name!r} was given up; write {new}"
    return complaints


def british(found: Iterable[Identifier]) -> dict[tuple[str, str], str]:
    """(path, name) → where it is."""
    return {
        (one.path, one.name): f"{one.path}:{one.line}: {one.name!r} is spelt as the British do"
        for one in found
        if BRITISH.search(one.name) and not one.path.startswith("mixtures/")
    }


def check_left(complaints: dict[tuple[str, str], str], left: dict[str, set[str]]) -> None:
    """Nothing but what is left, and all of that."""
    allowed = {(path, name) for path, names in left.items() for name in names}
    new = [text for key, text in complaints.items() if key not in allowed]
    assert not new, "\n".join(new)
    gone = sorted(allowed - set(complaints))
    assert not gone, f"take out of this test what is left of nothing: {gone}"


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The name within the module (empty for itself) and the docstring of all that has one."""

    def inner(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield name, text
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            yield from inner(child, f"{name}.{child.name}".lstrip(".") if named else name)

    yield from inner(tree, "")


def oblique(source: str, path: str) -> dict[tuple[str, str], str]:
    """(path, name) → what begins with neither what the thing does nor what it is."""
    return {
        (path, name): f"{path}: {name or 'the module'} begins with {text.split()[0]!r}; say what it does or is"
        for name, text in docstrings(ast.parse(source))
        if OBLIQUE.match(text)
    }


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(scope="module")
def found() -> list[Identifier]:
    return [
        one for path in modules() for one in identifiers(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]


def test_no_name_that_was_given_up_is_back(found):
    check_left(given_up(found), LEFT)


def test_identifiers_are_spelt_as_americans_do(found):
    check_left(british(found), LEFT_BRITISH)


def test_docstrings_begin_with_what_a_thing_does_or_is():
    complaints: dict[tuple[str, str], str] = {}
    for path in (ROOT / "flan_jax").rglob("*.py"):
        complaints |= oblique(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    check_left(complaints, DIGESTED_DOCSTRINGS)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("'''What it is.'''", [""]),
        ("class A:\n    '''How.'''\n    def f(self):\n        '''Whether so.'''", ["A", "A.f"]),
        ("if x:\n    def f():\n        '''Where it is.'''", ["f"]),
        ("def f():\n    '''Tells whether so.'''\n    '''What is no docstring.'''", []),
    ],
)
def test_a_docstring_that_begins_otherwise_is_found(source, names):
    assert [name for _, name in oblique(source, "flan_jax/somewhere.py")] == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("class Sight: ...", ["Sight"]),
        ("def f(self, handed_out): return handed_out", ["handed_out"]),
        ("x.lesson_steps = 3", ["lesson_steps"]),
        ("f(position_heads=1)", ["position_heads"]),
        ("from flan_jax.experiments.kept_model import keep", ["kept_model"]),
        ("class _Recipe: ...", ["_Recipe"]),
        ("def say(text): ...", ["say"]),
        ("def f(say): say('a')", []),  # a parameter may be called so
        ("class A:\n    def take(self): ...", []),  # and a method
        ("x = 'lesson_steps'  # Sight", []),  # and texts may say anything
    ],
)
def test_a_name_that_comes_back_is_found(source, names):
    assert [name for _, name in given_up(identifiers(source, "flan_jax/somewhere.py"))] == names


@pytest.mark.parametrize(
    "name", ["tokenise", "normalised_rows", "COLOURS", "optimiser", "realised_share", "labelled", "NormaliseText"]
)
def test_british_spelling_is_found(name):
    assert british(identifiers(f"{name} = 1", "flan_jax/somewhere.py"))
    assert not british(identifiers("raised = promise = analysis = tokenizer = colors = realism = 1", "flan_jax/a.py"))


def test_no_two_public_classes_share_a_name(found):
    places = collections.defaultdict(set)
    for one in found:
        if one.kind == "class" and not one.name.startswith("_"):
            places[one.name].add(one.path)
    twice = {name: sorted(paths) for name, paths in places.items() if len(paths) > 1}
    assert not twice, "say in the names how they differ"


def test_no_folder_is_too_full():
    sizes = collections.Counter(path.parent.relative_to(ROOT).as_posix() for path in modules())
    sizes.update(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py"))
    full = {folder: size for folder, size in sizes.items() if size > LARGEST_FOLDER}
    assert full == LEFT_LARGE, f"at most {LARGEST_FOLDER} files: give it rooms, or correct what is left"


def test_folders_of_tests_are_those_of_the_package():
    package = {path.parent.relative_to(ROOT / "flan_jax").as_posix() for path in (ROOT / "flan_jax").rglob("*.py")}
    having = {path.parent.relative_to(ROOT / "flan_jax").as_posix() for path in (ROOT / "flan_jax").rglob("[!_]*.py")}
    tests = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    stray = {folder for folder in tests - package if folder.partition("/")[0] not in OF_THE_REPOSITORY}
    assert not stray, f"tests/ has {sorted(stray)}, and flan_jax/ has not"
    assert set(TESTED_ELSEWHERE) <= having - tests
    untested = having - tests - set(TESTED_ELSEWHERE)
    assert not untested, f"no tests for flan_jax/ {sorted(untested)}"


def test_files_of_tests_begin_with_their_folder():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests").parts
        assert path.stem.startswith("_".join(["test", *folder[:1]])), f"{path.relative_to(ROOT)}: begin with its folder"

"""The small world: what it promises to the people who train on it."""

import collections
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_checks import (
    SPLITS,
    check_answers_are_balanced,
    check_held_out_templates_are_no_copies,
    check_lengths_and_ids,
    check_no_measured_prompt_is_trained,
    check_no_record_is_there_twice,
    check_prompts_read_well_without_options,
    check_templates_are_ten_different_ones,
    check_templates_do_not_tell_the_labels,
    check_vocabulary,
    choices,
    record_words,
    records_digest,
    template_words,
)

from flan_jax.data.tokenizers.registry import VOCABULARIES, load_vocabulary
from flan_jax.data.tokenizers.words import split_words
from flan_jax.mixing.mixture import MIXTURES, get_mixture
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render, render_split
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from mixtures.mini import mixture as mini_mixture
from mixtures.mini import words
from mixtures.mini.world import Draw

GOLDEN = Path(__file__).parents[1] / "golden" / "mini_renders.json"
UPDATE = os.environ.get("FLAN_JAX_UPDATE_GOLDEN") == "1"

MINI = get_mixture("mini")
HELD_IN = tuple(spec for spec, _ in mini_mixture.SHARES)
HELD_OUT = mini_mixture.HELD_OUT
SPECS = HELD_IN + HELD_OUT
IDS = [spec.name for spec in SPECS]
each_task = pytest.mark.parametrize("spec", SPECS, ids=IDS)


def trained_words() -> set[str]:
    """Every word that training shows."""
    seen: set[str] = set()
    for spec in HELD_IN:
        trained = [index for index in range(len(spec.templates)) if index not in mini_mixture.UNSEEN_TEMPLATES]
        seen |= template_words(spec, tuple(trained)) | record_words(spec, "train")
    return seen


# --- the catalogue and the mixture -----------------------------------------------------------


def test_thirteen_clusters_of_at_least_two_tasks_with_ten_templates_each() -> None:
    clusters = collections.Counter(spec.cluster for spec in SPECS)
    assert len(clusters) == 13
    assert min(clusters.values()) >= 2
    assert all(len(spec.templates) == 10 for spec in SPECS)
    assert all(spec.name in TASKS and TASKS.get(spec.name) is spec for spec in SPECS)
    assert "mini" in MIXTURES
    assert "mini" in VOCABULARIES


def test_held_out_clusters_stay_out_of_training() -> None:
    suites = {suite.name: suite for suite in MINI.suites}
    assert set(suites) == {"held_in", "unseen_templates", "held_out"}
    assert suites["held_out"].held_out
    assert set(suites["held_out"].clusters) == {"topic", "entity_recognition"}
    assert not {task.spec.cluster for task in MINI.train_tasks} & set(suites["held_out"].clusters)


def test_templates_kept_for_measuring_are_never_trained() -> None:
    kept = set(mini_mixture.UNSEEN_TEMPLATES)
    for task in MINI.train_tasks:
        assert not kept & set(task.drawn_templates)
    for suite in MINI.suites:
        for task in suite.tasks:
            assert not any(task.spec.templates[index].inverted for index in task.drawn_templates)
            if suite.name == "unseen_templates":
                assert set(task.drawn_templates) == kept
    assert all(sum(template.inverted for template in spec.templates) <= 2 for spec in SPECS)


def test_each_task_gets_its_share() -> None:
    sizes = {task.name: 100 for task in MINI.train_tasks}
    weights = MINI.weights(sizes)
    shares = {spec.name: share for spec, share in mini_mixture.SHARES}
    total = sum(shares.values())
    for spec in HELD_IN:
        got = sum(weights[task.name] for task in MINI.train_tasks if task.spec is spec)
        assert got == pytest.approx(shares[spec.name] / total)
    assert sum(weights.values()) == pytest.approx(1)


def test_importing_reads_nothing_and_needs_no_tensorflow() -> None:
    code = (
        "import sys, mixtures\n"
        "from flan_jax.mixing.mixture import get_mixture\n"
        "get_mixture('mini')\n"
        "from mixtures.mini.world import _all_splits\n"
        "assert _all_splits.cache_info().misses == 0, 'a generator ran'\n"
        "heavy = {'tensorflow', 'seqio', 'datasets', 'sentencepiece', 'jax', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- records ---------------------------------------------------------------------------------


@each_task
def test_no_record_twice_in_any_split(spec: TaskSpec) -> None:
    check_no_record_is_there_twice(spec)


@each_task
def test_no_measured_prompt_is_trained(spec: TaskSpec) -> None:
    check_no_measured_prompt_is_trained(spec)


@each_task
def test_answers_are_balanced(spec: TaskSpec) -> None:
    check_answers_are_balanced(spec)


def naive_bayes(spec: TaskSpec) -> tuple[float, float]:
    """Accuracy of the best guess from the words alone, and of a guess at random, on the test split."""
    task = Prompted(spec, PromptMode.ZS_NOOPT)

    def bag(record: Any) -> set[str]:
        return set(split_words(render(task, record, index=0, template_id=0).inputs))

    answers: collections.Counter[str] = collections.Counter()
    seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for record in spec.source.records("train"):
        answers[record["answer"]] += 1
        seen[record["answer"]].update(bag(record))

    def score(answer: str, bag_words: set[str]) -> float:
        count = answers[answer]
        return math.log(count + 1) + sum(math.log((seen[answer][word] + 0.5) / (count + 1)) for word in bag_words)

    right, chance, total = 0, 0.0, 0
    for record in spec.source.records("test"):
        offered = choices(spec, record)
        bag_words = bag(record)
        right += max(offered, key=lambda answer: score(answer, bag_words)) == record["answer"]
        chance += 1 / len(offered)
        total += 1
    return right / total, chance / total


@pytest.mark.parametrize("name", ["who_did_it", "where_is_it", "owner_clue"])
def test_matching_tasks_are_not_solved_by_their_words(name: str) -> None:
    guessed, chance = naive_bayes(TASKS.get(name))
    assert guessed < chance + 0.2, (guessed, chance)


def test_the_words_alone_do_solve_a_task_of_the_lexicon() -> None:
    """The guesser above is no straw man."""
    guessed, chance = naive_bayes(TASKS.get("message_mood"))
    assert guessed > chance + 0.5


@pytest.mark.parametrize("name", ["who_did_it", "where_is_it", "owner_clue"])
def test_the_place_in_the_story_tells_nothing(name: str) -> None:
    spec = TASKS.get(name)
    text_slot = "text" if "text" in spec.slots else "story"
    ranks: dict[int, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for record in spec.source.records("train"):
        kind = words.PLACES if record["answer"] in words.PLACES else words.PEOPLE
        named = [word for word in split_words(record[text_slot]) if word in kind]
        ranks[len(named)][named.index(record["answer"])] += 1
    for count, places in ranks.items():
        assert max(places.values()) / sum(places.values()) < 1 / count + 0.05


def test_the_word_lists_that_tasks_tell_apart_share_no_word() -> None:
    members = [*words.CATEGORIES.values(), *words.SETTINGS.values()]
    kinds = [words.PEOPLE, words.PLACES, words.THINGS, words.COLORS, words.DAYS, *members]
    for group in kinds:
        assert len(set(group)) == len(group)
    for one, other in itertools.combinations(kinds, 2):
        assert not set(one) & set(other)
    for pair in ((words.JOBS, words.HOBBIES), (words.JOBS, words.CITIES), (words.GOOD, words.BAD)):
        assert not set(pair[0]) & set(pair[1])


def test_velu_is_read_back_word_by_word() -> None:
    lexicon = {**words.VELU_NOUNS, **words.VELU_VERBS, **words.VELU_ADJECTIVES}
    assert len(set(lexicon.values())) == len(lexicon)
    for record in itertools.islice(TASKS.get("to_velu").source.records("test"), 50):
        english = [word for word in record["english"].split() if word != "the"]
        assert sorted(lexicon[word] for word in english) == sorted(record["answer"].split())
        assert record["answer"].split()[-1] in words.VELU_VERBS.values()


# --- draws -----------------------------------------------------------------------------------


@given(st.integers(), st.integers(1, 40), st.data())
def test_draws_stay_inside_and_never_repeat_an_item(seed: int, size: int, data: st.DataObject) -> None:
    draw, items = Draw(seed), list(range(size))
    count = data.draw(st.integers(0, size))
    assert 0 <= draw.below(size) < size
    assert 3 <= draw.number(3, 3 + size) <= 3 + size
    assert draw.one(items) in items
    some = draw.some(items, count)
    assert len(some) == len(set(some)) == count
    assert sorted(draw.shuffled(items)) == items


def test_draws_are_the_same_everywhere() -> None:
    draw = Draw("golden")
    assert [draw.below(1000) for _ in range(6)] == [951, 31, 874, 472, 252, 211]
    with pytest.raises(ValueError, match="cannot draw 3 of 2"):
        draw.some("ab", 3)


# --- text ------------------------------------------------------------------------------------


def test_the_vocabulary_is_exactly_the_words_in_use() -> None:
    used: set[str] = {"options"}
    for spec in SPECS:
        used |= template_words(spec, tuple(range(len(spec.templates))))
        for split in SPLITS:
            used |= record_words(spec, split)
    file = Path(mini_mixture.__file__).with_name(mini_mixture.VOCABULARY_FILE)
    check_vocabulary(file, used, update=UPDATE, most=900)


def test_what_is_measured_uses_only_words_that_are_trained() -> None:
    used = {spec.name: template_words(spec, mini_mixture.UNSEEN_TEMPLATES) for spec in HELD_IN}
    for spec in HELD_OUT:
        used[spec.name] = template_words(spec, spec.scored_templates).union(
            *(record_words(spec, split) for split in SPLITS)
        )
    known = trained_words()
    assert {name: sorted(seen - known) for name, seen in used.items() if seen - known} == {}


@each_task
def test_lengths_and_ids(spec: TaskSpec) -> None:
    check_lengths_and_ids(spec, load_vocabulary("mini"))


@each_task
def test_templates_are_ten_different_ones(spec: TaskSpec) -> None:
    check_templates_are_ten_different_ones(spec)


def test_held_out_templates_are_no_copies() -> None:
    check_held_out_templates_are_no_copies(HELD_OUT, HELD_IN)


@each_task
def test_templates_do_not_tell_the_labels(spec: TaskSpec) -> None:
    check_templates_do_not_tell_the_labels(spec)


@each_task
def test_prompts_read_well_without_options(spec: TaskSpec) -> None:
    check_prompts_read_well_without_options(spec)


# --- golden ----------------------------------------------------------------------------------


def current() -> dict[str, Any]:
    records = {
        spec.name: {
            "version": spec.source.version,  # type: ignore[attr-defined]
            **{split: [len(list(spec.source.records(split))), records_digest(spec, split)] for split in SPLITS},
        }
        for spec in SPECS
    }
    renders = {}
    for task in MINI.all_tasks:
        split = "train" if task in MINI.train_tasks else "test"
        examples = itertools.islice(render_split(task, split), 2)
        renders[task.name] = [
            {"template": example.template_id, "inputs": example.inputs, "targets": example.targets}
            for example in examples
        ]
    return {"records": records, "renders": renders}


def test_records_and_renders_are_the_golden_ones() -> None:
    """The same records on every machine, and no change without a new version of the source."""
    now = current()
    if UPDATE:
        before = json.loads(GOLDEN.read_text(encoding="utf-8"))["records"] if GOLDEN.exists() else {}
        for name, record in now["records"].items():
            changed = name in before and before[name] != record
            assert not changed or before[name]["version"] != record["version"], f"raise the version of {name!r}"
        GOLDEN.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert now["records"] == golden["records"]
    assert now["renders"] == golden["renders"]

"""The wide small world: what studies of mixtures rest on."""

import collections
import json
import os
import string
from pathlib import Path

import pytest
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
    record_words,
    records_digest,
    template_words,
)

from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.mixing.mixture import get_mixture
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.mixture import HELD_OUT as MINI_HELD_OUT
from mixtures.mini.mixture import SHARES, UNSEEN_TEMPLATES, VOCABULARY_FILE
from mixtures.mini.world import Draw
from mixtures.mini_wide import mixture as wide
from mixtures.mini_wide import text

GOLDEN = Path(__file__).parents[1] / "golden" / "mini_wide_records.json"
UPDATE = os.environ.get("FLAN_JAX_UPDATE_GOLDEN") == "1"
WIDE = get_mixture("mini_wide")
TRAINED = tuple(spec for spec, _ in wide.trained())
SPECS = (*TRAINED, *wide.VALIDATION, *wide.HELD_OUT)
# The other tasks are those of `mini`, whose tests check them.
OF_MINI = {spec.name for spec in (*(spec for spec, _ in SHARES), *MINI_HELD_OUT)}
NEW = tuple(spec for spec in SPECS if spec.name not in OF_MINI)
each_new_task = pytest.mark.parametrize("spec", NEW, ids=[spec.name for spec in NEW])


def test_a_study_has_clusters_to_train_on_to_choose_by_and_to_decide_by() -> None:
    clusters = collections.Counter(spec.cluster for spec in SPECS)
    assert len(clusters) >= 16
    assert len(SPECS) >= 48
    suites = {suite.name: suite for suite in WIDE.suites}
    trained = {task.spec.cluster for task in WIDE.train_tasks}
    validation, decisive = (set(suites[name].clusters) for name in ("validation_clusters", "held_out"))
    assert len(trained) == 13
    assert validation == {"time_order", "common_sense"}
    assert decisive == {"topic", "entity_recognition", "comparison"}
    assert suites["validation_clusters"].held_out
    assert suites["held_out"].held_out
    assert not trained & (validation | decisive)
    assert not validation & decisive


def test_templates_kept_for_measuring_are_never_trained() -> None:
    assert not any(set(UNSEEN_TEMPLATES) & set(task.drawn_templates) for task in WIDE.train_tasks)


@each_new_task
def test_records(spec: TaskSpec) -> None:
    check_no_record_is_there_twice(spec)
    check_answers_are_balanced(spec)
    check_lengths_and_ids(spec, load_vocabulary("mini_wide"), records=20)
    shortest = min(spec.scored_templates, key=lambda index: spec.templates[index].inputs.count("{"))
    check_no_measured_prompt_is_trained(spec, [shortest])


@each_new_task
def test_templates(spec: TaskSpec) -> None:
    check_templates_are_ten_different_ones(spec)
    check_templates_do_not_tell_the_labels(spec)
    check_prompts_read_well_without_options(spec)


def test_held_out_templates_are_no_copies() -> None:
    held_out = (*wide.VALIDATION, *wide.HELD_OUT)
    check_held_out_templates_are_no_copies([spec for spec in held_out if spec in NEW], TRAINED)


def test_plain_text_has_every_word_that_records_are_made_of() -> None:
    """A base model has met what held-out records speak of, whatever clusters a run leaves out."""
    known = record_words(text.TEXT_SPANS, "train") & record_words(text.TEXT_CONTINUED, "train")
    used = set().union(*(record_words(spec, split) for spec in (*wide.VALIDATION, *wide.HELD_OUT) for split in SPLITS))
    assert sorted(used - known) == []


def test_the_vocabulary_is_exactly_the_words_in_use() -> None:
    # The list of `mini` is exactly its own, as its tests hold.
    used = {"options", *text.MARKS, *load_vocabulary("mini").words} - set(string.punctuation)
    for spec in (*NEW, text.TEXT_SPANS, text.TEXT_CONTINUED):
        used |= template_words(spec, tuple(range(len(spec.templates))))
        for split in SPLITS:
            used |= record_words(spec, split)
    check_vocabulary(Path(wide.__file__).with_name(VOCABULARY_FILE), used, update=UPDATE, most=1000)


def test_spans_and_what_is_left_make_the_text_again() -> None:
    for seed in range(200):
        draw = Draw("spans", seed)
        words = text.passage(draw, draw.number(2, 5))
        corrupted, spans = (side.split() for side in text.corrupt(words, draw))
        assert not set(words) & set(text.MARKS)
        left_out: dict[str, list[str]] = {}
        for word in spans:
            if word in text.MARKS:
                mark = word
            left_out.setdefault(mark, []).append(word)
        whole = [out for word in corrupted for out in (left_out[word][1:] if word in left_out else [word])]
        assert whole == words
        noise = sum(len(span) - 1 for span in left_out.values())
        assert noise == max(1, round(text.NOISE_DENSITY * len(words)))
        assert list(left_out) == [word for word in corrupted if word in text.MARKS]


def test_plain_text_fits_the_lengths_of_the_small_runs() -> None:
    vocabulary = load_vocabulary("mini_wide")
    for spec in (text.TEXT_SPANS, text.TEXT_CONTINUED):
        for record in spec.source.records("train"):
            assert len(vocabulary.encode(record["text"])) < 128
            assert 1 <= len(vocabulary.encode(record["answer"])) < 40


def test_records_are_the_golden_ones() -> None:
    """The same records on every machine, and no change without a new version of the source."""
    now = {
        spec.name: [spec.source.version, *(records_digest(spec, split) for split in SPLITS)]  # type: ignore[attr-defined]
        for spec in (*NEW, text.TEXT_SPANS, text.TEXT_CONTINUED)
    }
    if UPDATE:
        before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
        for name, record in now.items():
            assert before.get(name, record) == record or before[name][0] != record[0], f"raise the version of {name!r}"
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    assert now == json.loads(GOLDEN.read_text(encoding="utf-8"))

"""What row comes at which number is frozen: a saved position means these rows, until ``PACKING_VERSION`` is raised."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed import packed_row_index, saved_position
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.layout import RowLayout
from flan_jax.feed.loader import PackedBatches
from flan_jax.feed.packed_row_index import PACKING_VERSION, PackedRowIndex
from flan_jax.feed.sampler import SamplerStart

GOLDEN = Path(__file__).parents[1] / "golden" / "rows.json"
SIZES, WEIGHTS = (7, 40, 90), (0.2, 0.3, 0.5)
SHOWN = 6
WAYS = {
    "both sides packed": {"layout": RowLayout(24, 10)},
    "a decoder": {"layout": RowLayout(24, 10, decoder_only=True)},
    "one a row": {"layout": RowLayout(24, 10, packed=False)},
    "tasks drop out": {"layout": RowLayout(24, 10), "exhausted": "drop", "epochs": 600},
    "the first ends it": {"layout": RowLayout(24, 10), "exhausted": "stop", "epochs": 50},
    "after new weights": {
        "layout": RowLayout(24, 10),
        "start": SamplerStart(1, np.array([9, 30, 44]), np.array([0, 2, 2], np.int32), np.array([8, 43, 41])),
    },
}


def rows_of(tasks, options):
    """A digest of some windows of rows, and their first rows as lists of (task, example)."""
    row_index = PackedRowIndex(tasks, WEIGHTS, seed=11, **options)
    plan, count = row_index.plan(0, 45_000)
    columns = [np.asarray(column, "<i8").tobytes() for column in (plan.row, plan.task, plan.table_row)]
    examples = np.stack([plan.task, plan.table_row], axis=1)
    # The margin of a window needs all of its first chunks: once is enough for the way that windows are laid out.
    far, _ = row_index.plan(10**7, 50) if options == WAYS["both sides packed"] else (plan, 0)
    columns += [np.asarray(column, "<i8").tobytes() for column in (far.row, far.task, far.table_row)]
    return {
        "rows": count,
        "digest": hashlib.sha256(b"".join(columns)).hexdigest(),
        "first": [examples[plan.row == row].tolist() for row in range(SHOWN)],
    }


def test_rows_change_with_their_version_only(make_tasks):
    """With FLAN_JAX_UPDATE_GOLDEN=1 rows of a new version are written down; those of a known one never change."""
    tasks = make_tasks(SIZES)
    found = {way: rows_of(tasks, options) for way, options in WAYS.items()}
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {"packing": 0}
    if golden["packing"] != PACKING_VERSION and os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps({"packing": PACKING_VERSION, "ways": found}, indent=1) + "\n", encoding="utf-8")
        return
    assert golden["packing"] == PACKING_VERSION, "rows of this version are not written down: FLAN_JAX_UPDATE_GOLDEN=1"
    assert found == golden["ways"], (
        "rows changed: raise packed_row_index.PACKING_VERSION, so that no saved position goes on in others"
    )


def test_a_position_of_another_version_is_refused(make_tasks, monkeypatch):
    def batches():
        return PackedBatches(
            make_tasks(SIZES), WEIGHTS, FeedConfig(batch_size=8), seed=3, lengths={"inputs": 24, "targets": 10}
        )

    first = batches()
    next(first)
    state = first.get_state()
    assert state["packing"] == PACKING_VERSION == saved_position.UNVERSIONED["packing"]
    older = {name: value for name, value in state.items() if name != "packing"}
    again = batches()
    again.set_state(older)  # saved before positions said it: rows were those of version 1
    assert again.step == 1
    monkeypatch.setattr(packed_row_index, "PACKING_VERSION", PACKING_VERSION + 1)
    newer = batches()
    for position in (state, older):
        with pytest.raises(UserError, match="the way in which flan_jax draws and packs rows changed since"):
            newer.set_state(position)
    for made in (first, again, newer):
        made.close()

"""Counts that sources keep of their files (``InstructionSource.notes``), for manifests."""

from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.source import Source


def source_notes(source: Source, split: str) -> dict[str, Any]:
    """Returns the manifest's ``notes`` on the file of a split (``Source.notes``); nothing for a source that keeps none."""
    notes = source.notes(split)
    return {"notes": notes} if notes else {}


def filtered_by_source(notes: Mapping[str, Any]) -> dict[str, int]:
    """Counts the records that a source left out before any task read them, by reason or cleaning step."""
    steps = {step: count["left_out"] for step, count in notes.get("steps", {}).items()}
    return {reason: count for reason, count in {**notes.get("left_out", {}), **steps}.items() if count}

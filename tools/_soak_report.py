"""What a soak test found, as lines of text."""

import collections
import statistics
from typing import Any

FAULTS = ("kill", "pause", "disk", "storage", "lost")


def table(result: dict[str, Any]) -> list[str]:
    """The faults by kind, the processes that lived long, and the verdict, as lines of text."""
    lines = [f"{'fault':<9}{'times':>6}{'run ended':>11}{'trains again after, s (median, longest)':>42}"]
    kinds = collections.defaultdict(list)
    for event in result["events"]:
        kinds[event["fault"]].append(event)
    for kind in FAULTS:
        if events := kinds[kind]:
            after = [event["trains_after_s"] for event in events]
            ended = sum(bool(event["ended_with"]) for event in events)
            lines.append(f"{kind:<9}{len(events):>6}{ended:>11}{statistics.median(after):>33.1f}{max(after):>9.1f}")
        elif kind in result.get("left_out", {}):
            lines.append(f"{kind:<9} left out: {result['left_out'][kind]}")
    lines += [
        "",
        f"{'run':<13}{'process':>7}{'measured, s':>13}{'MiB':>9}{'grew':>8}{'open files':>12}{'most':>6}{'grew':>7}",
    ]
    for life in result["lives"]:
        lines.append(
            f"{life['run']:<13}{life['process']:>7}{life['measured_s']:>13.0f}{life['memory_mib']:>9.1f}{life['memory_grew_mib']:>8.1f}"
            f"{life['files']:>12.0f}{life['files_most']:>6}{life['files_grew']:>7.1f}{'' if life['flat'] else '  grows'}"
        )
    if not result["lives"]:
        lines.append("no process lived long enough for its memory to be measured")
    compared = result["compared"]
    wrong = [*result["different"], *(f"the copy's {name}" for name in result["copy_different"]), *result["unexpected"]]
    verdict = "nothing differs" if not wrong else f"{len(wrong)} wrong: {wrong[:5]}"
    return [
        *lines,
        "",
        f"{result['minutes']:.1f} minutes disturbed, {result['undisturbed_minutes']:.1f} undisturbed; {result['steps']} steps, "
        f"{result['processes_seen']} processes, {result['connections_broken']} connections broken, "
        f"{result['uploads_put_off']} uploads put off; "
        f"the machine late by {result['longest_stall_s']} s at most",
        f"{compared['arrays']} arrays and {compared['lines and files']} lines and files compared: {verdict}",
    ]


def row(number: int, event: dict[str, Any]) -> str:
    return (
        f"{number:>4}{event['at_s']:>8.1f} s  {event['fault']:<8} {event['detail']}: step {event['at_step']}, ended with "
        f"{event['ended_with']}, trains after {event['trains_after_s']} s"
    )

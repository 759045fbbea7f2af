"""The table of what a run really drew, beside what was asked for."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from flan_jax.feed.sampling_stats import SamplingStats


def sampling_table(stats: "SamplingStats", *, most: int = 20) -> str:
    """Lists the tasks, one a line, the largest share first, and a line for all.

    Args:
        stats: what was drawn.
        most: tasks shown; the rest is summed up in one line.
    """
    from flan_jax.report.tables import text_table

    order = np.argsort(-stats.expected, kind="stable")
    rows = [
        [
            stats.names[task],
            f"{stats.requested[task]:.2%}",
            f"{stats.shares[task]:.2%}",
            f"{stats.examples[task]:,}",
            f"{stats.epochs[task]:.2f}",
            f"{stats.tokens[task]:,}",
            f"{stats.token_shares[task]:.2%}",
        ]
        for task in order[:most]
    ]
    for name, tasks in ((f"{len(order) - most} more tasks", order[most:]), (f"all {len(order)} tasks", order)):
        if len(tasks) and len(order) > 1:
            rows.append(
                [
                    name,
                    f"{stats.requested[tasks].sum():.2%}",
                    f"{stats.shares[tasks].sum():.2%}",
                    f"{stats.examples[tasks].sum():,}",
                    "",
                    f"{stats.tokens[tasks].sum():,}",
                    f"{stats.token_shares[tasks].sum():.2%}",
                ]
            )
    return text_table(["task", "requested", "realised", "examples", "epochs", "tokens", "of all tokens"], rows)

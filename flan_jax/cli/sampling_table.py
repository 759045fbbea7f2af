"""The table of what a run really drew, beside what was asked for."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from flan_jax.feed.sampling_stats import SamplingStats


def sampling_table(realised: "SamplingStats", *, most: int = 20) -> str:
    """Lists the tasks, one a line, the largest share first, and a line for all.

    Args:
        realised: what was drawn.
        most: tasks shown; the rest is summed up in one line.
    """
    from flan_jax.report.tables import text_table

    order = np.argsort(-realised.expected, kind="stable")
    rows = [
        [
            realised.names[task],
            f"{realised.requested[task]:.2%}",
            f"{realised.shares[task]:.2%}",
            f"{realised.examples[task]:,}",
            f"{realised.epochs[task]:.2f}",
            f"{realised.tokens[task]:,}",
            f"{realised.token_shares[task]:.2%}",
        ]
        for task in order[:most]
    ]
    for name, tasks in ((f"{len(order) - most} more tasks", order[most:]), (f"all {len(order)} tasks", order)):
        if len(tasks) and len(order) > 1:
            rows.append(
                [
                    name,
                    f"{realised.requested[tasks].sum():.2%}",
                    f"{realised.shares[tasks].sum():.2%}",
                    f"{realised.examples[tasks].sum():,}",
                    "",
                    f"{realised.tokens[tasks].sum():,}",
                    f"{realised.token_shares[tasks].sum():.2%}",
                ]
            )
    return text_table(["task", "requested", "realised", "examples", "epochs", "tokens", "of all tokens"], rows)

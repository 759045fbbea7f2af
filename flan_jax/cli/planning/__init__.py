"""A run or a study as the planner sees it: what `plan`, `launch` and `sweep --dry_run` share."""

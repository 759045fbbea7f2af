"""Parameter-efficient tuning: low-rank adapters, soft prompts, parameters chosen by pattern."""

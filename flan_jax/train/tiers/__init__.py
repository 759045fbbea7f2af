"""Two tiers of checkpoints: a fast folder of the machine beside the slow shared one."""

"""The small world made wide enough for studies: eighteen clusters of about three tasks, and plain text of it.

It adds clusters and tasks to those of ``mixtures.mini``, whose word lists, records and tasks it shares. ``mixture`` says
what is trained, which clusters choose between runs and which are measured last; ``text`` is what a base model is
pre-trained on.
"""

from mixtures.mini_wide import mixture as mixture
from mixtures.mini_wide import text as text

"""The embedded small world: thirteen clusters of tasks over an invented, self-contained vocabulary.

It needs no download: records come from seeded generators over the word lists in ``words``. A
module is a cluster; ``mixture`` says what is trained, with what share, and what is held out.
"""

from mixtures.mini import mixture as mixture

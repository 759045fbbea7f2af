"""Tasks as they are declared: specs, templates, rendering, the catalog. Standard library only."""

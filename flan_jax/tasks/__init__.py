"""What a task is: specs, templates, rendering, the catalogue. Standard library only."""

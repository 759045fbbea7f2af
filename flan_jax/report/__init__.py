"""Results and mixtures as a table or a page that people look at."""

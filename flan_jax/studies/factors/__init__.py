"""What a study varies: one module a kind of factor."""

"""Laws that predict a run's score from its weights: a table of runs, one module a family, and the choice among them."""

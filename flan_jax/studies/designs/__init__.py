"""Ways to choose the points of a study's space: grids, random draws, Dirichlet draws, D-optimal designs."""

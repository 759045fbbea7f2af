"""Published collections of tasks: Super-NaturalInstructions, FLAN's chain of thought, T0's data sets."""

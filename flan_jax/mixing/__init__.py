"""What a mixture is: tasks with rates, and suites to measure."""

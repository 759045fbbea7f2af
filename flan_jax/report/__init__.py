"""What people look at: the table on the console and the page of a run."""

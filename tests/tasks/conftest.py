"""Makes ``task_toys`` importable from the folders below."""

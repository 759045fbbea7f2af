"""Files and folders read as records: JSON, tables, Parquet, Arrow, compressed or not, and what the files of a folder are."""

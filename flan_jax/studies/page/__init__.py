"""The page of a study: what its runs came to, as one JSON document and one self-contained file."""

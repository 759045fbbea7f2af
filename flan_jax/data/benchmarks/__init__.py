"""Published benchmarks: read from the files that their authors published, in the prompts that they were published with."""

"""The sharded training core: it is handed batches and hooks and knows no data framework."""

"""The command ``propose`` in words: tables of what is proposed, and of what was measured."""

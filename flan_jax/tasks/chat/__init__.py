"""Conversations: messages with roles, what of them is trained on, reasoning and tool calls."""

"""The host and its kernel: how tools are run, what they answer, and what it means."""

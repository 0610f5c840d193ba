"""One manager for each group of commands: it checks and changes the topology, and returns a result."""

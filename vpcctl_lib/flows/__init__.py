"""The collector of flow logs: reads what the kernel counted, and writes records of it."""

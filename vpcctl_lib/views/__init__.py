"""The answers of commands as plain values, for the command line and an API alike; pure."""

"""The programs that run in subnets: how they are started, found and ended, and their output."""

"""The programs that run in subnets: how they are looked after, found and ended, and what they wrote."""

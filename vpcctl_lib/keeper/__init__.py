"""The first process of each workload, which keeps it apart from others and ends all of it."""

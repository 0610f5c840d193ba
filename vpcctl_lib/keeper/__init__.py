"""The first process of each workload: it isolates the workload and ends all of it."""

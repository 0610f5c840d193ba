"""Mutation check: breaks the code of chosen rooms in one place at a time, and counts what the tests see."""

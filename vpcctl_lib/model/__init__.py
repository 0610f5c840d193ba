"""The topology and the rules about its names and addresses; pure."""

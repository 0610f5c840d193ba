"""What we own, and the file that records it."""

"""What we own, and the file that says so."""

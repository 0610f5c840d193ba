"""What commands answer, as plain values for the command line and an API alike; pure."""

"""The CNI plugin: what a container runtime asks for, and what it is answered (CNI specification 1.1)."""

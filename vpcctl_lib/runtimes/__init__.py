"""What container runtimes ask for: CNI's plugin, Docker's network driver, netavark's plugin."""

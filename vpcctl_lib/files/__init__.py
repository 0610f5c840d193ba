"""What people write: policies and topologies, as JSON and YAML."""

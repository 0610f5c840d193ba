"""From two topologies to a changed host: the plan, its schedule, and the one place that carries it out."""

"""One file per command; the only place that wires rooms together."""

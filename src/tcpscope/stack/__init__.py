"""The userspace endpoint with bytes, clocks and devices: hosts, drivers and the simulated network."""

"""Real servers for benchmarks and tests: started on free loopback ports, always stopped."""

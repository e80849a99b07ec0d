"""A world as HTTP through a running gateway: open loop, several processes, into the same report."""

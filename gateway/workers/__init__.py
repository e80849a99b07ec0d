"""What runs beside the hot path: imports, replays, policy tests."""

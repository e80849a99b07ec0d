"""Benchmarks of the whole path, each beside a bare relay of the same server and client."""

"""Worlds: customers and campaigns as streams of exchanges, from a scenario file and a seed."""

"""Seeing: metrics, the decision log, explanations, and the process's own log."""

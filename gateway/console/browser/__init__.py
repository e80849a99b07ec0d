"""The console: the review queue and what an operator reaches for first, as pages."""

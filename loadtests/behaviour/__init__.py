"""Account and cluster classifiers on worlds: rows, training, and what the scores add."""

"""What traffic is for, as scores: pure, small, and each a sum of named contributions.

Scores are signals; they never act by themselves.
"""

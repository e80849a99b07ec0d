"""Verification of accounts: what is asked, how a step is passed, what it gives. All of it pure."""

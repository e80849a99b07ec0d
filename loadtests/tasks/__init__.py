"""Labelled traffic to train and to judge the request classifier by."""

"""Recommenders and what they are made of."""

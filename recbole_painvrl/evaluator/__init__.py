"""Evaluation beyond RecBole's averages."""

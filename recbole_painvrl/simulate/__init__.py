"""Simulated data sets of known truth: which feature columns are invariant, and which environment a choice is from."""

from recbole_painvrl.simulate.command import add_arguments, recipe_with, run, simulate
from recbole_painvrl.simulate.entangle import latent_shares
from recbole_painvrl.simulate.generator import Simulated, generate
from recbole_painvrl.simulate.recipes import RECIPES, Recipe

__all__ = [
    "RECIPES",
    "Recipe",
    "Simulated",
    "add_arguments",
    "generate",
    "latent_shares",
    "recipe_with",
    "run",
    "simulate",
]

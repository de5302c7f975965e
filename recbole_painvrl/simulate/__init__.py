"""Simulated data sets of known truth: which feature columns are invariant, and which environment a choice is from."""

from recbole_painvrl.simulate.command import add_arguments, recipe_with, run, simulate, simulate_scale
from recbole_painvrl.simulate.entangle import latent_shares
from recbole_painvrl.simulate.generator import Simulated, generate
from recbole_painvrl.simulate.recipes import RECIPES, Recipe
from recbole_painvrl.simulate.scales import SCALES, Scale

__all__ = [
    "RECIPES",
    "SCALES",
    "Recipe",
    "Scale",
    "Simulated",
    "add_arguments",
    "generate",
    "latent_shares",
    "recipe_with",
    "run",
    "simulate",
    "simulate_scale",
]

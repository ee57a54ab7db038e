"""Training recipes: what a run needs to know, as data."""

from lungcls.recipes.listing import RecipeEntry, grouped_recipes
from lungcls.recipes.recipe import Recipe, Stage, load_recipe, recipe_names

__all__ = ["Recipe", "RecipeEntry", "Stage", "grouped_recipes", "load_recipe", "recipe_names"]

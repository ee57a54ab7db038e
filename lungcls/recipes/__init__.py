"""Training recipes: what a run needs to know, as data."""

from lungcls.recipes.recipe import Recipe, Stage, load_recipe, recipe_names

__all__ = ["Recipe", "Stage", "load_recipe", "recipe_names"]

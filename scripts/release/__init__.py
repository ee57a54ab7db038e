"""How the maintainers release weights: train, measure, describe. Not part of the wheel."""

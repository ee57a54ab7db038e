"""The quality gate: its judgement and its network, and the workshop that draws its examples and trains it."""

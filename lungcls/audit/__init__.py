"""Does a model look at the lungs, or at the hospital? Asked of anybody's model, and of predictions alone."""

"""Is a set of films like the ones that a classifier was calibrated on, and what is otherwise?"""

"""Never run: the loader looks whether it is there."""

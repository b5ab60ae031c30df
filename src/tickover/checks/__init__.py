"""How checks are evaluated: one file per kind behind the port in `base.py`. What may be believed is core's rule."""

"""Who works: one file per agent behind the port in `base.py`. What an agent says is a claim, whatever it says."""

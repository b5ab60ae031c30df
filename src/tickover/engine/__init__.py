"""What drives queued runs: it looks at each when its time has come, and lets `control/step.py` do the rest.

base.py      the port: an engine, a clock, and what a step answers
embedded.py  in this process, over the store's queue
clock.py     the wall clock that wakes also after a suspend and after the clock was set
"""

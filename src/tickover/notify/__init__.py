"""How a message reaches people: a file per kind of target. `control/notify.py` decides when and keeps what waits."""

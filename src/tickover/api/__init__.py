"""The HTTP face: thin, like the command line. `app.create` makes it, `operation.py` is what every route is.

    operation  a route: method, path, what it needs, models of query, body and answer; `Call`, one request
    guard      who calls, and whether it may; each change is noted in the audit log
    fire       the drop-in face for callers of Claude Code Routines, to the letter
    routines runs access system     the operations of /api/v1, a file per noun
    stream     a run's journal as server-sent events; waiting for a run without a thread per caller
    openapi    the description of all of it, made from the same models
    metrics    what Prometheus reads

It knows the rest of the house as `base.Desk`.
"""

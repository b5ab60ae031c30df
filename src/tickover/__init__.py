"""Tickover: routines whose green means something.

The map of the house; imports point down only (import-linter holds it).

    cli/ api/     the faces: thin. One file per noun; HTTP, hooks and `/fire`
    app.py        the composition root: the only module that knows concrete adapters
    control/      DOES, in order. `execute` is the main path: read it first
        dispatch  a wish becomes a run, or an error         prepare  what exactly runs, and where
        work      the agent's turn                          verify   what is true afterwards
        network   the ways out of a run's sandboxes         outreach  what the verifier asks of the world
        hands     all that a check may touch                recover  what a killed process left
        recording what passed, kept                         playback a recorded run once more, offline
        gate, own_tools, still: what a working agent may ask for, and a look at its work while it is held still
        canary    another build beside recorded runs
        registry, enqueue, step, scheduler, server: queued runs, made of wishes and slots, worked off by an engine
        route, triggers: an event from outside becomes a wish, or a reason why not
        github, marks, backfill: what the instance itself does at GitHub, outside any run
    gateway/      a run's only way out: names, TLS, credentials, permissions, metering, receipts; a process of its own
    sandbox/      where a run lives; `launcher/` is the only privileged code
    workspace/    mirrors, checkouts, setup layers, artifacts, state: hostile trees, touched inside sandboxes only
    agents/       who works: a file per agent                checks/   who judges: a file per kind of check
    relay/        who sent a delivery, and what inputs it makes: a row per sender
    telemetry/    traces for a collector, loaded only if asked for
    notify/       who is told: a file per kind of target     engine/   looks at queued runs when their time has come
    store/        journal, run rows, leases, events, blobs   routines/ text and files -> a definition
    core/         DECIDES. Pure: verdict, transitions, retry, definition, matcher; no input or output, no clock
    testing/      conformance suites, fakes, doubles and the scripted model, public

`docs/life-of-a-run.md` walks one run through it.
"""

__version__ = "0.1.0"

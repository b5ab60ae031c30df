"""Where facts are kept: the journal and what is projected from it, leases, blobs.

base.py       the ports and the errors: what control may know
sqlite.py     journal, runs, leases over database.py (one connection, short transactions, migrations)
records.py    the small tables beside them: verifier records, state, what a run holds on the host
server.py     the ports of what a server keeps beside it: registry.py, queue.py, schedules.py over server.sql
instance.py   what the owner said: sealed secrets, grants
queries.sql   every statement, by name;  migrations/ the schema, forward only
rules.py      who may append, what a row shows;  encoding.py  what may become an event: shared with the fake
events.py     what comes in from outside: the port;  sqlite_events.py over events.sql;  writer.py group commit
wake.py       waking another process that waits for events;  process.py  naming a process for good
blobs.py      bodies by their sha256
"""

"""The only privileged code: a single-threaded process that is the parent of every sandbox.

plan      what to start, as data; plan -> bwrap's arguments (pure)
seccomp   the system call filter, table-driven (pure)
kernel    the system calls that Python does not offer
identity  a private range of uids per sandbox, and id-mapped mounts into it (root only)
skeleton  the root file system of `base: host`
cgroups   memory, pids, cpu, freezer: v1 and v2
disk      a size-limited file system per sandbox (root), a watcher otherwise
process   one started sandbox: start, watch, freeze, kill, seal, destroy
sweep     what a killed launcher left behind
server    messages on a socketpair; `python -m tickover.sandbox.launcher`

Standard library only: it starts in milliseconds and holds nothing worth stealing.
"""

"""The only privileged code: a single-threaded process that is the parent of every sandbox.

plan      what to start, as data; plan -> bwrap's options (pure)
seccomp   the system call filter, table-driven (pure)
kernel    the system calls that Python does not offer
procfs    what /proc tells about the processes of a sandbox
identity  a private range of uids per sandbox, and id-mapped mounts into it (root only)
listeners sockets inside a sandbox's network, handed out of it
skeleton  the root file system of `base: host`
cgroups   memory, pids, cpu, freezer: v1 and v2
disk      a size-limited file system per sandbox (root)
watch     limits that nothing but looking enforces
berth     where a sandbox lies: its folder, groups, uid range, image
process   one started sandbox: start, freeze, kill, collect
seal      whether what a sandbox wrote may become a layer
sweep     what a killed launcher left behind
locks     folders held by the living
server    messages on a socketpair; `python -m tickover.sandbox.launcher`

Standard library only: it starts in milliseconds and holds nothing worth stealing.
"""

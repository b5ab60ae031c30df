"""Programs that run inside a sandbox, by the base's own python3: standard library only, Python 3.8 and newer.

They are shown at /tickover/inside, each started as `from inside.NAME import main; main()`. What they write is
judged by the host like anything else that comes out of a sandbox.
"""

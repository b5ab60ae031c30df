"""MCP as the gateway speaks it: message by message, each one read, judged and written anew.

What it is made of, from the outside in:

    base.py        the port: a conversation with an MCP server
    stdio.py       a server that is a program, in a sandbox of its own
"""

"""MCP as the gateway speaks it: message by message, each one read, judged and written anew.

From the agent's side to the server's:

    faces.py       `http://tickover.internal/mcp/NAME` as streamable HTTP: sessions, documents, events
    face.py        one server: its tools pinned and filtered, each call judged and receipted
    session.py     one conversation: ids of its own, and what of the server's words may pass
    base.py        the port: a conversation with a server
    streamable.py  a server over HTTP, with a token where there is a grant
    stdio.py       a server that is a program, in a sandbox of its own
    connect.py     which server is spoken to by which adapter
"""

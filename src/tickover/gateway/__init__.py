"""The gateway: a run's only way out. It judges destinations and requests by `core`, and keeps the receipts.

Bricks without input or output: bytes go in, in whatever pieces they arrive; parts, bytes or a refusal come out.

    refusal.py       why something does not go through: a status and a stable reason, for the run to read
    target.py        authorities and paths, in one spelling each
    dns.py           a query -> an answer made here; a fake address per allowed name
    hello.py         the first TLS message of a client -> the name it asks for
    fields.py        header fields: strict in, hop-by-hop out
    framing.py       where a body ends; chunks in and out
    http1.py         HTTP/1.1 requests and responses, read strictly and written anew, never passed on raw
    certificates.py  a certificate authority per run, leaf certificates, TLS contexts
    scrub.py         a secret that an upstream echoes, blotted out of a stream
    secrets.py       a secret's value under the instance's key
    presets.py       hosts under one name: data files, and what this machine's own package managers use

What moves the bytes:

    fence.py         what stops a run's traffic at once: lease, byte budget, end
    wire.py          one TCP connection, and two tied together
    tls.py           TLS on a wire whose first bytes were read already
    dial.py          an allowed name -> addresses, judged once -> a connection
    plane.py         a run's listeners, and what becomes of each connection

What reads requests, on hosts that are inspected (the map is in inspect.py):

    base.py          ports: receipts made durable, a credential's value, who hears of refusals
    inspect.py       a connection's requests, one after the other, each judged and sent anew
    guard.py         every protection, a method each          credential.py, glance.py, coding.py   what they need
    reading.py, receive_pack.py   what of a body is read first      calls.py   numbers, `max`, receipts
    internal.py, bell.py          its own name, and the bell of an agent that wants to stop
    own_tools.py                  the run's own tools, as an MCP server
    meter.py, prices.py           what models take, and the run's budget
    app_tokens.py, as_app.py, errand.py   tokens of GitHub Apps, made outside every sandbox
    tape.py, playing.py           an exchange recorded, and answered from a recording
    exchange.py, answer.py        out and back                      pool.py    connections kept, sessions resumed

MCP servers, asked for the agent and message by message:

    mcp/             the faces below `/mcp/`, and the conversations behind them (its map is in its docstring)

What makes it a process of its own, one for all runs:

    session.py       the port: a way out per sandbox, and the witness who holds the journal
    client.py        starts `python -m tickover.gateway`, and tells the witnesses in order
    channel.py       messages and descriptors between the two
    letters.py       an Egress as JSON
    server.py        the process: requests in, what was seen out
    loop.py          the event loop that it turns
    traffic.py       one session there: its plane, its inspector, its fence
    chain.py         a run's receipts, numbered and linked
    denials.py       what was denied, counted
    values.py        the keys                         keyring.py   what anybody holds, so that nobody reads it
    sql.py, postgres.py   a database, asked for a check: how many rows
    own.py           this machine's addresses
    packages.py      the preset `packages`: what this machine's package managers say

What comes from a sandbox is hostile: every reader is bounded, and the only error it raises is a refusal.
"""

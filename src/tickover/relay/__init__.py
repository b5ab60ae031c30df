"""The relay: who sent this delivery, which one is it, what does it say. No input or output, no clock.

base.py       the words: a delivery, accepted, refused; a scheme and a provider as data
verify.py     THE verifier: one table-driven function for every scheme, total on hostile input
providers.py  one row per sender
identify.py   handshakes, and ids for senders that give none
receive.py    the port's verb: delivery -> Accepted | Refused
content.py    what a body says as JSON, also a form's
mapper.py     event -> inputs, in a child process that can be killed;  child.py  that child
"""

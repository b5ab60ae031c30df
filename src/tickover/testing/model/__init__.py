"""The scripted model: a test double for the APIs of language models. It is no model; it says what a script says.

It answers four wire dialects from one script, so that real agents are driven end to end without a key and without
the internet. Standard library and pydantic only.

    script.py         what a script is: scenarios, turns, faults; and which turn answers a request
    conversation.py   what a request says, in one shape whatever its dialect
    answer.py         what is answered, in one shape, with ids that depend on the request alone
    anthropic.py      POST /v1/messages
    openai_chat.py    POST /v1/chat/completions
    openai_responses.py   POST /v1/responses
    gemini.py         POST /v1beta/models/M:generateContent, :streamGenerateContent
    server.py         the server: JSON or events, faults, TLS, a record of every request

    with ScriptedModel({"turns": [{"text": "Done."}]}) as model:
        model.url, model.requests, model.turns

    python -m tickover.testing.model script.json --port 8377 --log requests.jsonl
"""

from tickover.testing.model.conversation import Conversation
from tickover.testing.model.script import Fault, Scenario, Script, Turn
from tickover.testing.model.server import Exchange, ScriptedModel

__all__ = ["Conversation", "Exchange", "Fault", "Scenario", "Script", "ScriptedModel", "Turn"]

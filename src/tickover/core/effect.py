"""The check `receipt`: whether the gateway forwarded such requests, and whether they were answered so.

Three answers for each call, because some cannot be known: it counts, it does not, or nobody can say (it left and
was never answered, or its body was not read). Only what is certain passes or fails; else it is an `error`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tickover.core import mcp
from tickover.core.check import AtLeast, ReceiptCheck
from tickover.core.enforcement import first_misfit
from tickover.core.evidence import CheckResult, Said
from tickover.core.lookup import JsonPath
from tickover.core.matcher import Fields, Matcher
from tickover.core.mcp import McpServer
from tickover.core.network import NetworkPolicy, Route
from tickover.core.receipt import Begun, Chosen, Delivery, Identity, Receipt
from tickover.core.target import Target, TargetError, read_origin, read_path, read_query

SUCCESS = Matcher({"gte": 200, "lt": 300})
"""The status that counts where a check names none."""


class Counts(NamedTuple):
    """Whether a call counts: True, False, or None where nobody can say; and why it does not."""

    sure: bool | None
    why: str = ""


YES = Counts(sure=True)


def judge_receipts(check: ReceiptCheck, receipts: Sequence[Receipt]) -> Said:
    """Evaluate a check (with its values put in) against all receipts of the run, over all attempts."""
    target: Target | str = check.to
    if check.tool is None:
        try:
            target = Target.parse(check.to)
        except TargetError as error:
            return Said(CheckResult.ERROR, f"{check.to} cannot be looked for: {error.message}")
        if target.scheme != "https":
            return Said(CheckResult.ERROR, f"{target} goes in the clear, so nobody knows who answered")
    asked = [each for each in receipts if is_about(each, check)]
    judged = [(each.begun.call, _counts(check, each)) for each in asked]
    sure = sum(counts.sure is True for _, counts in judged)
    unclear = [(call, counts.why) for call, counts in judged if counts.sure is None]
    others = [(call, counts.why) for call, counts in judged if counts.sure is False]
    wanted = check.count
    enough = sure >= wanted.gte if isinstance(wanted, AtLeast) else sure == wanted and not unclear
    if isinstance(wanted, AtLeast):
        lost, says = sure + len(unclear) < wanted.gte, f"at least {wanted.gte}"
    else:
        lost, says = sure > wanted or sure + len(unclear) < wanted, f"exactly {wanted}"
    if enough:
        return Said(CheckResult.PASS, f"{target}: {_amount(sure)}, {says} asked")
    notes = "".join(f"; call {call}: {why}" for call, why in (unclear + others)[:3])
    result = CheckResult.FAIL if lost else CheckResult.ERROR
    return Said(result, f"{target}: {_amount(sure)}, {says} asked{notes}")


def _amount(count: int) -> str:
    return f"{count} receipt{'' if count == 1 else 's'} as it should be"


def is_about(receipt: Receipt, check: ReceiptCheck) -> bool:
    """Say whether a receipt is of a call by the agent to the address, or of the tool, that a check asks for."""
    begun = receipt.begun
    if check.tool is not None:
        named = (begun.method, begun.scheme, begun.host, begun.path)
        return begun.identity is Identity.AGENT and named == (
            mcp.METHOD,
            mcp.SCHEME,
            check.tool[0],
            f"/{check.tool[1]}",
        )
    try:
        target = Target.parse(check.to)
    except TargetError:
        return False
    return begun.identity is Identity.AGENT and _is_about(begun, target)


def _is_about(begun: Begun, target: Target) -> bool:
    if begun.method != target.method or not target.is_at(begun.scheme, begun.host, begun.port):
        return False
    try:
        return target.leads_to(read_path(begun.path)) and target.asks(read_query(begun.query))
    except TargetError:
        return False


def _counts(check: ReceiptCheck, receipt: Receipt) -> Counts:
    if check.request and check.request.json_:
        sent = _holds(check.request.json_, receipt.begun.request_json, "what was sent", throughout=True)
        if sent.sure is not True:
            return sent
    if not receipt.left:
        return Counts(sure=False, why=f"it never left ({receipt.ended.why if receipt.ended else ''})")
    ended = receipt.ended
    if ended is None or ended.status is None:
        return Counts(sure=None, why="it left and was never answered, so what it did is unknown")
    response = check.response
    status = response.status if response and response.status else SUCCESS
    if not status.matches(ended.status):
        return Counts(sure=False, why=f"it was answered {ended.status}")
    if response is None or response.json_ is None:
        return YES
    if ended.delivery is Delivery.CUT:
        return Counts(sure=None, why=f"it was answered {ended.status}, and the answer broke off")
    return _holds(response.json_, ended.response_json, "the answer")


def _holds(wanted: Fields, chosen: Chosen | None, what: str, *, throughout: bool = False) -> Counts:
    if chosen is None:
        return Counts(sure=False, why=f"{what} holds no JSON")
    if not chosen.complete:
        return Counts(sure=None, why=f"{what} could not be read, so it may be what was meant")
    if wanted.matches(chosen.value, throughout=throughout):
        return YES
    return Counts(sure=False, why=f"{what}: {first_misfit(wanted, chosen.value, throughout=throughout)}")


class Wanted(NamedTuple):
    """The paths of a request's and of its answer's JSON that some check will look at."""

    request: tuple[JsonPath, ...]
    response: tuple[JsonPath, ...]


def wanted_of(checks: Iterable[ReceiptCheck]) -> Wanted:
    """List what must be kept of bodies, so that these checks can be judged from receipts alone."""
    request: list[JsonPath] = []
    response: list[JsonPath] = []
    for check in checks:
        request += check.request.json_.paths() if check.request and check.request.json_ else ()
        response += check.response.json_.paths() if check.response and check.response.json_ else ()
    return Wanted(tuple(dict.fromkeys(request)), tuple(dict.fromkeys(response)))


def unseen(check: ReceiptCheck, policy: NetworkPolicy, servers: Sequence[McpServer] = ()) -> str:
    """Say why a check can never have a receipt under a policy, or nothing: an error of the definition."""
    if check.tool is not None:
        return _never_called(check.tool, servers)
    try:
        scheme, host, port = read_origin(check.to.split(" ", 1)[1])
    except TargetError as error:
        return error.message
    if scheme != "https":
        return f"plain HTTP to {host} proves nothing: nobody knows who answers"
    decision = policy.judge(host, port)
    if decision.route is Route.DENY:
        return f"there will never be such a receipt: {decision.says}"
    if decision.route is Route.TUNNEL:
        return f"{host} is only tunnelled, so its requests are not seen; a `may` entry for it would have it inspected"
    return ""


def _never_called(tool: tuple[str, str], servers: Sequence[McpServer]) -> str:
    connector, name = tool
    server = next((each for each in servers if each.name == connector), None)
    if server is None:
        return f"`connectors` names no MCP server `{connector}`"
    if server.tools and name not in server.tools:
        return f"there will never be such a receipt: `connectors.{connector}.tools` does not list {name}"
    return ""

"""A second, independent fold of a journal: field by field over the raw events, without a model or a table."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from tickover.core.text import one_line

Raw = dict[str, Any]


def naive_fold(events: list[Raw]) -> Raw:
    known = [event for event in events if event["type"] != "from_the_future"]
    starts = [place for place, event in enumerate(known) if event["type"] == "attempt_started"]
    tries = [known[start:stop] for start, stop in pairwise([*starts, len(known)])]
    last = tries[-1] if tries else []
    created = {key: value for key, value in known[0]["data"].items() if key != "version"}
    resolved = last_data(known, "version_resolved")
    baseline = first_of_each(data_of(known, "baseline_checked"))
    seals = [event for event in known if event["type"] in {"run_finished", "verdict_reached"}]
    seal = seals[-1] if seals and seals[-1]["type"] == "run_finished" else None
    cause_of = [event for event in known if event["type"] in {"attempt_finished", "run_refused", "attempt_started"}]
    retry = [event for event in known if event["type"] in {"retry_scheduled", "attempt_started"}]
    state = [event for event in known if event["type"] in {"state_committed", "state_discarded"}]
    return {
        **created,
        "id": "r1",
        "created": known[0]["at"],
        "last_seq": events[-1]["seq"],
        "version": resolved.get("routine_version"),
        "trusted": resolved.get("trusted", {}),
        "subject": resolved.get("subject", {}),
        "agent_build": naive_build(known),
        "execution": naive_execution(known),
        "cause": cause_of[-1]["data"].get("cause") if cause_of else None,
        "outcome": naive_outcome(known),
        "reason": naive_reason(known),
        "exit_code": seal["data"]["exit_code"] if seal else None,
        "started": known[starts[0]]["at"] if starts else None,
        "finished": seal["at"] if seal else None,
        "agent_started": any(event["type"] == "agent_started" for event in known),
        "required": next((e["data"]["required"] for e in reversed(known) if e["type"] == "agent_started"), []),
        "attempts": [naive_attempt(chunk, number) for number, chunk in enumerate(tries, start=1)],
        "retry_at": retry[-1]["data"].get("at") if retry else None,
        "cancel_requested_by": first_data(known, "cancel_requested").get("by"),
        "baseline": [{**data, "type": "baseline_checked"} for data in baseline],
        "accounts": naive_accounts(last),
        "gates": [
            {"attempt": number, **{key: event["data"][key] for key in ("number", "checks", "says", "problem")}}
            for number, chunk in enumerate(tries, start=1)
            for event in chunk
            if event["type"] == "stop_gate_judged"
        ],
        "cassette": naive_cassette(tries),
        "drift": 0,  # none of these is a replay
        "drifts": [],
        "evidence": naive_evidence(last or known, baseline),
        "findings": naive_findings(known),
        "claim": only(last_data(last, "report_claimed"), "status", "summary"),
        "sandbox": naive_sandbox(last),
        "layer": only(last_data(known, "layer_ready"), "key", "built", "duration_s", "bytes", "log_blob"),
        "artifacts": [only(e["data"], "path", "bytes", "sha256") for e in last if e["type"] == "artifact_stored"],
        "refused_artifacts": [only(e["data"], "path", "reason") for e in last if e["type"] == "artifact_refused"],
        "state_digest": last_data(known, "state_committed").get("digest"),
        "state_discarded": state[-1]["data"].get("reason") if state else None,
        "usage": naive_usage(known),
        "network": naive_network(known),
        "recovered": sum(event["type"] == "run_recovered" for event in known),
        "unknown_facts": len(events) - len(known),
    }


def data_of(events: Iterable[Raw], type_: str) -> list[Raw]:
    return [event["data"] for event in events if event["type"] == type_]


def last_data(events: Iterable[Raw], type_: str) -> Raw:
    return (data_of(events, type_) or [{}])[-1]


def first_data(events: Iterable[Raw], type_: str) -> Raw:
    return (data_of(events, type_) or [{}])[0]


def only(data: Raw, *keys: str) -> Raw | None:
    return {key: data[key] for key in keys} if data else None


def first_of_each(baselines: Iterable[Raw]) -> list[Raw]:
    firsts: dict[tuple[str, int], Raw] = {}
    for data in baselines:
        firsts.setdefault((data["list"], data["index"]), data)
    return list(firsts.values())


def naive_cassette(tries: Iterable[Iterable[Raw]]) -> Raw | None:
    """The last recording, and whose it is."""
    stored = [
        {"attempt": number, **{key: event["data"][key] for key in ("digest", "calls", "bytes", "left_out")}}
        for number, chunk in enumerate(tries, start=1)
        for event in chunk
        if event["type"] == "cassette_stored"
    ]
    return stored[-1] if stored else None


def naive_accounts(events: list[Raw]) -> list[Raw]:
    """The last word on each place, in the order in which those words came."""
    said = data_of(events, "account_seen")
    last = [
        data for place, data in enumerate(said) if data["place"] not in {each["place"] for each in said[place + 1 :]}
    ]
    return [{key: data[key] for key in ("place", "credential", "account", "problem")} for data in last]


def naive_execution(events: list[Raw]) -> str:
    at = "queued"
    for event in events:
        match event["type"], event["data"].get("phase"):
            case "attempt_started", _:
                at = "preparing"
            case "agent_started", _:
                at = "running"
            case "phase_started", "verify" if at == "running":
                at = "verifying"
            case "attempt_finished", _:
                at = event["data"]["execution"]
            case ("run_refused" | "run_skipped" | "run_missed") as ending, _:
                at = ending[4:]
            case "retry_scheduled", _:
                at = "queued"
    return at


def naive_outcome(events: list[Raw]) -> str | None:
    told = [e for e in events if e["type"] in {"verdict_reached", "run_finished", "retry_scheduled"}]
    return told[-1]["data"].get("outcome") if told else None


def naive_reason(events: list[Raw]) -> str:
    told = [e for e in events if e["type"] in {"verdict_reached", "run_skipped", "run_missed", "attempt_started"}]
    return str(told[-1]["data"].get("reason", "")) if told else ""


def naive_build(events: list[Raw]) -> str:
    build = ""
    for event in events:
        if event["type"] == "version_resolved":
            build = event["data"]["agent_build"]
        elif event["type"] == "agent_started":
            build = event["data"]["build"] or build
    return build


def naive_attempt(events: list[Raw], number: int) -> Raw:
    ends = [e for e in events if e["type"] in {"attempt_finished", "run_refused", "run_skipped"}][:1]
    end = ends[0] if ends else {"at": None, "type": "", "data": {}}
    how = {"run_refused": "refused", "run_skipped": "skipped"}.get(end["type"], end["data"].get("execution"))
    cause = end["data"].get("cause") if end["type"] == "attempt_finished" else None
    phases: list[Raw] = []
    for event in events:
        phase = event["data"].get("phase")
        if event["type"] == "phase_started":
            phases.append({"phase": phase, "started": event["at"], "duration_s": None})
        elif event["type"] == "phase_finished":
            [said for said in phases if said["phase"] == phase and said["duration_s"] is None][-1]["duration_s"] = (
                event["data"]["duration_s"]
            )
    return {
        "number": number,
        "started": events[0]["at"],
        "finished": end["at"],
        "execution": how,
        "cause": cause,
        "outcome": last_data(events, "verdict_reached").get("outcome"),
        "agent_started": bool(data_of(events, "agent_started")),
        "agent_status": last_data(events, "agent_finished").get("status"),
        "agent_exit": last_data(events, "agent_finished").get("exit"),
        "phases": phases,
    }


def naive_evidence(events: list[Raw], baseline: list[Raw]) -> list[Raw]:
    before = {(data["list"], data["index"]): data["result"] for data in baseline}
    evidence: list[Raw] = []
    for event in events:
        data = event["data"]
        if event["type"] == "verdict_reached":
            evidence = list(data["evidence"])
        if event["type"] != "check_evaluated":
            continue
        place = (data["list"], data["index"])
        said = only(data, "list", "index", "kind", "evidence_class", "guard", "result", "summary")
        held = data["list"] == "expect" and not data["guard"] and before.get(place) == "pass"
        entry = {**(said or {}), "baseline": before.get(place), "vacuous": held, "proves": False}
        if any((old["list"], old["index"]) == place for old in evidence):
            evidence = [entry if (old["list"], old["index"]) == place else old for old in evidence]
        else:
            evidence.append(entry)
    return evidence


def naive_findings(events: list[Raw]) -> list[Raw]:
    return [
        {
            "attempt": sum(earlier["type"] == "attempt_started" for earlier in events[:place]),
            "finding": only(event["data"], "code", "message", "required", "detail"),
        }
        for place, event in enumerate(events)
        if event["type"] == "finding"
    ]


def naive_sandbox(events: list[Raw]) -> Raw | None:
    types = [event["type"] for event in events]
    until = [types.index(t) for t in ("agent_started", "attempt_finished", "run_refused", "run_skipped") if t in types]
    preparing = events[: min(until)] if until else events
    keys = ("backend", "tier", "network", "protections", "weaknesses", "limits")
    return only(last_data(preparing, "sandbox_started"), *keys)


TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def naive_usage(events: list[Raw]) -> Raw:
    """What the gateway counted is what counts; only where it saw nothing, the agent is asked."""
    seen = data_of(events, "model_called")
    answers = seen or data_of(events, "agent_usage")
    free = [seen and not any(answer[name] for name in TOKENS) for answer in answers]
    prices = [0.0 if nothing else answer["cost_usd"] for nothing, answer in zip(free, answers, strict=True)]
    return {
        **{name: sum(answer.get(name, 0) for answer in answers) for name in TOKENS},
        "cost_usd": None if None in prices else sum(prices, 0.0),
        "calls": len(seen),
        "estimated": sum(answer["estimated"] for answer in seen),
    }


def naive_network(events: list[Raw]) -> Raw:
    begun = [data["record"] for data in data_of(events, "receipt_begun")]
    ended = {data["record"]["call"]: data["record"]["delivery"] for data in data_of(events, "receipt_ended")}
    wrote = [each["call"] for each in begun if each["writes"] and each["identity"] == "agent"]
    answered = {data["record"]["call"] for data in data_of(events, "receipt_ended") if data["record"]["status"]}
    calls = {
        each["call"]: {
            "call": each["call"],
            "attempt": each["attempt"],
            "writes": each["call"] in wrote,
            "target": f"POST https://{each['host']}{each['path']}",
            "rule": each["rule"],
        }
        for each in begun
    }
    rules = {each["rule"] for each in begun if each["call"] in wrote}
    left = [each["rule"] for each in begun if each["call"] in wrote and ended.get(each["call"]) != "unsent"]
    return {
        "calls": len(begun),
        "rules": {rule: left.count(rule) for rule in rules},
        "denials": naive_denials(events),
        "unknown": [calls[call] for call in ended if ended[call] != "unsent" and call not in answered][:50],
        "writes": sum(ended.get(call) != "unsent" for call in wrote),
        "denied": sum(data["times"] for data in data_of(events, "connection_denied")),
        "open_calls": [told for call, told in calls.items() if call not in ended],
        "seal": only(last_data(events, "receipts_sealed"), "receipt", "mac"),
    }


def naive_denials(events: list[Raw]) -> list[Raw]:
    attempt = 0
    found: dict[tuple[Any, ...], Raw] = {}
    for event in events:
        if event["type"] == "attempt_started":
            attempt = event["data"]["attempt"]
        if event["type"] == "connection_denied":
            shown = {key: event["data"][key] for key in ("identity", "port", "code")}
            shown |= {key: one_line(event["data"][key], most) for key, most in DENIAL_TEXTS.items()}
            key = (attempt, *shown.values())
            if key in found or len(found) < 50:
                before = found.get(key, {"times": 0})["times"]
                found[key] = {"attempt": attempt, **shown, "times": before + event["data"]["times"]}
    return list(found.values())


DENIAL_TEXTS = {"host": 260, "says": 300, "method": 20, "path": 200}

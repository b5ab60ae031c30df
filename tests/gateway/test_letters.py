"""A run's way out survives the journey to another process, whatever is in it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.host import HostPattern
from tickover.core.lookup import JsonPath
from tickover.core.matcher import Fields
from tickover.core.metering import Budget
from tickover.core.network import Endpoint, Governed, NetworkPolicy, Opening
from tickover.core.price import Price, Rates
from tickover.core.push import PushRule
from tickover.core.target import Target
from tickover.gateway.letters import read_egress, write_egress

NAMES = st.sampled_from(["api.example.com", "b.test", "xn--bcher-kva.example", "localhost"])
TEXTS = st.sampled_from(["", "a", "b c", "may[0]", 'quote " and \\ and \n', "ünïcode \u202e ✓", "x" * 300])
ENDPOINTS = st.builds(
    Endpoint,
    st.builds(HostPattern, NAMES, st.booleans()),
    st.lists(st.integers(1, 65535), max_size=3).map(tuple),
)
TARGETS = st.sampled_from(
    [
        Target.parse("POST https://a.test/x/*?y=*"),
        Target.parse("GET https://b.test:8443/"),
        Target.parse("PUT http://c.test/%41"),
    ]
)
FIELDS = st.none() | st.sampled_from(
    [Fields({"a.b[0]": {"not_in": [1, 2.5, None, "x"]}}), Fields({"any": [{"x": 1}, {"$.y": {"gte": 2}}]})]
)
POLICIES = st.builds(
    NetworkPolicy,
    openings=st.lists(st.builds(Opening, ENDPOINTS, TEXTS, st.booleans(), st.booleans()), max_size=4).map(tuple),
    governed=st.lists(st.builds(Governed, ENDPOINTS, TEXTS, st.none() | TEXTS), max_size=3).map(tuple),
    denied=st.lists(ENDPOINTS, max_size=2).map(tuple),
    private=st.lists(ENDPOINTS, max_size=2).map(tuple),
    observe=st.booleans(),
)
POWERS = st.builds(
    Powers,
    rules=st.lists(
        st.builds(Rule, TEXTS, TARGETS, st.none() | TEXTS, FIELDS, st.none() | st.integers(1, 9)), max_size=3
    ).map(tuple),
    pushes=st.lists(
        st.builds(
            PushRule,
            TEXTS,
            TARGETS,
            st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
            st.booleans(),
            st.booleans(),
            st.none() | TEXTS,
        ),
        max_size=2,
    ).map(tuple),
    repositories=st.lists(TARGETS, max_size=2).map(tuple),
)
PATHS = st.lists(st.sampled_from(["a", "$.a.b", "labels[].name", 'a["a key"][0]', "$"]), max_size=4).map(
    lambda texts: tuple(map(JsonPath.parse, texts))
)
FORMS = st.dictionaries(
    TEXTS,
    st.builds(
        CredentialForm, st.sampled_from(["header", "basic", "query", "git", "claude-oauth"]), TEXTS, TEXTS, TEXTS
    ),
    max_size=3,
)
BUDGETS = st.builds(Budget, st.none() | st.integers(1, 10**12), st.none() | st.floats(0.01, 1e6))
RATES = st.builds(Rates, *[st.floats(0, 1e6)] * 4)
PRICES = st.lists(st.builds(Price, TEXTS, RATES, st.integers(0, 10**6), st.none() | RATES), max_size=2).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.builds(Egress, POLICIES, POWERS, FORMS, st.builds(Wanted, PATHS, PATHS), BUDGETS, PRICES))
def test_it_arrives_as_it_was(egress: Egress) -> None:
    letter = json.loads(json.dumps(write_egress(egress)))
    arrived = read_egress(letter)
    assert arrived == egress
    assert arrived.wanted.request == egress.wanted.request
    assert [rule.json.source if rule.json else None for rule in arrived.powers.rules] == [
        rule.json.source if rule.json else None for rule in egress.powers.rules
    ]

"""Who is asked for a verification, by which rule, and that it is noted once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.assess import assess
from gateway.core.judge import judge
from gateway.friction.asking import ask_in, asked
from gateway.model import Ask, ChargeReply, Decision, Level, Mode, Policy, Status, Subject, Verdict

from ..core.builders import FACTS, IDENTITY, NOW_US, SUBJECT, policy, rule

LIGHT = Ask("light", Level.EMAIL, "", None, True)
HEAVY = Ask("heavy", Level.PHONE, "", None, True)
GRACE = Ask("grace", Level.PAYMENT, "", None, True)
SHADOW = Ask("shadow", Level.IDENTITY, "", None, False)


def asking(*asks: Ask) -> Policy:
    rules = [
        rule(
            one.rule,
            Verdict.VERIFY,
            Mode.ENFORCE if one in (LIGHT, HEAVY) else Mode.SHADOW,
            level=one.level,
        )
        for one in asks
    ]
    return policy(*rules, asks={one.rule: one for one in asks})


def decided(compiled: Policy, subject: Subject = SUBJECT, *, shadow_all: bool = False) -> Decision:
    reply = ChargeReply(NOW_US, (), applied=True, shadow_all=shadow_all)
    assessment = assess(compiled, FACTS, subject)
    return judge(compiled, FACTS, replace(IDENTITY, subject=subject), assessment, reply)


@pytest.mark.parametrize(
    ("asks", "found"),
    [
        pytest.param((), None, id="nobody asks"),
        pytest.param((LIGHT, HEAVY), HEAVY, id="the heaviest"),
        pytest.param((LIGHT, GRACE), GRACE, id="a grace refuses nothing and asks all the same"),
        pytest.param((LIGHT, SHADOW), LIGHT, id="a shadow asks nobody"),
        pytest.param((SHADOW,), None, id="a shadow alone"),
    ],
)
def test_the_heaviest_ask_in_force_is_found(asks: tuple[Ask, ...], found: Ask | None) -> None:
    compiled = asking(*asks)
    assert ask_in(decided(compiled), compiled) == found


def test_under_the_kill_switch_nobody_is_asked() -> None:
    compiled = asking(HEAVY)
    assert ask_in(decided(compiled, shadow_all=True), compiled) is None


def test_what_is_asked_because_of_an_aggregators_user_is_not_asked_of_the_aggregator() -> None:
    compiled = asking(HEAVY)
    assert ask_in(decided(compiled, replace(SUBJECT, sub_user="u" * 16)), compiled) is None


def test_an_ask_is_noted_once_and_of_accounts_only() -> None:
    noted = asked(SUBJECT, NOW_US)
    assert noted is not None
    assert noted.asked_us == NOW_US
    assert asked(noted, NOW_US + 1) is None
    for status in (Status.BANNED, Status.PROVISIONAL):
        assert asked(replace(SUBJECT, status=status), NOW_US) is None

"""Raw rules to `model.Rule`."""

from __future__ import annotations

from ..model import Level, Mode, OnStoreError, Predicate, Rule, Verdict
from .asks import Asked, ask_of, terms_of
from .conditions import Condition, ConditionCompiler, is_below
from .durations import parse_duration
from .exceptions import compile_exceptions
from .schema import RawRule, RawThen
from .source import Place, Report

MIN_WAIT_US, MAX_WAIT_US = 1_000_000, 86_400_000_000
REGION_STATUS = 451

_MESSAGES = {
    Verdict.THROTTLE: "Too many requests; please slow down.",
    Verdict.VERIFY: "Verification is required before this request is served.",
    Verdict.DENY: "This request is not served.",
}
_REGION_MESSAGE = "This service is not available in your region."
SAY_ON_UNKNOWN = "may be unknown: say on_unknown: match or on_unknown: no_match"


class RuleCompiler:
    """Compiles the rules of one policy; `mode` is for those that say none."""

    def __init__(
        self,
        conditions: ConditionCompiler,
        report: Report,
        mode: Mode,
        on_store_error: OnStoreError = OnStoreError.DENY,
    ) -> None:
        self._conditions = conditions
        self._report = report
        self._mode = mode
        self._on_store_error = on_store_error

    def compile(self, raw: RawRule, place: Place) -> Asked:
        """A rule, and for one that asks for a verification all that its terms come to; nothing
        when the report says why not."""
        rule = self._rule(raw, place)
        terms = terms_of(raw.then, place / "then", self._report)
        if rule is None or terms is None:
            return Asked()
        if rule.verdict is not Verdict.VERIFY:
            return Asked(rules=(rule,))
        return ask_of(rule, terms, self._conditions, self._on_store_error)

    def _rule(self, raw: RawRule, place: Place) -> Rule | None:
        mode = Mode(raw.mode) if raw.mode else self._mode
        verdict = self._verdict(raw.then, place / "then")
        when = self._conditions.compile(
            raw.when, place / "when", on_unknown=raw.on_unknown == "match"
        )
        exempt = compile_exceptions(raw.exceptions, self._conditions, place, self._report)
        if when is None or verdict is None:
            return None
        check_unknown(self._report, when, raw.on_unknown, mode, place)
        check_public_text(self._report, raw.message, place / "message")
        level = self._level(raw.then, when, mode, place)
        status = 403 if raw.then.deny is None else raw.then.deny.status
        is_region = status == REGION_STATUS
        return Rule(
            name=raw.name,
            why=raw.why,
            mode=mode,
            when=when.predicate if exempt is None else _but(when.predicate, exempt),
            verdict=verdict,
            message=raw.message or (_REGION_MESSAGE if is_region else _MESSAGES[verdict]),
            level=level,
            retry_after_us=self._wait_us(raw.then, place / "then" / "throttle"),
            status=status,
            source=str(place),
            signals=when.signals,
        )

    def check_when(self, data: object, place: Place) -> None:
        """The findings in the conditions of a rule that cannot be used for another reason."""
        if isinstance(data, dict) and "when" in data:
            self._conditions.compile(data["when"], place / "when")

    def _verdict(self, then: RawThen, place: Place) -> Verdict | None:
        said = [name for name in ("deny", "verify", "throttle") if getattr(then, name) is not None]
        if len(said) != 1:
            self._report.error(
                place,
                "must say one of deny: {}, verify: phone or throttle: 30s"
                + (f", not {' and '.join(said)}" if said else ""),
            )
            return None
        return Verdict[said[0].upper()]

    def _level(self, then: RawThen, when: Condition, mode: Mode, place: Place) -> Level | None:
        """A verification that does not settle the doubt would be asked for again and again."""
        if then.verify is None:
            return None
        level = Level[then.verify.upper()]
        if not is_below(when.always.get("verification"), level):
            message = (
                f"would ask again after it was passed: "
                f"add verification: {{below: {then.verify}}} to when"
            )
            where = place / "then" / "verify"
            (self._report.error if mode is Mode.ENFORCE else self._report.warn)(where, message)
        return level

    def _wait_us(self, then: RawThen, place: Place) -> int:
        if then.throttle is None:
            return 0
        try:
            wait_us = parse_duration(then.throttle)
        except ValueError as error:
            self._report.error(place, str(error))
            return 0
        if not MIN_WAIT_US <= wait_us <= MAX_WAIT_US:
            self._report.error(place, "must be from 1s to 1d")
        return wait_us


def _but(when: Predicate, exempt: Predicate) -> Predicate:
    return lambda values: when(values) and not exempt(values)


def check_public_text(report: Report, text: str | None, place: Place) -> None:
    """What callers read: one line, and nothing that helps to stay just below a limit."""
    if text is None:
        return
    if not text.isprintable():
        report.error(place, "must be printable text in one line")
    if any(character.isdigit() for character in text) or "cluster" in text.lower():
        report.warn(place, "callers read this: no thresholds, no clusters")


def check_unknown(
    report: Report, when: Condition, on_unknown: str | None, mode: Mode, place: Place
) -> None:
    """What refuses must say what it does about a fact that nobody knows."""
    if on_unknown is not None:
        if not when.unanswered:
            report.warn(place / "on_unknown", "has no effect: nothing in when may be unknown")
        return
    for where in when.unanswered:
        if mode is Mode.ENFORCE:
            report.error(where, SAY_ON_UNKNOWN)
        else:
            report.warn(where, f"{SAY_ON_UNKNOWN} before it is enforced")

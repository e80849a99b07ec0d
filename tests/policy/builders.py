"""Policies from text, without a file."""

from __future__ import annotations

from gateway.model import Policy
from gateway.policy.compile import Sources, compile_policy
from gateway.policy.sets import SetFile
from gateway.policy.source import Report, parse_yaml
from gateway.signals import all_signals

HEAD = "version: 1\nmode: enforce\n"
WHY = "why: because it has to be"


def compile_text(*texts: str, sets: dict[str, str] | None = None) -> tuple[Policy | None, Report]:
    """Each text is one file of the policy: a.yaml, b.yaml and so on."""
    report = Report()
    files = [
        parse_yaml(text.encode(), f"{chr(ord('a') + index)}.yaml", report)
        for index, text in enumerate(texts)
    ]
    set_files = []
    for name, text in (sets or {}).items():
        parsed = parse_yaml(text.encode(), f"sets/{name}.yaml", report)
        if parsed is not None:
            set_files.append(SetFile(name, parsed, is_shared=True))
    usable = tuple([file for file in files if file is not None])
    if not usable:
        return None, report
    return compile_policy(Sources("text", usable, tuple(set_files)), all_signals(), report), report


def compiled(*texts: str, sets: dict[str, str] | None = None) -> Policy:
    policy, report = compile_text(*texts, sets=sets)
    assert policy is not None, "\n".join(map(str, report.problems))
    return policy


def problems(*texts: str, sets: dict[str, str] | None = None) -> list[str]:
    return list(map(str, compile_text(*texts, sets=sets)[1].problems))


def rule(name: str, when: str, *, extra: str = "", then: str = "{deny: {}}") -> str:
    return f"  - {{name: {name}, {WHY}, when: {when}, then: {then}{extra}}}\n"


def limit(name: str, rest: str) -> str:
    return f"  - {{name: {name}, {WHY}, {rest}}}\n"

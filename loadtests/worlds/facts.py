"""What the platform knows of an account: the same ways of making it up for everybody."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from ...policy.source import Report, parse_yaml
from .phrases import read_content
from .seeds import Weighted, letters, seed_of

FREE_MAIL = Weighted(
    {
        "gmail.com": 0.55,
        "outlook.com": 0.14,
        "hotmail.com": 0.06,
        "icloud.com": 0.06,
        "yahoo.com": 0.06,
        "proton.me": 0.05,
        "gmx.de": 0.03,
        "qq.com": 0.03,
        "orange.fr": 0.02,
    }
)
LADDER = ("email", "phone", "payment", "identity", "organization")
DISPOSABLE = Path(__file__).resolve().parents[2] / "policies" / "sets" / "disposable-mail.yaml"


def account_id(seed: int, index: int) -> str:
    return f"acct_{seed_of(seed, 'account', index):016x}"


def key_ids(rng: Random, count: int) -> list[str]:
    return [f"key_{letters(rng, 12)}" for _ in range(count)]


def payment_fingerprint(rng: Random) -> str:
    return f"pf_{letters(rng, 16)}"


def organization_id(rng: Random) -> str:
    return f"org_{letters(rng, 14)}"


def mail_domain(rng: Random, kind: str) -> str:
    """A domain of that kind; companies' end in .example, so that nobody owns them."""
    if kind == "free":
        return FREE_MAIL.draw(rng)
    if kind == "disposable":
        return rng.choice(_disposable())
    words = _words()
    name = f"{rng.choice(words)}{rng.choice(words)}{rng.randrange(1000)}"
    return f"{name}.edu.example" if kind == "education" else f"{name}.example"


@cache
def _words() -> list[str]:
    tails = [tail.replace(" ", "") for tail in read_content("en.yaml")["tails"]]
    return [word for word in tails if len(word) <= 10]


@cache
def _disposable() -> list[str]:
    report = Report()
    source = parse_yaml(DISPOSABLE.read_bytes(), DISPOSABLE.name, report)
    if source is None or report.has_errors:
        raise ValueError("; ".join(map(str, report.problems)))
    return sorted(str(value) for value in source.data["values"])


def verification(rng: Random, level: str) -> list[str]:
    """What an account with that highest step has passed: mail always comes first, phone and
    payment are independent of each other."""
    if level == "none":
        return []
    steps = {"email", level}
    if level != "phone" and rng.random() < 0.35:
        steps.add("phone")
    if level in ("identity", "organization"):
        steps.add("payment")
    return [step for step in LADDER if step in steps]

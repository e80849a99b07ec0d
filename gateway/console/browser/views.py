"""What the pages say: from the admin API's answers to markup. Nothing is asked or changed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ...adapters.html import Html, tag
from ...observe.visible import visible
from ..operators import CONSOLE
from .session import MAX_NAME_CHARS, Session

HOME = CONSOLE
STATES = ("watched", "suspected", "confirmed", "dismissed")
ACCOUNTS_A_PAGE = 200
MAX_REASON_CHARS = 1_000
_PAGES = (
    ("Overview", f"{HOME}/"),
    ("Clusters", f"{HOME}/clusters"),
    ("Appeals", f"{HOME}/appeals"),
)
NOTICES = {
    "confirmed": "Confirmed: policies that ask for it apply from each account's next request on.",
    "dismissed": "Dismissed, and remembered: what is known today links these accounts no more.",
    "banned": "Banned, on every worker, with the account's next request.",
    "unbanned": "The account is again what it was before its ban.",
    "mode": "The mode holds on every replica with the next request.",
    "frozen": "Frozen: nobody is linked anew, and what is published stays in force.",
    "thawed": "Accounts are linked again.",
    "answered": "Answered. The caller reads it on the page of the verification.",
}
"""What may stand above a page after something was done, by the word in its address."""


def document(
    title: str,
    *parts: Html,
    session: Session | None = None,
    is_shadow_all: bool = False,
    notice: str | None = None,
) -> str:
    """The whole page. `notice` is a key of `NOTICES`; any other says nothing."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} – Hydragate"),
        tag("link", rel="stylesheet", href=f"{HOME}/style.css"),
    )
    above = [_header(session)] if session is not None else []
    said = NOTICES.get(notice or "")
    banner = []
    if is_shadow_all:
        text = "shadow-all: every rule and every limit is recorded, and none acts."
        banner.append(tag("p", text, class_="warning", role="status"))
    if said is not None:
        banner.append(tag("p", said, class_="note", role="status"))
    main = tag("main", *banner, tag("h1", title), *parts)
    return "<!doctype html>\n" + tag("html", head, tag("body", *above, main), lang="en")


def _header(session: Session) -> Html:
    links = [tag("a", name, href=href) for name, href in _PAGES]
    find = tag(
        "form",
        tag("label", "Decision or account", for_="find", class_="unseen"),
        tag(
            "input",
            id="find",
            name="q",
            type="search",
            placeholder="Decision or account",
            required=True,
            maxlength="256",
        ),
        tag("button", "Find", type="submit"),
        action=f"{HOME}/find",
        class_="find",
    )
    leave = form(
        session,
        f"{HOME}/sign-out",
        tag("button", f"Sign out {visible(session.by)}", type="submit", class_="quiet"),
    )
    return tag("header", tag("nav", *links, aria_label="Pages"), find, leave)


def form(session: Session, action: str, *inside: Html) -> Html:
    hidden = tag("input", type="hidden", name="form", value=session.form_token)
    return tag("form", hidden, *inside, method="post", action=action)


def _reason(field: str, label: str = "Why (kept with the decision and in the audit log)") -> Html:
    return Html(
        tag("label", label, for_=field)
        + tag(
            "textarea",
            id=field,
            name="reason",
            rows="2",
            required=True,
            maxlength=str(MAX_REASON_CHARS),
        )
    )


def _button(text: str, act: str, *, is_quiet: bool = False) -> Html:
    kind = "quiet" if is_quiet else None
    return tag("button", text, type="submit", name="act", value=act, class_=kind)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> Html:
    heads = [tag("th", name, scope="col") for name in columns]
    lines = [tag("tr", *[tag("td", cell) for cell in row]) for row in rows]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", *heads)),
            tag("tbody", *lines),
        ),
        class_="wide",
    )


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    parts: list[Html] = []
    for name, value in pairs:
        parts += [tag("dt", name), tag("dd", value)]
    return tag("dl", *parts)


def instant(us: int | None) -> str:
    if us is None:
        return "unknown"
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def cluster_link(cluster_id: str) -> Html:
    return tag("a", cluster_id, href=f"{HOME}/clusters/{quote(cluster_id, safe='')}")


def account_link(account_id: str) -> Html:
    return tag("a", visible(account_id), href=f"{HOME}/accounts/{quote(account_id, safe='')}")


# ── signing in ───────────────────────────────────────────────────────────────────────────────


def sign_in_page(*, is_wrong: bool) -> str:
    wrong = [tag("p", "That is not the admin token.", class_="error", role="alert")]
    return document(
        "Sign in",
        *(wrong if is_wrong else []),
        tag(
            "form",
            tag("label", "Your name, for the audit log", for_="by"),
            tag(
                "input",
                id="by",
                name="by",
                autocomplete="username",
                required=True,
                maxlength=str(MAX_NAME_CHARS),
            ),
            tag("label", "Admin token", for_="token"),
            tag(
                "input",
                id="token",
                name="token",
                type="password",
                autocomplete="current-password",
                required=True,
                maxlength="512",
            ),
            tag("p", "The file admin-token in the gateway's data directory.", class_="hint"),
            tag("button", "Sign in", type="submit"),
            method="post",
            action=f"{HOME}/sign-in",
        ),
    )


# ── the overview ─────────────────────────────────────────────────────────────────────────────


def overview(
    session: Session,
    status: Mapping[str, Any],
    linker: Mapping[str, Any] | None,
    lag_s: float | None,
    *,
    is_shadow_all: bool,
) -> list[Html]:
    """`linker` is its last status, None where none has led yet."""
    workers, policy = status["workers"], status["policy"]
    return [
        tag("h2", "Gateway"),
        facts(
            [
                ("Ready", "yes" if status["ready"] else "no"),
                ("Workers serving", f"{workers['serving']} of {workers['wanted']}"),
                ("Restarts of workers", str(status["restarts"])),
                ("Store", str(status["store"])),
                ("Policy", f"{policy['name']}, revision {policy['revision']}"),
                ("Mode", "shadow-all" if is_shadow_all else "normal"),
            ]
        ),
        _mode_form(session, is_shadow_all=is_shadow_all),
        tag("h2", "Linker"),
        *_linker(session, linker, lag_s),
    ]


def _mode_form(session: Session, *, is_shadow_all: bool) -> Html:
    wanted = "normal" if is_shadow_all else "shadow-all"
    text = "Back to normal: rules and limits act" if is_shadow_all else "Stop every refusal"
    return tag(
        "details",
        tag("summary", "The kill switch"),
        form(
            session,
            f"{HOME}/mode",
            tag("input", type="hidden", name="mode", value=wanted),
            _reason("mode-reason", "Why (kept in the audit log)"),
            tag("button", text, type="submit"),
        ),
    )


def _linker(session: Session, linker: Mapping[str, Any] | None, lag_s: float | None) -> list[Html]:
    if linker is None:
        return [tag("p", "No linker has led yet: nobody is linked.", class_="warning")]
    rows = [
        (
            tag("a", state, href=f"{HOME}/clusters?state={state}"),
            str(linker["clusters"].get(state, 0)),
            str(linker["accounts"].get(state, 0)),
        )
        for state in STATES
    ]
    is_frozen = bool(linker["is_frozen"])
    act, text = ("thaw", "Link again") if is_frozen else ("freeze", "Link nobody anew")
    return [
        facts(
            [
                ("Leads", visible(str(linker["leader"]))),
                ("Last heard of", instant(linker["at_us"])),
                ("Behind by", "unknown" if lag_s is None else f"{lag_s:.1f} s"),
                ("Frozen", "yes: nobody is linked anew" if is_frozen else "no"),
            ]
        ),
        table(("State", "Clusters", "Accounts"), rows, "Clusters by state"),
        tag(
            "details",
            tag("summary", "Freeze" if not is_frozen else "End the freeze"),
            form(session, f"{HOME}/linker", _reason("linker-reason"), _button(text, act)),
        ),
    ]


# ── clusters ─────────────────────────────────────────────────────────────────────────────────


def queue(answer: Mapping[str, Any], state: str | None) -> list[Html]:
    """The review queue, what matters most first."""
    filters = [tag("a", "all", href=f"{HOME}/clusters", aria_current=_current(state is None))]
    filters += [
        tag("a", one, href=f"{HOME}/clusters?state={one}", aria_current=_current(one == state))
        for one in STATES
    ]
    found = answer["clusters"]
    parts = [tag("nav", *filters, class_="filters", aria_label="States")]
    if not found:
        return [*parts, tag("p", "None.")]
    rows = [
        (
            cluster_link(one["cluster_id"]),
            one["state"],
            str(one["size"]),
            f"{one['score']:.0f}",
            instant(one["first_seen_us"]),
            visible(one["why"][0]) if one["why"] else "",
        )
        for one in found
    ]
    columns = ("Cluster", "State", "Accounts", "Score, nats", "First seen", "Why")
    caption = f"{len(found)} of {answer['total']} clusters, by impact"
    return [*parts, table(columns, rows, caption)]


def _current(is_current: bool) -> str | None:
    return "page" if is_current else None


def cluster(session: Session, found: Mapping[str, Any], offset: int) -> list[Html]:
    size, state = found["size"], found["state"]
    most = max([*found["families"].values(), 1.0])
    evidence = [
        (
            family,
            tag("meter", f"{weight:.1f}", min="0", max=f"{most:.1f}", value=f"{weight:.1f}"),
            f"{weight:.1f}",
        )
        for family, weight in sorted(found["families"].items(), key=lambda pair: -pair[1])
    ]
    parts = [
        facts(
            [
                ("State", state),
                ("Accounts", str(size)),
                ("Score", f"{found['score']:.0f} nats"),
                ("First seen", instant(found["first_seen_us"])),
                ("Not published yet", f"{found['unpublished']} accounts"),
            ]
        ),
        tag("h2", "Why these accounts are thought to be one hand"),
        tag("ul", *[tag("li", visible(reason)) for reason in found["why"]]),
        table(("Family", "", "Nats"), evidence, "Evidence by family"),
        *_behaviour(found.get("behaviour")),
        *_verdict(session, found["cluster_id"], state, size),
        *_members(found["cluster_id"], found["accounts"], size, offset),
    ]
    if found["decisions"]:
        lines = [tag("li", _decided(one)) for one in found["decisions"]]
        parts += [tag("h2", "Decided by people"), tag("ul", *lines)]
    return parts


def _behaviour(found: Mapping[str, Any] | None) -> list[Html]:
    if found is None:
        return []
    why = [tag("li", visible(reason)) for reason in found["why"]]
    said = ""
    if found["score"] is not None:
        said = (
            f"{found['members_read']} accounts beside {found['compared_with']} of all: one hand by "
            f"{found['score']:.2f}. This is no evidence, and no verdict rests on it."
        )
    return [tag("h2", "How they behave"), *([tag("p", said)] if said else []), tag("ul", *why)]


def _verdict(session: Session, cluster_id: str, state: str, size: int) -> list[Html]:
    buttons = []
    if state != "confirmed":
        buttons.append(_button("Confirm: it is one hand", "confirm"))
    if state != "dismissed":
        buttons.append(_button("Dismiss: they are innocent of one another", "dismiss"))
    said = (
        f"Confirmed, all {size} accounts carry cluster_state: confirmed from their next request "
        "on. Dismissed, what is known today links them no more; it takes new evidence. To split, "
        "pin or undo: hydragate clusters."
    )
    return [
        tag("h2", "Decide"),
        tag("p", said),
        form(
            session,
            f"{HOME}/clusters/{quote(cluster_id, safe='')}",
            _reason("cluster-reason"),
            *buttons,
        ),
    ]


def _members(cluster_id: str, accounts: Sequence[str], size: int, offset: int) -> list[Html]:
    path = f"{HOME}/clusters/{quote(cluster_id, safe='')}"
    links = [tag("li", account_link(account)) for account in accounts]
    around = []
    if offset:
        before = max(0, offset - ACCOUNTS_A_PAGE)
        around.append(tag("a", "Earlier accounts", href=f"{path}?offset={before}"))
    if offset + len(accounts) < size:
        around.append(tag("a", "More accounts", href=f"{path}?offset={offset + len(accounts)}"))
    last = offset + len(accounts)
    return [
        tag("h2", f"Accounts {offset + 1} to {last} of {size}" if accounts else "Accounts"),
        tag("ul", *links, class_="many"),
        tag("nav", *around, class_="filters", aria_label="Accounts"),
    ]


def _decided(one: Mapping[str, Any]) -> str:
    return visible(", ".join(f"{name}: {value}" for name, value in one.items() if value))


# ── one account, one decision, appeals ───────────────────────────────────────────────────────


def account(session: Session, found: Mapping[str, Any]) -> list[Html]:
    cluster_id = found["cluster_id"]
    linked: list[tuple[str, str]] = [("Cluster", "none")]
    if cluster_id is not None:
        linked = [
            ("Cluster", cluster_link(cluster_id)),
            ("Its state", str(found["cluster_state"])),
            ("Suspicion, 0 to 1", f"{found['suspicion']:.2f}"),
        ]
    grants = ", ".join(
        f"{one['level']} since {instant(one['granted_us'])}" for one in found["grants"]
    )
    said = [
        ("Status", found["status"]),
        ("Created", instant(found["created_us"])),
        ("Tier", found["tier"]),
        ("Organization", found["org_id"]),
        ("Billing country", found["billing_country"]),
        ("Mail domain", found["email_domain"]),
        ("Contracts", ", ".join(found["contracts"])),
        ("Verified", grants),
        ("Keys", ", ".join(found["key_ids"])),
        ("Called in the decision log", found["pseudonym"]),
    ]
    pairs = [(name, visible(str(value))) for name, value in said if value]
    is_banned = found["status"] == "banned"
    act, text = ("unban", "Take back the ban") if is_banned else ("ban", "Ban this account")
    return [
        facts([*pairs, *linked]),
        tag("h2", text),
        form(
            session,
            f"{HOME}/accounts/{quote(found['account_id'], safe='')}",
            _reason("account-reason", "Why (kept in the audit log)"),
            _button(text, act, is_quiet=True),
        ),
    ]


def decision(found: Mapping[str, Any]) -> list[Html]:
    who = found["account"]
    link = [] if who is None else [tag("p", "Account: ", account_link(str(who)))]
    lines = map(visible, str(found["text"]).split("\n"))
    return [*link, tag("pre", "\n".join(lines))]


def appeals(session: Session, found: Sequence[Mapping[str, Any]]) -> list[Html]:
    if not found:
        return [tag("p", "Nobody waits for an answer.")]
    parts: list[Html] = []
    for number, one in enumerate(found):
        parts += [
            tag("h2", account_link(one["account_id"])),
            tag("p", f"Written {instant(one['at_us'])}", class_="hint"),
            tag("blockquote", visible(one["text"])),
            form(
                session,
                f"{HOME}/appeals",
                tag(
                    "input", type="hidden", name="account", value=quote(one["account_id"], safe="")
                ),
                _reason(f"answer-{number}", "Answer (the caller reads it)"),
                tag("button", "Send the answer", type="submit"),
            ),
        ]
    return parts

"""HTML from calls: every text is escaped, so that no page can forget to."""

from __future__ import annotations

from html import escape

VOID = frozenset({"input", "link", "meta", "br"})


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


def tag(kind: str, /, *children: str, **attributes: str | bool | None) -> Html:
    """`tag("p", "text", class_="note")`; a trailing `_` is cut, `_` inside becomes `-`; None and
    False leave an attribute out, True writes its name alone."""
    written = "".join([_attribute(key, value) for key, value in attributes.items()])
    if kind in VOID:
        return Html(f"<{kind}{written}>")
    inside = "".join([c if isinstance(c, Html) else escape(c) for c in children])
    return Html(f"<{kind}{written}>{inside}</{kind}>")


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'

"""Elements of HTML and SVG as text. Whatever is not made here is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Value = str | float | None


def element(name: str, *children: Child, **attributes: Value) -> Markup:
    """Return an element; ``class_`` stands for class, and ``aria_label`` for aria-label.

    An attribute that is None is left out, and so is a child.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Child) -> Markup:
    """Return all ``children``, one after the other."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(children))
    return Markup("".join(joined(child) for child in children))


def percent(share: float) -> str:
    """Return a length or a place as SVG and CSS take it."""
    return f"{short(share * 100)}%"


def short(number: float) -> str:
    """Return ``number`` with at most two decimals, and none that is zero."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _value(value: str | float) -> str:
    return html.escape(value) if isinstance(value, str) else short(value)

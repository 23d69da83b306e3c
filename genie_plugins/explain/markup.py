"""HTML as elements: whatever text goes in, it comes out escaped."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, tostring

# What no HTML may have, be it escaped.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def tag(name: str, /, *content: Element | str | None, **attributes: str) -> Element:
    """An element; ``class_="…"`` is its class, ``data_x="…"`` its data-x. None is left out."""
    named = {key.rstrip("_").replace("_", "-"): clean(v) for key, v in attributes.items()}
    element = Element(name, named)
    for item in content:
        if isinstance(item, Element):
            element.append(item)
        elif item:
            _append(element, clean(item))
    return element


def _append(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def clean(text: str) -> str:
    """Text without the characters that no page may have."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def document(root: Element) -> str:
    """A whole page. Styles and scripts in it are written as they are: they must be our own."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"

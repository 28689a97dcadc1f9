"""Names of companies of our own making: a clean list, and the ways in which people write them."""

from __future__ import annotations

import itertools
import random

_FIRST = (
    *("Aurora", "Bergström", "Cobalt", "Drøbak", "Evergreen", "Falcón", "Grünwald", "Harbour"),
    *("Ibérica", "Juniper", "Kestrel", "Łódzka", "Meridian", "Nørrebro", "Orchard", "Pélican"),
    *("Quarry", "Rosewood", "São Tomé", "Tamarind", "Ulmen", "Vermilion", "Willow", "Xenon"),
    *("Yarrow", "Zinnia", "Ásgard", "Brücken", "Cañada", "Delphi"),
)
_SECOND = (
    *("Foods", "Textiles", "Logistics", "Instruments", "Shipping", "Bakery", "Software"),
    *("Pharma", "Timber", "Optics"),
)
_FORMS = ("Inc", "Ltd", "GmbH", "Inc", "Ltd", "& Co")
_PLAIN = str.maketrans("öøóüéãÁñŁł", "ooou" + "eaAnLl")


def companies() -> list[str]:
    """Return three hundred names: each first word with ten lines of business, and a legal form."""
    pairs = itertools.product(_FIRST, _SECOND)
    draw = random.Random(7)
    return [f"{a} {b} {draw.choice(_FORMS)}" for a, b in pairs]


def messy(count: int = 100) -> list[tuple[str, str]]:
    """Return names as people write them, each with the name that is meant.

    Another legal form or none, words turned round, accents left out, a typing error, other case.
    """
    draw = random.Random(12)
    chosen = draw.sample(companies(), count)
    return [(_written(name, i, draw), name) for i, name in enumerate(chosen)]


def _written(name: str, number: int, draw: random.Random) -> str:
    words = name.replace("& Co", "&Co").split()
    body, form = words[:-1], words[-1]
    kind = number % 5
    if kind in (0, 3):
        body = [*body[1:], body[0]]
    if kind in (1, 4):
        form = draw.choice(["", "Limited", "Inc.", "Co."])
    text = " ".join([*body, form]).strip()
    if kind in (2, 4):
        text = text.translate(_PLAIN)
    if kind in (0, 2):
        at = draw.randrange(1, len(body[0]) - 1)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text.upper() if kind == 3 else text


def strangers() -> list[str]:
    """Return names of companies that are not in the list."""
    return [
        *("Hollow Creek Plumbing Ltd", "Madrugada Wines S.A.", "Peregrine Legal LLP"),
        *("Stadtwerke Osterholz", "Blue Lantern Theatre", "Kowalski Roofing Inc"),
        *("Nimbus Dental Group", "Oakhurst Primary School", "Rivera & Daughters Catering"),
        *("Sundby Ferry AB", "Tiller Insurance Plc", "Umbra Photography", "Vantage Elevators Inc"),
        *("Wexford Cider Company", "Zephyr Cycling Club"),
    ]

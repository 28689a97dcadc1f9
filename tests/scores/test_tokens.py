"""Token alignment: the right name whatever the order of words, accents and typing errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qkvcli
from qkvcli.scores.text import TextScore
from qkvcli.scores.tokens import NOTHING, Frequencies, Keys, without_accents, words_of
from tests.scores.companies import companies, messy, strangers
from tests.support import reference
from tests.support.command import run_qkv
from tests.support.tables import chunk

if TYPE_CHECKING:
    from collections.abc import Callable

PHRASES = st.lists(st.text("abcé", min_size=1, max_size=4), max_size=4).map(" ".join)


@given(st.lists(PHRASES, min_size=1, max_size=4), st.lists(PHRASES, min_size=1, max_size=9))
def test_scores_are_those_of_the_formula(queries: list[str], keys: list[str]) -> None:
    frequencies = Frequencies.of(map(words_of, keys))
    counts = [set(words_of(key)) for key in keys]

    def rarity(word: str) -> float:
        return math.log(1 + len(keys) / max(1, sum(word in some for some in counts)))

    found = Keys(keys, frequencies).alignment(queries)
    wanted = [
        [reference._alignment(words_of(q), words_of(k), rarity) for k in keys] for q in queries
    ]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    for row, query in zip(found, queries, strict=True):
        for score, key in zip(row, keys, strict=True):
            assert (score == 1) == (sorted(words_of(query)) == sorted(words_of(key)))
            assert 0 <= score <= 1


@given(PHRASES, st.lists(PHRASES, min_size=1, max_size=6), st.randoms())
def test_the_order_of_words_is_no_matter(query: str, keys: list[str], draw: Any) -> None:
    def turned(text: str) -> str:
        words = text.split()
        draw.shuffle(words)
        return " ".join(words)

    frequencies = Frequencies.of(map(words_of, keys))
    straight = Keys(keys, frequencies).alignment([query])
    crooked = Keys([turned(key) for key in keys], frequencies).alignment([turned(query)])
    np.testing.assert_array_equal(straight, crooked)


def test_one_word_beside_one_word_is_an_edit_similarity() -> None:
    # Of six letters two are swapped, which is one edit; Jaro takes them as half a transposition.
    found = TextScore("tokens").scores(["Lipotn"], ["Lipton", "LIPTON", "other"])
    jaro = (1 + 1 + 5 / 6) / 3
    swapped = (5 / 6 + 0.02 * (jaro + 0.3 * (1 - jaro))) / 1.02
    np.testing.assert_allclose(found[0, :2], swapped, rtol=1e-14)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller & Söhne", "sohne  MULLER"),
        ("Łódź-Straße 7", "7 strasse lodz"),
        ("Ærø, O'Brien", "obrien aero".replace("obrien", "o brien")),
        ("ﬁne naïve", "naive fine"),
        ("a_b", "b a"),
    ],
)
def test_accents_case_and_punctuation_are_no_matter(one: str, other: str) -> None:
    assert TextScore("tokens").scores([one], [other])[0, 0] == 1
    kept = TextScore("tokens", keep_accents=True, case_sensitive=True)
    assert one.isascii() or kept.scores([one], [other])[0, 0] < 1


def test_accents_count_where_they_are_kept() -> None:
    assert without_accents(["é", "naïve", "ß", "日本", "が", "a\nß"]) == [
        *("e", "naive", "ss", "日本", "が", "a\nss"),
    ]
    how: dict[str, Any] = {"mode": "approximate", "keep_accents": True}
    found = qkvcli.lookup("Muller", {"Müller": 1, "Muler": 2}, **how)
    assert found.found[0].matches[0].record.key == ("Muler",)
    del how["keep_accents"]
    assert qkvcli.lookup("Muller", {"Müller": 1, "Muler": 2}, **how).found[0].matches[0].row == 0


def test_rare_words_count_more() -> None:
    keys = ["Acme Holding", "Zenith Holding", "Zenith Trust", *(f"f{i} Holding" for i in range(9))]
    (found,) = qkvcli.lookup("Zenith Holdings", keys_and_rows(keys), mode="approximate").found
    assert found.matches[0].record.key == ("Zenith Holding",)
    (found,) = qkvcli.lookup("Acme Trust", keys_and_rows(keys), mode="softmax", top=3).found
    assert found.matches[0].record.key == ("Acme Holding",)  # of Trust there are few, of Acme one


def keys_and_rows(keys: list[str]) -> dict[str, int]:
    return {key: row for row, key in enumerate(keys)}


def test_words_are_as_rare_whoever_counts_them(
    put: Callable[[str, str], str],
) -> None:
    """A file, a pipe and memory, one worker and two: the same answer to the last bit."""
    names = companies() * 3
    path = put("t.csv", "name,id\n" + "".join(f"{n},{i}\n" for i, n in enumerate(names)))
    asked = [text for text, _ in messy(12)]
    how: dict[str, Any] = {"mode": "softmax", "top": 4}
    scores = [
        [(match.score, match.weights) for one in found.found for match in one.matches]
        for found in (
            qkvcli.lookup(asked, path, **how),
            qkvcli.lookup(asked, path, workers=2, **how),
            qkvcli.lookup(asked, {"name": names, "id": list(range(len(names)))}, **how),
        )
    ]
    assert scores[0] == scores[1] == scores[2]
    with open(path, "rb") as file:
        piped = run_qkv(
            *("lookup", *asked, "--data", "-", "-m", "softmax", "-n", "4"), stdin=file.read()
        )
    lone = run_qkv("lookup", *asked, "--data", path, "-m", "softmax", "-n", "4")
    assert piped.out == lone.out
    with chunk(1000):
        few = qkvcli.lookup(asked, path, workers=2, **how)
    assert [m.score for one in few.found for m in one.matches] == [s for s, _ in scores[0]]


def test_nothing_is_counted_where_every_key_is_a_word(put: Callable[[str, str], str]) -> None:
    found = TextScore("tokens").counted([])
    assert found.frequencies == NOTHING
    assert Frequencies.of([["a", "a", "b"], ["a"]]) == Frequencies(2, {"a": 2})
    path = put("t.csv", "k,v\n" + "".join(f"w{i},{i}\n" for i in range(9)))
    both = [
        qkvcli.lookup("w1 w22", source, mode="softmax").found[0].matches
        for source in (path, {f"w{i}": i for i in range(9)})
    ]
    assert [m.score for m in both[0]] == [m.score for m in both[1]]


def test_a_hundred_companies_are_found_and_no_stranger() -> None:
    names = keys_and_rows(companies())
    right = sum(
        qkvcli.lookup(text, names, mode="approximate").found[0].matches[0].record.key == (name,)
        for text, name in messy()
    )
    assert right >= 95, right
    for found in qkvcli.lookup(strangers(), names, mode="approximate").found:
        assert (found.matches[0].score or 0) < 0.7, found


def test_every_score_of_text_is_asked_by_name() -> None:
    for score in ("osa", "token-sort", "token-set", "ngrams", "tokens"):
        run = run_qkv("lookup", "Lipten", "-m", "approximate", "--score", score, "-f", "value")
        assert (run.status, run.text) == (0, "Zachary\n"), score


NEARLY = st.lists(
    st.text("abé", min_size=1, max_size=12) | st.text("ab", min_size=17, max_size=26),
    min_size=1,
    max_size=3,
).map(" ".join)


@given(
    st.lists(NEARLY | st.sampled_from(["", "--"]), min_size=1, max_size=4),
    st.lists(NEARLY | st.sampled_from(["", "--"]), min_size=1, max_size=9),
    st.floats(0.75, 1),
    st.data(),
)
def test_the_index_passes_by_nothing_that_scores_as_much(
    queries: list[str], keys: list[str], least: float, data: st.DataObject
) -> None:
    # Among them some that are an edit or two from a query.
    for query in queries:
        at = data.draw(st.integers(0, len(query)))
        keys.append(query[:at] + data.draw(st.sampled_from(["", "a", "b", "ab"])) + query[at + 1 :])
    ready = Keys(keys, Frequencies.of(map(words_of, keys)))
    every = ready.alignment(queries)
    rows, scores = ready.near(queries, least)
    found = np.zeros_like(every)
    found[:, rows] = scores
    np.testing.assert_array_equal(found[every >= least], every[every >= least])
    assert (found[every < least] < least).all()


def test_many_queries_are_answered_by_the_index_as_one_by_one(
    put: Callable[[str, str], str],
) -> None:
    names = companies()
    path = put("t.csv", "name,id\n" + "".join(f"{n},{i}\n" for i, n in enumerate(names)))
    asked = [text for text, _ in messy()]
    how: dict[str, Any] = {"mode": "approximate", "null_score": 0.8}
    several = qkvcli.lookup(asked, path, **how).found
    for text, one in zip(asked, several, strict=True):
        (alone,) = qkvcli.lookup(text, path, **how).found
        assert [m.row for m in alone.matches] == [m.row for m in one.matches], text
        assert [m.score for m in alone.matches] == [m.score for m in one.matches]

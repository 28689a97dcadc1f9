"""Scores of text against RapidFuzz, pair by pair."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from unittest import mock

import names
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli import lookup
from qkvcli.key_bytes import KeyBytes
from qkvcli.scores import TEXT_SCORES, WEIGHTED
from qkvcli.scores.prefilter import may_reach, upper_bounds
from qkvcli.scores.text import TextScore
from qkvcli.sources import bytes_in
from qkvcli.sources.memory import store_of
from qkvcli.sources.store import open_table
from tests.support import reference
from tests.support.folds import attend

if TYPE_CHECKING:
    from collections.abc import Callable


ODD = ["", "a", "Straße", "STRASSE", "İstanbul", "istanbul", "ISTANBUL", "ﬁne", "FINE", "naïve"]
ODD += [
    "nai\u0308ve",
    "Ωmega",
    "ωMEGA",
    "日本",
    "日本語",
    "a\nb",
    "a\r\nb",
    "\u2028",
    "😀",
    "x" * 300,
]
TEXTS = st.text(max_size=12) | st.text("abAB ßİi", max_size=12) | st.sampled_from(ODD)


@pytest.mark.parametrize("case_sensitive", [False, True])
@pytest.mark.parametrize("name", TEXT_SCORES)
def test_text_scores_are_those_of_rapidfuzz(name: str, case_sensitive: bool) -> None:
    surnames = random.Random(1).sample(_census(), 150)
    queries = [*surnames[:20], *ODD]
    keys = [*surnames, *ODD]
    found = TextScore(name, case_sensitive=case_sensitive).scores(queries, keys)
    wanted = reference.text_scores(name, queries, keys, case_sensitive=case_sensitive)
    assert found.shape == (len(queries), len(keys))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def _census() -> list[str]:
    with open(names.full_path("dist.all.last")) as lines:
        return [line.split()[0].capitalize() for line in lines]


@given(
    st.sampled_from(TEXT_SCORES),
    st.lists(TEXTS, min_size=1, max_size=4),
    st.lists(TEXTS, min_size=1, max_size=8),
    st.booleans(),
)
def test_any_text_is_scored_as_rapidfuzz_does(
    name: str, queries: list[str], keys: list[str], case_sensitive: bool
) -> None:
    found = TextScore(name, case_sensitive=case_sensitive).scores(queries, keys)
    wanted = reference.text_scores(name, queries, keys, case_sensitive=case_sensitive)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)
    assert ((found >= 0) & (found <= 1)).all()


def test_indel_winkler_by_its_formula() -> None:
    # Li and Lipton: 2 letters in common of 8, so r = 4/8, and a prefix of 2.
    # Li and Smola: 1 in common of 7, so r = 2/7, and no prefix.
    found = TextScore("indel-winkler").scores(["Li"], ["Lipton", "Smola", "Li", "LIPTON", "xyz"])
    wanted = [0.5 + 0.1 * 2 * 0.5, 2 / 7, 1.0, 0.5 + 0.1 * 2 * 0.5, 0.0]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-15)
    assert f"{found[0, 0]:.3f} {found[0, 1]:.3f}" == "0.600 0.286"
    # The bonus counts four letters at most: 8 in common of 18, and a prefix of 8.
    long = TextScore("indel-winkler").scores(["abcdefgh"], ["abcdefghij"])
    np.testing.assert_allclose(long, [[16 / 18 + 0.4 * (1 - 16 / 18)]], rtol=1e-15)


def test_case_is_folded_unless_it_counts() -> None:
    folded, exact = TextScore("indel"), TextScore("indel", case_sensitive=True)
    for query, key in (("LI", "li"), ("STRASSE", "straße"), ("İ", "i\u0307"), ("ΣΑΣ", "σας")):
        assert folded.scores([query], [key])[0, 0] == 1
        assert exact.scores([query], [key])[0, 0] < 1
    assert folded.scores(["a\nB"], ["A\nb"])[0, 0] == 1


def test_empty_text_is_scored() -> None:
    for name in TEXT_SCORES:
        found = TextScore(name).scores(["", "a"], ["", "a"])
        np.testing.assert_array_equal(found, reference.text_scores(name, ["", "a"], ["", "a"]))
        assert found[0, 0] == found[1, 1] == 1


@given(
    st.sampled_from(TEXT_SCORES),
    st.lists(st.text("abcd", min_size=1, max_size=7), min_size=1, max_size=30),
    st.text("abcd", max_size=7),
    st.integers(0, 29),
)
def test_a_cutoff_changes_no_score_that_reaches_it(
    name: str, keys: list[str], query: str, at: int
) -> None:
    plain = TextScore(name).scores([query], keys)
    cutoff = float(plain[0, at % len(keys)])  # just reached by one key at least
    cut = TextScore(name).scores([query], keys, cutoff)
    kept = plain >= cutoff
    np.testing.assert_array_equal(cut[kept], plain[kept])
    assert (cut[~kept] < max(cutoff, 1e-300)).all()


@pytest.mark.parametrize("name", TEXT_SCORES)
@pytest.mark.parametrize("workers", [1, 2])
def test_high_cutoffs_keep_what_reaches_them_for_every_query(name: str, workers: int) -> None:
    keys = ["Smola", "Smolla", "Lipton", "Li", "", "Zhang", "smo", "Smolas", "Smart", "AlomS"]
    queries = ["Smola", "Liptom", "Zhan", "Smo"]
    plain = TextScore(name).scores(queries, keys)
    for cutoff in sorted({0.0, 0.4, 0.5, 0.9, 1.0, *plain.ravel().tolist()}):
        cut = TextScore(name, workers=workers).scores(queries, keys, cutoff)
        kept = plain >= cutoff
        np.testing.assert_array_equal(cut[kept], plain[kept])
        assert (cut[~kept] < max(cutoff, 1e-300)).all()


@pytest.mark.parametrize("name", TEXT_SCORES)
@pytest.mark.parametrize("neighbors", [1, 3])
def test_the_best_so_far_spares_work_and_changes_no_answer(name: str, neighbors: int) -> None:
    rng = random.Random(2)
    keys = ["".join(rng.choices("abcde", k=rng.randint(1, 9))) for _ in range(70_000)]
    queries = ["abcde", "edcba", "aaa"]
    found = attend(
        queries, keys, range(len(keys)), mode="approximate", neighbors=neighbors, score=name
    )
    score = TextScore(name)
    if name in WEIGHTED:
        score = score.counted(store_of(keys).heads[0].blocks())
    scores = score.scores(queries, keys)
    for query in range(3):
        order = np.lexsort((np.arange(len(keys)), -scores[query]))[:neighbors]
        assert found.best_rows[query].tolist() == order.tolist()
        assert found.output[query, 0] == pytest.approx(order.mean(), rel=1e-12)


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_a_file_is_looked_at_before_it_is_split_and_answers_the_same(
    name: str, put: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(5)
    keys = ["".join(rng.choices("abcdeéß", k=rng.randint(0, 9))) for _ in range(20_000)]
    path = put("t.csv", "k,v\n" + "".join(f"{key},{row}\n" for row, key in enumerate(keys)))
    monkeypatch.setattr(bytes_in, "CHUNK", 4096)
    queries = ["abcde", "edcba", "éß", "aaaa"]
    found = lookup(queries, path, mode="approximate", neighbors=5, score=name, workers=2, top=5)
    scores = TextScore(name).counted(open_table(path).blocks()).scores(queries, keys)
    for query, one in enumerate(found.found):
        order = np.lexsort((np.arange(len(keys)), -scores[query]))[:5]
        assert [match.row for match in one.matches] == order.tolist()
        assert [match.score for match in one.matches] == scores[query][order].tolist()


@pytest.mark.parametrize("case_sensitive", [False, True])
def test_what_is_near_is_folded_and_joined_as_what_is_split(
    case_sensitive: bool, put: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(6)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    rows = [["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in "ab"] for _ in range(9000)]
    rows[5000][0], rows[7000][0] = "Straße", "strassen"
    path = put("t.csv", "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    monkeypatch.setattr(bytes_in, "CHUNK", 8192)
    looks = mock.create_autospec(KeyBytes.texts, side_effect=KeyBytes.texts)
    monkeypatch.setattr(KeyBytes, "texts", looks)
    how: dict[str, Any] = {"mode": "approximate", "neighbors": 3, "top": 3}
    how["score"] = "indel-winkler"
    for key in (("a",), ("a", "b")):
        keys = [" ".join(row[: len(key)]) for row in rows]
        queries = ["STRASSE", "qwerty", keys[8000]]
        looks.reset_mock()
        found = lookup(queries, path, key=key, case_sensitive=case_sensitive, **how)
        scores = TextScore("indel-winkler", case_sensitive=case_sensitive).scores(queries, keys)
        for query, one in enumerate(found.found):
            order = np.lexsort((np.arange(len(keys)), -scores[query]))[:3]
            assert [match.row for match in one.matches] == order.tolist()
        assert (looks.call_count > 5) is (key == ("a",))  # joined keys lie nowhere in the bytes


WORDS = st.text("abAB é\u212aß", max_size=12)
"""Among them what folds to other letters, or to more: the Kelvin sign is a k, ß is ss."""


@given(
    WORDS,
    st.lists(WORDS, min_size=1, max_size=20),
    st.sampled_from(TEXT_SCORES),
    st.booleans(),
    st.floats(0.01, 1),
)
def test_no_key_is_passed_by_that_scores_as_much(
    query: str, keys: list[str], name: str, case_sensitive: bool, floor: float
) -> None:
    score = TextScore(name, case_sensitive=case_sensitive)
    asked = reference.folded(query, case_sensitive=case_sensitive)
    data = "".join(keys).encode()
    ends = np.cumsum([len(key.encode()) for key in keys])
    outline = KeyBytes(data, b"", lambda: (np.concatenate([[0], ends[:-1]]), ends))
    near = may_reach(name, asked, outline, floor, case_sensitive=case_sensitive)
    scores = score.scores([query], keys)[0]
    odd = np.array([not key.isascii() for key in keys])
    assert not (~near & ~odd & (scores >= floor)).any()
    assert (outline.non_ascii is None) == (not odd.any())
    assert outline.non_ascii is None or outline.non_ascii.tolist() == odd.tolist()
    rows = np.arange(len(keys))
    assert outline.texts(rows) == keys
    plain = [sum(letter in "ab" for letter in key) for key in keys]
    assert outline.common(rows, "abé").tolist() == plain
    assert outline.begins("aéb").tolist() == [key.startswith(("a", "b")) for key in keys]


@pytest.mark.parametrize(
    ("name", "alike", "common", "length", "most"),
    [
        ("indel", 1, 4, 4, 8 / 9),
        ("indel", 0, 9, 7, 10 / 12),
        ("indel-winkler", 0, 4, 4, 8 / 9),
        ("indel-winkler", 1, 4, 4, 8 / 9 + 0.4 / 9),
        ("jaro-winkler", 0, 4, 8, (4 / 5 + 4 / 8 + 1) / 3),
        ("jaro-winkler", 1, 4, 8, 0.6 * (4 / 5 + 4 / 8 + 1) / 3 + 0.4),
        ("jaro-winkler", 0, 0, 8, 0),
        ("levenshtein", 1, 4, 8, 4 / 8),
        ("damerau-levenshtein", 0, 2, 3, 2 / 5),
        ("lcs", 0, 9, 9, 5 / 9),
        ("prefix", 1, 1, 1, 1 / 5),
    ],
)
def test_what_a_score_cannot_pass(
    name: str, alike: int, common: int, length: int, most: float
) -> None:
    found = upper_bounds(name, 5, np.array([alike]), np.array([common]), np.array([length]))
    assert found == pytest.approx([most], abs=1e-12)
    assert upper_bounds(name, 0, np.array([0]), np.array([0]), np.array([0])) == [1]


def test_few_keys_are_near() -> None:
    keys = _census()
    ends = np.cumsum([len(key) for key in keys])
    outline = KeyBytes(
        "".join(keys).encode(), b"", lambda: (np.concatenate([[0], ends[:-1]]), ends)
    )
    for name in TEXT_SCORES:
        near = may_reach(name, "lipten", outline, 0.85, case_sensitive=False)
        if name in ("ngrams", "token-sort", "token-set"):
            assert near.all()
            continue
        assert 0 < np.count_nonzero(near) < len(keys) // 8, name
        for asked in ("lipten", keys[17].casefold()):
            scores = TextScore(name).scores([asked], keys)[0]
            for floor in np.sort(scores)[[-1, -2, -10, -100]]:
                reached = may_reach(name, asked, outline, floor, case_sensitive=False)
                assert reached[scores >= floor].all(), name
    assert may_reach(
        "indel", "a" * 2_000_000, outline, 0.9, case_sensitive=False
    ).all()  # too long to say


def test_threads_inside_rapidfuzz_change_nothing() -> None:
    keys = random.Random(3).sample(_census(), 2000)
    for name in TEXT_SCORES:
        one = TextScore(name, workers=1).scores(keys[:50], keys)
        np.testing.assert_array_equal(TextScore(name, workers=3).scores(keys[:50], keys), one)

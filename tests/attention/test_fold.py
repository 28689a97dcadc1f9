"""The fold: every weighting against brute force, and what no split, order or float may change."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.special import softmax

from qkvcli import QkvError
from qkvcli.attention.fold import Plan, State, finish, merge, summarise
from qkvcli.attention.weights import MODES, Mask, Weighting
from qkvcli.blocks import Queries
from qkvcli.run.work import Local, fold
from qkvcli.scores import TEXT_SCORES, VECTOR_SCORES
from qkvcli.scores.text import TextScore
from qkvcli.scores.vector import VectorScore
from qkvcli.sources.memory import store_of
from tests.support import folds, reference
from tests.support.folds import attend

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.numeric

WORDS = ["Li", "Lipton", "Smola", "li", "Hu", "Werness", "Zhang", "", "Liß", "LISS", "Smolla", "Li"]
WIDTH = 1.7


def _random(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def _same_row(queries: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array((queries[:, None] == keys[None]).all(axis=2))


def _check(found: Any, wanted: NDArray[np.float64], values: NDArray[Any], tolerance: float) -> None:
    """Hold an answer's weights, values and perplexity against reference weights (Q, K)."""
    np.testing.assert_allclose(found.weights, wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found.answered, wanted.any(axis=1))
    expected = reference.pooled(wanted, values)
    np.testing.assert_allclose(found.output, expected, rtol=tolerance, atol=tolerance)
    if found.perplexity is not None:
        expected = reference.perplexity(wanted)
        np.testing.assert_allclose(found.perplexity, expected, rtol=10 * tolerance)


# Every mode and every score ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("depth", [1, 3, 12])
@pytest.mark.parametrize("score", VECTOR_SCORES)
def test_vectors_are_weighted_as_by_hand(score: str, depth: int, dtype: str) -> None:
    keys = _random(1, 60, depth).astype(dtype)
    values = _random(2, 60, 2).astype(dtype)
    queries = np.concatenate([_random(3, 4, depth).astype(dtype), keys[[7, 7, 30]]])
    width = 5.0 if depth == 12 else WIDTH
    kernel = score not in ("dot", "scaled-dot", "cosine")
    scores = reference.vector_scores(score, queries, keys, width)
    tolerance = 1e-12 if dtype == "f8" else 2e-5
    for mode, temperature, neighbors in [
        ("softmax", None, None),
        ("softmax", 0.3, None),
        ("softmax", 2.5, 5),
        ("approximate", None, None),
        ("approximate", None, 7),
        ("average", None, None),
        ("exact", None, None),
    ]:
        found = attend(
            queries,
            keys,
            values,
            mode=mode,
            score=score,
            temperature=temperature,
            neighbors=neighbors,
            bandwidth=width if kernel and mode != "average" else None,
            weights=True,
        )
        used = np.zeros_like(scores) if mode in ("average", "exact") else scores
        equal = _same_row(queries, keys)
        wanted = reference.weights(used, mode, temperature or 1.0, neighbors, equal)
        _check(found, wanted, values, tolerance)


@pytest.mark.parametrize("case_sensitive", [False, True])
@pytest.mark.parametrize("score", TEXT_SCORES)
def test_text_is_weighted_as_by_hand(score: str, case_sensitive: bool) -> None:
    queries = ["Li", "smola", "lISS", "", "Zürich"]
    values = _random(4, len(WORDS), 3)
    rarity = reference.rarity_among(score, WORDS, case_sensitive=case_sensitive)
    scores = reference.text_scores(
        score, queries, WORDS, case_sensitive=case_sensitive, rarity=rarity
    )
    equal = np.array([[q == k for k in WORDS] for q in queries])
    for mode in MODES:
        for neighbors in (None, 4) if mode in ("softmax", "approximate") else (None,):
            used = np.zeros_like(scores) if mode == "average" else scores
            wanted = reference.weights(used, mode, 0.1, neighbors, equal)
            options: Any = {
                "mode": mode,
                "neighbors": neighbors,
                "score": score,
                "case_sensitive": case_sensitive,
            }
            found = attend(queries, WORDS, values, weights=True, **options)
            _check(found, wanted, values, 1e-12)
            shares = attend(queries, WORDS, WORDS, **options).labels[0]
            assert shares is not None
            labels, indicators = reference.one_hot(WORDS)
            wanted_shares = reference.pooled(wanted, indicators)
            at = [labels.index(label) for label in shares.labels]
            np.testing.assert_allclose(shares.weights, wanted_shares[:, at], atol=1e-12)
            others = [i for i in range(len(labels)) if i not in at]
            assert not np.nan_to_num(wanted_shares[:, others]).any()


@pytest.mark.parametrize("mode", MODES)
def test_text_values_of_vectors_are_shares(mode: str) -> None:
    keys, queries = _random(5, 40, 2), _random(6, 6, 2)
    queries[0] = keys[3]
    texts = [str(i % 5) for i in range(40)]
    scores = reference.vector_scores("gaussian", queries, keys, 0.5)
    used = np.zeros_like(scores) if mode == "average" else scores
    wanted = reference.weights(used, mode, equal=_same_row(queries, keys))
    share = attend(queries, keys, texts, mode=mode, score="gaussian", bandwidth=0.5).labels[0]
    labels, indicators = reference.one_hot(texts)
    expected = reference.pooled(wanted, indicators)
    at = [labels.index(label) for label in share.labels]
    np.testing.assert_allclose(share.weights, expected[:, at], rtol=1e-12, atol=1e-13)
    others = [i for i in range(len(labels)) if i not in at]
    assert not np.nan_to_num(expected[:, others]).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["causal", "lengths", "mask", "all"])
def test_what_is_masked_has_no_weight(kind: str, mode: str) -> None:
    keys, values, queries = _random(7, 9, 3), _random(8, 9, 2), _random(9, 7, 3)
    queries[4] = keys[2]
    lengths = np.array([0, 3, 9, 1, 5, 2, 9])
    mask = np.random.default_rng(10).random((7, 9)) < 0.4
    mask[2] = False
    shown = np.ones((7, 9), np.bool_)
    if kind in ("causal", "all"):
        shown &= np.tri(7, 9, dtype=np.bool_)
    if kind in ("lengths", "all"):
        shown &= np.arange(9) < lengths[:, None]
    if kind in ("mask", "all"):
        shown &= mask
    scores = reference.vector_scores("dot", queries, keys)
    scores = np.where(shown, 0 if mode == "average" else scores, -np.inf)
    wanted = reference.weights(scores, mode, equal=_same_row(queries, keys))
    found = attend(
        queries,
        keys,
        values,
        mode=mode,
        score="dot" if mode != "average" else None,
        causal=kind in ("causal", "all"),
        valid_lens=lengths if kind in ("lengths", "all") else None,
        mask=mask if kind in ("mask", "all") else None,
        weights=True,
    )
    _check(found, wanted, values, 1e-12)
    assert not found.weights[~shown].any()


@pytest.mark.parametrize(
    ("mode", "neighbors"), [("softmax", None), ("softmax", 3), ("average", None)]
)
def test_masks_go_by_the_rows_of_all_queries_and_keys(mode: str, neighbors: int | None) -> None:
    keys, values, asked = _random(18, 9, 3), _random(19, 9, 2), _random(20, 7, 3)
    lengths = np.array([9, 3, 9, 1, 5, 2, 0])
    allowed = np.random.default_rng(21).random((7, 9)) < 0.6
    every = np.arange(9)
    shown = {
        "causal": every <= np.arange(7)[:, None],
        "lengths": every < lengths[:, None],
        "allowed": allowed,
    }
    masks = {
        "causal": Mask(causal=True),
        "lengths": Mask(lengths=lengths),
        "allowed": Mask(allowed=allowed),
    }
    scores = asked @ keys.T if mode == "softmax" else np.zeros((7, 9))
    queries = Queries(tuple("abcdefg"), asked)
    for kind, mask in masks.items():
        plan = Plan(VectorScore("dot"), Weighting(mode, 1.0, neighbors), mask, matrix=True)
        if mode == "average":
            plan = replace(plan, score=None)
        wanted = np.where(shown[kind], scores, -np.inf)
        wanted = reference.weights(wanted, "softmax", neighbors=neighbors)
        for start, stop in ((0, 7), (2, 5), (6, 7)):
            part = queries.part(start, stop)
            found = folds.answer_of(folds.blocks(keys, values, [4]), part, plan)
            _check(found, wanted[start:stop], values, 1e-12)


def test_the_nearest_keys_of_far_apart_scores() -> None:
    # e^score is out of the range of a double, and the queries' scores are far apart.
    keys, values = np.array([[1.0], [0.999], [0.5]]), np.array([3.0, 5.0, 7.0])
    asked = np.array([[1e4], [-1e4], [0.0]])
    wanted = reference.weights(asked @ keys.T, "softmax", neighbors=2)
    found = attend(asked, keys, values, score="dot", neighbors=2, weights=True)
    _check(found, wanted, values, 1e-10)
    np.testing.assert_allclose(found.best_weights.sum(axis=1), 1, rtol=1e-12)


def test_nothing_near_any_query_is_no_answer() -> None:
    options: Any = {"score": "boxcar", "bandwidth": 1.0, "neighbors": 2}
    found = attend([[9.0], [-9.0]], [[0.0], [1.0]], [1.0, 2.0], weights=True, **options)
    assert not found.answered.any()
    assert np.isnan(found.output).all()
    assert not found.weights.any()
    assert found.best_rows.shape == (2, 0)


# The fold is a monoid ------------------------------------------------------------------------

CUTS = st.lists(st.integers(0, 40), max_size=5)
SEEDS = st.integers(0, 2**32 - 1)
VECTOR_PLANS = st.builds(
    Plan,
    st.sampled_from(VECTOR_SCORES).map(lambda name: VectorScore(name, (1.5,))),
    st.builds(
        Weighting,
        st.sampled_from(("softmax", "approximate", "average", "exact")),
        st.sampled_from((0.05, 1.0, 30.0)),
    ),
    st.sampled_from((None, Mask(causal=True))),
    top=st.integers(0, 4),
    records=st.booleans(),
    perplexity=st.booleans(),
)
SPARSE_PLANS = VECTOR_PLANS.flatmap(
    lambda plan: st.integers(1, 6).map(
        lambda k: replace(plan, weighting=Weighting("softmax", 1.0, k), records=True)
    )
)
JACOBIAN_PLANS = st.builds(
    Plan,
    st.sampled_from(VECTOR_SCORES).map(lambda name: VectorScore(name, (2.0,))),
    st.sampled_from((Weighting("softmax"), Weighting("softmax", 0.5, 6))),
    jacobian=st.just(value=True),
    perplexity=st.booleans(),
)


def _case(seed: int, dtype: str = "f8") -> tuple[Queries, NDArray[Any], NDArray[Any]]:
    """Return queries, keys and values with ties among them."""
    keys = _random(seed, 30, 2).round(1).astype(dtype)
    queries = np.concatenate([_random(seed + 1, 3, 2).astype(dtype), keys[:2]])
    return Queries(("a", "b", "c", "d", "e"), queries), keys, _random(seed + 2, 30, 2).astype(dtype)


@given(SEEDS, CUTS, VECTOR_PLANS | SPARSE_PLANS | JACOBIAN_PLANS)
def test_any_split_of_vectors_gives_the_answer_of_one_block(
    seed: int, cuts: list[int], plan: Plan
) -> None:
    queries, keys, values = _case(seed)
    whole = folds.answer_of(folds.blocks(keys, values), queries, plan)
    split = folds.answer_of(folds.blocks(keys, values, cuts), queries, plan)
    t = plan.weighting.effective_temperature
    # A shift and a normalizer are one number in two parts, which blocks may divide otherwise.
    np.testing.assert_allclose(_log_normaliser(split, t), _log_normaliser(whole, t), rtol=1e-12)
    bare = replace(whole, shift=whole.answered, normalizer=whole.answered)
    folds.assert_same(replace(split, shift=split.answered, normalizer=split.answered), bare, 1e-12)


def _log_normaliser(answer: Any, temperature: float) -> NDArray[np.float64]:
    shifts = np.where(answer.answered, answer.shift, 0) / temperature
    return np.asarray(shifts + np.log(np.where(answer.answered, answer.normalizer, 1)))


@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from("abcdefg")), min_size=1),
    CUTS,
    st.sampled_from(MODES),
    st.sampled_from(TEXT_SCORES),
    st.integers(0, 5),
)
def test_any_split_of_text_gives_the_answer_of_one_block(
    rows: list[tuple[str, str]], cuts: list[int], mode: str, score: str, neighbors: int
) -> None:
    keys, values = [key for key, _ in rows], [value for _, value in rows]
    sparse = neighbors if mode in ("softmax", "approximate") and neighbors else None
    plan = Plan(
        TextScore(score),
        Weighting(mode, 0.1, sparse),
        records=True,
        text=(0,),
        perplexity=True,
        top=3,
    )
    queries = Queries(("Li", "Smola"), ["Li", "Smola"])
    whole = folds.answer_of(folds.blocks(keys, values), queries, plan)
    split = folds.answer_of(folds.blocks(keys, values, cuts), queries, plan)
    folds.assert_same(replace(split, shift=whole.shift, normalizer=whole.normalizer), whole, 1e-12)


@given(SEEDS, st.integers(1, 29), st.integers(1, 29), VECTOR_PLANS | SPARSE_PLANS | JACOBIAN_PLANS)
def test_merge_is_associative_and_has_an_identity(
    seed: int, first: int, second: int, plan: Plan
) -> None:
    queries, keys, values = _case(seed)
    states = [summarise(b, queries, plan) for b in folds.blocks(keys, values, [first, second])]
    while len(states) < 3:
        states.append(State())
    a, b, c = states
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    folds.assert_same(finish(left, plan, queries), finish(right, plan, queries), 1e-12)
    folds.assert_same(merge(State(), a), a)
    folds.assert_same(merge(a, State()), a)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("mode", ["softmax", "approximate"])
def test_threads_and_runs_change_no_byte(mode: str, dtype: str) -> None:
    keys, values = _random(11, 200_000, 4).astype(dtype), _random(12, 200_000, 3).astype(dtype)
    queries = _random(13, 20, 4).astype(dtype)
    answers = [
        attend(queries, keys, values, mode=mode, top=5, workers=threads) for threads in (1, 2, 4, 1)
    ]
    for other in answers[1:]:
        folds.assert_same(other, answers[0])


def test_threads_change_no_byte_of_text_answers() -> None:
    rng = np.random.default_rng(14)
    keys = ["".join(map(chr, rng.integers(97, 105, 6))) for _ in range(150_000)]
    for mode in ("softmax", "approximate"):
        answers = [
            attend(["abcdef", "hgfedc"], keys, keys[:1] * len(keys), mode=mode, top=9, workers=n)
            for n in (1, 2, 4)
        ]
        folds.assert_same(answers[1], answers[0])
        folds.assert_same(answers[2], answers[0])


def test_more_queries_than_are_folded_at_once_are_answered_alike() -> None:
    keys, values, queries = _random(15, 50, 3), _random(16, 50, 1), _random(17, 1300, 3)
    options: Any = {"score": "gaussian", "bandwidth": 1.0, "top": 4, "weights": True}
    whole = attend(queries, keys, values, causal=True, **options)
    scores = reference.vector_scores("gaussian", queries, keys)
    scores[np.arange(1300)[:, None] < np.arange(50)] = -np.inf
    _check(whole, reference.weights(scores, "softmax"), values, 1e-12)
    assert whole.best_rows.shape == (1300, 4)


# Properties ----------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from(VECTOR_SCORES), st.floats(0.01, 100), st.sampled_from(["f4", "f8"]))
def test_weights_sum_to_one_and_answers_lie_among_the_values(
    seed: int, score: str, temperature: float, dtype: str
) -> None:
    queries, keys, values = _case(seed, dtype)
    plan = Plan(
        VectorScore(score, (1.0,)), Weighting("softmax", temperature), matrix=True, perplexity=True
    )
    found = folds.answer_of(folds.blocks(keys, values, [11]), queries, plan)
    slack = 1e-12 if dtype == "f8" else 1e-5
    sums = found.weights.sum(axis=1)
    np.testing.assert_allclose(sums[found.answered], 1, rtol=0, atol=slack)
    assert not sums[~found.answered].any()
    assert (found.weights >= 0).all()
    inside = found.output[found.answered]
    assert (inside >= values.min(axis=0) - slack).all()
    assert (inside <= values.max(axis=0) + slack).all()
    keys_of = found.perplexity[found.answered]
    assert (keys_of >= 1 - slack).all()
    assert (keys_of <= len(keys) * (1 + slack)).all()


@given(SEEDS, st.floats(-1e6, 1e6))
def test_a_shift_of_all_scores_changes_nothing(seed: int, shift: float) -> None:
    queries, keys, values = _case(seed)
    # One more coordinate, the same for every key, adds the same to every score.
    wide = np.concatenate([keys, np.ones((len(keys), 1))], axis=1)
    asked = np.concatenate([queries.keys, np.full((len(queries), 1), shift)], axis=1)
    plain = attend(queries.keys, keys, values, score="dot")
    shifted = attend(asked, wide, values, score="dot")
    tolerance = 1e-12 + 1e-15 * abs(shift)
    np.testing.assert_allclose(shifted.output, plain.output, rtol=0, atol=10 * tolerance)


@given(SEEDS, st.permutations(range(30)), st.sampled_from(VECTOR_SCORES))
def test_the_order_of_rows_changes_nothing(seed: int, order: list[int], score: str) -> None:
    queries, keys, values = _case(seed)
    plan = Plan(VectorScore(score, (1.5,)), Weighting("softmax"), perplexity=True)
    plain = folds.answer_of(folds.blocks(keys, values), queries, plan)
    mixed = folds.answer_of(folds.blocks(keys[order], values[order]), queries, plan)
    np.testing.assert_allclose(mixed.output, plain.output, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(mixed.perplexity, plain.perplexity, rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_row_that_ties_with_what_is_known_elsewhere_stays(count: int) -> None:
    """The floor may come from rows after it, before which it is chosen."""
    texts, vectors = ["ten", "tin", "tan", "tin"], np.array([[1.0], [0.0], [2.0], [0.0]])
    for keys, asked, score in (
        (texts, ["tin"], TextScore("indel")),
        (vectors, np.zeros((1, 1)), VectorScore("gaussian", (1.0,))),
    ):
        queries = Queries(("q",), asked)
        plan = Plan(score, Weighting("approximate", neighbors=count), top=count, records=True)
        (block,) = folds.blocks(keys, np.arange(4.0)[:, None], [])
        known = finish(summarise(block, queries, plan), plan, queries)
        least = known.best_scores[:, -1]
        found = finish(summarise(block, queries, plan, least), plan, queries)
        assert found.best_rows.tolist() == known.best_rows.tolist()
        assert known.best_rows[0, 0] == 1


def test_a_low_temperature_approaches_the_best_key_and_a_high_one_the_average() -> None:
    keys, values, queries = _random(18, 50, 4), _random(19, 50, 2), _random(20, 5, 4)
    best = attend(queries, keys, values, mode="approximate").output
    mean = attend(queries, keys, values, mode="average").output
    for temperature in (1e-4, 1e-12, 1e-100, 1e-300, 5e-324):
        cold = attend(queries, keys, values, temperature=temperature).output
        np.testing.assert_allclose(cold, best, rtol=1e-12)
        narrow = (queries.astype("f4"), keys.astype("f4"), values.astype("f4"))
        cold = attend(*narrow, temperature=temperature).output
        np.testing.assert_allclose(cold, best, rtol=1e-6)
    for temperature in (1e14, 1e50, 1e300):
        hot = attend(queries, keys, values, temperature=temperature).output
        np.testing.assert_allclose(hot, mean, rtol=1e-12)
        narrow = (queries.astype("f4"), keys.astype("f4"), values.astype("f4"))
        hot = attend(*narrow, temperature=temperature).output
        np.testing.assert_allclose(hot, mean, rtol=0, atol=1e-6)


# Lists of the best -----------------------------------------------------------------------------


def test_ties_are_broken_by_row_order() -> None:
    keys = np.array([[1.0], [2.0], [2.0], [1.0], [2.0], [0.0]] * 20_000)
    found = attend([[1.0]], keys, np.arange(len(keys), dtype=float), score="dot", top=5)
    assert found.best_rows.tolist() == [[1, 2, 4, 7, 8]]
    one = attend([[1.0]], keys, np.arange(len(keys), dtype=float), score="dot", mode="approximate")
    assert one.output.tolist() == [[1.0]]
    some = attend(
        [[1.0]],
        keys,
        np.arange(len(keys), dtype=float),
        score="dot",
        mode="approximate",
        neighbors=4,
    )
    assert some.output.tolist() == [[(1 + 2 + 4 + 7) / 4]]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=60),
    st.integers(1, 8),
    CUTS,
    st.booleans(),
)
def test_the_list_is_the_head_of_a_stable_sort(
    scores: list[int], count: int, cuts: list[int], masked: bool
) -> None:
    keys = np.array(scores, dtype=float)[:, None]
    shown = np.arange(len(scores)) % 3 != 0 if masked else np.ones(len(scores), np.bool_)
    mask = Mask(allowed=shown[None]) if masked else None
    plan = Plan(VectorScore("dot"), Weighting("softmax"), mask, top=count, records=True)
    parts = folds.blocks(keys, keys, cuts)
    found = folds.answer_of(parts, Queries(("q",), np.ones((1, 1))), plan)
    wanted = sorted(np.flatnonzero(shown), key=lambda i: (-scores[i], i))[:count]
    assert [row for row in found.best_rows[0].tolist() if row >= 0] == wanted
    assert sorted(found.records) == sorted(wanted)
    listed = found.best_rows[0] >= 0
    assert found.best_scores[0][listed].tolist() == [scores[i] for i in wanted]
    weights = reference.weights(np.where(shown, keys.T, -np.inf), "softmax")[0]
    np.testing.assert_allclose(found.best_weights[0][listed], weights[wanted], rtol=1e-12)


# Text values -----------------------------------------------------------------------------------


def test_labels_past_the_cap_are_not_pooled_whatever_the_blocks() -> None:
    keys = np.zeros((6, 1))
    texts = ["a", "b", "a", "c", "b", "d"]
    for cap, cuts in [(4, []), (4, [2, 4]), (3, []), (3, [2, 4]), (3, [1]), (1, [3]), (1, [5])]:
        plan = Plan(
            VectorScore("dot"), Weighting("softmax"), label_cap=cap, text=(0,), records=True
        )
        found = folds.answer_of(
            folds.blocks(keys, texts, cuts), Queries(("q",), np.ones((1, 1))), plan
        )
        share = found.labels[0]
        if cap == 4:
            assert share.labels == ("a", "b", "c", "d")
            np.testing.assert_allclose(share.weights, [[2 / 6, 2 / 6, 1 / 6, 1 / 6]], rtol=1e-14)
        else:
            assert share is None


@pytest.mark.parametrize("top", [0, 2])
@pytest.mark.parametrize("jacobian", [False, True])
def test_references_move_within_a_block_and_nothing_is_lost(top: int, jacobian: bool) -> None:
    # 300 queries are scored 512 keys at a time. The second tile passes the guard of 60 powers of
    # two, by so little that the first still counts; the third holds labels of its own.
    keys = np.concatenate([np.linspace(39, 41, 512), np.linspace(41, 43, 512), [42.5] * 100])[
        :, None
    ]
    texts = ["a", "b"] * 512 + ["c"] * 100
    values = np.sin(np.arange(len(keys)))
    asked = np.linspace(0.95, 1.05, 300)[:, None]
    queries = Queries(tuple(str(i) for i in range(300)), asked)
    wanted = reference.weights(asked @ keys.T, "softmax")
    means = reference.pooled(wanted, values)
    labels, indicators = reference.one_hot(texts)
    plan = Plan(
        VectorScore("dot"),
        Weighting("softmax"),
        top=top,
        perplexity=True,
        jacobian=jacobian,
        text=(0,),
    )
    numbers = folds.answer_of(folds.blocks(keys, values), queries, replace(plan, text=()))
    np.testing.assert_allclose(numbers.output, means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(numbers.perplexity, reference.perplexity(wanted), rtol=1e-11)
    found = folds.answer_of(folds.blocks(keys, texts), queries, plan)
    assert found.labels[0].labels == tuple(labels)
    shares = reference.pooled(wanted, indicators)
    np.testing.assert_allclose(found.labels[0].weights, shares, rtol=1e-12)
    if jacobian:
        covariance = reference.pooled(wanted, values[:, None] * keys) - means * (wanted @ keys)
        np.testing.assert_allclose(numbers.jacobian[:, :, 0], covariance, rtol=1e-9, atol=1e-12)
        of_shares = reference.pooled(wanted, indicators * keys) - shares * (wanted @ keys)
        np.testing.assert_allclose(found.label_jacobians[0][:, :, 0], of_shares, atol=1e-12)


# Numbers at the edge -----------------------------------------------------------------------------


def test_narrow_floats_are_scored_in_float32() -> None:
    keys, values, queries = _random(21, 300, 8), _random(22, 300, 2), _random(23, 4, 8)
    for dtype in ("f2", "f4"):
        narrow = [x.astype(dtype) for x in (queries, keys, values)]
        exact = attend(*[x.astype("f8") for x in narrow], score="dot")
        found = attend(*narrow, score="dot", top=1)
        np.testing.assert_allclose(found.output, exact.output, rtol=0, atol=5e-6)
        assert float(np.float32(found.best_scores[0, 0])) == found.best_scores[0, 0]
    for dtype in ("i1", "u8", "?", ">f8", ">i4"):
        odd = (keys * 3).astype(dtype)
        found = attend(queries, odd, values, score="dot")
        wide = attend(queries, odd.astype("f8"), values, score="dot")
        np.testing.assert_array_equal(found.output, wide.output)


def test_fortran_order_and_strides_are_read_right() -> None:
    keys, values, queries = _random(24, 60, 4), _random(25, 60, 2), _random(26, 6, 4)
    plain = attend(queries[::2], keys[::3], values[::3]).output
    strided = attend(
        np.asfortranarray(queries[::2].copy()), np.asfortranarray(keys[::3]), values[::3]
    )
    np.testing.assert_array_equal(strided.output, plain)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("temperature", [1.0, 1e-3, 1e6])
def test_scores_too_large_for_a_float_still_have_the_right_answer(
    temperature: float, dtype: str
) -> None:
    big = 1e20 if dtype == "f4" else 8e153
    keys = np.array([[big], [2 * big], [-big], [0]], dtype)
    values = np.array([[1], [2], [3], [4]], dtype)
    queries = np.array([[big], [-big], [0]], dtype)
    found = attend(queries, keys, values, score="dot", temperature=temperature, weights=True)
    assert found.output.tolist() == [[2], [3], [2.5]]
    np.testing.assert_allclose(found.perplexity, [1, 1, 4], rtol=1e-12)
    for mode in ("approximate", "exact"):
        one = attend(queries, keys, values, score="dot", mode=mode)
        assert one.output.tolist() == (
            [[2], [3], [1]] if mode == "approximate" else [[1], [3], [4]]
        )


@pytest.mark.parametrize("edge", [1e308, -1e308, 1.7e308])
def test_scores_at_the_edge_of_a_double(edge: float) -> None:
    keys = np.array([[edge], [-edge], [edge], [0.0], [1e-308], [5e-324]])
    values = np.arange(6.0)
    scores = keys[:, 0]
    for temperature in (1e-300, 1.0, 1e300, 1e308):
        found = attend([[1.0]], keys, values, score="dot", temperature=temperature, weights=True)
        wanted = _exactly([[float(s) for s in scores]], temperature)
        np.testing.assert_allclose(found.weights, wanted, rtol=1e-12, atol=1e-300)


def _exactly(scores: list[list[float]], temperature: float) -> list[list[float]]:
    """Return softmax weights of rows of scores, by decimals of 60 digits."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        found = []
        for row in scores:
            logits = [Decimal(s) / Decimal(temperature) for s in row]
            top = max(logits)
            terms = [(x - top).exp() if x - top > Decimal(-(10**6)) else Decimal(0) for x in logits]
            found.append([float(term / sum(terms)) for term in terms])
        return found


ROWS = {
    "ordinary": [0.1, -2.5, 3.0, 0.1],
    "ties": [7.0] * 9,
    "one key": [-1e308],
    "a hair apart": [1.0, math.nextafter(1.0, 2), math.nextafter(1.0, 0)],
    "far above": [700.0, 710.0, 745.0, 0.0],
    "far below": [-745.0, -740.0, -1000.0],
    "both ends": [1e308, -1e308, 1e308, 0.0],
    "subnormal": [5e-324, 0.0, -5e-324, 2.2e-308],
    "one giant among dust": [60.0, *([-20.0] * 50)],
    "rising": [float(x) for x in range(-800, 800, 37)],
    "falling": [float(x) for x in range(800, -800, -37)],
    "at the guard": [60 / math.log2(math.e), 0.0, -20 / math.log2(math.e), -100.0],
}


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("name", ROWS)
def test_adversarial_rows_against_exact_arithmetic(name: str, cut: int) -> None:
    scores = ROWS[name]
    values = np.array([(-1.0) ** i * (i + 1) for i in range(len(scores))])[:, None]
    for temperature in (0.01, 1.0, 3.0, 1000.0):
        wanted = np.array(_exactly([scores], temperature))
        plan = Plan(
            VectorScore("dot"), Weighting("softmax", temperature), matrix=True, perplexity=True
        )
        parts = folds.blocks(np.array(scores)[:, None], values, [cut])
        queries = Queries(("q",), np.ones((1, 1)))
        found = folds.answer_of(parts, queries, plan)
        np.testing.assert_allclose(found.weights, wanted, rtol=3e-12, atol=1e-300)
        np.testing.assert_allclose(found.weights.sum(), 1, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.perplexity, reference.perplexity(wanted), rtol=1e-9)
        # Without the matrix the factor goes into the queries and the sums come in base 2.
        plain = folds.answer_of(parts, queries, replace(plan, matrix=False))
        scale = np.abs(values).max()
        np.testing.assert_allclose(plain.output, wanted @ values, rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(plain.perplexity, reference.perplexity(wanted), rtol=1e-9)


@given(
    st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=20),
    st.sampled_from((1e-300, 0.1, 1.0, 1e10)),
    CUTS,
)
def test_any_row_against_exact_arithmetic(
    scores: list[float], temperature: float, cuts: list[int]
) -> None:
    plan = Plan(VectorScore("dot"), Weighting("softmax", temperature), matrix=True)
    parts = folds.blocks(np.array(scores)[:, None], np.ones((len(scores), 1)), cuts)
    found = folds.answer_of(parts, Queries(("q",), np.ones((1, 1))), plan)
    wanted = np.array(_exactly([scores], temperature))
    # A logit of n has lost its digits below n · 2⁻⁵³ before anything is exponentiated.
    spread = min(745, (max(scores) - min(scores)) / temperature)
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-12 + spread * 1e-14, atol=1e-300)


def test_masked_scores_too_low_for_a_float_have_the_right_answer() -> None:
    keys, asked = _random(22, 20, 2) * 1e25, _random(23, 12, 2) * 1e25
    values, mask = _random(24, 20, 1), np.random.default_rng(25).random((12, 20)) < 0.5
    keys, asked = keys.astype("f4"), asked.astype("f4")
    options: Any = {"score": "dot", "temperature": 1e50, "weights": True}
    for masked in ({"causal": True}, {"mask": mask}, {}):
        narrow = attend(asked, keys, values, **options, **masked)
        wide = attend(asked.astype("f8"), keys.astype("f8"), values, **options, **masked)
        np.testing.assert_allclose(narrow.weights, wide.weights, rtol=1e-12)


def test_narrow_queries_of_wide_keys_are_scored_in_the_wider() -> None:
    keys, asked = _random(26, 20, 3), _random(27, 4, 3).astype("f4")
    for score in VECTOR_SCORES:
        narrow = attend(asked, keys, keys, score=score)
        wide = attend(asked.astype("f8"), keys, keys, score=score)
        np.testing.assert_allclose(narrow.output, wide.output, rtol=1e-12)


def test_exact_vectors_are_equal_in_every_column() -> None:
    keys = [[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [1.0, 0.0, 3.0], [1.0, 2.0, 0.0], [1.0, 2.0, 3.0]]
    found = attend([[1.0, 2.0, 3.0]], keys, range(5), mode="exact", top=5)
    assert found.best_rows.tolist() == [[0, 4]]
    assert found.output.tolist() == [[2.0]]


@pytest.mark.parametrize("weights", [False, True])
def test_exact_text_is_listed_by_its_rows(weights: bool) -> None:
    found = attend(["Li", "x"], WORDS, range(len(WORDS)), mode="exact", top=3, weights=weights)
    assert found.best_rows.tolist() == [[0, 11], [-1, -1]]
    masked = attend(["x", "Li"], WORDS, range(len(WORDS)), mode="exact", causal=True)
    assert masked.output[1].tolist() == [0.0]


def test_an_overflow_is_told_by_the_first_row_of_its_block() -> None:
    block = folds.blocks([[0.0], [1.0], [1e300]], [1.0, 2.0, 3.0], [2])[1]
    plan = Plan(VectorScore("dot"), Weighting("softmax"))
    with pytest.raises(QkvError, match=r"^keys: row 2: a score or a sum overflows a double; scale"):
        summarise(block, Queries(("q",), np.array([[1e300]])), plan)


@pytest.mark.parametrize("signs", [(1, -1), (-1, 1)])
@pytest.mark.parametrize("score", ["dot", "scaled-dot"])
@pytest.mark.parametrize("options", [{}, {"mode": "approximate"}, {"top": 2}, {"causal": True}])
def test_terms_that_overflow_are_told_though_they_might_cancel(
    score: str, options: dict[str, Any], signs: tuple[int, int]
) -> None:
    keys = [[1e200 * signs[0], 1e200 * signs[1], 0.0], [-1.0, -1.0, 0.0]]
    for count in (1, 3, 300):
        with pytest.raises(QkvError, match=r"^keys: row 0: a score or a sum overflows a double"):
            attend([[1e200, 1e200, 1e200]] * count, keys, [1.0, 2.0], score=score, **options)


def _logits(score: str, queries: NDArray[Any], keys: NDArray[Any], width: float) -> Any:
    """Return scores (Q, K), as SciPy has it."""
    queries, keys = queries.astype("f8"), keys.astype("f8")
    if score == "dot":
        return queries @ keys.T
    apart = distance.cdist(queries, keys) / width
    return -apart if score == "laplacian" else -(apart**2) / 2


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("columns", [1, 8, 9, 20])
@pytest.mark.parametrize("count", [127, 128, 600])
def test_many_queries_are_weighted_as_by_scipy(count: int, columns: int, dtype: str) -> None:
    keys, values = _random(1, 5000, 2).astype(dtype), _random(2, 5000, columns).astype(dtype)
    queries = _random(3, count, 2).astype(dtype)
    tolerance = 1e-11 if dtype == "f8" else 2e-5
    for score, width in (("gaussian", 0.5), ("gaussian", 0.05), ("laplacian", 0.5), ("dot", None)):
        found = attend(queries, keys, values, score=score, bandwidth=width, perplexity=False)
        weights = softmax(_logits(score, queries, keys, width or 1.0), axis=1)
        # In the tail of a narrow kernel the rounding of a difference shows.
        close = 50 * tolerance if width == 0.05 else tolerance
        np.testing.assert_allclose(found.output, weights @ values, rtol=close, atol=close)


@pytest.mark.parametrize("score", ["dot", "gaussian", "laplacian"])
def test_a_key_far_from_all_others_is_seen_in_any_tile(score: str) -> None:
    """A limit says where no score need be looked at; one key in the last tile says otherwise."""
    keys, values = _random(1, 3000, 3), _random(2, 3000, 1)
    queries = _random(3, 300, 3)
    for at in (0, 1500, 2999):
        odd = keys.copy()
        odd[at] *= 1e3
        width = None if score == "dot" else 0.3
        found = attend(queries, odd, values, score=score, bandwidth=width, perplexity=False)
        weights = softmax(_logits(score, queries, odd, width or 1.0), axis=1)
        np.testing.assert_allclose(found.output, weights @ values, rtol=1e-9, atol=1e-9)


def test_large_values_do_not_overflow_on_the_way() -> None:
    for dtype, big in (("f4", 1e37), ("f8", 1e307)):
        keys = np.array([[40], [2]], dtype)
        values = np.array([[big], [2]], dtype)
        found = attend(np.array([[1]], dtype), keys, values, score="dot")
        np.testing.assert_allclose(found.output, [[float(values[0, 0])]], rtol=1e-6)
    same = attend([[1.0]], [[0.0], [0.0]], [1.7e308, 1.7e308], mode="average")
    assert same.output.tolist() == [[1.7e308]]
    with pytest.raises(QkvError, match="overflows a double"):
        attend([[1.0]], [[0.0], [0.0]], [1.7e308, 1.6e308], mode="average")
    with pytest.raises(QkvError, match="overflows a double"):
        attend([[1e200]], [[1e200], [0.0]], [1.0, 2.0], score="dot")


def test_a_million_equal_keys_and_one_key() -> None:
    keys = np.full((1_000_000, 1), 0.7)
    values = np.full((1_000_000, 1), 0.1)
    for temperature in (1.0, 1e-3):
        found = attend([[3.0]], keys, values, score="dot", temperature=temperature, top=2)
        np.testing.assert_allclose(found.output, [[0.1]], rtol=1e-12)
        np.testing.assert_allclose(found.perplexity, [1e6], rtol=1e-9)
        assert found.best_rows.tolist() == [[0, 1]]
        np.testing.assert_allclose(found.best_weights, [[1e-6, 1e-6]], rtol=1e-12)
    narrow = attend(*[np.asarray(x, "f4") for x in ([[3.0]], keys, values)], score="dot")
    np.testing.assert_allclose(narrow.output, [[np.float32(0.1)]], rtol=5e-6)
    one = attend([[3.0]], [[2.0]], [5.0], score="dot", weights=True)
    assert one.output.tolist() == [[5.0]]
    assert one.weights.tolist() == [[1.0]]
    np.testing.assert_allclose(one.perplexity, [1], rtol=1e-15)


def test_the_error_of_float32_stays_small() -> None:
    keys, values, queries = (_random(i, n, 64) for i, n in ((27, 5000), (28, 5000), (29, 40)))
    narrow = [x.astype("f4") for x in (queries, keys, values)]
    exact = attend(*[x.astype("f8") for x in narrow]).output
    found = attend(*narrow).output
    assert np.abs(found - exact).max() <= 5e-6 * np.abs(exact).max()


# Nothing to attend to, and data that cannot be used ----------------------------------------------


@pytest.mark.parametrize("neighbors", [None, 2])
@pytest.mark.parametrize("kernel", ["boxcar", "triangular", "epanechnikov"])
def test_an_empty_window_has_no_answer(kernel: str, neighbors: int | None) -> None:
    found = attend(
        [[0.0], [100.0]],
        [[0.0], [0.5], [9.0]],
        [1.0, 2.0, 3.0],
        score=kernel,
        bandwidth=2.0,
        neighbors=neighbors,
        weights=True,
        top=3,
    )
    assert found.answered.tolist() == [True, False]
    assert np.isnan(found.output[1]).all()
    assert math.isnan(found.perplexity[1])
    assert not np.isnan(found.weights).any()
    assert not found.weights[1].any()
    assert (found.best_rows[1] == -1).all()
    assert not found.best_weights[1].any()


@pytest.mark.parametrize("values", [[1.0, 2.0], ["a", "b"]])
def test_no_exact_match_and_a_masked_row_have_no_answer(values: list[Any]) -> None:
    for keys, queries in ((["x", "y"], ["z", "x"]), ([[0.0], [1.0]], [[2.0], [0.0]])):
        found = attend(queries, keys, values, mode="exact", weights=True)
        assert found.answered.tolist() == [False, True]
        assert found.weights.tolist() == [[0, 0], [1, 0]]
        for mode in ("softmax", "approximate", "average"):
            masked = attend(
                queries, keys, values, mode=mode, mask=np.array([[False, False], [False, True]]),
                weights=True,
            )  # fmt: skip
            assert masked.answered.tolist() == [False, True]
            assert masked.weights.tolist() == [[0, 0], [0, 1]]
            shares = [share.weights for share in masked.labels if share is not None]
            assert all(np.isnan(part[0]).all() for part in [masked.output, *shares])


def test_a_share_of_a_query_without_an_answer_is_nan_in_joined_answers_too() -> None:
    queries = [*["b"] * 600, "nowhere", "a"]
    share = attend(queries, ["a", "b"], ["x", "y"], mode="exact").labels[0]
    assert sorted(share.labels) == ["x", "y"]
    y, x = share.labels.index("y"), share.labels.index("x")
    assert share.weights[0, y] == 1
    assert share.weights[-1, x] == 1
    assert np.isnan(share.weights[-2]).all()


@pytest.mark.parametrize(
    "score", ["dot", "scaled-dot", "cosine", "gaussian", "laplacian", "boxcar"]
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", ["keys", "values", "queries"])
def test_what_is_not_finite_is_named_with_its_index(role: str, bad: float, score: str) -> None:
    width = 1.0 if score in ("gaussian", "laplacian", "boxcar") else None
    for dtype in ("f4", "f8"):
        for mode in MODES:
            for neighbors in (None, 2):
                arrays = {
                    "queries": np.ones((3, 2), dtype),
                    "keys": _random(31, 7, 2).astype(dtype),
                    "values": np.ones((7, 2), dtype),
                }
                arrays[role][2, 1] = bad
                arrays[role][2:, 0] = bad  # the first in row order is named
                with pytest.raises(QkvError, match=rf"^{role}: NaN or infinity at index \[2, 0\]"):
                    attend(
                        *arrays.values(),
                        mode=mode,
                        score=score,
                        bandwidth=width if mode != "average" else None,
                        neighbors=neighbors,
                    )


@pytest.mark.parametrize("queries", [1, 40])
def test_an_infinite_key_is_found_deep_in_a_large_array(queries: int) -> None:
    keys = np.zeros((150_000, 3), "f4")
    keys[140_001, 2] = -math.inf
    asked = np.ones((queries, 3), "f4")
    for options in ({}, {"causal": True}, {"top": 3}, {"mode": "approximate"}, {"workers": 2}):
        with pytest.raises(QkvError, match=r"index \[140001, 2\]"):
            attend(asked, keys, keys[:, :1] * 0 + 1, **options)


def test_a_head_is_named_in_the_index() -> None:
    keys = np.zeros((2, 3, 4, 5))
    keys[1, 0, 2, 3] = math.nan
    with pytest.raises(QkvError, match=r"^keys: NaN or infinity at index \[1, 0, 2, 3\]"):
        attend(np.ones((2, 5)), keys)


def test_the_fold_itself_takes_several_plans_in_one_reading() -> None:
    database = store_of(WORDS, list(range(len(WORDS))))
    queries = Queries(("Li",), ["Li"])
    plans = [Plan(TextScore("indel-winkler"), Weighting(mode, 0.1)) for mode in MODES]
    together = fold(database.heads[0].blocks(), queries, plans, Local())
    for plan, answer in zip(plans, together, strict=True):
        folds.assert_same(fold(database.heads[0].blocks(), queries, [plan], Local())[0], answer)


def test_an_overflow_names_its_row() -> None:
    keys = np.ones((60_000, 2))
    keys[58_007] = 1e300  # in the second block
    line = r"^keys: row 58007: a score or a sum overflows"
    with pytest.raises(QkvError, match=line):
        attend([[1e300, 1.0]], keys, np.arange(60_000.0), score="dot")
    values = np.ones((10, 1))
    values[4:6] = 1.7e308
    with pytest.raises(QkvError, match=r"^keys: row 4: a score or a sum overflows"):
        attend([[1.0, 1.0]], np.ones((10, 2)), values, score="dot")

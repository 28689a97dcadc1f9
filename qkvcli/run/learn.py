"""Learning what a score is made of, from examples of the right answer, by its gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.errors import InputError, UsageError
from qkvcli.run.examples import Examples
from qkvcli.run.join import best
from qkvcli.scores.features import FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Record, Source
    from qkvcli.run.resolve import Question
    from qkvcli.run.work import Progress
    from qkvcli.scores.model import LearnedText, Model, TextModel
    from qkvcli.sources.store import Asked

    Floats = NDArray[np.float64]

FEWEST = 10
"""How many examples there are at least."""
LISTED = 50
"""How many best keys of a query are its candidates."""
FIRST = {"tokens": 0.5, "ngrams": 0.5}
"""By which score candidates are chosen before there is another."""
TEMPERATURE = 0.1
_KEYS = 1 << 13
"""Of how many keys features are worked out at a time."""
_HIDDEN = 1.0
_STEPS, _PATIENCE = 300, 25
"""How many steps are taken at most, and how many without a gain on held-out examples."""
_DRAWS, _CELLS = 2000, 1 << 20
"""How many times examples are drawn anew for the interval of a gain, and how many at a time."""


@dataclass(frozen=True)
class Training:
    """How a score is learned.

    Parameters
    ----------
    validate
        The share of the examples that is held out, to stop early and to measure.
    penalty
        What the squares of the weights cost, divided by the number of examples.
    seed
        Of what is drawn.
    """

    validate: float = 0.2
    penalty: float = 1.0
    seed: int = 0

    def split(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which of so many examples are learned from, and which are held out.

        Raises
        ------
        UsageError
            One example or none is left to learn from.
        """
        order = np.random.default_rng(self.seed).permutation(count)
        held = max(1, math.ceil(self.validate * count))
        if count - held < 2:
            raise UsageError(
                f"`validate` {self.validate:g} holds {held} of {count} examples out, which leaves "
                "too few to learn from; hold fewer out"
            )
        return np.sort(order[held:]), np.sort(order[:held])


class Learned(NamedTuple):
    """A model, and what it reaches on the examples held out.

    Parameters
    ----------
    model
        The score.
    before, after
        What the score that it began with reaches, and what it reaches.
    examples, held_out
        How many examples there were, and how many of them were held out.
    gain
        By how much the loss (of each held-out example, in the mean) fell, and between which numbers
        that lies 95 times in 100 if other examples are drawn.
    skipped
        How many rows were left out, as a number was missing in them.
    """

    model: Model
    before: dict[str, float]
    after: dict[str, float]
    examples: int
    held_out: int
    gain: tuple[float, float, float]
    skipped: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether there are examples enough to tell that it is better."""
        return self.gain[1] > 0


def checked(validate: float, penalty: float, seed: int) -> Training:
    """Return how a score is learned, if it can be.

    Raises
    ------
    UsageError
        A share that leaves nothing, a penalty below 0, or a seed that is none.
    """
    if not 0 < validate < 1:
        raise UsageError(f"`validate` {validate!r} is not a share between 0 and 1")
    if not 0 <= penalty < math.inf:
        raise UsageError(f"`penalty` {penalty!r} is not a finite number from 0")
    if seed < 0:
        raise UsageError(f"`seed` {seed!r} is not a whole number from 0")
    return Training(validate, penalty, seed)


def check_count(count: int) -> None:
    """Refuse too few examples.

    Raises
    ------
    InputError
        With how many there are.
    """
    if count < FEWEST:
        some = "1 example is" if count == 1 else f"{count} examples are"
        raise InputError(f"{some} too few to learn from; give {FEWEST} or more")


def text_examples(
    question: Question,
    asked: Asked,
    right: Sequence[str],
    name: Callable[[Record], str],
    progress: Progress | None = None,
) -> Examples:
    """Return queries with the features of their candidates.

    Parameters
    ----------
    question
        What chooses the candidates: a learned score.
    asked
        The queries; empty ones are left out.
    right
        What the right answer of each is called; "" where nothing is right.
    name
        Returns what a row of the database is called.
    progress
        Told of rows as they are done.

    Raises
    ------
    InputError
        No right answer is a candidate, or candidates are all alike.
    """
    (head,) = question.heads
    kept = [i for i, label in enumerate(asked.queries[0].labels) if label.strip()]
    check_count(len(kept))
    queries = head.queries.pick(kept)
    asking = replace(head, queries=queries)
    answer = best(asking, LISTED, question.executor, progress, records=False)
    found = answer.best_rows
    at, places = np.nonzero(found >= 0)
    rows, to = np.unique(found[at, places], return_inverse=True)
    keys, called = _texts_of(head.source, rows, name)
    wanted = [right[i] for i in kept]
    fits = np.array([called[k] == wanted[q] for q, k in zip(at.tolist(), to.tolist(), strict=True)])
    counts = np.bincount(at, minlength=len(kept))
    if not counts.all():
        raise InputError("has no keys to learn from", question.store.name)
    if not (fits & np.array([bool(wanted[q]) for q in at.tolist()])).any():
        _refuse(wanted, called, question.store.name)
    score: LearnedText = head.plans[0].score  # type: ignore[assignment]  # a learned one
    score = replace(score, weights=tuple((feature, 1.0) for feature in FEATURES))
    features = np.empty((len(at), len(FEATURES)), np.float32)
    order = np.argsort(to, kind="stable")
    for start in range(0, len(keys), _KEYS):
        pairs = order[slice(*np.searchsorted(to[order], (start, start + _KEYS)))]
        few, places = np.unique(at[pairs], return_inverse=True)
        mine = [queries.keys[place] for place in few.tolist()]
        theirs = keys[start : start + _KEYS]
        features[pairs] = score.features(mine, theirs, places, to[pairs] - start, np.float32)
    if (features == features[0]).all():
        raise InputError(
            "all keys are alike to every example, so nothing tells them apart", question.store.name
        )
    answerable = np.array([bool(some) for some in wanted])
    right_pairs, weight = fits & answerable[at], np.ones(len(kept))
    return Examples(features, counts, right_pairs, answerable, weight, answer.skipped)


def _texts_of(
    source: Source, rows: NDArray[np.int64], name: Callable[[Record], str]
) -> tuple[list[str], list[str]]:
    """Return the keys of some rows, and what they are called; they are read for it once more.

    Kept with the lists of best keys they would take as much memory as all else together.
    """
    keys, called = [], []
    for block in source.blocks():
        first, end = np.searchsorted(rows, (block.start, block.start + len(block)))
        if first < end:
            for record in block.load().records((rows[first:end] - block.start).tolist()):
                keys.append(" ".join(record.key))
                called.append(name(record))
    return keys, called


def _refuse(wanted: Sequence[str], called: Sequence[str], where: str) -> None:
    first = next(filter(None, wanted), None)
    if first is None:
        raise InputError("no example has a right answer: every cell of `truth` is empty")
    message = "no right answer of the examples is among the best keys of its query: the first is "
    message += f"{first[:40]!r}, and answers here are such as {called[0][:40]!r}; `truth` is the "
    raise InputError(message + "column of right keys, or COL=ID of values of the column ID", where)


def learn_text(examples: Examples, model: TextModel, training: Training) -> Learned:
    """Return the weights of features that give the right keys the most weight.

    The loss is −log α of the right key among the candidates and the null key, or of the null key
    where nothing is right or what is right is no candidate. Weights are from 0 on. Every example
    counts a second time with its right keys hidden; T and the null score are set at last by the
    examples as they are.

    Parameters
    ----------
    examples
        With all of ``qkvcli.scores.features.FEATURES``.
    model
        The score that chose the candidates, which folds text as the new one will.
    training
        How it is learned.
    """
    learning, held_out = training.split(len(examples))
    some, held = examples.pick(learning), examples.pick(held_out)
    names = list(FEATURES)
    start = _calibrated(some, _only(names, "tokens"))
    sought = _descended(some, held, start, training)
    end = _calibrated(some, sought[:-1])
    before, after = held.outcome(start), held.outcome(end)
    if after.loss @ held.weight > before.loss @ held.weight:
        end, after = start, before
    temperature = 1 / float(end[:-1].sum())
    found = replace(
        model,
        weights=_rounded(dict(zip(names, (end[:-1] * temperature).tolist(), strict=True))),
        temperature=round(temperature, 6),
        null_score=round(min(1.0, max(0.0, float(end[-1]) * temperature)), 6),
    )
    figures = before.measures(), after.measures()
    gain = interval(before.loss - after.loss, training.seed)
    learned = Learned(found, *figures, len(examples), len(held), gain, examples.skipped)
    return learned._replace(model=replace(found, trained=trained(learned, training)))


def _rounded(weights: dict[str, float]) -> dict[str, float]:
    """Return weights that count, the largest first, to six digits; together they stay 1."""
    falling = sorted(weights.items(), key=lambda pair: -pair[1])
    found = {name: round(weight, 6) for name, weight in falling if round(weight, 6) > 0}
    first = falling[0][0]
    found[first] = round(found[first] + 1 - sum(found.values()), 6)
    return found


def _only(names: Sequence[str], name: str) -> Floats:
    return np.array([10.0 if one == name else 0.0 for one in names])


def _calibrated(examples: Examples, weights: Floats) -> Floats:
    """Return weights times the 1/T that suits them best, with the null score over T."""
    from scipy.optimize import minimize

    scored = replace(examples, features=examples.scored(weights)[:, None])
    top = float(np.maximum.reduceat(scored.features[:, 0], examples.starts).max())
    found = minimize(
        scored.loss, [1.0, top / 2], jac=True, method="L-BFGS-B", bounds=[(1e-3, 1e3), (0, None)]
    )
    factor, null = found.x
    return np.append(weights * factor, min(null, factor * top))


def _descended(examples: Examples, held: Examples, start: Floats, training: Training) -> Floats:
    """Return the point with the least loss on held-out examples, along the way down."""
    from scipy.optimize import minimize

    penalty = training.penalty / len(examples)

    def cost(point: Floats) -> tuple[float, Floats]:
        total, gradient = examples.loss(point, _HIDDEN)
        gradient[:-1] += 2 * penalty * point[:-1]
        return total + penalty * float(point[:-1] @ point[:-1]), gradient

    watched = Watched(start, lambda point: held.loss(point, _HIDDEN)[0])
    minimize(
        cost,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * (len(start) - 1) + [(None, None)],
        callback=watched,
        options={"maxiter": _STEPS},
    )
    return watched.point


class Watched:
    """What looks at every step, keeps the best of them, and ends a descent that gains no more.

    Parameters
    ----------
    start
        Where the descent begins.
    error
        Of a point on held-out examples.
    """

    def __init__(self, start: Floats, error: Callable[[Floats], float]) -> None:
        self.point, self._error = start, error
        self.least, self._since = error(start), 0

    def __call__(self, intermediate_result: Any) -> None:  # noqa: ANN401 - SciPy's, by its name
        """Look at a step.

        Raises
        ------
        StopIteration
            There was no gain for long.
        """
        point = np.array(intermediate_result.x)
        error = self._error(point)
        self._since += 1
        if error < self.least:
            self.point, self.least, self._since = point, error, 0
        if self._since >= _PATIENCE:
            raise StopIteration


def interval(gains: Floats, seed: int) -> tuple[float, float, float]:
    """Return a mean, and where 95 in 100 means of as many drawn anew lie (bootstrap)."""
    draw, step = np.random.default_rng(seed), max(1, _CELLS // len(gains))
    means = np.concatenate(
        [
            draw.choice(gains, (min(step, _DRAWS - start), len(gains))).mean(axis=1)
            for start in range(0, _DRAWS, step)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)


def trained(learned: Learned, training: Training) -> dict[str, Any]:
    """Return how a model was trained and what it reached, as its file says."""

    def rounded(figures: dict[str, float]) -> dict[str, float]:
        return {name: round(value, 4) for name, value in figures.items()}

    return {
        "examples": learned.examples,
        "held_out": learned.held_out,
        "seed": training.seed,
        "penalty": training.penalty,
        "before": rounded(learned.before),
        "after": rounded(learned.after),
    }

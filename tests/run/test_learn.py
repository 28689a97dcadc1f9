"""``qkv learn`` and ``--model``: scores learned from examples, from the installed command."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad

import qkvcli
from qkvcli.errors import QkvError
from qkvcli.run import metric
from qkvcli.run.examples import Examples
from qkvcli.scores import model as models
from qkvcli.scores.features import FEATURES
from qkvcli.scores.tokens import Frequencies, Keys, words_of
from tests.support.command import run_inside, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STREETS = ("Oak", "Elm", "Mill", "Church", "Station", "Harbour", "Castle", "Bridge")


def streets() -> tuple[str, str]:
    """Return a clean table and a messy one, of which every fifth row has no right answer."""
    names = [f"{n} {street} Street" for street in STREETS for n in range(1, 11)]
    clean = "name,id\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names))
    messy = "who,right\n"
    for i, name in enumerate(names):
        number, street, _ = name.split()
        messy += f"{number} {street[:-1]} Str.,{i}\n"
        if i % 5 == 0:
            messy += f"{number + '77'} Zephyr Alley,\n"
    return clean, messy


@pytest.fixture
def files(put: Callable[[str, str], str]) -> tuple[str, str]:
    clean, messy = streets()
    return put("clean.csv", clean), put("messy.csv", messy)


def learn(files: tuple[str, str], out: Path, *options: str, how: Any = run_inside) -> Any:
    clean, messy = files
    asked = ("--queries", messy, "--query-key", "who", "--truth", "right=id")
    return how("learn", "--data", clean, "--key", "name", *asked, "-o", str(out), *options)


def test_a_learned_score_answers_and_says_what_it_reaches(
    files: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "streets.json"
    run = learn(files, out, how=run_qkv)
    assert run.status == 0, run.error
    assert run.text == ""
    assert "of 96 examples, held out: top-1 " in run.error
    content = json.loads(out.read_text())
    assert content["schema"] == "qkv.model/1"
    assert set(content["weights"]) <= set(FEATURES)
    assert sum(content["weights"].values()) == pytest.approx(1)
    trained = content["trained"]
    assert trained["held_out"] == 20
    assert trained["after"]["log-loss"] <= trained["before"]["log-loss"]
    ask = ("lookup", "--data", files[0], "--key", "name", "--model", str(out))
    found = run_qkv(*ask, "7 Chuch Str", "-m", "approximate", "--format", "jsonl")
    assert json.loads(found.text)["matches"][0]["key"] == {"name": "7 Church Street"}
    nothing = run_inside(*ask, "977 Zephyr Alley", "-m", "approximate")
    assert nothing.status == 1
    assert "try a lower --min-score" in nothing.error
    every = run_inside(*ask, "977 Zephyr Alley", "-m", "approximate", "--min-score", "0")
    assert every.status == 0


def test_one_seed_gives_one_file(files: tuple[str, str], tmp_path: Path) -> None:
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    learn(files, one)
    learn(files, two, "--workers", "2")
    assert one.read_bytes() == two.read_bytes()
    learn(files, two, "--seed", "1")
    assert one.read_bytes() != two.read_bytes()


def test_shares_of_a_score_add_up_to_it() -> None:
    run = run_inside(
        *("lookup", "Lipten", "-m", "softmax", "--model", "names", "--explain", "-f", "json")
    )
    (query,) = json.loads(run.text)["queries"]
    for match in query["matches"][:3]:
        (origin,) = match["origins"].values()
        total = sum(part for _, _, part in origin["shares"])
        assert match["score"] == pytest.approx(total)
    drawn = run_inside(
        *("lookup", "Lipten", "-m", "softmax", "--model", "names", "--explain", "-f", "table")
    )
    assert "feature" in drawn.text
    assert "score of lipton" in drawn.text.lower()


def test_equal_texts_score_one_whatever_the_model() -> None:
    names = qkvcli.Database.open()
    found = names.lookup("LIPTON", mode="softmax", model="names").found[0]
    assert found.matches[0].score == 1.0
    assert all(match.score is not None and 0 <= match.score <= 1 for match in found.matches)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace('"temperature": 0.', '"temperature": 0.9'), "was changed"),
        (lambda text: text.replace("qkv.model/1", "qkv.model/2"), "of version 2"),
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "[1, 2]", "no schema"),
        (lambda text: "import os", "not JSON"),
        (lambda text: text.replace("0.", "NaN, 0.", 1), "not JSON"),
    ],
    ids=["changed", "later", "truncated", "list", "code", "nan"],
)
def test_a_model_file_is_looked_at(
    change: Callable[[str], str], error: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.json"
    text = models.write(models.TextModel({"tokens": 0.5, "ngrams": 0.5}, 0.05, 0.5))
    path.write_text(text)
    assert run_inside("lookup", "Li", "-m", "approximate", "--model", str(path)).status == 0
    path.write_text(change(text))
    run = run_inside("lookup", "Li", "-m", "approximate", "--model", str(path))
    assert run.status == 2
    assert error in run.error
    assert run.error.count("\n") == 1


def test_what_a_checksum_agrees_with_is_looked_at_too() -> None:
    good = models.TextModel({"tokens": 1.0}, 0.1)
    for odd in (
        models.TextModel({"tokens": -1.0}, 0.1),
        models.TextModel({"nothing": 1.0}, 0.1),
        models.TextModel({"tokens": 1.0}, 0.0),
        models.TextModel({}, 0.1),
    ):
        with pytest.raises(QkvError, match="missing or wrong"):
            models.read_text(models.write(odd), "m.json")
    assert models.read_text(models.write(good), "m.json") == good


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("lookup", "Li", "--model", "none.json"), "there is no such model file"),
        (("lookup", "Li", "--model", "names", "--score", "osa"), "pass one of them"),
        (("lookup", "Li", "--model", "names", "--keep-accents"), "is not how --model was learned"),
        (("pool", "1", "--data", "{sine}", "--model", "names"), "scores text, and the keys of"),
        (("learn",), "learning needs --queries"),
        (("learn", "--data", "{sine}", "--rank", "2"), "there are 1 key columns"),
        (("learn", "--data", "{sine}", "--truth", "y"), "a column of text"),
        (("learn", "--data", "{sine}", "--rank", "1", "--metric", "full"), "a metric of its own"),
        (("learn", "--data", "{sine}", "--validate", "1"), "--validate 1.0 is not a share"),
        (("learn", "--data", "{sine}", "-o", "model.npz"), "name a .json file"),
    ],
)
def test_what_does_not_fit_is_refused(words: tuple[str, ...], error: str) -> None:
    from tests.support.command import SAMPLES

    run = run_inside(*(word.format(sine=SAMPLES / "sine.csv") for word in words))
    assert run.status == 2, run.text
    assert error in run.error
    assert run.error.count("\n") == 1


@pytest.mark.parametrize(
    ("clean", "messy", "error"),
    [
        ("name,id\n" + "a,1\n" * 20, "who,right\n" + "a,9\n" * 20, "no right answer of the"),
        ("name,id\n" + "a,1\n" * 20, "who,right\na,1\n", "1 example is too few"),
        ("name,id\n" + "a,1\n" * 20, "who,right\n" + "a,\n" * 20, "every cell of --truth is empty"),
        ("name,id\n" + "a,1\n" * 20, "who,right\n" + "a,1\n" * 20, "alike to every example"),
    ],
    ids=["no-answer", "one", "empty", "constant"],
)
def test_examples_that_tell_nothing(
    clean: str, messy: str, error: str, put: Callable[[str, str], str], tmp_path: Path
) -> None:
    run = learn((put("clean.csv", clean), put("messy.csv", messy)), tmp_path / "m.json")
    assert run.status == 2
    assert error in run.error
    assert not (tmp_path / "m.json").exists()


def bumps(rows: int = 200, noise: float = 0.1) -> str:
    """Return a table whose value depends on the first of three columns alone."""
    draw = np.random.default_rng(1)
    x = draw.uniform(-2, 2, (rows, 3)) * [1, 10, 0.1]
    y = np.sin(2 * x[:, 0]) + noise * draw.normal(size=rows)
    lines = [
        ",".join(map(repr, [*row, value]))
        for row, value in zip(x.tolist(), y.tolist(), strict=True)
    ]
    return "a,b,c,y\n" + "\n".join(lines) + "\n"


def test_a_metric_finds_the_column_that_tells(
    put: Callable[[str, str], str], tmp_path: Path
) -> None:
    data, out = put("bumps.csv", bumps()), tmp_path / "metric.json"
    table = ("--data", data, "--key", "a,b,c", "--value", "y")
    run = run_qkv("learn", *table, "-o", str(out))
    assert run.status == 0, run.error
    content = json.loads(out.read_text())
    assert content["columns"] == ["a", "b", "c"]
    a, b, c = np.abs(content["scales"]) * [1, 10, 0.1]
    assert a > 2 * max(b, c)
    assert content["trained"]["after"]["R²"] > 0.9 > content["trained"]["before"]["R²"]
    model = models.named(out)
    pooled = run_inside("pool", "0.5,3,0.1", *table, "--model", str(out), "-f", "value")
    assert float(pooled.text) == pytest.approx(np.sin(1), abs=0.15)
    other = run_inside("pool", "0.5,3", "--data", data, "--key", "a,b", "--model", str(out))
    assert other.status == 2
    assert "is of the key columns a, b, c" in other.error
    # The slope of the answer, through the map.
    database = qkvcli.Database.open(data, key=("a", "b", "c"), value="y")
    answer = database.attend([[0.5, 3.0, 0.1]], model=model, jacobian=True)
    step = database.attend([[0.5 + 1e-6, 3.0, 0.1]], model=model).output - answer.output
    assert answer.jacobian is not None
    assert answer.jacobian[0, 0, 0] == pytest.approx(step[0, 0] / 1e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [("\n", "\nnan,1,1,1\n", "missing"), ("", "", "")],
    ids=["nan", "constant"],
)
def test_tables_that_tell_nothing(
    old: str, new: str, error: str, put: Callable[[str, str], str]
) -> None:
    text = bumps(40)
    if old:
        text, options = text.replace(old, new, 1), ("--key", "a,b,c")
    else:
        text = "a,y\n" + "1,2\n2,3\n" * 10
        text, options, error = (
            "a,b,y\n" + "1,7,2\n2,7,3\n" * 10,
            ("--key", "a,b"),
            "'b' is constant",
        )
    run = run_inside("learn", "--data", put("t.csv", text), *options, "--value", "y")
    assert run.status == 2
    assert error in run.error


def test_classes_are_learned_too(put: Callable[[str, str], str], tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(150, 4))
    label = np.where(x[:, 0] + x[:, 1] > 0, "up", "down")
    rows = [",".join([*map(repr, row), name]) for row, name in zip(x.tolist(), label, strict=True)]
    data = put("classes.csv", "a,b,c,d,kind\n" + "\n".join(rows) + "\n")
    out = tmp_path / "m.json"
    run = run_inside(
        *(
            "learn",
            "--data",
            data,
            "--key",
            "a,b,c,d",
            "--value",
            "kind",
            "--rank",
            "1",
            "-o",
            str(out),
        )
    )
    assert run.status == 0, run.error
    trained = json.loads(out.read_text())["trained"]
    assert trained["after"]["accuracy"] > 0.9
    (direction,) = np.array(json.loads(out.read_text())["projection"])
    along = direction / np.linalg.norm(direction)
    assert abs(along[0] + along[1]) > 1.2


def test_pairs_of_vectors(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    common = draw.normal(size=(300, 3))
    queries = common @ draw.normal(size=(3, 8)) + 0.1 * draw.normal(size=(300, 8))
    keys = common @ draw.normal(size=(3, 8)) + 0.1 * draw.normal(size=(300, 8))
    np.save(tmp_path / "k.npy", keys)
    model = qkvcli.Database(keys).learn(queries, rank=3)
    assert isinstance(model, models.VectorModel)
    assert (model.query_map.shape, model.key_map.shape) == ((3, 8), (3, 8))
    assert model.trained["after"]["log-loss"] < model.trained["before"]["log-loss"]
    back = models.read_text(models.write(model), "m")
    assert isinstance(back, models.VectorModel)
    np.testing.assert_array_equal(back.query_map, model.query_map)


def test_never_worse_than_it_began() -> None:
    draw = np.random.default_rng(4)
    x, y = draw.normal(size=(60, 8)), draw.normal(size=60)
    learned = qkvcli.Database(x, y).learned(metric="full")
    assert learned.after["squared error"] <= learned.before["squared error"]


def some_examples(seed: int) -> Examples:
    draw = np.random.default_rng(seed)
    counts = draw.integers(1, 6, 7)
    total = int(counts.sum())
    return Examples(
        draw.random((total, 4)),
        counts,
        draw.random(total) < 0.3,
        np.ones(7, np.bool_),
        draw.random(7) + 0.1,
    )


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.7]))
def test_gradient_of_text(seed: int, hidden: float) -> None:
    examples = some_examples(seed)
    point = np.random.default_rng(seed + 1).normal(size=5) * 3
    off = check_grad(
        lambda p: examples.loss(p, hidden)[0], lambda p: examples.loss(p, hidden)[1], point
    )
    assert off < 1e-5


@pytest.mark.parametrize("loss", [metric.squared_error, metric.wrong_share])
def test_gradient_of_a_metric(loss: Any) -> None:
    draw = np.random.default_rng(5)
    keys = draw.normal(size=(30, 4))
    values = np.eye(3)[draw.integers(0, 3, 30)]
    point = draw.normal(size=8)

    def at(flat: Any) -> tuple[float, Any]:
        total, gradient = metric.metric_loss(flat.reshape(2, 4), keys, values, loss)
        return total, gradient.ravel()

    assert check_grad(lambda p: at(p)[0], lambda p: at(p)[1], point) < 1e-5


def test_gradient_of_pairs() -> None:
    draw = np.random.default_rng(6)
    queries, keys = draw.normal(size=(12, 5)), draw.normal(size=(20, 4))
    right = draw.integers(0, 20, 12)

    def at(flat: Any) -> tuple[float, Any]:
        total, a, b = metric.pair_loss(
            flat[:15].reshape(3, 5), flat[15:].reshape(3, 4), queries, keys, right
        )
        return total, np.concatenate([a.ravel(), b.ravel()])

    assert check_grad(lambda p: at(p)[0], lambda p: at(p)[1], draw.normal(size=27)) < 1e-5


@pytest.mark.slow
def test_gradients_are_those_of_autograd() -> None:
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(7)
    keys, values = draw.normal(size=(40, 5)), draw.normal(size=(40, 2))
    classes = np.eye(3)[draw.integers(0, 3, 40)]
    projection = torch.tensor(draw.normal(size=(3, 5)), requires_grad=True)
    for loss, of in ((metric.squared_error, values), (metric.wrong_share, classes)):
        projection.grad = None
        mapped = torch.tensor(keys) @ projection.T
        scores = -(torch.cdist(mapped, mapped) ** 2) / 2
        scores = scores.masked_fill(torch.eye(40, dtype=torch.bool), -torch.inf)
        found = torch.softmax(scores, dim=1) @ torch.tensor(of)
        if loss is metric.squared_error:
            total = ((found - torch.tensor(of)) ** 2).sum(1).mean()
        else:
            total = 1 - (found * torch.tensor(of)).sum(1).mean()
        total.backward()
        mine, gradient = metric.metric_loss(projection.detach().numpy(), keys, of, loss)
        assert mine == pytest.approx(total.item(), abs=1e-9)
        np.testing.assert_allclose(gradient, projection.grad.numpy(), atol=1e-6)
    maps = [torch.tensor(draw.normal(size=(3, 5)), requires_grad=True) for _ in range(2)]
    queries, right = draw.normal(size=(25, 5)), draw.integers(0, 40, 25)
    logits = (torch.tensor(queries) @ maps[0].T) @ (torch.tensor(keys) @ maps[1].T).T / 3**0.5
    torch.nn.functional.cross_entropy(logits, torch.tensor(right)).backward()
    _, a, b = metric.pair_loss(
        maps[0].detach().numpy(), maps[1].detach().numpy(), queries, keys, right
    )
    np.testing.assert_allclose(a, maps[0].grad.numpy(), atol=1e-6)
    np.testing.assert_allclose(b, maps[1].grad.numpy(), atol=1e-6)
    examples = some_examples(8)
    point = torch.tensor(draw.normal(size=5) * 3, requires_grad=True)
    scores = torch.tensor(examples.features) @ point[:-1]
    total = torch.zeros(())
    share = examples.weight / examples.weight.sum()
    for i, (start, count) in enumerate(zip(examples.starts, examples.counts, strict=True)):
        own = scores[start : start + count]
        right_ones = torch.tensor(examples.right[start : start + count])
        every = torch.logsumexp(torch.cat([own, point[-1:]]), 0)
        wanted = torch.logsumexp(own[right_ones], 0) if right_ones.any() else point[-1]
        total = total + share[i] * (every - wanted)
        if right_ones.any():
            rest = torch.logsumexp(torch.cat([own[~right_ones], point[-1:]]), 0)
            total = total + 0.5 * share[i] * (rest - point[-1])
    total.backward()
    mine, gradient = examples.loss(point.detach().numpy(), 0.5)
    assert mine == pytest.approx(total.item(), abs=1e-6)
    np.testing.assert_allclose(gradient, point.grad.numpy(), atol=1e-6)


WORDS = st.lists(st.text("ab c1(é", max_size=9), min_size=1, max_size=5)


@given(WORDS, WORDS)
def test_features_are_shares_and_equal_texts_have_all(queries: list[str], keys: list[str]) -> None:
    score = models.TextModel(dict.fromkeys(FEATURES, 1 / len(FEATURES)), 0.1).score()
    at, to = np.divmod(np.arange(len(queries) * len(keys)), len(keys))
    found = score.features(queries, keys, at, to)
    assert ((found >= 0) & (found <= 1)).all()
    equal = np.array([queries[i] == keys[k] for i, k in zip(at.tolist(), to.tolist(), strict=True)])
    assert (found[equal] == 1).all()


def test_tokens_is_the_score_of_that_name() -> None:
    keys = ["Acme Corp", "Acme Holding", "Zenith Trust", "Müller & Söhne", "Zenith"]
    queries = ["acme crop", "zenith trst", "soehne muller"]
    score = models.TextModel({"tokens": 1.0}, 0.1).score()
    at, to = np.divmod(np.arange(len(queries) * len(keys)), len(keys))
    folded = [key.lower().replace("ü", "u").replace("ö", "o") for key in keys]
    frequencies = Frequencies.of(map(words_of, folded))
    database = qkvcli.Database(keys)
    counted = score.counted(database.store.heads[0].blocks())
    found = counted.features(queries, keys, at, to).reshape(len(queries), len(keys))
    np.testing.assert_allclose(found, Keys(folded, frequencies).alignment(queries), atol=1e-12)


@pytest.mark.slow
def test_the_model_that_comes_along_reaches_what_the_documents_say() -> None:
    if find_spec("autofj") is None:
        pytest.skip("pip install --no-deps autofj")
    from benchmarks.support.matching import answers_of_autofj, figures_of_autofj

    figures = figures_of_autofj(slice(1, None, 2), model="names", null_score=0.0)
    top_1, precision, recall = (float(part.split()[-1]) for part in figures.split(", ")[:3])
    assert top_1 >= 0.76
    assert precision >= 0.72
    assert recall >= 0.64
    tables = answers_of_autofj(slice(1, None, 2), model="names")
    weights, hits = np.array([answer for table in tables for answer in table]).T
    shares = np.clip((weights * 10).astype(int), 0, 9)
    apart = [abs((weights - hits)[shares == one].sum()) for one in range(10)]
    assert sum(apart) / len(weights) <= 0.05


@pytest.mark.slow
def test_metrics_reach_what_the_documents_say() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    folds = pytest.importorskip("sklearn.model_selection").KFold(5, shuffle=True, random_state=0)
    for x, y, least in (
        (*datasets.make_friedman1(500, noise=1.0, random_state=0), 0.88),
        (*datasets.load_diabetes(return_X_y=True), 0.46),
    ):
        found = []
        for train, test in folds.split(x):
            database = qkvcli.Database(x[train], y[train])
            answer = database.attend(x[test], model=database.learn(metric="full")).output[:, 0]
            error = np.square(answer - y[test]).sum() / np.square(y[test] - y[test].mean()).sum()
            found.append(1 - error)
        assert np.mean(found) >= least


@pytest.mark.slow
def test_projections_reach_what_the_documents_say() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    split = pytest.importorskip("sklearn.model_selection").train_test_split
    neighbors = pytest.importorskip("sklearn.neighbors")
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler
    for name, test, least in (("digits", 0.5, 0.7), ("wine", 0.33, 0), ("iris", 0.33, 0)):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        x = x[:, x.std(axis=0) > 0]
        ours, theirs = [], []
        for seed in range(2 if least else 5):
            a, b, c, d = split(x, y, test_size=test, stratify=y, random_state=seed)
            kept = np.ptp(a, axis=0) > 0
            a, b = a[:, kept], b[:, kept]
            model = qkvcli.Database(a, list(map(str, c))).learn(rank=2)
            assert isinstance(model, models.VectorModel)
            near = neighbors.KNeighborsClassifier(3)
            ours.append(near.fit(a @ model.key_map.T, c).score(b @ model.key_map.T, d))
            if not least:
                scale = scaler().fit(a)
                nca = neighbors.NeighborhoodComponentsAnalysis(2, random_state=0)
                nca.fit(scale.transform(a), c)
                mapped, asked = (nca.transform(scale.transform(rows)) for rows in (a, b))
                theirs.append(near.fit(mapped, c).score(asked, d))
        assert np.mean(ours) >= (least or np.mean(theirs))


def test_more_columns_than_rows() -> None:
    draw = np.random.default_rng(10)
    x = draw.normal(size=(16, 30))
    for values in (x[:, 0], np.where(x[:, 0] > 0, "up", "down").tolist()):
        model = qkvcli.Database(x, values).learn(rank=20)
        assert isinstance(model, models.VectorModel)
        assert model.key_map.shape == (20, 30)


def test_typing_errors_are_found_among_many() -> None:
    draw = random.Random(9)
    keys = ["".join(draw.choices("abcdefghij", k=8)) for _ in range(3000)]
    asked = [key[:3] + key[4:] for key in keys[:20]]
    found = qkvcli.Database(keys).lookup(asked, mode="approximate", model="names", null_score=0.0)
    hits = [one.matches[0].row == i for i, one in enumerate(found.found)]
    assert sum(hits) >= 18


def test_a_metric_of_one_column_holds_for_many_queries(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 6, 300)
    table = tmp_path / "t.csv"
    lines = [f"{a},{np.sin(a) + draw.normal(0, 0.1)}" for a in x]
    table.write_text("\n".join(["x,y", *lines]) + "\n")
    database = qkvcli.Database.open(str(table))
    model = database.learn()
    few = database.attend(x[:100][:, None], model=model).output
    many = database.attend(x[:, None], model=model).output[:100]
    assert np.abs(few - many).max() < 1e-9


def test_too_few_left_to_learn_from_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{i},{i}\n" for i in range(15)))
    asked = ["--data", str(table), "--validate", "0.9", "-o", str(tmp_path / "m.json")]
    run = run_inside("learn", *asked)
    assert (run.status, run.text) == (2, "")
    assert run.error == (
        "qkv: --validate 0.9 holds 14 of 15 examples out, which leaves too few to learn from; "
        "hold fewer out\n"
    )


@pytest.mark.parametrize("of_pairs", [False, True])
def test_workers_change_no_byte_of_what_numbers_teach(
    of_pairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric, "_CELLS", 500)  # so that there are several parts
    random = np.random.default_rng(2)
    keys = random.normal(size=(60, 3))
    queries = keys + random.normal(size=keys.shape) if of_pairs else None
    database = qkvcli.Database(keys, np.sin(keys[:, :1]))
    told = [database.learned(queries, workers=workers) for workers in (1, 2)]
    assert told[0].after == told[1].after
    assert models.write(told[0].model) == models.write(told[1].model)

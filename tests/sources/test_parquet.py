"""Parquet and Arrow answer as the CSV of the same table does."""

from __future__ import annotations

import decimal
import json
import os
import pickle
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from qkvcli.database import Database
from qkvcli.errors import QkvError
from qkvcli.sources import columnar
from qkvcli.sources.store import open_store
from qkvcli.sources.table import TableOptions
from tests.sources.test_shards import close
from tests.support import folds, tables
from tests.support.command import run_inside, run_pty, run_qkv
from tests.support.contract import Case, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.command import Outcome

N = 100
RANDOM = np.random.default_rng(0)
TABLE = pa.table(
    {
        "name": [f"n{i}" for i in range(N)],
        "kind": pa.array([f"k{i % 3}" for i in range(N)]).dictionary_encode(),
        "x": RANDOM.normal(size=N),
        "y": list(range(N)),
        "year": [2020 + i % 2 for i in range(N)],
    }
)
VECTORS = RANDOM.normal(size=(N, 3)).astype(np.float32)


def write_parts(table: pa.Table, path: str) -> None:
    for i in range(3):
        pq.write_table(table.slice(i * 40, 40), path.replace("*", str(i)))


WRITERS: dict[str, Callable[[pa.Table, str], None]] = {
    "t.parquet": lambda table, path: pq.write_table(table, path, row_group_size=30),
    "t.feather": lambda table, path: pa.feather.write_feather(table, path, chunksize=30),
    "t.arrow": lambda table, path: pa.feather.write_feather(
        table, path, chunksize=30, compression="uncompressed"
    ),
    "folder": lambda table, path: pq.write_to_dataset(table, path, partition_cols=["year"]),
    "part-*.pq": write_parts,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], str]:
    """Return a function that writes columns, by the name of the file."""

    def written(name: str, columns: Any) -> str:
        path = str(tmp_path / name)
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        WRITERS.get(name, WRITERS["t.parquet"])(table, path)
        return path

    return written


@pytest.mark.parametrize("run", [run_inside, pytest.param(run_qkv, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("lookup", "n7", "--value", "kind,x,y"),
        ("lookup", "m7", "-m", "softmax", "-m", "approximate", "--value", "kind", "--top", "0"),
        ("lookup", "2,3.5", "-m", "softmax", "--key", "x,y", "--value", "name"),
        ("lookup", "7", "--key", "y", "--key-type", "text", "--value", "2"),
        ("pool", "0.5", "--key", "x", "--value", "kind,year"),
        ("pool", "n7", "--key", "1", "--value", "x"),
    ],
    ids=" ".join,
)
def test_it_answers_as_csv(
    name: str,
    arguments: tuple[str, ...],
    run: Callable[..., Outcome],
    write: Callable[[str, Any], str],
    tmp_path: Path,
) -> None:
    csv = str(tmp_path / "t.csv")
    table = TABLE
    if name == "folder":  # where the rows of one year come before those of the other
        table = table.sort_by([("year", "ascending"), ("y", "ascending")])
    pa.csv.write_csv(table.set_column(1, "kind", table["kind"].cast(pa.string())), csv)
    path = write(name, TABLE)
    told = [run(*arguments, "-d", data, "-f", "json") for data in (csv, path)]
    assert [each.status for each in told] == [0, 0], told
    close(*(json.loads(each.out) for each in told))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3)], ids=str)
def test_lists_are_vectors(
    kind: pa.DataType, write: Callable[[str, Any], str], tmp_path: Path
) -> None:
    path = write("t.parquet", {"e": pa.array(VECTORS.tolist(), kind), "x": TABLE["x"]})
    np.savez(tmp_path / "a.npz", keys=VECTORS, values=np.asarray(TABLE["x"])[:, None])
    told = [
        run_inside("pool", "1,2,3", "-f", "json", "-d", data)
        for data in (path, str(tmp_path / "a.npz"))
    ]
    parquet, arrays = (json.loads(run.out) for run in told)
    assert parquet["score"] == arrays["score"] == "scaled-dot"
    tsv = run_inside("pool", "1,2,3", "-d", path)
    assert tsv.text.splitlines()[0] == "query\tx\tperplexity"
    values = run_inside("pool", "1,2,3", "-d", path, "--value", "e", "-f", "npy")
    assert values.status == 0, values
    database = Database.open(path, key="e", value="e")
    assert database.typed(["1,2,3"]).queries[0].keys.dtype == np.float32
    answer = database.lookup([[1, 2, 3]], mode="softmax", top=1)
    scores = VECTORS @ np.array([1, 2, 3], np.float32) / np.sqrt(3)
    assert answer.found[0].matches[0].row == scores.argmax()
    weights = np.exp(scores - scores.max())
    wanted = weights @ VECTORS / weights.sum()
    assert answer.found[0].answers[0] == pytest.approx(tuple(wanted), rel=1e-5)


def test_a_block_is_a_row_group_and_travels_as_a_reference(
    write: Callable[[str, Any], str],
) -> None:
    for name in ("t.parquet", "t.feather"):
        path = write(name, TABLE)
        (source,) = open_store(path, TableOptions()).heads
        blocks = list(source.blocks())
        assert [block.start for block in blocks] == [0, 30, 60, 90]
        assert source.rows == N
        packed = pickle.dumps(blocks[1])
        assert len(packed) < 2_500
        assert pickle.loads(packed).load().records([2])[0].key == ("n32",)
        answers = []
        for workers in (1, 2):
            found = Database.open(path).lookup(
                ["n32", "n1"], mode=("softmax", "exact"), workers=workers
            )
            answers.append(found)
        folds.assert_same(answers[0], answers[1])


def test_numbers_of_every_type(write: Callable[[str, Any], str]) -> None:
    path = write(
        "t.parquet",
        {
            "name": ["a", "b"],
            "small": pa.array([1, -2], pa.int8()),
            "half": pa.array(np.array([0.5, 2], np.float16)),
            "single": pa.array([0.1, 2.5], pa.float32()),
            "truth": [True, False],
            "exact": pa.array([decimal.Decimal("1.10"), decimal.Decimal("-2.00")]),
            "coded": pa.array([7, 8]).dictionary_encode(),
        },
    )
    assert tables.rows(path) == [
        ("a", "1", "0.5", "0.1", "1", "1.10", "7"),
        ("b", "-2", "2", "2.5", "0", "-2.00", "8"),
    ]
    assert tables.numbers(path) == [
        [1, 0.5, np.float32(0.1), 1, 1.1, 7],
        [-2, 2, 2.5, 0, -2, 8],
    ]


def test_texts_of_every_type_and_null_is_empty(write: Callable[[str, Any], str]) -> None:
    cells = ["a", None, "é\n", ""]
    path = write(
        "t.arrow",
        {
            "plain": cells,
            "large": pa.array(cells, pa.large_string()),
            "view": pa.array(cells, pa.string_view()),
            "coded": pa.array(cells).dictionary_encode(),
        },
    )
    assert tables.rows(path) == [(text,) * 4 for text in ("a", "", "é\n", "")]
    assert tables.keys(path) == ["a", "", "é\n", ""]
    run = run_inside("lookup", "", "-d", path, "--value", "coded")
    assert run.text.count("\n") == 3


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": ["x", "y"], "v": [1, None]}, {}, "row 1: null in the column 'v', whose values are"),
        ({"a": [1.0, None]}, {}, "row 1: null in the column 'a', whose keys are numbers"),
        ({"a": ["x"], "v": [float("nan")]}, {}, "row 0: nan in the column 'v'"),
        ({"a": ["x"], "v": [float("-inf")]}, {}, "row 0: -inf in the column 'v'"),
        ({"a": ["x"], "v": [b"x"]}, {}, "the column 'v' is of type binary"),
        ({"a": ["x"], "v": [{"b": 1}]}, {}, "the column 'v' is of type struct"),
        ({"a": ["x"], "v": [["y"]]}, {}, "the column 'v' is of type list"),
        ({"a": pa.array([1], pa.timestamp("s"))}, {}, "the column 'a' is of type timestamp"),
        ({"a": pa.nulls(2)}, {}, "the column 'a' is of type null"),
        ({"a": [[1.0, 2.0], [3.0]]}, {}, "row 1: 1 numbers in the column 'a', and 2 before"),
        ({"a": [[1.0], None]}, {}, "row 1: null in the column 'a'"),
        ({"a": [[1.0, 2.0], [3.0, None]]}, {}, "row 1: null in the column 'a'"),
        ({"a": [[1.0, 2.0], [3.0, float("inf")]]}, {}, "row 1: inf in the column 'a'"),
        ({"a": [[], [1.0]]}, {}, "row 0: the first vector of the column 'a' is empty"),
        ({"a": [None, [1.0]]}, {}, "row 0: the first vector of the column 'a' is null; pass `miss"),
        ({"a": [[1.0]], "b": [1]}, {"key": ("a", "b")}, "a column of vectors is a key of its own"),
        ({"a": [[1.0]]}, {"key_type": "text"}, "`key_type='text'`: the column 'a'"),
        ({"a": ["x"]}, {"key_type": "number"}, "row 0: 'x' is not a plain decimal number"),
        ({"a": pa.array([], pa.string())}, {}, "has no rows"),
        ({"a": ["x"]}, {"value": ("b",)}, "has no column 'b'"),
    ],
)
def test_what_cannot_be_scored_is_named(
    columns: Any, options: dict[str, Any], message: str, write: Callable[[str, Any], str]
) -> None:
    for name in ("t.parquet", "t.arrow"):
        path = write(name, columns)
        with pytest.raises(QkvError, match=message) as caught:
            tables.touch(path, **options)
        assert path in str(caught.value)


@pytest.mark.parametrize("columns", ["e,y", "y,e"])
@pytest.mark.parametrize("command", ["pool", "lookup"])
@pytest.mark.parametrize("vector", [None, [None, 1.0]], ids=str)
def test_a_null_among_vectors_is_told(
    columns: str, command: str, vector: Any, write: Callable[[str, Any], str]
) -> None:
    vectors = pa.array([[1.0, 2.0], vector, [3.0, 4.0]])
    found = {"e": vectors, "y": [1.0, 2.0, 3.0]}
    path = write("t.parquet", {name: found[name] for name in columns.split(",")})
    run = run_inside(
        command, "--self", "--data", path, *(["-m", "softmax"] * (command == "lookup"))
    )
    assert (run.status, run.out) == (2, b"")
    assert run.error.startswith(f"qkv: {path}: row 1: null in the column 'e'"), run.error
    assert run.error.count("\n") == 1


def test_row_numbers_in_errors_count_through_row_groups(write: Callable[[str, Any], str]) -> None:
    path = write("t.parquet", {"a": ["x"] * 99, "v": [1.0] * 77 + [None] + [2.0] * 21})
    assert "row 77: null" in tables.refusal(path)


def test_files_of_other_columns_name_one_another(tmp_path: Path) -> None:
    for i, column in enumerate([[1, 2], ["x", "y"]]):
        pq.write_table(pa.table({"a": ["p", "q"], "b": column}), tmp_path / f"p-{i}.parquet")
    line = tables.refusal(str(tmp_path / "p-*.parquet"))
    assert "p-1.parquet: the column 'b' is of type string, and in " in line
    pq.write_table(pa.table({"a": ["p"]}), tmp_path / "p-1.parquet")
    assert "p-1.parquet: has no column 'b', and " in tables.refusal(str(tmp_path))


@pytest.mark.parametrize(
    "case",
    [
        Case(("lookup", "x", "-d", "no.parquet"), "no such file", "no.parquet"),
        Case(("lookup", "x", "-d", "no-*.arrow"), "no file has a name like this", "no-*.arrow"),
        Case(("lookup", "x", "-d", "{}.parquet"), "no such file", "{}.parquet"),
        Case(("lookup", "x", "-d", "-", "--data-format", "arrow"), "--data - is a stream"),
        Case(("lookup", "x", "-d", "s3://b/x.csv"), "by URL only Parquet", "s3://b/x.csv"),
        Case(("lookup", "x", "-d", "what://b/x.parquet"), "no file system for what://"),
        *(
            Case(("lookup", "x", "-d", name), "cannot be read", name, {name: data})
            for name in ("t.parquet", "t.feather")
            for data in (b"", b"text", b"PAR1" + b"\0" * 40 + b"PAR1", b"ARROW1\0\0" + b"\xff" * 90)
        ),
    ],
)
def test_bad_files(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path, terminal=False)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_damage_is_told_in_a_line(
    name: str, write: Callable[[str, Any], str], tmp_path: Path
) -> None:
    whole = (tmp_path / os.path.basename(write(name, TABLE))).read_bytes()
    random = np.random.default_rng(5)
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(whole), 4):
            data[at] ^= int(random.integers(1, 256))
        path = tmp_path / f"bad{os.path.splitext(name)[1]}"
        path.write_bytes(data[: random.integers(1, len(data))] if random.random() < 0.2 else data)
        try:
            tables.touch(str(path))
        except QkvError as error:
            assert "\n" not in str(error)  # noqa: PT017 - it may also be read, as if whole


def hostile(data: bytes, *lies: tuple[bytes, int]) -> bytes:
    """Return a file with a number put in place of other bytes, which it must hold once."""
    for old, number in lies:
        assert data.count(old) == 1, data.count(old)
        data = data.replace(old, number.to_bytes(len(old), "little"))
    return data


@pytest.mark.parametrize("command", ["lookup", "pool"])
def test_offsets_that_lie_are_refused_before_they_are_followed(
    command: str, write: Callable[[str, Any], str], tmp_path: Path
) -> None:
    path = write("t.arrow", {"k": ["abc", "defgh", "i"], "v": ["x", "yy", "zzz"]})
    data = (tmp_path / os.path.basename(path)).read_bytes()
    ends = b"\x03\0\0\0\x08\0\0\0\x09\0\0\0"  # of the keys
    for lie in (1 << 30, (1 << 32) - 1472397312):
        bad = hostile(data, (ends, 3 | lie << 32 | 9 << 64))
        case = Case((command, "abc", "-d", "t.arrow"), "cannot be read: ", "t.arrow")
        check(replace(case, files={"t.arrow": bad}), tmp_path / "case", terminal=False)


@pytest.mark.parametrize("command", ["lookup", pytest.param("pool", marks=pytest.mark.slow)])
def test_a_row_group_that_unpacks_to_gigabytes_is_read_in_pieces(
    command: str, tmp_path: Path
) -> None:
    rows, path, few = 2_000_000, str(tmp_path / "t.parquet"), str(tmp_path / "few.parquet")
    words = pa.array(["a" * 1_000, "b"])  # 2 GB, once it is unpacked
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), words)
    table = pa.table({"k": np.zeros(rows), "t": texts})
    pq.write_table(table, path, row_group_size=rows)
    pq.write_table(table[:2], few)
    assert os.path.getsize(path) < 1_000_000
    asked = (command, "0", "-m", "average", "--value", "t", "--workers", "1", "-d")
    small, run = (run_qkv(*asked, each) for each in (few, path))
    assert (small.status, run.status) == (0, 0), run
    assert run.peak - small.peak < 512 << 20, (run.peak - small.peak) >> 20


def test_pieces_of_a_row_group_answer_as_whole(
    write: Callable[[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("t.parquet", TABLE.set_column(2, "x", pa.array(VECTORS.tolist())))
    options = TableOptions(value=("kind", "y"))
    whole = tables.rows(path, value=("kind", "y"))
    monkeypatch.setattr(columnar, "ROWS", 7)
    blocks = list(open_store(path, options).heads[0].blocks())
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 2] * 3 + [7, 3]
    assert tables.rows(path, value=("kind", "y")) == whole
    for at in (4, 1, 1, 6, 0, 16):  # in any order, as other threads and machines may
        block = pickle.loads(pickle.dumps(blocks[at]))
        assert len(pickle.dumps(block)) < 2_500
        assert block.load().records([0])[0].key == (f"n{block.start}",)
    monkeypatch.setattr(columnar, "_BYTES", 8 * 6)  # two vectors, or 48 bytes of text
    blocks = list(open_store(path, TableOptions(value=("x",))).heads[0].blocks())
    assert {len(block) for block in blocks} == {2}


def test_a_vector_column_over_the_cap_is_refused(
    write: Callable[[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("t.parquet", {"a": [[1.0], [1.0] * 400]})
    monkeypatch.setattr(columnar, "WHOLE_CAP", 3_000)
    assert "row group 0 holds 401 numbers in the column 'a', over" in tables.refusal(path)


@pytest.mark.parametrize("command", ["lookup", "pool"])
def test_an_arrow_batch_that_unpacks_to_gigabytes_is_refused(command: str, tmp_path: Path) -> None:
    data = {"k": pa.array(np.zeros(1 << 20)), "v": pa.array(np.zeros(1 << 20))}
    path = tmp_path / "t.arrow"
    pa.feather.write_feather(pa.table(data), path, "zstd", chunksize=1 << 20)
    bomb = path.read_bytes()
    size = (8 << 20).to_bytes(8, "little")
    assert bomb.count(size) >= 2
    bomb = bomb.replace(size, (3 << 30).to_bytes(8, "little"))
    case = Case(
        (command, "1", "-d", "t.arrow"),
        "batch 0 unpacks to 6144 MiB, over the cap of 2048 MiB; write it in smaller batches",
        "t.arrow",
        {"t.arrow": bomb},
    )
    check(case, tmp_path, terminal=False)


def test_a_batch_outside_of_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    pa.feather.write_feather(pa.table({"k": ["a"] * 300}), path, "uncompressed")
    data = path.read_bytes()
    body = len(b"a") * 300 + (4 * 301 + 4) + 4  # of letters and offsets, each padded to 8
    lie = data.replace(body.to_bytes(8, "little"), (1 << 40).to_bytes(8, "little"))
    assert lie != data
    path.write_bytes(lie)
    assert "cannot be read: batch 0 lies outside of the file" in tables.refusal(str(path))


IDS = [9007199254740992, 9007199254740993]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(20), None], ids=str)
def test_long_whole_numbers_are_texts_as_in_tables(
    kind: pa.DataType | None, write: Callable[[str, Any], str]
) -> None:
    ids = pa.array(IDS).cast(kind) if kind else pa.array(IDS).dictionary_encode()
    path = write("t.parquet", {"id": ids, "v": [1, 2]})
    run = run_inside("pool", str(IDS[1]), "-m", "exact", "-d", path, "-f", "value")
    assert (run.status, run.text) == (0, "2\n")
    assert tables.keys(path) == list(map(str, IDS))
    assert tables.keys(path, key_type="number") == [[float(IDS[0])]] * 2


def test_a_long_whole_number_in_a_later_block_is_an_error(
    write: Callable[[str, Any], str],
) -> None:
    path = write("t.parquet", {"id": [*range(40), -IDS[1]], "v": [0.5] * 41})
    line = tables.refusal(path)
    assert "row 40: '-9007199254740993' is not a plain decimal number" in line
    assert "pass --key-type text" in line
    assert len(tables.keys(path, key_type="number")) == 41


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start an S3 server that holds a bucket; return the environment in which it is found."""
    server_module = pytest.importorskip("moto.server")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    env = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - a server of our own
    )
    client.create_bucket(Bucket="bucket")
    for i in range(2):
        pq.write_table(TABLE.slice(i * 50, 50), tmp_path / "p.parquet")
        client.upload_file(str(tmp_path / "p.parquet"), "bucket", f"dir/year={i}/p.parquet")
    yield env
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_object_store_is_read_by_url(s3: dict[str, str]) -> None:
    for data in ("s3://bucket/dir", "S3://bucket/dir/*/p.parquet", "s3://bucket/**/*.parquet"):
        run = run_qkv("lookup", "n77", "--value", "x,year", "-d", data, env=s3)
        assert run.status == 0, run
        assert run.text.splitlines()[1].startswith("n77\t1\tn77\t")
    run = run_qkv("lookup", "n7", "-d", "s3://bucket/no.parquet", env=s3)
    assert run.error == "qkv: s3://bucket/no.parquet: no such file\n"


def test_any_file_system_of_fsspec_is_read_by_url() -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://dir/t.parquet", "wb") as stream:
        pq.write_table(TABLE, stream)
    assert tables.rows("memory://dir/t.parquet", value=("kind",))[5] == ("n5", "k2")
    assert tables.rows("memory://dir", value=("kind",))[5] == ("n5", "k2")


def test_a_local_file_by_url(write: Callable[[str, Any], str]) -> None:
    path = write("t.parquet", TABLE)
    assert tables.rows(f"file://{path}") == tables.rows(path)


@pytest.mark.parametrize("command", ["lookup", "pool"])
@pytest.mark.parametrize(
    ("data", "output"),
    [
        ("d", "d/a.parquet"),
        ("d", "d/sub=1/b"),
        ("*", "d/a.parquet"),
        ("d/**/*.parquet", "d/a.parquet"),
        ("file://{}/d/a.parquet", "d/a.parquet"),
        ("FILE://{}/d/a.parquet", "d/a.parquet"),
        ("local://{}/d", "d/a.parquet"),
        ("file://{}/d/*.parquet", "d/a.parquet"),
        ("file://d/a.parquet", "d/a.parquet"),
    ],
)
def test_no_input_is_overwritten(command: str, data: str, output: str, tmp_path: Path) -> None:
    for file in ("d/a.parquet", "d/sub=1/b"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        pq.write_table(TABLE, tmp_path / file)
    before = (tmp_path / output).read_bytes()
    asked = (command, "n1", "-d", data.format(tmp_path), "-o", output, "--format", "tsv")
    run = run_inside(*asked, cwd=tmp_path)
    assert (run.status, run.out) == (2, b"")
    assert run.error == f"qkv: {output}: is also an input; write to another file\n"
    assert (tmp_path / output).read_bytes() == before


def test_an_answer_may_lie_in_the_folder_of_its_data(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    for _ in range(2):
        run = run_inside("lookup", "n1", "-d", ".", "-o", "answer.tsv", cwd=tmp_path)
        assert (run.status, run.error) == (0, "")


@pytest.mark.parametrize("pattern", ["t/**/*.parquet", "t/y=*", "**/a.parquet"])
def test_patterns_go_through_folders(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("t/y=1/m=1", "t/y=2/m=2"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"name": [folder]}), tmp_path / folder / "a.parquet")
    assert tables.keys(pattern) == ["t/y=1/m=1", "t/y=2/m=2"]
    assert tables.keys(f"file://{tmp_path}/{pattern}") == ["t/y=1/m=1", "t/y=2/m=2"]


@pytest.mark.parametrize(
    "url",
    [
        "github://x/y.parquet",
        "jupyter://x/y.parquet",
        "reference://x.parquet",
        "dir://x.parquet",
        "generic://x.parquet",
        "data://x/y.parquet",
        "abfs://c@127.0.0.1/x.parquet",
        "abfss://c@127.0.0.1/x.parquet?credential_kind=cli",
        "hdfs://127.0.0.1:1/x.parquet",
        "ftp://127.0.0.1:1/x.parquet",
        "zip://x.parquet",
    ],
)
def test_a_url_that_cannot_be_opened_is_named(url: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "az").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "az").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AZURE_CLIENT_SECRET": None}
    run = run_qkv("lookup", "x", "-d", url, env=env)
    assert (run.status, run.out) == (2, b"")
    assert run.error.startswith(f"qkv: {url}: ")
    assert run.error.count("\n") == 1
    assert "Traceback" not in run.error
    assert not ran.exists(), "a program was started"


def test_a_store_that_does_not_answer_can_be_waited_for_and_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"gs://anonymous@b/x.parquet?scheme=http&endpoint_override={host}"
        run = run_pty("lookup", "x", "-d", url, keys=[(2.0, b"\x03")], timeout=20)
    assert run.status == 130
    assert run.seconds < 5
    assert b"qkv" not in run.out


def test_without_pyarrow_the_extra_is_named(
    write: Callable[[str, Any], str], tmp_path: Path
) -> None:
    path = write("t.parquet", TABLE)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    run = run_qkv("lookup", "n1", "-d", path, env={"PYTHONPATH": str(tmp_path)})
    assert run.status == 2
    assert run.error.endswith("parquet is read by pyarrow: pip install 'qkvcli[arrow]'\n")

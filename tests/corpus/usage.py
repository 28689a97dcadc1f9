"""Command lines that cannot be understood."""

from __future__ import annotations

import re

from tests.support.contract import Case

BOTH: dict[str, tuple[tuple[str, ...], str]] = {
    "-Li": (("-Li",), "there is no option -L; to use '-Li' as a query, put -- before it"),
    "an option after --": (
        ("--", "x", "--temperature", "1"),
        "'--temperature' stands after --, behind which all is a query; put it before, or",
    ),
    "a mistyped option": (
        ("x", "--tempreature", "1"),
        "there is no option --tempreature; did you mean '--temperature'?",
    ),
    "an option that is none": (("x", "--qqq"), "there is no option --qqq; see qkv COMMAND --help"),
    "an option with an escape": (("x", "--q\x1b[31m"), "there is no option --q\\x1b[31m"),
    "an option without its value": (("x", "--score"), "Option '--score' requires an argument"),
    "a flag with a value": (("--self=yes",), "Option '--self' does not take a value"),
    "--mode mistyped": (
        ("x", "--mode", "sofmax"),
        "--mode: there is no 'sofmax'; did you mean 'softmax'?",
    ),
    "--mode empty": (
        ("x", "--mode", ""),
        "--mode: there is no ''; there is exact, approximate, softmax, average",
    ),
    "--score mistyped": (
        ("x", "--score", "jaro-winkel"),
        "--score: there is no 'jaro-winkel'; did you mean 'jaro-winkler'?",
    ),
    "--score far off": (
        ("x", "--score", "zzz"),
        "--score: there is no 'zzz'; there is tokens",
    ),
    "--format mistyped": (
        ("x", "--format", "jsno"),
        "--format: there is no 'jsno'; did you mean 'json'?",
    ),
    "--color mistyped": (
        ("x", "--color", "allways"),
        "--color: there is no 'allways'; did you mean 'always'?",
    ),
    "--key-type mistyped": (
        ("x", "--key-type", "txt"),
        "--key-type: there is no 'txt'; did you mean 'text'?",
    ),
    "--value-type mistyped": (
        ("x", "--value-type", "int"),
        "--value-type: there is no 'int'; there is text, number",
    ),
    "--data-format mistyped": (
        ("x", "--data-format", "jsn"),
        "--data-format: there is no 'jsn'; did you mean 'json'?",
    ),
    "--temperature 0": (("x", "--temperature", "0"), "--temperature: '0' is not above 0"),
    "--temperature -1": (("x", "--temperature", "-1"), "--temperature: '-1' is not above 0"),
    "--temperature 1e-999": (("x", "-T", "1e-999"), "--temperature: '1e-999' is not above 0"),
    "--neighbors 0": (("x", "--neighbors", "0"), "--neighbors: '0' is not a whole number from 1"),
    "--neighbors 1.5": (("x", "-k", "1.5"), "--neighbors: '1.5' is not a whole number from 1"),
    "--workers 0": (("x", "--workers", "0"), "--workers: '0' is not a whole number from 1"),
    "--workers word": (("x", "--workers", "all"), "--workers: 'all' is not a whole number from 1"),
    "--bandwidth mistyped": (
        ("x", "--bandwidth", "scot"),
        "--bandwidth 'scot' is neither a rule nor numbers; did you mean 'scott'?",
    ),
    "--bandwidth 0": (
        ("x", "--bandwidth", "0"),
        "--bandwidth '0' is neither a rule nor numbers; a width is above 0",
    ),
    "--bandwidth 1,": (
        ("x", "--bandwidth", "1,"),
        "--bandwidth '1,' is neither a rule nor numbers",
    ),
    "--output empty": (("x", "--output", ""), "an output needs a file name"),
    "--data empty": (("x", "--data", ""), "--data needs a file name"),
    "queries and --self": (
        ("x", "--self"),
        "queries come from the arguments, --queries or --self; pass one of them",
    ),
    "stdin twice": (
        ("--queries", "-", "--data", "-"),
        "stdin cannot be both --data and the queries",
    ),
}
NUMBERS = ("1_0", "nan", "inf", "1e999", "", "\u0661")
NUMBER_OPTIONS = {
    "--temperature": "is not a finite number",
    "--neighbors": "is not a whole number from 1",
    "--workers": "is not a whole number from 1",
    "--bandwidth": "is neither a rule nor numbers",
}
LOOKUP_OPTIONS = {"--top": "is not a whole number from 0", "--min-weight": "is not a finite number"}

CASES: dict[str, Case] = {
    f"{command}: usage: {name}": Case(
        (command, *arguments), "^" + re.escape(line.replace("COMMAND", command))
    )
    for command in ("lookup", "pool")
    for name, (arguments, line) in BOTH.items()
}
CASES |= {
    f"{command}: usage: {option} {number!r}": Case(
        (command, "x", f"{option}={number}"), re.escape(f"{number!r} {line}")
    )
    for command, options in (("lookup", LOOKUP_OPTIONS | NUMBER_OPTIONS), ("pool", NUMBER_OPTIONS))
    for option, line in options.items()
    for number in NUMBERS
    if command == "lookup" or number in ("1_0", "nan", "inf")  # the same reader reads them
}
CASES |= {
    "usage: a mistyped command": Case(
        ("lokup", "Li"), "there is no command 'lokup'; did you mean 'lookup'"
    ),
    "usage: a query for a command": Case(
        ("Li",), "there is no command 'Li'; there is lookup, pool"
    ),
    "usage: a flag with a value": Case(("--help=",), "Option '--help' does not take a value"),
    "usage: an empty command": Case(("",), "there is no command ''"),
    "usage: a mistyped option": Case(
        ("--verison",), "there is no option --verison; did you mean '--version'"
    ),
    "usage: bytes that are not UTF-8": Case(("lookup", b"Jos\xe9"), "argument 2 is not UTF-8"),
    "usage: a file name that is not UTF-8": Case(
        ("pool", "--data", b"\xff.csv"), "argument 3 is not UTF-8"
    ),
    "usage: a command that is not UTF-8": Case((b"\xff",), "argument 1 is not UTF-8"),
    "lookup: usage: no query": Case(
        ("lookup",), "no query; give one or more, - for stdin, --queries FILE or --self"
    ),
    "pool: usage: no query": Case(("pool",), "no query; give one or more"),
    "lookup: usage: several modes and --weights": Case(
        ("lookup", "Li", "-m", "exact", "-m", "average", "--weights", "w.npz"),
        "--weights is one matrix; pass one --mode with it",
    ),
    "lookup: usage: --min-weight 2": Case(
        ("lookup", "Li", "--min-weight", "2"), "--min-weight: '2' is not from 0 to 1"
    ),
    "pool: usage: two modes": Case(
        ("pool", "Li", "--mode", "exact,average"), "--mode: there is no 'exact,average'"
    ),
}
CASES |= {
    f"{command}: no match": Case(
        (command, "Lee", "--mode", "exact"),
        "no key of .*names.csv equals 'Lee'; the closest is 'Li'|1 query attends to no key and has no answer: Lee; try --mode approximate",
        status=1,
    )
    for command in ("lookup", "pool")
}

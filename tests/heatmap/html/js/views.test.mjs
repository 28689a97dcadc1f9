import test from "node:test";
import assert from "node:assert/strict";
import q from "./pure.mjs";

test("scales lead from weights to colours and back", () => {
  for (const [kind, signed] of [["linear", false], ["sqrt", false], ["log", false], ["linear", true], ["sqrt", true]]) {
    const scale = q.scaleOf(kind, 0.8, signed);
    for (const share of [0, 0.1, 0.5, 0.9, 1]) assert.ok(Math.abs(q.shareOf(scale, q.weightAt(scale, share)) - share) < 1e-9, kind);
    assert.equal(q.levelOf(scale, 5), 255);
  }
  assert.equal(q.shareOf(q.scaleOf("linear", 1, true), 0), 0.5);
  assert.equal(q.shareOf(q.scaleOf("log", 1, false), 0), 0);
});

test("colours are interpolated between stops", () => {
  const colours = q.coloursOf("000000ff0000ffffff");
  assert.deepEqual([colours[0], colours[255], colours.length], [[0, 0, 0], [255, 255, 255], 256]);
  assert.deepEqual(colours[64], [128, 0, 0]);
});

test("ink is readable on every colour", () => {
  for (let red = 0; red < 256; red += 15) {
    for (let green = 0; green < 256; green += 15) {
      const ink = q.inkOn([red, green, 128]) === "#000000" ? [0, 0, 0] : [255, 255, 255];
      assert.ok(q.contrast(ink, [red, green, 128]) >= 4.5);
    }
  }
});

test("numbers are short", () => {
  assert.deepEqual([0, 0.12345, 1, 0.00012, 1e-5, 12.34, NaN, -0.5].map(q.shortOf), ["0", "0.123", "1", "1.2e-4", "1e-5", "12.3", "none", "-0.5"]);
});

test("what moves a cursor or cannot be seen is spelled out", () => {
  assert.equal(q.visible("a\u202eb\x1b[0m\u0000\ufeff"), "a\\u202eb\\x1b[0m\\x00\\ufeff");
  assert.equal(q.visible("Łukasz 🙂 查"), "Łukasz 🙂 查");
  assert.equal(q.visible("\ud83d"), "\\ud83d");
});

test("words are merged as qkv heatmap merges them", () => {
  const bert = ["[CLS]", "play", "##ing", "##s", "##", "[SEP]"];
  assert.deepEqual(q.derivedAxis(bert, 6, { merge: true }), { labels: ["[CLS]", "playings", "##", "[SEP]"], groups: [[0, 1], [1, 4], [4, 5], [5, 6]] });
  const gpt = ["<s>", "The", "Ġcat", "s", "Ġ", "</s>"];
  assert.deepEqual(q.derivedAxis(gpt, 6, { merge: true }).labels, ["<s>", "The", "cats", "Ġ", "</s>"]);
  assert.deepEqual(q.derivedAxis(["▁it", "'", "s"], 3, { merge: true }).labels, ["it's"]);
});

test("the first key and special tokens are dropped", () => {
  const labels = ["[CLS]", "it", "[SEP]"];
  assert.deepEqual(q.derivedAxis(labels, 3, { special: true }).groups, [[1, 2]]);
  assert.deepEqual(q.derivedAxis(labels, 3, { first: true }).labels, ["it", "[SEP]"]);
  assert.deepEqual(q.derivedAxis(null, 3, { first: true, special: true, merge: true }), { labels: null, groups: [[1, 2], [2, 3]] });
});

test("text has spaces where words begin", () => {
  const shown = (labels) => q.inText(labels).map(({ text, space }) => (space ? " " : "") + text).join("");
  assert.equal(shown(["[CLS]", "play", "##ing", "now"]), "[CLS] playing now");
  assert.equal(shown(["▁Das", "▁T", "ier", "</s>"]), "Das Tier </s>");
});

test("tokens are found, an exact one first of all", () => {
  assert.deepEqual(q.findTokens(["it", "with", "IT", "x"], "it"), [0, 2]);
  assert.deepEqual(q.findTokens(["it", "with", "x"], "WI"), [1]);
  assert.deepEqual(q.findTokens(["a"], ""), []);
});

test("rows of what is left are renormalised if asked", () => {
  const weights = Float32Array.from([0.5, 0.25, 0.25, 0.2, 0.4, 0.4]);
  const near = (found, wanted) => found.forEach((one, i) => assert.ok(Math.abs(one - wanted[i]) < 1e-6, `${[...found]}`));
  near(q.derivedWeights(weights, 3, [[0, 1], [1, 2]], [[1, 2], [2, 3]], false), [0.25, 0.25, 0.4, 0.4]);
  near(q.derivedWeights(weights, 3, [[0, 1], [1, 2]], [[1, 2], [2, 3]], true), [0.5, 0.5, 0.5, 0.5]);
  near(q.derivedWeights(weights, 3, [[0, 2]], [[0, 1], [1, 3]], false), [0.35, 0.65]); // averaged, summed
  assert.ok(Number.isNaN(q.derivedWeights(Float32Array.from([1, 0]), 2, [[0, 1]], [[1, 2]], true)[0]));
});

test("a difference keeps its signs", async () => {
  const held = new q.Held(1, 3, q.difference(Float32Array.from([0.5, 0, 0.1]), Float32Array.from([0.25, 0.75, 0.1])), true);
  const { weights } = await held.line("row", 0);
  [0.25, -0.75, 0].forEach((wanted, i) => assert.ok(Math.abs(weights[i] - wanted) < 1e-4));
});

test("ranks count what is larger; equal weights share theirs", () => {
  assert.deepEqual(q.rankOf([0.1, 0.5, 0.3], 2), { first: 2, last: 2 });
  assert.deepEqual(q.rankOf([0.2, 0.2, 0.6], 0), { first: 2, last: 3 });
});

test("commands are quoted for a shell", () => {
  assert.equal(q.quoted("a b's"), "'a b'\\''s'");
  assert.equal(q.quoted("a-b_1.npy"), "a-b_1.npy");
  assert.equal(q.listOf([0, 3, 4, 5, 9, 8]), "0,3-5,9,8");
  assert.equal(q.commandLine({ file: "a b.npy", options: { "--labels": "t.txt", "--rollout": true } }, { "--drop": "[CLS],[SEP]", "--labels": "u" }, "x.svg"),
    "qkv heatmap 'a b.npy' --labels u --rollout --drop '[CLS],[SEP]' -o x.svg");
  assert.equal(['a', 'b,c', 'd"'].map(q.inList).join(","), 'a,"b,c","d"""');
});

test("positions are those of the file", () => {
  assert.deepEqual(q.positionsOf({ positions: null, starts: null }, 5, [[1, 3]]), [1, 2]);
  assert.deepEqual(q.positionsOf({ positions: [4, 6, 8], starts: null }, 3, [[1, 3]]), [6, 8]);
  assert.deepEqual(q.positionsOf({ positions: [4, 5, 6, 8], starts: [0, 2] }, 2, [[0, 1], [1, 2]]), [4, 5, 6, 8]);
});

test("an SVG holds text as text", () => {
  assert.equal(q.escaped('<b a="1">&\u202e'), "&lt;b a=&quot;1&quot;&gt;&amp;\\u202e");
  assert.equal((q.svgCells(0, 0, 10, 10, 2, 3, (r, c) => (c < 2 ? "#000000" : "#ffffff")).match(/<rect/g)).length, 4);
});

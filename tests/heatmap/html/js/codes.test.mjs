import test from "node:test";
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import q from "./pure.mjs";

const random = (() => { // numbers that are the same at every run
  let state = 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
})();

for (const [bits, signed] of [[8, false], [8, true], [16, false], [16, true]]) {
  test(`a weight is off by no more than is said: ${bits} bits${signed ? ", signed" : ""}`, () => {
    const code = q.coding(0.7, bits, signed), table = q.weightsOf(code);
    const weights = Array.from({ length: 5000 }, () => (signed ? 2 * random() - 1 : random() ** 4) * 0.7);
    const codes = q.encode(code, [...weights, 0, 0.7, NaN, Infinity], new Uint16Array(5004));
    weights.forEach((weight, i) => {
      assert.ok(Math.abs(table[codes[i]] - weight) <= q.errorOf(code, weight) * 1.000001, `${weight}`);
    });
    assert.equal(table[codes[5000]], 0);
    assert.equal(table[codes[5001]], 0.7);
    assert.ok(Number.isNaN(table[codes[5002]]) && Number.isNaN(table[codes[5003]]));
  });
}

test("a halved matrix holds the largest of every 2 × 2, of an odd edge too", () => {
  const code = q.coding(1, 8, false);
  assert.deepEqual([...q.halved(Uint8Array.from([1, 2, 9, 4, 5, 6, 7, 8, 3]), 3, 3, code)], [5, 9, 8, 3]);
});

test("with signs the larger in magnitude is kept, a gain before a loss", () => {
  const code = q.coding(1, 8, true), zero = code.zero;
  assert.equal(zero, 128);
  assert.deepEqual([...q.halved(Uint8Array.from([zero + 3, zero - 5, zero, 0]), 2, 2, code)], [zero - 5]);
  assert.deepEqual([...q.halved(Uint8Array.from([zero - 5, zero + 5]), 1, 2, code)], [zero + 5]);
  assert.deepEqual([...q.halved(Uint8Array.from([0, 0]), 1, 2, code)], [0]);
});

test("bytes are unpacked, and put back beside each other", async () => {
  const packed = deflateSync(Buffer.from([1, 2, 3, 4, 5, 6])).toString("base64");
  const bytes = await q.inflated(packed);
  assert.deepEqual([...bytes], [1, 2, 3, 4, 5, 6]);
  assert.deepEqual([...new Uint8Array(q.joinedBytes(bytes, 2))], [1, 4, 2, 5, 3, 6]);
});

test("float16 is read by its bits", () => {
  const found = q.fromHalves(Uint16Array.from([0x3c00, 0xc000, 0x0001, 0x7bff, 0x0000, 0x3555, 0x7c00]));
  assert.deepEqual([...found], [1, -2, 2 ** -24, 65504, 0, 0.333251953125, Infinity]);
});

test("levels halve down to one tile", () => {
  assert.deepEqual(q.levelsOf(600, 300), [[600, 300], [300, 150], [150, 75]]);
  assert.deepEqual(q.levelsOf(1, 1), [[1, 1]]);
});

test("a stored matrix gives its tiles, parts and lines", async () => {
  const rows = 300, columns = 270, code = q.coding(1, 8, false);
  const codes = Uint8Array.from({ length: rows * columns }, () => 1 + Math.floor(random() * 255));
  const tiles = [], lengths = [];
  let level = codes, [tall, wide] = [rows, columns];
  for (;;) {
    const found = [];
    for (let r = 0; r < tall; r += 256) {
      for (let c = 0; c < wide; c += 256) {
        const tile = [];
        for (let i = r; i < Math.min(tall, r + 256); i++) tile.push(...level.subarray(i * wide + c, i * wide + Math.min(wide, c + 256)));
        found.push(deflateSync(Uint8Array.from(tile)).toString("base64"));
      }
    }
    tiles.push(...found);
    lengths.push(found.map((one) => one.length));
    if (Math.max(tall, wide) <= 256) break;
    level = q.halved(level, tall, wide, code);
    [tall, wide] = [Math.ceil(tall / 2), Math.ceil(wide / 2)];
  }
  const stored = new q.Stored(rows, columns, code, lengths, tiles.join(""), 0);
  assert.deepEqual([...await stored.part(0, [250, 262], [250, 265])],
    Array.from({ length: 12 * 15 }, (_, i) => codes[(250 + Math.floor(i / 15)) * columns + 250 + (i % 15)]));
  const row = await stored.line("row", 299);
  assert.equal(row.each, 1);
  assert.deepEqual([...row.weights], [...codes.subarray(299 * columns)].map((one) => stored.table[one]));
  const column = await stored.line("column", 269);
  assert.equal(column.weights.length, rows);
  assert.equal(column.weights[299], stored.table[codes[codes.length - 1]]);
  const coarse = new q.Stored(rows, columns, code, [null, lengths[1]], tiles.slice(-1).join(""), 0);
  const held = await coarse.line("row", 10);
  assert.deepEqual([held.each, held.weights.length], [2, 135]);
  assert.equal(held.weights[0], Math.max(...[0, 1].flatMap((r) => [0, 1].map((c) => stored.table[codes[(10 + r) * columns + c]]))));
});

test("weights of queries and keys are those of the softmax, causal and in a window", () => {
  const [tokens, width, scale] = [7, 3, 0.5];
  const queries = Float32Array.from({ length: tokens * width }, () => 4 * random() - 2);
  const keys = Float32Array.from({ length: tokens * width }, () => 4 * random() - 2);
  const sees = (i, j, causal, window) => (!causal || j <= i) && (!window || j > i - window);
  for (const [causal, window] of [[false, 0], [true, 0], [true, 3]]) {
    const wanted = [], norms = [];
    for (let i = 0; i < tokens; i++) {
      const scores = Array.from({ length: tokens }, (_, j) => {
        let sum = 0;
        for (let d = 0; d < width; d++) sum += queries[i * width + d] * keys[j * width + d];
        return sees(i, j, causal, window) ? sum * scale : -Infinity;
      });
      const total = scores.reduce((all, score) => all + Math.exp(score), 0);
      norms.push(Math.log(total));
      wanted.push(scores.map((score) => Math.exp(score) / total));
    }
    const attend = { queries, keys, norms, width, scale, causal, window };
    for (const [top, left, tall, wide] of [[0, 0, 7, 7], [2, 3, 4, 3], [5, 0, 1, 7], [0, 4, 7, 1]]) {
      const found = q.tileOf(attend, top, left, tall, wide);
      found.forEach((weight, i) => assert.ok(Math.abs(weight - wanted[top + Math.floor(i / wide)][left + (i % wide)]) < 1e-6));
    }
  }
});

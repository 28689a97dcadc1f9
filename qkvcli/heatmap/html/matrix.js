// Matrices of codes in tiles: out of the file, computed from queries and keys, or derived.

const KEPT_BYTES = 256 * 2 ** 20; // of unpacked tiles
const DERIVED_CELLS = 20e6; // the largest matrix that is derived from others, in cells

let matrices = 0;

// What all matrices have: a shape, a coding, levels, and tiles that are unpacked when asked for.
class Matrix {
  constructor(rows, columns, code) {
    this.id = matrices++;
    this.rows = rows;
    this.columns = columns;
    this.code = code;
    this.table = weightsOf(code);
    this.levels = levelsOf(rows, columns);
    this.tiles = new Map();
    this.bytes = 0;
  }

  // The finest level that there is.
  get finest() {
    return this.levels.findIndex((_, level) => this.has(level));
  }

  has() {
    return true;
  }

  // How many rows and columns a tile has.
  extent(level, down, across) {
    const [rows, columns] = this.levels[level];
    return [Math.min(SIDE, rows - down * SIDE), Math.min(SIDE, columns - across * SIDE)];
  }

  // The codes of a tile if they are at hand, else undefined.
  ready(level, down, across) {
    const held = this.tiles.get(`${level}/${down}/${across}`);
    return held instanceof Promise ? undefined : held;
  }

  // A promise of the codes of a tile.
  load(level, down, across) {
    const name = `${level}/${down}/${across}`;
    let held = this.tiles.get(name);
    if (held === undefined) {
      held = this.made(level, down, across).then((codes) => {
        this.tiles.delete(name);
        this.tiles.set(name, codes); // the last of all, and so the last to go
        this.bytes += codes.byteLength;
        for (const [other, old] of this.tiles) {
          if (this.bytes <= KEPT_BYTES || other === name) break;
          if (old instanceof Promise) continue;
          this.tiles.delete(other);
          this.bytes -= old.byteLength;
        }
        return codes;
      });
      this.tiles.set(name, held);
    }
    return Promise.resolve(held);
  }

  // The codes of rows first … last of a level and of its columns, whole.
  async part(level, [top, bottom], [left, right]) {
    const wide = right - left, out = codesArray(this.code.bits, (bottom - top) * wide);
    for (let down = Math.floor(top / SIDE); down * SIDE < bottom; down++) {
      for (let across = Math.floor(left / SIDE); across * SIDE < right; across++) {
        const codes = await this.load(level, down, across);
        const [tall, width] = this.extent(level, down, across);
        const from = Math.max(left, across * SIDE), to = Math.min(right, across * SIDE + width);
        for (let r = Math.max(top, down * SIDE); r < Math.min(bottom, down * SIDE + tall); r++) {
          const start = (r - down * SIDE) * width - across * SIDE;
          out.set(codes.subarray(start + from, start + to), (r - top) * wide + from - left);
        }
      }
    }
    return out;
  }

  // The weights of a row or column, of which each is the largest of `each` where some are left out.
  async line(axis, index) {
    const level = this.finest, [rows, columns] = this.levels[level];
    const at = index >> level;
    const codes = axis === "row"
      ? await this.part(level, [at, at + 1], [0, columns])
      : await this.part(level, [0, rows], [at, at + 1]);
    return { weights: Float64Array.from(codes, (code) => this.table[code]), each: 2 ** level };
  }
}

// A matrix whose tiles lie in the file.
class Stored extends Matrix {
  // lengths: for each level how long each packed tile is, or null where the level is left out;
  // text: all packed tiles of the file; at: where those of this matrix begin.
  constructor(rows, columns, code, lengths, text, at) {
    super(rows, columns, code);
    this.text = text;
    this.places = lengths.map((level) => level && level.map((length) => {
      at += length;
      return [at - length, at];
    }));
    this.end = at;
  }

  has(level) {
    return this.places[level] !== null;
  }

  async made(level, down, across) {
    const wide = Math.ceil(this.levels[level][1] / SIDE);
    const bytes = await inflated(this.text.slice(...this.places[level][down * wide + across]));
    return this.code.bits === 8 ? bytes : new Uint16Array(bytes.buffer);
  }
}

// A matrix whose coarse levels lie in the file; the others are computed from queries and keys.
class Computed extends Stored {
  // attend: { queries, keys, norms, width, scale, causal, window }, a promise.
  constructor(rows, columns, code, lengths, text, at, attend) {
    super(rows, columns, code, lengths, text, at);
    this.attend = attend;
  }

  has() {
    return true;
  }

  async line(axis, index) {
    const attend = await this.attend();
    const weights = axis === "row"
      ? tileOf(attend, index, 0, 1, this.columns)
      : tileOf(attend, 0, index, this.rows, 1);
    return { weights: Float64Array.from(weights), each: 1 };
  }

  async made(level, down, across) {
    if (super.has(level)) return super.made(level, down, across);
    const [tall, wide] = this.extent(level, down, across);
    if (level === 0) {
      const weights = tileOf(await this.attend(), down * SIDE, across * SIDE, tall, wide);
      return encode(this.code, weights, codesArray(this.code.bits, tall * wide));
    }
    const below = this.levels[level - 1];
    const [top, left] = [down * SIDE * 2, across * SIDE * 2];
    const ends = [[top, Math.min(below[0], top + 2 * SIDE)], [left, Math.min(below[1], left + 2 * SIDE)]];
    await new Promise((done) => setTimeout(done)); // a person may move meanwhile
    const codes = await this.part(level - 1, ...ends);
    return halved(codes, ends[0][1] - top, ends[1][1] - left, this.code);
  }
}

// The weights of some queries and keys: exp(scale · q·k - log of the normalizer).
function tileOf(attend, top, left, tall, wide) {
  const { queries, keys, norms, width, scale, causal, window } = attend;
  const out = new Float32Array(tall * wide);
  for (let r = 0; r < tall; r++) {
    const row = top + r, q = row * width, norm = norms[row];
    if (norm === Infinity) continue;
    const past = causal ? Math.min(wide, row - left + 1) : wide;
    const first = window ? Math.max(0, row - window + 1 - left) : 0;
    for (let c = first; c < past; c++) {
      const k = (left + c) * width;
      let sum = 0;
      for (let d = 0; d < width; d++) sum += queries[q + d] * keys[k + d];
      out[r * wide + c] = Math.exp(sum * scale - norm);
    }
  }
  return out;
}

// A matrix that is held whole, with its pyramid.
class Held extends Matrix {
  constructor(rows, columns, weights, signed) {
    let top = 0;
    for (let i = 0; i < weights.length; i++) {
      const size = Math.abs(weights[i]);
      if (size > top) top = size;
    }
    super(rows, columns, coding(top, 16, signed));
    this.whole = [encode(this.code, weights, new Uint16Array(weights.length))];
    for (let level = 1; level < this.levels.length; level++) {
      this.whole.push(halved(this.whole[level - 1], ...this.levels[level - 1], this.code));
    }
  }

  async made(level, down, across) {
    const [tall, wide] = this.extent(level, down, across), columns = this.levels[level][1];
    const out = new Uint16Array(tall * wide);
    for (let r = 0; r < tall; r++) {
      const from = (down * SIDE + r) * columns + across * SIDE;
      out.set(this.whole[level].subarray(from, from + wide), r * wide);
    }
    return out;
  }
}

// All weights of a matrix at its finest level.
async function allOf(matrix) {
  const codes = await matrix.part(0, [0, matrix.rows], [0, matrix.columns]);
  const weights = new Float32Array(codes.length), table = Float32Array.from(matrix.table);
  for (let i = 0; i < codes.length; i++) weights[i] = table[codes[i]];
  return weights;
}

// Weights with words merged (queries averaged, keys summed), some left out, and rows renormalised.
function derivedWeights(weights, columns, queries, keys, renormalise) {
  const out = new Float32Array(queries.length * keys.length);
  const lefts = Int32Array.from(keys, ([left]) => left), rights = Int32Array.from(keys, ([, right]) => right);
  for (let i = 0; i < queries.length; i++) {
    const [top, bottom] = queries[i], at = i * keys.length;
    let total = 0;
    for (let j = 0; j < lefts.length; j++) {
      let sum = 0;
      for (let r = top; r < bottom; r++) {
        const past = r * columns + rights[j];
        for (let cell = r * columns + lefts[j]; cell < past; cell++) sum += weights[cell];
      }
      out[at + j] = sum / (bottom - top);
      total += out[at + j];
    }
    // A row of which nothing is left has no weights to share out.
    if (renormalise) for (let j = 0; j < lefts.length; j++) out[at + j] = total > 0 ? out[at + j] / total : NaN;
  }
  return out;
}

function difference(one, other) {
  const out = new Float32Array(one.length);
  for (let i = 0; i < out.length; i++) out[i] = one[i] - other[i];
  return out;
}

// How many of a row's weights are larger than one of them, and how many are equal to it.
function rankOf(weights, index) {
  let above = 0, equal = 0;
  for (const weight of weights) {
    if (weight > weights[index]) above++;
    else if (weight === weights[index]) equal++;
  }
  return { first: above + 1, last: above + Math.max(equal, 1) };
}

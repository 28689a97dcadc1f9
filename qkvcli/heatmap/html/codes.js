// Codes: weights as whole numbers in square-root scale, as codes.py writes them.

const SIDE = 256; // cells a side of a tile

// How the weights of a matrix are coded: see Coding in codes.py. Code 0 is no weight.
function coding(top, bits, signed) {
  const steps = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 2;
  return { top, bits, signed, steps, zero: signed ? steps + 1 : 1 };
}

// The weight of every code.
function weightsOf(code) {
  const table = new Float64Array(2 ** code.bits);
  for (let c = 1; c < table.length; c++) {
    const root = (c - code.zero) / code.steps;
    table[c] = code.top * Math.sign(root) * root * root;
  }
  table[0] = NaN;
  return table;
}

// By how much a weight may be off: half a step in the root, squared.
function errorOf(code, weight) {
  const root = Math.sqrt(Math.abs(weight) / (code.top || 1));
  return code.top * (root / code.steps + 0.25 / code.steps ** 2);
}

function encode(code, weights, out) {
  const { top, steps, zero, signed } = code;
  const scale = 1 / (top || 1);
  for (let i = 0; i < weights.length; i++) {
    const share = weights[i] * scale;
    if (!Number.isFinite(share)) out[i] = 0;
    else if (share >= 0) out[i] = zero + Math.round(Math.sqrt(Math.min(share, 1)) * steps);
    else out[i] = signed ? zero - Math.round(Math.sqrt(Math.min(-share, 1)) * steps) : zero;
  }
  return out;
}

// An array that holds codes of so many bits.
function codesArray(bits, length) {
  return bits === 8 ? new Uint8Array(length) : new Uint16Array(length);
}

// The largest of every 2 × 2 codes, in magnitude where they have signs.
function halved(codes, rows, columns, code) {
  const downs = Math.ceil(rows / 2), across = Math.ceil(columns / 2);
  const out = codesArray(code.bits, downs * across);
  const zero = code.zero, signed = code.signed;
  for (let r = 0; r < rows; r++) {
    const from = r * columns, to = (r >> 1) * across;
    for (let c = 0; c < columns; c++) {
      const value = codes[from + c], at = to + (c >> 1), held = out[at];
      if (!signed) {
        if (value > held) out[at] = value;
      } else if (value && (!held || isLarger(value, held, zero))) {
        out[at] = value;
      }
    }
  }
  return out;
}

// Of magnitudes that are alike, a gain is shown before a loss.
function isLarger(value, held, zero) {
  const one = Math.abs(value - zero), other = Math.abs(held - zero);
  return one > other || (one === other && value > held);
}

// The rows and columns of every level of a pyramid, the matrix itself first.
function levelsOf(rows, columns) {
  const found = [[rows, columns]];
  while (Math.max(rows, columns) > SIDE) {
    rows = Math.ceil(rows / 2);
    columns = Math.ceil(columns / 2);
    found.push([rows, columns]);
  }
  return found;
}

// Bytes out of base64.
function bytesOf(text) {
  const found = atob(text);
  const bytes = new Uint8Array(found.length);
  for (let i = 0; i < found.length; i++) bytes[i] = found.charCodeAt(i);
  return bytes;
}

async function inflated(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Numbers whose lowest bytes come first, all of them, and then the next.
function joinedBytes(bytes, size) {
  const count = bytes.length / size, out = new Uint8Array(bytes.length);
  for (let part = 0; part < size; part++) {
    for (let i = 0; i < count; i++) out[i * size + part] = bytes[part * count + i];
  }
  return out.buffer;
}

// The number of every float16, by its bits.
const halves = (() => {
  let table = null;
  return () => {
    if (table) return table;
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const power = (bits >> 10) & 31, rest = bits & 1023, sign = bits & 32768 ? -1 : 1;
      const tiny = power === 0;
      table[bits] = power === 31 ? (rest ? NaN : sign * Infinity)
        : sign * 2 ** (tiny ? -14 : power - 15) * ((tiny ? 0 : 1) + rest / 1024);
    }
    return table;
  };
})();

function fromHalves(bits) {
  const table = halves();
  return Float32Array.from(bits, (one) => table[one]);
}

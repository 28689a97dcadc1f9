// Tokens: labels as words, special ones, and those that a person looks for.

const SPECIAL = /^(\[[A-Z0-9]+\]|<[^<>\s]+>)$/;
// What moves a cursor, reorders a line or cannot be seen: as in render/escape.py.
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function visible(text) {
  return text.replace(UNSAFE, (sign) => {
    const code = sign.charCodeAt(0), digits = code.toString(16);
    return code <= 255 ? "\\x" + digits.padStart(2, "0") : "\\u" + digits.padStart(4, "0");
  });
}

const isSpecial = (label) => SPECIAL.test(label);
const startsWord = (label) => label.startsWith("Ġ") || label.startsWith("▁");
const continues = (label) => label.startsWith("##") && label !== "##";

// Whether each label starts a word: ## goes on with one, Ġ and ▁ start one, where there are any.
function wordStarts(labels) {
  const marked = labels.some(startsWord);
  return labels.map((label, i) => {
    const begins = marked ? startsWord(label) : !continues(label);
    return begins || isSpecial(label) || i === 0 || isSpecial(labels[i - 1]);
  });
}

function hasPieces(labels) {
  return labels !== null && wordStarts(labels).includes(false);
}

// A word out of its pieces, without the marks; a mark alone is a word, that of a space.
function wordOf(pieces) {
  const [first, ...rest] = pieces;
  const bare = startsWord(first) ? first.slice(1) : first;
  return bare + rest.map((piece) => (piece.startsWith("##") ? piece.slice(2) : piece)).join("") || first;
}

// A label in running text: what is shown, and whether a space comes before it.
function inText(labels) {
  const starts = wordStarts(labels);
  return labels.map((label, i) => {
    const bare = startsWord(label) ? label.slice(1) : continues(label) ? label.slice(2) : label;
    return { text: visible(bare) || " ", space: i > 0 && starts[i] };
  });
}

// An axis with words merged and some tokens left out: labels, and of what cells each is made.
//
// labels: one a cell, or null; how: { merge, first, special }. Returns { labels, groups }, where
// groups[i] is [first, past the last] of the cells in i.
function derivedAxis(labels, length, how) {
  let groups = Array.from({ length }, (_, i) => [i, i + 1]);
  let names = labels;
  if (how.merge && labels) {
    const starts = wordStarts(labels);
    groups = groups.filter((_, i) => starts[i]);
    groups.forEach((group, i) => (group[1] = i + 1 < groups.length ? groups[i + 1][0] : length));
    names = groups.map(([from, to]) => wordOf(labels.slice(from, to)));
  }
  const kept = groups.map((_, i) => !(how.first && i === 0) && !(how.special && names && isSpecial(names[i])));
  return { labels: names && names.filter((_, i) => kept[i]), groups: groups.filter((_, i) => kept[i]) };
}

// Where a text stands among labels, case folded; an exact label first of all.
function findTokens(labels, text) {
  const wanted = text.toLowerCase();
  if (!wanted) return [];
  const found = labels.map((label, i) => [label.toLowerCase(), i]).filter(([label]) => label.includes(wanted));
  const exact = found.filter(([label]) => label === wanted);
  return (exact.length ? exact : found).map(([, i]) => i);
}

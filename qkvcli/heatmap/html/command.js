// The command that makes the picture on the screen.

// A word as a POSIX shell takes it.
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'";
}

// Numbers as a list such as 0,3-5.
function listOf(numbers) {
  const runs = [];
  for (const number of numbers) {
    const last = runs[runs.length - 1];
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}

// A label in a list: with quotes where it holds a comma or a quote.
const inList = (label) => (/[",\n\r]/.test(label) ? '"' + label.replaceAll('"', '""') + '"' : label);

// The positions in the file of some cells of an axis: { positions, starts }, null where plain.
function positionsOf(axis, length, cells) {
  const { positions, starts } = axis, count = positions ? positions.length : null;
  const found = [];
  for (const [from, to] of cells) {
    for (let cell = from; cell < to; cell++) {
      const first = starts ? starts[cell] : cell;
      const past = !starts ? cell + 1 : cell + 1 < starts.length ? starts[cell + 1] : count ?? length;
      for (let i = first; i < past; i++) found.push(positions ? positions[i] : i);
    }
  }
  return found;
}

// given: the command of the file, { file, options, drop, single }; more: options by name, that of
// the page; null takes one away. Returns one line.
function commandLine(given, more, output) {
  const options = { ...given.options, ...more };
  const words = ["qkv", "heatmap", given.file];
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    words.push(name);
    if (value !== true) words.push(String(value));
  }
  return [...words, "-o", output].map(quoted).join(" ");
}

// The page: what the file holds, what a person has chosen, and the views of it.

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== ""));
  return element;
}

function button(text, title, act) {
  const element = el("button", { type: "button", title, "aria-label": title }, text);
  element.addEventListener("click", act);
  return element;
}

function select(text, choices, value) {
  const box = el("select", {}, ...choices.map(([name, title]) => el("option", { value: name }, title)));
  box.value = value;
  return { box, label: el("label", {}, text, box) };
}

function checkbox(text, checked) {
  const box = el("input", { type: "checkbox" });
  box.checked = checked;
  return { box, label: el("label", { class: "switch" }, box, text) };
}

const pause = () => new Promise((done) => setTimeout(done));
const byId = (name) => document.getElementById(name);

// --- What the file holds ---

// The heads of the page, with their matrices, out of its data and its packed texts.
function headsOf(data, packed) {
  const [rows, columns] = data.shape, halvesStart = packed.length - (data.halves ? sum(data.halves.lengths) : 0);
  let at = 0;
  return data.heads.map(([layer, head, name, top, signed, missing, measures, lengths], index) => {
    const code = coding(top, data.bits, signed === 1);
    const matrix = data.halves
      ? new Computed(rows, columns, code, lengths, packed, at, attendOf(data.halves, index, packed, halvesStart))
      : new Stored(rows, columns, code, lengths, packed, at);
    at = matrix.end;
    const short = [layer === null ? "" : `L${layer}`, head === null ? "" : `H${head}`].join(" ").trim();
    const told = name.includes("layer") || name.includes("head");
    return { index, layer, head, name: named(name), short: told && short ? short : named(name), measures, matrix, missing };
  });
}

const named = (name) => name.charAt(0).toUpperCase() + name.slice(1);
const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);

// What computes a head's weights: unpacked when first asked for.
function attendOf(halves, index, packed, start) {
  const [causal, window, keys, queries] = halves.heads[index];
  const text = (which) => {
    const from = start + sum(halves.lengths.slice(0, which));
    return inflated(packed.slice(from, from + halves.lengths[which]));
  };
  const numbers = async (which) => fromHalves(new Uint16Array(joinedBytes(await text(which), 2)));
  let found = null;
  return () => (found ??= (async () => ({
    queries: await numbers(queries), keys: await numbers(keys),
    norms: new Float32Array(joinedBytes(await text(queries + 1), 4)),
    width: halves.width, scale: halves.scale, causal: causal === 1, window,
  }))());
}

// --- The page ---

function start() {
  const data = JSON.parse(byId("data").textContent);
  const holder = byId("packed"), packed = holder.textContent;
  holder.remove(); // the text lives on, and is not laid out again
  const heads = headsOf(data, packed);
  const [rows, columns] = data.shape;
  const keyAxis = data.keys ?? data.queries;
  const signed = heads.some(({ matrix }) => matrix.code.signed);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const state = {
    view: heads.length > 1 ? "overview" : "head", heads: [0], difference: false, cursor: null, lock: null, query: null,
    kind: data.log ? "log" : "linear", range: data.panel ? "head" : "shared", map: "auto",
    merge: false, first: false, special: false, renormalise: false,
    measure: data.measures.length ? data.measures[0][0] : "", order: "layers", bars: "weight",
  };
  // Words are merged, tokens dropped and rows renormalised of whole matrices alone.
  const whole = heads.every(({ matrix }) => matrix.has(0));
  const derives = whole && rows * columns <= DERIVED_CELLS;
  const derived = new Map(), lines = new Map();
  let view = null, axes = null, theme = null;

  const app = {
    data, heads, state, round: 0, high: null,
    isSelf: () => data.keys === null,
    ground: () => themed().ground,
    ink: () => themed().ink,
    edge: () => themed().line,
    cursor: () => themed().cursor,
    font: (bold = false) => `${bold ? "bold " : ""}12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif`,
    mixed(share) {
      const [from, to] = [themed().faint, themed().accent].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
      return hexOf(from.map((one, i) => Math.round(one + (to[i] - one) * share)));
    },

    axes() {
      return (axes ??= axesOf());
    },

    // The matrix of a head as it is shown; in the overview as it is stored, where heads are many.
    async matrixOf(index, many = false) {
      const { matrix } = heads[index];
      if (!changes() || (many && rows * columns * heads.length > DERIVED_CELLS)) return matrix;
      return derivedOf(`${index}`, async () => {
        const { queries, keys } = app.axes();
        const weights = derivedWeights(await allOf(matrix), columns, queries.groups, keys.groups, state.renormalise);
        return new Held(queries.count, keys.count, weights, matrix.code.signed);
      });
    },

    async differenceOf(one, other) {
      if (!derives) return null;
      const [a, b] = [await app.matrixOf(one), await app.matrixOf(other)];
      return derivedOf(`${one}-${other}`, async () => new Held(a.rows, a.columns, difference(await allOf(a), await allOf(b)), true));
    },

    // The weights of a row or column, kept for a while.
    line(matrix, axis, index) {
      const name = `${matrix.id}/${axis}/${index}`;
      if (!lines.has(name)) lines.set(name, matrix.line(axis, index));
      if (lines.size > 64) lines.delete(lines.keys().next().value);
      return lines.get(name);
    },

    // What is said of a cell.
    async told(matrix, { row, column }) {
      const { weights, each } = await app.line(matrix, "row", row);
      const at = Math.floor(column / each), weight = weights[at];
      if (Number.isNaN(weight)) return "no weight (NaN or infinite)";
      if (each > 1) return `at most ${shortOf(weight)}, the largest of ${each} × ${each}`;
      const error = matrix instanceof Computed ? data.halves.error : errorOf(matrix.code, weight);
      const off = matrix instanceof Held ? "" : ` ± ${shortOf(Number(error.toPrecision(1)))}`;
      if (matrix.code.signed) return `${shortOf(weight)}${off}`;
      const { first, last } = rankOf(weights, at);
      const rank = first === last ? `rank ${first}` : `rank ${first} to ${last}`;
      return `${shortOf(weight)}${off}, ${rank} of ${weights.length}`;
    },

    scale(matrices) {
      const top = Math.max(...matrices.map(({ code }) => code.top)), less = matrices.some(({ code }) => code.signed);
      return scaleOf(state.kind, top, less, Number((top / 1e4).toPrecision(1)));
    },

    colours(less) {
      const { light, dark: night, chosen, diverging } = data.maps;
      const usual = (dark.matches ? night : light)[less ? 1 : 0];
      const wanted = state.map === "auto" ? chosen ?? usual : state.map;
      const fits = less === signed || diverging.includes(wanted) === less;
      const name = fits ? wanted : usual;
      if (!palettes.has(name)) palettes.set(name, coloursOf(data.palettes[name]));
      return palettes.get(name);
    },
    mapName(less) {
      const usual = (dark.matches ? data.maps.dark : data.maps.light)[less ? 1 : 0];
      return state.map === "auto" ? data.maps.chosen ?? usual : state.map;
    },
    colourKey: () => [state.kind, state.range, state.map, dark.matches, app.round].join("/"),

    colourBar() {
      const canvas = el("canvas", { width: 120, height: 1, role: "img", "aria-label": "The colours of weights, from low to high" });
      bar = { canvas, low: el("span"), high: el("span"), box: el("span", { class: "bar" }) };
      bar.box.append(bar.low, canvas, bar.high);
      return bar.box;
    },
    // A scale, or null where each head has its own.
    showBar(scale, less) {
      app.high = scale ? scale.high : null;
      if (!bar) return;
      const colours = app.colours(less);
      const pen = bar.canvas.getContext("2d");
      for (let x = 0; x < 120; x++) {
        pen.fillStyle = hexOf(colours[Math.min(255, Math.floor((x / 119) * 255))]);
        pen.fillRect(x, 0, 1, 1);
      }
      const low = scale ? (scale.kind === "log" ? "≤ " : "") + shortOf(weightAt(scale, 0)) : "0";
      bar.low.textContent = low;
      bar.high.textContent = (scale ? shortOf(weightAt(scale, 1)) : "each head's largest") + (state.kind === "linear" ? "" : state.kind === "log" ? " (log)" : " (√)");
    },

    // Text in which each token is shaded by its weight.
    shaded(axis, weights, { each, scale, colours }) {
      const box = el("div", { class: "text", tabindex: "0", role: "group", "aria-label": "The text, shaded by weight" });
      for (const { text, space, at } of tokensOf(axis)) {
        if (space) box.append(" ");
        const weight = weights[Math.floor(at / each)], colour = colourOf(scale, colours, weight);
        const span = el("span", { class: "token", title: `${axis.name(at)}: ${shortOf(weight)}` }, text);
        span.style.background = hexOf(colour);
        span.style.color = inkOn(colour);
        box.append(span);
      }
      if (axis.count > SHOWN_TOKENS) box.append(` … the first ${SHOWN_TOKENS.toLocaleString("en")} of ${axis.count.toLocaleString("en")}`);
      return box;
    },

    commandOf,
    say: (text) => (byId("live").textContent = text),
    open(name) {
      state.view = name;
      app.redraw();
      byId("view").focus({ preventScroll: true });
    },
    redraw,
    refresh() {
      const { lines: commands, note } = view.command();
      byId("command").textContent = commands;
      byId("command-note").textContent = note;
    },
    finished() {
      document.body.dataset.ready = `${state.view} ${app.round}`;
      app.refresh();
    },
  };
  const palettes = new Map();
  let bar = null;

  function themed() {
    if (theme) return theme;
    const style = getComputedStyle(document.documentElement);
    const names = ["ground", "ink", "line", "cursor", "faint", "accent"];
    return (theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])));
  }

  const changes = () => derives && (state.merge || state.first || state.special || state.renormalise);

  function derivedOf(name, make) {
    const key = [name, state.merge, state.first, state.special, state.renormalise].join("/");
    if (!derived.has(key)) derived.set(key, make());
    const most = Math.max(6, Math.floor(60e6 / (rows * columns)));
    for (const old of derived.keys()) if (derived.size > most && old !== key) derived.delete(old);
    return derived.get(key);
  }

  function axesOf() {
    const how = { merge: state.merge, special: state.special, first: false };
    const made = (axis, length, first) => {
      const found = derivedAxis(axis.labels, length, { ...how, first });
      const positions = (i) => positionsOf(axis, length, [found.groups[i]])[0];
      const text = (i) => (found.labels ? visible(found.labels[i]) : String(positions(i)));
      return {
        ...found, count: found.groups.length, merged: state.merge, text, axis,
        name: (i) => (found.labels ? `${text(i)} (${positions(i)})` : text(i)),
      };
    };
    const queries = made(data.queries, rows, false), keys = made(keyAxis, columns, state.first);
    const at = new Map(keys.groups.map(([first], i) => [first, i]));
    return { queries, keys, keyOf: (i) => at.get(queries.groups[i][0]) ?? -1 };
  }

  // --- The command ---

  // indices: the heads that are drawn, or null for all; query: one row; part: what is seen of the
  // axes, or null for all; difference: whether two are subtracted.
  function commandOf(indices, { query = null, part = null, difference: less = false } = {}) {
    const given = data.command, { queries, keys } = app.axes(), notes = [], more = {};
    if (state.merge) more["--merge-subwords"] = true;
    if (query || part || state.first) {
      // Where positions are said, those of dropped tokens are not among them.
      const list = (axis, length, groups) => {
        const found = positionsOf(axis.axis, length, groups);
        return found.length < positionsOf(axis.axis, length, [[0, length]]).length || given.drop.length ? listOf(found) : undefined;
      };
      const down = list(queries, rows, query ? [query] : (part ?? { queries }).queries.groups);
      const across = list(keys, columns, (part ?? { keys }).keys.groups);
      if (down) more["--queries"] = down;
      if (across) more["--keys"] = across;
    } else {
      const special = state.special ? [...(data.queries.labels ?? []), ...(keyAxis.labels ?? [])].filter(isSpecial) : [];
      const drop = [...new Set([...given.drop, ...special])];
      if (drop.length) more["--drop"] = drop.map(inList).join(",");
    }
    if (state.kind === "log" && !signed) {
      more["--log"] = true;
      more["--vmin"] = barScaleLow();
    }
    if (state.kind === "sqrt") notes.push("The command's scale is linear: heatmap has no square root.");
    if (state.renormalise) notes.push("The command does not renormalise rows.");
    const usual = signed ? "RdBu_r" : "Reds", map = app.mapName(signed);
    if (map !== usual) more["--cmap"] = map;
    const chosen = indices ? indices.map((i) => heads[i]) : null;
    if ((chosen ? chosen.length : heads.length) > 1 && state.range === "head") more["--scale"] = "panel";
    if (!chosen) return { lines: commandLine(given, more, "attention.svg"), note: notes.join(" ") };
    if (less && chosen.length === 2 && given.single) {
      const { "--cmap": _, "--scale": __, "--log": ___, "--vmin": ____, ...reading } = more;
      const saved = chosen.map((head, i) => commandLine(given, { ...reading, ...placeOf([head]) }, `${"ab"[i]}.npz`));
      return { lines: [...saved, "qkv heatmap a.npz --diff b.npz -o difference.svg"].join(" &&\n"), note: notes.join(" ") };
    }
    const layers = [...new Set(chosen.map((head) => head.layer))];
    // The scale is that of all of the heads here, and there of what is drawn.
    if (app.high !== null && (query || part || layers.length > 1)) {
      if (!signed && !more["--log"]) more["--vmin"] = 0;
      more["--vmax"] = Number(app.high.toPrecision(6));
    }
    const each = layers.map((layer) => {
      const some = chosen.filter((head) => head.layer === layer);
      return commandLine(given, { ...more, ...placeOf(some) }, layers.length > 1 ? `layer${layer}.svg` : "attention.svg");
    });
    return { lines: each.join(" &&\n"), note: notes.join(" ") };
  }

  const barScaleLow = () => Number((Math.max(...heads.filter((_, i) => state.view === "overview" || state.heads.includes(i)).map(({ matrix }) => matrix.code.top)) / 1e4).toPrecision(1));

  function placeOf(some) {
    const place = {};
    if (some[0].layer !== null && some[0].name.toLowerCase().includes("layer")) place["--layers"] = String(some[0].layer);
    if (data.command.single && some[0].head !== null && some[0].name.includes("ead ")) place["--heads"] = some.map((head) => head.head).join(",");
    return place;
  }

  // --- Controls ---

  function controls() {
    const maps = Object.keys(data.palettes).filter((name) => data.maps.diverging.includes(name) === signed || name === data.maps.chosen);
    const kind = select("Scale", [["linear", "linear"], ["sqrt", "square root"], ...(signed ? [] : [["log", "logarithmic"]])], state.kind);
    const range = select("Colours", [["shared", "shared by heads"], ["head", "of each head"]], state.range);
    const map = select("Map", [["auto", data.maps.chosen ?? "as the page"], ...maps.filter((name) => name !== data.maps.chosen).map((name) => [name, name])], state.map);
    const labels = [...(data.queries.labels ?? []), ...(keyAxis.labels ?? [])];
    const pieces = hasPieces(data.queries.labels) || hasPieces(keyAxis.labels);
    const switches = [
      ["merge", "Merge subwords", pieces, "no label is a piece of a word"],
      ["first", "Drop the first key", columns > 1, "there is one key"],
      ["special", "Drop special tokens", labels.some(isSpecial), "no label is a special token"],
      ["renormalise", "Renormalise rows", !signed, "differences have no sum"],
    ].map(([name, text, applies, why]) => {
      const one = checkbox(text, state[name]);
      const reason = !derives ? (whole ? "the matrix is too large to be changed here" : "the file does not hold every weight") : applies ? "" : why;
      one.box.disabled = reason !== "";
      one.label.classList.toggle("off", reason !== "");
      if (reason) one.label.title = `Not here: ${reason}`;
      one.box.addEventListener("change", () => {
        state[name] = one.box.checked;
        Object.assign(state, { cursor: null, lock: null, query: null });
        axes = null;
        lines.clear();
        redraw();
      });
      return one;
    });
    const search = el("input", { type: "search", placeholder: "find a token  /", "aria-label": "Find a token; Enter: the next query, Shift and Enter: the next key", spellcheck: "false" });
    const count = el("span", { class: "off", role: "status" });
    for (const [name, { box }] of [["kind", kind], ["range", range], ["map", map]]) {
      box.addEventListener("change", () => {
        state[name] = box.value;
        recolour();
      });
    }
    search.addEventListener("input", () => (count.textContent = found(search.value)));
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      next(search.value, event.shiftKey ? "key" : "query");
    });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("controls").append(kind.label, heads.length > 1 ? range.label : "", map.label, ...switches.map((one) => one.label), el("label", {}, search), count);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.matches("input, select")) return;
      event.preventDefault();
      search.focus();
      search.select();
    });
  }

  function labelsOf(axis) {
    return Array.from({ length: axis.count }, (_, i) => axis.text(i));
  }

  function found(text) {
    if (!text) return "";
    const counts = [app.axes().queries, app.axes().keys].map((axis) => findTokens(labelsOf(axis), text).length);
    if (app.isSelf()) return counts[0] ? `${counts[0]} found` : "none found";
    return `${counts[0]} queries, ${counts[1]} keys`;
  }

  const last = { query: -1, key: -1 };
  async function next(text, which) {
    const axis = which === "query" ? app.axes().queries : app.axes().keys;
    const places = findTokens(labelsOf(axis), text);
    if (!places.length) {
      app.say(`No ${which} is ${text}`);
      return;
    }
    last[which] = places.find((at) => at > last[which]) ?? places[0];
    if (state.view === "overview") app.open("head");
    await view.goTo(which, last[which]);
  }

  function tabs() {
    const names = [["overview", "Overview"], ["head", "Heads"], ["sentence", "Sentence"]];
    const shown = heads.length > 1 ? names : names.slice(1);
    byId("views").append(...shown.map(([name, text]) => {
      const tab = el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "view" }, text);
      tab.addEventListener("click", () => {
        state.view = name;
        redraw();
      });
      return tab;
    }));
    byId("views").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = shown.findIndex(([name]) => name === state.view);
      const [name] = shown[(at + step + shown.length) % shown.length];
      state.view = name;
      redraw();
      byId(`tab-${name}`).focus();
    });
  }

  function saving() {
    const save = async (kind) => {
      const text = await view.svg();
      const blob = kind === "svg" ? new Blob([text], { type: "image/svg+xml" }) : await pngOf(text);
      const link = el("a", { href: URL.createObjectURL(blob), download: `attention-${state.view}.${kind}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      app.say(`Saved as attention-${state.view}.${kind}`);
    };
    const copy = button("Copy the command", "Copy the command", async () => {
      try {
        await navigator.clipboard.writeText(byId("command").textContent);
        app.say("Copied");
      } catch {
        getSelection().selectAllChildren(byId("command"));
        app.say("Selected; copy it with the keyboard");
      }
    });
    byId("saving").append(button("Save as SVG", "Save this view as SVG", () => save("svg")), button("Save as PNG", "Save this view as PNG", () => save("png")), copy);
  }

  async function pngOf(text) {
    const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = el("canvas", { width: image.naturalWidth * 2, height: image.naturalHeight * 2 });
    const pen = canvas.getContext("2d");
    pen.scale(2, 2);
    pen.drawImage(image, 0, 0);
    URL.revokeObjectURL(url);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  function footer() {
    byId("title").textContent = data.title;
    const many = heads.length > 1 ? `${heads.length} heads of ` : "";
    byId("about").textContent = `${many}${rows.toLocaleString("en")} queries × ${columns.toLocaleString("en")} keys`;
    const help = [
      ["/", "find a token; Enter goes to the next query that has it, Shift and Enter to the next key"],
      ["← ↑ → ↓", "move among heads, cells and tokens; Shift: ten cells, Ctrl: to the edge"],
      ["Enter", "opens a head; locks the row under the cursor, Shift and Enter its column; Escape unlocks"],
      ["+ − 0", "zoom in and out, and show all; so do Ctrl and the wheel; drag to pan"],
      ["Shift and click", "in the overview: put a head beside the others that are shown"],
    ];
    byId("keys").append(...help.map(([key, text]) => el("li", {}, el("kbd", {}, key), ` ${text}`)));
    byId("notes").append(...data.notes.map((line) => el("li", {}, named(line) + ".")),
      el("li", {}, "This file asks for nothing: its policy lets no request be made."));
  }

  // --- Drawing ---

  function said() {
    const parts = [];
    const left = data.notes.slice(1).map((line) => named(line) + ".");
    if (state.first || state.special) {
      const what = [state.first ? "the first key" : "", state.special ? "special tokens" : ""].filter(Boolean).join(" and ");
      parts.push(`Without ${what}; ${state.renormalise ? "what is left of each row is scaled to sum to 1" : "the rest keep their weights, so rows sum to less than 1"}.`);
    } else if (state.renormalise) {
      parts.push("Each row is scaled to sum to 1.");
    }
    if (changes() && state.view === "overview" && rows * columns * heads.length > DERIVED_CELLS) parts.push("The overview shows all weights as they are: they are too many to be changed at once.");
    if (state.difference && state.heads.length === 2 && !derives && state.view === "head") parts.push("The difference needs every weight of two matrices of at most 20 million.");
    if (data.crowded && state.kind === "linear") {
      parts.push(`${data.crowded}% of the weights lie in the lowest fiftieth of the scale; a square root or logarithmic scale tells them apart.`);
    }
    return [...parts, ...left].join(" ");
  }

  function redraw() {
    app.round++;
    if (state.heads.length !== 2) state.difference = false;
    byId("said").textContent = said();
    for (const tab of byId("views").children) {
      const chosen = tab.id === `tab-${state.view}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    const root = byId("view");
    root.replaceChildren();
    bar = null;
    const make = { overview, head: headView, sentence: sentenceView }[state.view];
    view = make(app, root);
    app.refresh();
  }

  function recolour() {
    byId("said").textContent = said();
    if (view.recoloured) view.recoloured();
    else redraw();
    app.refresh();
  }

  let resizing = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => view.resized?.());
  });
  dark.addEventListener("change", () => {
    theme = null;
    recolour();
  });
  controls();
  tabs();
  saving();
  footer();
  redraw();
  return app;
}

if (typeof DecompressionStream === "undefined") {
  byId("said").textContent = "This browser is too old to unpack the file: it needs DecompressionStream, which browsers have since 2023.";
} else {
  start();
}

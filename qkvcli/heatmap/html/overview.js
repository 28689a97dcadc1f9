// The overview: every head as a small picture, with one measure as a frame or an order.

const THUMB = 128; // the longest side of a small picture, in cells
const AT_ONCE = 24; // how many are unpacked at a time

// The codes of a small picture: the coarsest level, halved until it is small enough.
async function thumbnail(matrix) {
  const level = matrix.levels.length - 1;
  let [rows, columns] = matrix.levels[level];
  if (!matrix.has(level)) return null;
  let codes = await matrix.load(level, 0, 0);
  while (Math.max(rows, columns) > THUMB) {
    codes = halved(codes, rows, columns, matrix.code);
    [rows, columns] = [Math.ceil(rows / 2), Math.ceil(columns / 2)];
  }
  return { codes, rows, columns };
}

function overview(app, root) {
  const { state, heads, data } = app;
  const places = data.measures.map(([name, title], i) => ({ name, title, i }));
  const measure = select("Measure", [["", "none"], ...places.map((p) => [p.name, p.title])], state.measure);
  const order = select("Order", [["layers", "by layer and head"], ["high", "highest first"], ["low", "lowest first"]], state.order);
  const grid = el("div", { role: "group", "aria-label": "Heads; arrow keys move, Enter opens" });
  const ends = el("span", { class: "off" });
  root.append(el("div", { class: "row" }, measure.label, order.label, app.colourBar(), ends), grid);
  measure.box.addEventListener("change", () => {
    state.measure = measure.box.value;
    show();
  });
  order.box.addEventListener("change", () => {
    state.order = order.box.value;
    show();
  });

  const thumbs = heads.map((head) => {
    const canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
    const frame = el("span", { class: "frame" }, canvas);
    const number = el("span", { class: "number" }), title = el("b", {}, head.short);
    const button = el("button", { type: "button", class: "thumb", tabindex: "-1" }, frame, title, number);
    button.addEventListener("click", (event) => {
      const chosen = state.heads.filter((i) => i !== head.index);
      if (event.shiftKey || event.ctrlKey || event.metaKey) {
        state.heads = chosen.length < state.heads.length && chosen.length ? chosen : [...chosen, head.index];
        show();
        app.refresh();
      } else {
        state.heads = [head.index];
        app.open("head");
      }
    });
    return { head, canvas, frame, number, title, button };
  });

  let shown = thumbs;
  function show() {
    const place = places.find((p) => p.name === state.measure);
    const values = heads.map((head) => (place ? head.measures[place.i] : 0));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    shown = [...thumbs];
    if (place && state.order !== "layers") {
      const sign = state.order === "high" ? -1 : 1;
      shown.sort((a, b) => sign * (values[a.head.index] - values[b.head.index]) || a.head.index - b.head.index);
    }
    for (const { head, frame, number, button } of thumbs) {
      const value = values[head.index], share = high > low ? (value - low) / (high - low) : 0;
      frame.style.borderColor = place ? app.mixed(share) : "";
      number.textContent = place ? shortOf(value) : "";
      button.setAttribute("aria-label", `${head.name}${place ? `, ${place.title} ${shortOf(value)}` : ""}`);
      button.setAttribute("aria-pressed", String(state.heads.includes(head.index)));
      button.title = `${head.name}${place ? `: ${place.title} ${shortOf(value)}` : ""}`;
      button.tabIndex = -1;
    }
    ends.textContent = place ? `Frames: ${place.title}, ${shortOf(low)} (faint) to ${shortOf(high)} (strong)` : "";
    shown[0].button.tabIndex = 0;
    const byLayer = state.order === "layers" || !place;
    const groups = new Map();
    for (const thumb of shown) {
      const name = byLayer && thumb.head.layer !== null && thumb.head.head !== null ? `Layer ${thumb.head.layer}` : "";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(thumb.button);
    }
    grid.replaceChildren(...[...groups].map(([name, buttons]) => {
      const held = el("div", { class: "thumbs" }, ...buttons);
      return name && groups.size > 1 ? el("div", { class: "layer" }, el("span", {}, name), held) : held;
    }));
    // A layer's name stands beside its heads.
    for (const { head, title } of thumbs) title.textContent = groups.size > 1 ? `H${head.head}` : head.short;
    const widest = Math.max(...[...groups.values()].map((buttons) => buttons.length));
    const room = root.clientWidth - (groups.size > 1 && root.clientWidth > 600 ? 70 : 0);
    // All of a layer in rows that are as long as each other.
    const most = Math.max(1, Math.floor((room + 6) / (widest > 24 ? 94 : 74)));
    const across = Math.ceil(widest / Math.ceil(widest / most));
    const width = Math.min(150, Math.floor((room + 6) / across) - 7);
    grid.style.setProperty("--thumb", `${width}px`);
  }

  grid.addEventListener("keydown", (event) => {
    const at = shown.findIndex(({ button }) => button === document.activeElement);
    if (at < 0) return;
    const top = shown[at].button.offsetTop;
    const across = Math.max(1, shown.filter(({ button }) => button.offsetTop === top).length);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? shown.length - 1 : step && at + step;
    if (to === undefined || !shown[to]) return;
    event.preventDefault();
    shown[at].button.tabIndex = -1;
    shown[to].button.tabIndex = 0;
    shown[to].button.focus();
  });

  const all = () => Promise.all(heads.map((head) => app.matrixOf(head.index, true)));

  function pixelsFor(matrix, matrices) {
    const scale = app.scale(state.range === "shared" ? matrices : [matrix]);
    return pixelsOf(scale, app.colours(matrix.code.signed), matrix.table);
  }

  async function paint() {
    const round = app.round, matrices = await all();
    if (round !== app.round) return;
    app.showBar(state.range === "shared" ? app.scale(matrices) : null, matrices[0].code.signed);
    for (let first = 0; first < thumbs.length; first += AT_ONCE) {
      const some = thumbs.slice(first, first + AT_ONCE);
      const small = await Promise.all(some.map(({ head }) => thumbnail(matrices[head.index])));
      if (round !== app.round) return;
      some.forEach(({ head, canvas }, i) => {
        if (small[i]) paintCodes(canvas, small[i], pixelsFor(matrices[head.index], matrices));
      });
      await pause();
    }
    app.finished();
  }

  show();
  paint();
  return {
    resized: show,
    command: () => app.commandOf(null),
    async svg() {
      const cell = 84, gap = 8, across = Math.max(1, Math.min(12, byRow()));
      const parts = [], rows = Math.ceil(shown.length / across), matrices = await all();
      for (const [i, { head }] of shown.entries()) {
        const matrix = matrices[head.index], small = await thumbnail(matrix);
        const x = gap + (i % across) * (cell + gap), y = gap + Math.floor(i / across) * (cell + gap + 16);
        if (small) {
          parts.push(svgMatrix(small, pixelsFor(matrix, matrices), x, y, cell / small.columns, cell / small.rows));
        }
        parts.push(svgText(x + cell / 2, y + cell + 12, head.short, { size: 10, anchor: "middle", fill: app.ink() }));
      }
      return svgPage(across * (cell + gap) + gap, rows * (cell + gap + 16) + gap, app.ground(), parts, data.title);
    },
  };

  function byRow() {
    const first = heads.filter((head) => head.layer === heads[0].layer).length;
    return first > 1 ? first : 12;
  }
}

function paintCodes(canvas, { codes, rows, columns }, pixels) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows), out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < codes.length; i++) out[i] = pixels[codes[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A matrix of codes in an SVG: rectangles if they are few, else an image.
function svgMatrix({ codes, rows, columns }, pixels, x, y, across, down) {
  if (Math.max(rows, columns) <= VECTOR_SIDE && rows * columns <= VECTOR_CELLS) {
    const fills = new Map();
    const fill = (r, c) => {
      const pixel = pixels[codes[r * columns + c]];
      if (!fills.has(pixel)) fills.set(pixel, hexOf([pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255]));
      return fills.get(pixel);
    };
    return svgCells(x, y, across, down, rows, columns, fill);
  }
  const canvas = document.createElement("canvas");
  paintCodes(canvas, { codes, rows, columns }, pixels);
  return `<image x="${short(x)}" y="${short(y)}" width="${short(columns * across)}" height="${short(rows * down)}" preserveAspectRatio="none" image-rendering="${across < 1 ? "auto" : "pixelated"}" xlink:href="${canvas.toDataURL("image/png")}"/>`;
}

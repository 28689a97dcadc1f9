// Heads: matrices on canvases that share what is seen of them, a cursor, and a locked row or column.

const LABEL_STEP = 13; // how many pixels a label takes
const LONGEST_LABEL = 132;
const TOP = 8; // pixels above a matrix: half a label
const KEPT_CANVASES = 160; // painted tiles of a pane
const BARS = 40; // how many keys of a row are shown as bars

function headView(app, root) {
  const { state, data } = app;
  const sights = { x: 0, y: 0, across: 1, down: 1, fit: null };
  let panes = [];

  const chips = el("div", { class: "chips", role: "group", "aria-label": "Heads that are shown" });
  const adding = select("Beside", [["", "add a head…"], ...app.heads.map((h) => [String(h.index), h.name])], "");
  const minus = checkbox("Difference of two", state.difference);
  const zoom = el("div", { class: "chips", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => zoomBy(0.5)), button("+", "Zoom in", () => zoomBy(2)), button("Fit", "Show the whole matrix", fit));
  const readout = el("p", { class: "readout" });
  const held = el("div", { class: "panes" });
  const details = el("div", { class: "details" });
  root.append(el("div", { class: "row" }, app.heads.length > 1 ? chips : "", app.heads.length > 1 ? adding.label : "", app.heads.length > 1 ? minus.label : "", zoom, app.colourBar()),
    readout, el("div", { class: "stage" }, held, details));

  adding.box.addEventListener("change", () => {
    const index = Number(adding.box.value);
    if (adding.box.value !== "" && !state.heads.includes(index)) state.heads.push(index);
    adding.box.value = "";
    app.redraw();
  });
  minus.box.addEventListener("change", () => {
    state.difference = minus.box.checked;
    app.redraw();
  });

  const isTwo = state.heads.length === 2;
  minus.box.disabled = !isTwo;
  minus.label.classList.toggle("off", !isTwo);
  if (app.heads.length > 1) chips.append(...state.heads.map((index, at) => {
    const chooser = select(at ? "and" : "Head", app.heads.map((h) => [String(h.index), h.name]), String(index));
    chooser.box.addEventListener("change", () => {
      state.heads[at] = Number(chooser.box.value);
      state.heads = [...new Set(state.heads)];
      app.redraw();
    });
    const chip = el("span", { class: "chip" }, chooser.label);
    if (state.heads.length > 1) {
      chip.append(button("×", `Leave out ${app.heads[index].name}`, () => {
        state.heads.splice(at, 1);
        app.redraw();
      }));
    }
    return chip;
  }));

  const axes = app.axes();
  const rows = axes.queries.count, columns = axes.keys.count;
  const start = gather();

  async function gather() {
    const round = app.round;
    const found = [];
    for (const index of state.heads) found.push({ title: app.heads[index].name, matrix: await app.matrixOf(index) });
    if (state.difference && found.length === 2) {
      const matrix = await app.differenceOf(state.heads[0], state.heads[1]);
      const title = `${app.heads[state.heads[0]].short} − ${app.heads[state.heads[1]].short}`, top = shortOf(matrix?.code.top ?? 0);
      if (matrix) found.push({ title, ends: `, from −${top} to ${top}`, matrix, less: true });
    }
    if (round !== app.round) return;
    panes = found.map((one) => pane(one));
    held.classList.toggle("single", panes.length === 1);
    held.replaceChildren(...panes.map((one) => one.figure));
    measureRoom();
    fit();
    paintDetails();
    app.finished();
  }

  function pane({ title, matrix, less, ends = "" }) {
    const canvas = el("canvas", {
      class: "matrix", tabindex: "0", role: "application", "aria-roledescription": "matrix of weights",
      "aria-label": `${title}: ${rows} queries by ${columns} keys. Arrow keys move, Enter locks a row, Shift and Enter a column, Escape unlocks.`,
    });
    const value = el("div", { class: "value" });
    const figure = el("figure", {}, el("figcaption", {}, el("h2", {}, title + ends), value), canvas);
    const one = { title, matrix, less, canvas, value, figure, painted: new Map(), pixels: null };
    listen(one);
    return one;
  }

  // --- What is seen ---

  let room = { left: 0, bottom: 0, width: 0, height: 0 };

  function measureRoom() {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = app.font(true);
    const longest = (axis) => {
      let most = 0;
      const step = Math.max(1, Math.floor(axis.count / 400));
      for (let i = 0; i < axis.count; i += step) most = Math.max(most, pen.measureText(axis.text(i)).width);
      return Math.min(LONGEST_LABEL, Math.ceil(most)) + 8;
    };
    const free = Math.max(200, root.clientWidth); // it has none while the page is not laid out
    const across = Math.min(panes.length, Math.max(1, Math.floor(free / 330)));
    const full = Math.floor((free - (across - 1) * 18) / across) - 2;
    room.left = Math.floor(Math.min(longest(axes.queries), full * 0.3));
    room.bottom = longest(axes.keys);
    const tallest = Math.max(240, window.innerHeight * (free < 600 ? 0.55 : 0.7));
    const widest = full - room.left - 4;
    const square = Math.min(widest / columns, tallest / rows, 40);
    sights.fit = { across: square, down: square };
    // A few queries of many keys, or the reverse, are no thin line.
    if (square * rows < 120) sights.fit.down = Math.min(120 / rows, 40);
    if (square * columns < 120) sights.fit.across = Math.min(120 / columns, 40, widest / columns);
    room.width = Math.ceil(Math.max(Math.min(widest, 160), sights.fit.across * columns));
    room.height = Math.ceil(sights.fit.down * rows);
    for (const { canvas } of panes) {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [room.left + room.width + 4, TOP + room.height + 2 + room.bottom];
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
  }

  function fit() {
    Object.assign(sights, { x: 0, y: 0, ...sights.fit });
    keepInside();
    schedule();
  }

  function keepInside() {
    const most = Math.max(40, sights.fit.across, sights.fit.down);
    const grow = Math.min(1, most / Math.max(sights.across, sights.down));
    sights.across = Math.max(sights.fit.across, sights.across * grow);
    sights.down = Math.max(sights.fit.down, sights.down * grow);
    sights.x = Math.max(0, Math.min(sights.x, columns - room.width / sights.across));
    sights.y = Math.max(0, Math.min(sights.y, rows - room.height / sights.down));
    const zoomed = sights.across > sights.fit.across * 1.001;
    for (const { canvas } of panes) canvas.classList.toggle("zoomed", zoomed);
  }

  // Zoom about a cell, which stays where it is; by default the cursor's or the middle.
  function zoomBy(factor, at = null) {
    const middle = at ?? (state.cursor && inSight(state.cursor)
      ? { x: state.cursor.column + 0.5, y: state.cursor.row + 0.5 }
      : { x: sights.x + room.width / sights.across / 2, y: sights.y + room.height / sights.down / 2 });
    const before = { across: sights.across, down: sights.down };
    sights.across *= factor;
    sights.down *= factor;
    const most = Math.max(40, sights.fit.across, sights.fit.down);
    const grow = Math.min(1, most / Math.max(sights.across, sights.down));
    sights.across = Math.max(sights.fit.across, sights.across * grow);
    sights.down = Math.max(sights.fit.down, sights.down * grow);
    sights.x = middle.x - (middle.x - sights.x) * (before.across / sights.across);
    sights.y = middle.y - (middle.y - sights.y) * (before.down / sights.down);
    keepInside();
    schedule();
  }

  function inSight({ row, column }) {
    return column >= sights.x && column < sights.x + room.width / sights.across
      && row >= sights.y && row < sights.y + room.height / sights.down;
  }

  function bringInSight({ row, column }) {
    const [wide, tall] = [room.width / sights.across, room.height / sights.down];
    if (column < sights.x || column + 1 > sights.x + wide) sights.x = column - (column < sights.x ? 0 : wide - 1);
    if (row < sights.y || row + 1 > sights.y + tall) sights.y = row - (row < sights.y ? 0 : tall - 1);
    keepInside();
  }

  // --- Painting ---

  let waiting = 0, told = 0;
  function schedule() {
    if (!waiting) waiting = requestAnimationFrame(paintAll);
  }

  function paintAll() {
    waiting = 0;
    for (const one of panes) paint(one);
    if (!panes.length) return;
    const shared = state.range === "shared" || panes.length === 1;
    app.showBar(shared ? panes[0].pixels.scale : null, panes[0].matrix.code.signed);
    clearTimeout(told);
    told = setTimeout(app.refresh, 150);
  }

  function scaleFor(one) {
    if (one.less) return app.scale([one.matrix]);
    return app.scale(state.range === "shared" ? panes.filter((p) => !p.less).map((p) => p.matrix) : [one.matrix]);
  }

  function pixelsFor(one) {
    const key = app.colourKey();
    if (one.pixels?.key !== key) {
      const colours = app.colours(one.matrix.code.signed), scale = scaleFor(one);
      one.pixels = { key, colours, scale, values: pixelsOf(scale, colours, one.matrix.table) };
      one.painted.clear();
    }
    return one.pixels;
  }

  // The level of which no cell is narrower than a pixel of the screen, so that none is hidden.
  function levelFor(matrix) {
    const ratio = window.devicePixelRatio || 1;
    const wanted = Math.max(0, Math.ceil(-Math.log2(Math.min(sights.across, sights.down) * ratio) - 1e-6));
    let level = Math.min(wanted, matrix.levels.length - 1);
    while (level < matrix.levels.length - 1 && !matrix.has(level)) level++;
    return level;
  }

  function paint(one) {
    const { canvas, matrix } = one, pen = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = app.ground();
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.save();
    pen.beginPath();
    const seen = { width: Math.min(room.width, (columns - sights.x) * sights.across), height: Math.min(room.height, (rows - sights.y) * sights.down) };
    pen.rect(room.left, TOP, seen.width, seen.height);
    pen.clip();
    pen.imageSmoothingEnabled = false;
    const level = levelFor(matrix), last = matrix.levels.length - 1;
    if (matrix.has(level) && !paintLevel(one, pen, level)) {
      // Until all is unpacked, the coarsest picture stands there.
      if (matrix.has(last) && level !== last) paintLevel(one, pen, last);
      paintLevel(one, pen, level);
    }
    paintMarks(pen);
    pen.restore();
    pen.strokeStyle = app.edge();
    pen.lineWidth = 1;
    pen.strokeRect(room.left - 0.5, TOP - 0.5, Math.round(seen.width) + 1, Math.round(seen.height) + 1);
    paintLabels(pen);
  }

  // Paint what is at hand of a level; return whether that is all that is seen.
  function paintLevel(one, pen, level) {
    const { matrix } = one, each = 2 ** level, span = SIDE * each;
    const [tall, wide] = matrix.levels[level];
    let whole = true;
    const bottom = Math.min(rows, sights.y + room.height / sights.down), right = Math.min(columns, sights.x + room.width / sights.across);
    for (let down = Math.floor(sights.y / span); down * span < bottom && down * SIDE < tall; down++) {
      for (let across = Math.floor(sights.x / span); across * span < right && across * SIDE < wide; across++) {
        const tile = tileCanvas(one, level, down, across);
        if (!tile) {
          whole = false;
          continue;
        }
        pen.drawImage(tile, room.left + (across * span - sights.x) * sights.across, TOP + (down * span - sights.y) * sights.down,
          tile.width * each * sights.across, tile.height * each * sights.down);
      }
    }
    return whole;
  }

  function tileCanvas(one, level, down, across) {
    const { values } = pixelsFor(one), name = `${level}/${down}/${across}`;
    const held = one.painted.get(name);
    if (held) {
      one.painted.delete(name);
      one.painted.set(name, held);
      return held;
    }
    const codes = one.matrix.ready(level, down, across);
    if (!codes) {
      one.matrix.load(level, down, across).then(schedule);
      return null;
    }
    const [tall, wide] = one.matrix.extent(level, down, across);
    const canvas = document.createElement("canvas");
    paintCodes(canvas, { codes, rows: tall, columns: wide }, values);
    one.painted.set(name, canvas);
    if (one.painted.size > KEPT_CANVASES) one.painted.delete(one.painted.keys().next().value);
    return canvas;
  }

  function paintMarks(pen) {
    const box = (row, column, tall, wide) => {
      const x = room.left + (column - sights.x) * sights.across, y = TOP + (row - sights.y) * sights.down;
      const [width, height] = [Math.max(3, wide * sights.across), Math.max(3, tall * sights.down)];
      pen.lineWidth = 4;
      pen.strokeStyle = app.ground();
      pen.strokeRect(x, y, width, height);
      pen.lineWidth = 2;
      pen.strokeStyle = app.cursor();
      pen.strokeRect(x, y, width, height);
    };
    if (state.lock?.axis === "row") box(state.lock.index, 0, 1, columns);
    if (state.lock?.axis === "column") box(0, state.lock.index, rows, 1);
    if (state.cursor) box(state.cursor.row, state.cursor.column, 1, 1);
  }

  // Which of an axis have a label, and where: as many as have room, the cursor's first of all.
  function labelled(axis, start, size, length, marked) {
    const step = stepOf(LABEL_STEP / size, axis.labels !== null);
    const past = Math.min(axis.count, Math.ceil(start + length / size)), found = [];
    for (let i = Math.ceil(start / step) * step; i < past; i += step) {
      if (marked === null || i === marked || Math.abs(i - marked) * size >= LABEL_STEP) found.push(i);
    }
    if (marked !== null && marked >= start && marked < past && !found.includes(marked)) found.push(marked);
    return found.filter((i) => i + 0.5 >= start && (i + 0.5 - start) * size <= length);
  }

  function paintLabels(pen) {
    const mark = state.cursor ?? (state.lock?.axis === "row" ? { row: state.lock.index } : state.lock ? { column: state.lock.index } : {});
    pen.textBaseline = "middle";
    for (const i of labelled(axes.queries, sights.y, sights.down, room.height, mark.row ?? null)) {
      pen.font = app.font(i === mark.row);
      pen.fillStyle = app.ink();
      pen.textAlign = "right";
      pen.fillText(fitted(pen, axes.queries.text(i), room.left - 7), room.left - 5, TOP + (i + 0.5 - sights.y) * sights.down);
    }
    for (const i of labelled(axes.keys, sights.x, sights.across, room.width, mark.column ?? null)) {
      pen.font = app.font(i === mark.column);
      pen.save();
      pen.translate(room.left + (i + 0.5 - sights.x) * sights.across, TOP + Math.min(room.height, (rows - sights.y) * sights.down) + 6);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "right";
      pen.fillText(fitted(pen, axes.keys.text(i), room.bottom - 7), 0, 0);
      pen.restore();
    }
  }

  // --- What a person does ---

  function cellAt(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left - room.left) / sights.across + sights.x;
    const y = (event.clientY - box.top - TOP) / sights.down + sights.y;
    return { x, y, row: Math.floor(y), column: Math.floor(x), inside: x >= sights.x && y >= sights.y && x < columns && y < rows && event.clientX - box.left <= room.left + room.width && event.clientY - box.top <= TOP + room.height };
  }

  function listen({ canvas }) {
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.clientX, y: event.clientY, from: { x: sights.x, y: sights.y }, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
        drag.moved ||= Math.hypot(dx, dy) > 4;
        if (drag.moved) {
          sights.x = drag.from.x - dx / sights.across;
          sights.y = drag.from.y - dy / sights.down;
          keepInside();
          schedule();
          return;
        }
      }
      const at = cellAt(canvas, event);
      if (at.inside) moveTo({ row: at.row, column: at.column });
    });
    canvas.addEventListener("pointerup", (event) => {
      const was = drag;
      drag = null;
      if (!was || was.moved) return;
      const at = cellAt(canvas, event);
      const below = !at.inside && at.y >= Math.min(rows, sights.y + room.height / sights.down) && at.x >= sights.x;
      if (at.inside) lock(event.shiftKey ? "column" : "row", event.shiftKey ? at.column : at.row);
      else if (below && at.column < columns) lock("column", at.column);
      else if (at.x < sights.x && at.row >= 0 && at.row < rows) lock("row", at.row);
    });
    canvas.addEventListener("pointercancel", () => (drag = null));
    canvas.addEventListener("pointerleave", () => {
      if (!drag && document.activeElement !== canvas) moveTo(null);
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      const at = cellAt(canvas, event);
      zoomBy(2 ** (-event.deltaY / 300), at.inside ? at : null);
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      const at = cellAt(canvas, event);
      if (at.inside) zoomBy(2, at);
    });
    canvas.addEventListener("keydown", keyed);
    canvas.addEventListener("focus", () => {
      if (!state.cursor && canvas.matches(":focus-visible")) moveTo({ row: Math.floor(sights.y), column: Math.floor(sights.x) }, true);
    });
  }

  function keyed(event) {
    if (event.altKey || event.metaKey) return;
    const { row, column } = state.cursor ?? { row: 0, column: 0 };
    const leap = event.ctrlKey ? Infinity : event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [0, -leap], ArrowRight: [0, leap], ArrowUp: [-leap, 0], ArrowDown: [leap, 0], Home: [0, -Infinity], End: [0, Infinity], PageUp: [-10, 0], PageDown: [10, 0] }[event.key];
    if (moves) {
      const kept = (value, most) => Math.max(0, Math.min(most - 1, value));
      const to = state.cursor ? { row: kept(row + moves[0], rows), column: kept(column + moves[1], columns) } : { row, column };
      bringInSight(to);
      moveTo(to, true);
    } else if (event.key === "Enter" && state.cursor) {
      lock(event.shiftKey ? "column" : "row", event.shiftKey ? column : row);
    } else if (event.key === "Escape") {
      lock(null);
    } else if (event.key === "+" || event.key === "=") {
      zoomBy(2);
    } else if (event.key === "-") {
      zoomBy(0.5);
    } else if (event.key === "0") {
      fit();
    } else {
      return;
    }
    event.preventDefault();
  }

  let moves = 0;
  async function moveTo(cell, aloud = false) {
    if (cell?.row === state.cursor?.row && cell?.column === state.cursor?.column && !aloud) return;
    state.cursor = cell;
    schedule();
    const move = ++moves;
    if (!cell) {
      readout.textContent = "";
      for (const one of panes) one.value.textContent = "";
      return;
    }
    const where = `Query ${axes.queries.name(cell.row)} → key ${axes.keys.name(cell.column)}`;
    readout.textContent = where;
    const said = await Promise.all(panes.map(({ matrix }) => app.told(matrix, cell)));
    if (move !== moves) return;
    panes.forEach((one, i) => (one.value.textContent = said[i]));
    if (panes.length === 1) readout.textContent = `${where}: ${said[0]}`;
    if (panes.length === 1) panes[0].value.textContent = "";
    if (aloud) app.say(panes.length === 1 ? readout.textContent : `${where}: ${panes.map((one, i) => `${one.title} ${said[i]}`).join("; ")}`);
  }

  function lock(axis, index) {
    const same = axis && state.lock?.axis === axis && state.lock.index === index;
    state.lock = axis && !same ? { axis, index } : null;
    schedule();
    paintDetails();
    app.refresh();
    if (state.lock) app.say(`Locked ${axis === "row" ? `query ${axes.queries.name(index)}` : `key ${axes.keys.name(index)}`}`);
    else app.say("Unlocked");
  }

  let detailed = 0;
  async function paintDetails() {
    const turn = ++detailed, { lock: at } = state;
    if (!at) {
      details.replaceChildren(el("p", { class: "off" }, "Point at a cell to read it. Click locks its row, Shift and click (or a click on a key's label) its column."));
      return;
    }
    const [own, others] = at.axis === "row" ? [axes.queries, axes.keys] : [axes.keys, axes.queries];
    const title = at.axis === "row" ? `Query ${own.name(at.index)}: its keys` : `Key ${own.name(at.index)}: its queries`;
    const sections = [];
    for (const one of panes) {
      const { weights, each } = await app.line(one.matrix, at.axis, at.index);
      if (turn !== detailed) return;
      const { scale, colours } = pixelsFor(one) && one.pixels;
      sections.push(lineOf({ title: panes.length > 1 ? `${one.title}. ${title}` : title, weights, each, scale, colours, others, own, at }));
    }
    const order = select("Bars", [["weight", "by weight"], ["place", "by position"]], state.bars);
    order.box.addEventListener("change", () => {
      state.bars = order.box.value;
      paintDetails();
    });
    const free = button("Unlock", "Unlock the row or column", () => lock(null));
    const focused = details.contains(document.activeElement);
    details.replaceChildren(el("div", { class: "row" }, order.label, free), ...sections);
    if (focused) order.box.focus();
  }

  // The weights of a row or column as bars, and as text shaded by weight.
  function lineOf({ title, weights, each, scale, colours, others, at }) {
    const ranked = [...weights.keys()].filter((i) => !Number.isNaN(weights[i]));
    ranked.sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]) || a - b);
    const shown = ranked.slice(0, BARS);
    if (state.bars === "place") shown.sort((a, b) => a - b);
    const most = Math.max(...shown.map((i) => Math.abs(weights[i])), 1e-300);
    const nameOf = (i) => (each === 1 ? others.name(i) : `${others.name(i * each)} to ${others.name(Math.min(others.count - 1, (i + 1) * each - 1))}`);
    const cross = state.cursor && (at.axis === "row" ? state.cursor.column : state.cursor.row);
    const bars = el("ol", { class: "bars", "aria-label": title }, ...shown.map((i) => {
      const fill = el("span", { class: "fill" });
      fill.style.width = `${(Math.abs(weights[i]) / most) * 100}%`;
      fill.style.background = hexOf(colourOf(scale, colours, weights[i]));
      return el("li", i * each === cross ? { "aria-current": "true" } : {},
        el("span", { class: "name", title: nameOf(i) }, nameOf(i)), el("span", { class: "track" }, fill), el("span", { class: "number" }, shortOf(weights[i])));
    }));
    const rest = ranked.length - shown.length;
    const parts = [el("h2", {}, title)];
    if (each > 1) parts.push(el("p", { class: "off" }, `The file holds maxima of ${each} × ${each} weights.`));
    if (others.labels) parts.push(app.shaded(others, weights, { each, scale, colours, query: -1 }));
    parts.push(bars);
    if (rest > 0) parts.push(el("p", { class: "off" }, `And ${rest.toLocaleString("en")} smaller.`));
    return el("section", {}, ...parts);
  }

  return {
    resized() {
      measureRoom();
      fit();
    },
    recoloured() {
      schedule();
      paintDetails();
    },
    async goTo(axis, index) {
      await start;
      const cell = axis === "query" ? { row: index, column: state.cursor?.column ?? 0 } : { row: state.cursor?.row ?? 0, column: index };
      bringInSight(cell);
      moveTo(cell, true);
    },
    sights,
    schedule,
    command: () => app.commandOf(state.heads, { part: part(), difference: state.difference }),
    async svg() {
      await start;
      const gap = 24, wide = room.left + room.width + 12, tall = 26 + room.height + room.bottom;
      const across = Math.min(panes.length, 3), parts = [];
      for (const [i, one] of panes.entries()) {
        const x = 8 + (i % across) * (wide + gap), y = 8 + Math.floor(i / across) * (tall + gap);
        parts.push(await svgPane(one, x, y));
      }
      return svgPage(16 + across * wide + (across - 1) * gap, 16 + Math.ceil(panes.length / across) * (tall + gap) - gap, app.ground(), parts, data.title);
    },
  };

  // What is seen of the axes, as the command takes it.
  function part() {
    if (!sights.fit) return null;
    const seen = (axis, start, size, length) => {
      const first = Math.floor(start + 1e-6), past = Math.min(axis.count, Math.ceil(start + length / size - 1e-6));
      return { groups: axis.groups.slice(first, past) };
    };
    if (sights.across <= sights.fit.across * 1.001) return null;
    return { queries: seen(axes.queries, sights.y, sights.down, room.height), keys: seen(axes.keys, sights.x, sights.across, room.width) };
  }

  async function svgPane(one, x, y) {
    const { matrix } = one, { values } = pixelsFor(one), level = levelFor(matrix), each = 2 ** level;
    const top = Math.floor(sights.y / each), left = Math.floor(sights.x / each);
    const bottom = Math.min(matrix.levels[level][0], Math.ceil((sights.y + room.height / sights.down) / each - 1e-6));
    const right = Math.min(matrix.levels[level][1], Math.ceil((sights.x + room.width / sights.across) / each - 1e-6));
    const codes = await matrix.part(level, [top, bottom], [left, right]);
    const small = { codes, rows: bottom - top, columns: right - left };
    const ink = app.ink(), x0 = x + room.left, y0 = y + 22;
    const [across, down] = [each * sights.across, each * sights.down];
    const [wide, tall] = [Math.min(small.columns * across, columns * sights.across), Math.min(small.rows * down, rows * sights.down)];
    const parts = [svgText(x0, y + 13, one.title, { size: 13, weight: "bold", fill: ink })];
    parts.push(svgMatrix(small, values, x0, y0, wide / small.columns, tall / small.rows));
    parts.push(svgRect(x0, y0, wide, tall, "none", ` stroke="${app.edge()}"`));
    const pen = one.canvas.getContext("2d");
    pen.font = app.font();
    for (const i of labelled(axes.queries, top * each, sights.down, tall, null)) {
      parts.push(svgText(x0 - 5, y0 + (i + 0.5 - top * each) * sights.down + 4, fitted(pen, axes.queries.text(i), room.left - 7), { anchor: "end", fill: ink }));
    }
    for (const i of labelled(axes.keys, left * each, sights.across, wide, null)) {
      parts.push(svgText(x0 + (i + 0.5 - left * each) * sights.across + 4, y0 + tall + 5, fitted(pen, axes.keys.text(i), room.bottom - 7), { anchor: "end", fill: ink, turned: true }));
    }
    return parts.join("\n");
  }
}

// Every how manieth of an axis has a label: of numbers 1, 2, 5, 10, 20, …
function stepOf(least, named) {
  if (named || least <= 1) return Math.max(1, Math.ceil(least));
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least);
}

// A text cut to what has room, with an ellipsis.
function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  const signs = Array.from(text.slice(0, 200));
  while (signs.length > 1 && pen.measureText(signs.join("") + "…").width > room) signs.pop();
  return signs.join("") + "…";
}

// The sentence: the text itself, in which every token is shaded by the weight that a query gives it.

const SHOWN_TOKENS = 4096;

function sentenceView(app, root) {
  const { state } = app, axes = app.axes(), self = app.isSelf();
  const chooser = select("Head", app.heads.map((h) => [String(h.index), h.name]), String(state.heads[0]));
  chooser.box.addEventListener("change", () => {
    state.heads = [Number(chooser.box.value), ...state.heads.slice(1)];
    state.heads = [...new Set(state.heads)];
    app.redraw();
  });
  const readout = el("p", { class: "readout" });
  root.append(el("div", { class: "row" }, state.heads.length === 1 ? chooser.label : "", app.colourBar()), readout);
  let query = Math.min(state.query ?? firstWord(axes.queries), axes.queries.count - 1);
  let held = state.lock?.axis === "row" ? state.lock.index : null;
  if (held !== null) query = held;
  const texts = [];
  let blocks = [];

  if (!self) {
    const text = picker("Queries");
    root.append(el("section", { class: "sentence" }, el("h2", {}, "Queries"), text.box));
  }
  const start = gather();

  // A text of which a token can be chosen as the query.
  function picker(name) {
    const box = el("div", { class: "text", role: "listbox", tabindex: "0", "aria-label": `${name}: point at a token, or move by arrow keys; Enter locks it` });
    const text = { box, spans: [] };
    box.addEventListener("pointerover", (event) => {
      const at = event.target.closest?.(".token")?.token;
      if (at !== undefined && held === null) choose(at);
    });
    box.addEventListener("click", (event) => {
      const at = event.target.closest?.(".token")?.token;
      if (at === undefined) return;
      held = held === at ? null : at;
      state.lock = held === null ? null : { axis: "row", index: held };
      choose(at);
      app.refresh();
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to = event.key === "Home" ? 0 : event.key === "End" ? axes.queries.count - 1 : step && query + step;
      if (event.key === "Enter" || event.key === " ") {
        held = held === query ? null : query;
        state.lock = held === null ? null : { axis: "row", index: held };
        choose(query, true);
        app.refresh();
      } else if (event.key === "Escape") {
        held = state.lock = null;
        choose(query, true);
        app.refresh();
      } else if (to !== undefined && to >= 0 && to < axes.queries.count) {
        if (held !== null) held = to;
        if (held !== null) state.lock = { axis: "row", index: to };
        choose(to, true);
      } else {
        return;
      }
      event.preventDefault();
    });
    const shown = tokensOf(axes.queries);
    for (const { text: word, space, at } of shown) {
      if (space) box.append(" ");
      const span = el("span", { class: "token", role: "option", id: `token-${texts.length}-${at}`, "aria-selected": "false" }, word);
      span.token = at;
      span.title = axes.queries.name(at);
      text.spans[at] = span;
      box.append(span);
    }
    if (shown.length < axes.queries.count) box.append(el("p", { class: "off" }, `The first ${SHOWN_TOKENS.toLocaleString("en")} of ${axes.queries.count.toLocaleString("en")} tokens.`));
    texts.push(text);
    return text;
  }

  async function gather() {
    const round = app.round;
    for (const index of state.heads) {
      const matrix = await app.matrixOf(index);
      if (round !== app.round) return;
      const name = app.heads[index].name;
      const text = self ? picker(name) : { box: el("div", { class: "text", "aria-label": `${name}: keys` }), spans: [] };
      if (!self) {
        for (const { text: word, space, at } of tokensOf(axes.keys)) {
          if (space) text.box.append(" ");
          const span = el("span", { class: "token" }, word);
          text.spans[at] = span;
          text.box.append(span);
        }
      }
      const title = self ? name : `${name}: keys`;
      blocks.push({ index, matrix, text, name });
      root.append(el("section", { class: "sentence" }, el("h2", {}, title), text.box));
    }
    await choose(query);
    app.finished();
  }

  let turns = 0;
  async function choose(at, aloud = false) {
    query = state.query = at;
    const turn = ++turns;
    for (const { box, spans } of texts) {
      for (const span of box.querySelectorAll(".query")) {
        span.classList.remove("query");
        span.setAttribute("aria-selected", "false");
      }
      const span = spans[at];
      if (!span) continue;
      span.classList.add("query");
      span.setAttribute("aria-selected", "true");
      box.setAttribute("aria-activedescendant", span.id);
      if (aloud) span.scrollIntoView({ block: "nearest" });
    }
    const where = `Query ${axes.queries.name(at)}${held === null ? "" : " (locked)"}`;
    const told = [];
    if (blocks.length) app.showBar(state.range === "shared" || blocks.length === 1 ? app.scale(blocks.map((b) => b.matrix)) : null, blocks[0].matrix.code.signed);
    for (const block of blocks) {
      const { weights, each } = await app.line(block.matrix, "row", at);
      if (turn !== turns) return;
      told.push(shade(block, weights, each));
    }
    readout.textContent = `${where}: ${told.join("; ")}`;
    if (aloud) app.say(readout.textContent);
    app.refresh();
  }

  function shade({ index, matrix, text, name }, weights, each) {
    const scale = app.scale(state.range === "shared" ? blocks.map((b) => b.matrix) : [matrix]);
    const colours = app.colours(matrix.code.signed);
    // Of one text the keys are the queries, but for what is left out.
    const at = self ? axes.keyOf : null;
    text.spans.forEach((span, i) => {
      const key = at ? at(i) : i;
      span.classList.toggle("gone", key === -1);
      if (key === -1) {
        span.style.background = span.style.color = "";
        return;
      }
      const colour = colourOf(scale, colours, weights[Math.floor(key / each)]);
      span.style.background = hexOf(colour);
      span.style.color = inkOn(colour);
      span.title = `${axes.keys.name(key)}: ${shortOf(weights[Math.floor(key / each)])}`;
    });
    const best = [...weights.keys()].filter((i) => weights[i] > 0 || weights[i] < 0).sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a])).slice(0, 3);
    const most = best.map((i) => `${axes.keys.name(i * each)} ${shortOf(weights[i])}`).join(", ");
    return state.heads.length > 1 ? `${app.heads[index].short} ${most}` : `${name}, most on ${most}`;
  }

  return {
    recoloured: () => choose(query),
    async goTo(axis, index) {
      await start;
      if (axis === "query") await choose(index, true);
      else app.say(`Key ${axes.keys.name(index)}`);
    },
    command: () => app.commandOf(state.heads, { query: axes.queries.groups[query] }),
    async svg() {
      await start;
      const all = root.getBoundingClientRect(), top = root.querySelector(".sentence").getBoundingClientRect().top;
      const box = { left: all.left, top, width: 240, height: 0 }, parts = [];
      for (const element of root.querySelectorAll(".sentence h2, .sentence .token")) {
        const style = getComputedStyle(element), size = parseFloat(style.fontSize);
        for (const [i, line] of [...element.getClientRects()].entries()) {
          const x = line.left - box.left + 8, y = line.top - box.top + 8;
          const isToken = element.classList.contains("token");
          if (isToken) box.width = Math.max(box.width, x + line.width);
          box.height = Math.max(box.height, y + line.height);
          if (isToken && style.backgroundColor !== "rgba(0, 0, 0, 0)") parts.push(svgRect(x, y, line.width, line.height, hexColour(style.backgroundColor)));
          if (element.classList.contains("query")) parts.push(svgRect(x + 1, y + 1, line.width - 2, line.height - 2, "none", ` stroke="${app.cursor()}" stroke-width="2"`));
          if (i === 0) parts.push(svgText(x + (isToken ? 3 : 0), y + line.height / 2 + size * 0.35, element.textContent, { size, fill: hexColour(style.color), weight: isToken ? undefined : "bold" }));
        }
      }
      return svgPage(box.width + 8, box.height + 8, app.ground(), parts, app.data.title);
    },
  };
}

// The first token that is no special one.
function firstWord(axis) {
  const at = axis.labels ? axis.labels.findIndex((label) => !isSpecial(label)) : 0;
  return Math.max(0, at);
}

// The tokens of an axis in running text, as many as are shown.
function tokensOf(axis) {
  const count = Math.min(axis.count, SHOWN_TOKENS);
  if (!axis.labels) return Array.from({ length: count }, (_, at) => ({ text: axis.text(at), space: at > 0, at }));
  const words = axis.merged ? axis.labels.map((label, i) => ({ text: visible(label) || " ", space: i > 0 })) : inText(axis.labels);
  return words.slice(0, count).map((word, at) => ({ ...word, at }));
}

function hexColour(text) {
  const parts = text.match(/[\d.]+/g);
  return parts ? hexOf(parts.slice(0, 3).map(Number)) : "#000000";
}

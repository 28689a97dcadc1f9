// The view as an SVG: text stays text, cells are vectors up to 64 × 64, beyond an image.

const VECTOR_SIDE = 64, VECTOR_CELLS = 20000;

const XML = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text) => visible(text).replace(/[&<>"]/g, (sign) => XML[sign]);
const short = (number) => String(Math.round(number * 100) / 100);

function svgRect(x, y, width, height, fill, more = "") {
  return `<rect x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" fill="${fill}"${more}/>`;
}

// how: { size, anchor, fill, turned, weight }
function svgText(x, y, text, how = {}) {
  const turn = how.turned ? ` transform="rotate(-90 ${short(x)} ${short(y)})"` : "";
  const anchor = how.anchor ? ` text-anchor="${how.anchor}"` : "";
  const bold = how.weight ? ` font-weight="${how.weight}"` : "";
  return `<text x="${short(x)}" y="${short(y)}" font-size="${how.size ?? 12}" fill="${how.fill ?? "#000000"}"${anchor}${bold}${turn} xml:space="preserve">${escaped(text)}</text>`;
}

// Cells as rectangles, those of one colour beside each other as one; a title for each is no part of
// a figure.
function svgCells(x, y, across, down, rows, columns, colourAt) {
  const parts = [];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; ) {
      const fill = colourAt(r, c);
      let past = c + 1;
      while (past < columns && colourAt(r, past) === fill) past++;
      parts.push(svgRect(x + c * across, y + r * down, (past - c) * across, down, fill));
      c = past;
    }
  }
  return `<g shape-rendering="crispEdges">${parts.join("")}</g>`;
}

function svgPage(width, height, ground, parts, title) {
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${short(width)}" height="${short(height)}" viewBox="0 0 ${short(width)} ${short(height)}" font-family="system-ui, Helvetica, Arial, sans-serif" role="img">\n<title>${escaped(title)}</title>\n${svgRect(0, 0, width, height, ground)}\n${parts.join("\n")}\n</svg>\n`;
}

// The colour scale: from weights to colours, and what stands along its bar.

const MISSING = [189, 189, 189]; // the grey of a cell without a weight

// 256 colours, [red, green, blue], out of evenly spaced stops of six digits.
function coloursOf(stops) {
  const count = stops.length / 6, colours = [];
  const part = (stop, channel) => parseInt(stops.substr(stop * 6 + channel * 2, 2), 16);
  for (let level = 0; level < 256; level++) {
    const at = (level / 255) * (count - 1), low = Math.min(Math.floor(at), count - 2);
    colours.push([0, 1, 2].map((channel) => {
      const one = part(low, channel), other = part(low + 1, channel);
      return Math.round(one + (other - one) * (at - low));
    }));
  }
  return colours;
}

// kind: "linear", "sqrt" or "log"; from low to high, and centred at 0 where signed.
function scaleOf(kind, high, signed, low = 0) {
  const most = high > 0 ? high : 1;
  if (signed) return { kind: kind === "sqrt" ? "sqrt" : "linear", low: -most, high: most, signed };
  if (kind === "log") return { kind, low: low > 0 ? low : most / 1e4, high: most, signed };
  return { kind, low: 0, high: most, signed };
}

// Where a weight lies on the scale, 0 to 1.
function shareOf(scale, weight) {
  const { kind, low, high } = scale;
  let share;
  if (kind === "log") {
    share = weight > low ? Math.log(weight / low) / Math.log(high / low) : 0;
  } else if (scale.signed) {
    const root = kind === "sqrt" ? Math.sqrt(Math.abs(weight) / high) : Math.abs(weight) / high;
    share = (1 + Math.sign(weight) * root) / 2;
  } else {
    share = kind === "sqrt" ? Math.sqrt(Math.max(weight, 0) / high) : weight / high;
  }
  return Math.min(1, Math.max(0, share));
}

function levelOf(scale, weight) {
  return Math.min(255, Math.floor(shareOf(scale, weight) * 256));
}

function colourOf(scale, colours, weight) {
  return Number.isNaN(weight) ? MISSING : colours[levelOf(scale, weight)];
}

// The pixel of every code, as ImageData takes it on a processor whose lowest byte comes first.
function pixelsOf(scale, colours, table) {
  const pixels = new Uint32Array(table.length);
  for (let code = 0; code < table.length; code++) {
    const [red, green, blue] = colourOf(scale, colours, table[code]);
    pixels[code] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return pixels;
}

// The weight at a share of the scale.
function weightAt(scale, share) {
  const { kind, low, high } = scale;
  if (kind === "log") return low * (high / low) ** share;
  if (scale.signed) {
    const part = 2 * share - 1;
    return Math.sign(part) * (kind === "sqrt" ? part * part : Math.abs(part)) * high;
  }
  return (kind === "sqrt" ? share * share : share) * high;
}

// A weight in short: three digits, and next to nothing is 0.
function shortOf(weight) {
  if (Number.isNaN(weight)) return "none";
  if (weight === 0) return "0";
  const size = Math.abs(weight);
  if (size >= 0.001 && size < 1e5) return String(Number(weight.toPrecision(3)));
  return weight.toExponential(1).replace(".0e", "e").replace("e+", "e");
}

const hexOf = (colour) => "#" + colour.map((one) => one.toString(16).padStart(2, "0")).join("");

// The luminance of WCAG 2, and the one of black and white that contrasts more with a colour.
function luminance(colour) {
  const [red, green, blue] = colour.map((one) => {
    const part = one / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function inkOn(colour) {
  return contrast(colour, [0, 0, 0]) >= contrast(colour, [255, 255, 255]) ? "#000000" : "#ffffff";
}

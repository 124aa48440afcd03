// Small charts of the last minute on plain canvases.

export const SPAN_S = 60;
const HEADROOM_PX = 13; // for the number at the top
const GAP_S = 2.5; // a line does not bridge longer silence

/** Values over time; older ones than a minute go. Each value is a number or an array of them. */
export class Series {
  constructor() {
    this.points = [];
  }

  push(timeS, value) {
    this.points.push([timeS, value]);
    while (this.points.length && this.points[0][0] < timeS - SPAN_S - 1) this.points.shift();
  }

  clear() {
    this.points = [];
  }
}

/** A line, with the area below it tinted; `upper` is a second, fainter line. */
export function drawLine(canvas, nowS, series, { color, upper = null, ink }) {
  const place = prepared(canvas);
  if (!place || !series.points.length) return;
  const all = upper ? series.points.concat(upper.points) : series.points;
  const top = ceiling(Math.max(...all.map((point) => point[1])));
  const { context, width, height } = place;
  for (const line of runs(series.points)) {
    const path = traced(line, nowS, width, height, top);
    context.globalAlpha = 0.16;
    context.fillStyle = color;
    const area = new Path2D(path);
    area.lineTo(xOf(line[line.length - 1][0], nowS, width), height);
    area.lineTo(xOf(line[0][0], nowS, width), height);
    context.fill(area);
    context.globalAlpha = 1;
    stroke(context, path, color, 1.75);
  }
  if (upper) {
    context.globalAlpha = 0.5;
    for (const line of runs(upper.points)) stroke(context, traced(line, nowS, width, height, top), color, 1);
    context.globalAlpha = 1;
  }
  label(context, width, top, ink);
}

/** Bars, one a second. */
export function drawBars(canvas, nowS, series, { color, ink }) {
  const place = prepared(canvas);
  if (!place) return;
  const { context, width, height } = place;
  const sums = new Map();
  for (const [timeS, value] of series.points) {
    const second = Math.floor(timeS);
    sums.set(second, (sums.get(second) || 0) + value);
  }
  const top = ceiling(Math.max(1, ...sums.values()));
  context.fillStyle = ink;
  context.globalAlpha = 0.25;
  context.fillRect(0, height - 1, width, 1);
  context.globalAlpha = 1;
  context.fillStyle = color;
  const step = width / SPAN_S;
  for (const [second, sum] of sums) {
    if (!sum) continue;
    const high = Math.max(2, (sum / top) * (height - HEADROOM_PX));
    context.fillRect(xOf(second + 1, nowS, width) - step, height - high, Math.max(1, step - 1), high);
  }
  label(context, width, top, ink);
}

/** Areas on top of each other: what a whole is made of. */
export function drawStack(canvas, nowS, series, { colors, ink }) {
  const place = prepared(canvas);
  if (!place || !series.points.length) return;
  const { context, width, height } = place;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const top = ceiling(Math.max(...series.points.map((point) => sum(point[1]))));
  for (const line of runs(series.points)) {
    const below = line.map(() => 0);
    colors.forEach((color, layer) => {
      const area = new Path2D();
      line.forEach(([timeS], at) => area.lineTo(xOf(timeS, nowS, width), yOf(below[at], height, top)));
      for (let at = line.length - 1; at >= 0; at--) {
        below[at] += line[at][1][layer] || 0;
        area.lineTo(xOf(line[at][0], nowS, width), yOf(below[at], height, top));
      }
      context.fillStyle = color;
      context.fill(area);
    });
  }
  label(context, width, top, ink);
}

function prepared(canvas) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || !height) return null;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineJoin = "round";
  return { context, width, height };
}

function runs(points) {
  const found = [];
  let last = -Infinity;
  for (const point of points) {
    if (point[0] - last > GAP_S) found.push([]);
    found[found.length - 1].push(point);
    last = point[0];
  }
  return found;
}

function traced(line, nowS, width, height, top) {
  const path = new Path2D();
  for (const [timeS, value] of line) path.lineTo(xOf(timeS, nowS, width), yOf(value, height, top));
  return path;
}

function stroke(context, path, color, lineWidth) {
  context.strokeStyle = color;
  context.lineWidth = lineWidth;
  context.stroke(path);
}

function label(context, width, top, ink) {
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "top";
  context.fillStyle = ink;
  context.fillText(String(top), width, 0);
}

function xOf(timeS, nowS, width) {
  return width * (1 - (nowS - timeS) / SPAN_S);
}

function yOf(value, height, top) {
  return height - 1 - (value / top) * (height - HEADROOM_PX);
}

function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => Number((step * power).toPrecision(6))).find((top) => top >= value * 1.02) || Number((20 * power).toPrecision(6));
}

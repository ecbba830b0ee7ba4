/**
 * What charts are made of: marks of time in the viewer's way, and hatching where nothing was seen.
 * @module
 */

/** @typedef {{start: number, end: number, seconds: number, times: number[], observed: number[]}} Grid */

const HATCH_PX = 7;
const LEAST_MISSING = 0.05; // less than that is a camera's usual hiccup
const PART_ALPHA = 0.6;
const DAY_S = 86_400;
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const clockFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

/** @param {string} name of a CSS variable */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * @param {Grid} grid
 * @returns {Array<[number, number]>} from when to when nothing was seen, Unix seconds
 */
export function gapsOf(grid) {
  /** @type {Array<[number, number]>} */
  const gaps = [];
  grid.times.forEach((start, index) => {
    if (grid.observed[index] > 0) return;
    const last = gaps.at(-1);
    if (last && last[1] === start) last[1] = start + grid.seconds;
    else gaps.push([start, start + grid.seconds]);
  });
  return gaps;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @returns {CanvasPattern | null}
 */
function hatch(context) {
  const tile = document.createElement("canvas");
  const side = Math.round(HATCH_PX * devicePixelRatio);
  tile.width = tile.height = side;
  const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  pen.strokeStyle = ink("--hatch");
  pen.lineWidth = devicePixelRatio;
  for (const shift of [-side, 0, side]) {
    pen.moveTo(shift, side);
    pen.lineTo(shift + side, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

/**
 * Hatch the time without pictures; faintly where only a part of a bin was seen.
 * @param {any} plot
 * @param {Grid} grid
 */
export function drawGaps(plot, grid) {
  const { ctx, bbox } = plot;
  const [least, most] = [bbox.left, bbox.left + bbox.width];
  const place = (/** @type {number} */ time) =>
    Math.min(most, Math.max(least, plot.valToPos(time, "x", true)));
  ctx.save();
  ctx.fillStyle = hatch(ctx);
  grid.times.forEach((start, index) => {
    const missing = 1 - grid.observed[index];
    if (missing < LEAST_MISSING) return;
    const [left, right] = [place(start), place(start + grid.seconds)];
    ctx.globalAlpha = missing === 1 ? 1 : missing * PART_ALPHA;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  });
  ctx.globalAlpha = 1;
  for (const [from, to] of gapsOf(grid)) nameGap(ctx, place(from), place(to), bbox.top);
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} left
 * @param {number} right
 * @param {number} top
 */
function nameGap(ctx, left, right, top) {
  const text = "no data";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const width = ctx.measureText(text).width + 10 * devicePixelRatio;
  if (right - left < width + 4) return;
  const [middle, y, tall] = [(left + right) / 2, top + 14 * devicePixelRatio, 16 * devicePixelRatio];
  ctx.fillStyle = ink("--panel");
  ctx.fillRect(middle - width / 2, y - tall / 2, width, tall);
  ctx.fillStyle = ink("--muted");
  ctx.fillText(text, middle, y);
}

/**
 * @param {any} _
 * @param {number[]} marks Unix seconds
 * @param {number} _axis
 * @param {number} _space
 * @param {number} step between marks, in seconds
 * @returns {string[]} the viewer's way to write times; the day below the first mark of each
 */
function timeMarks(_, marks, _axis, _space, step) {
  let before = "";
  return marks.map((mark) => {
    const [day, clock] = [dayFormat.format(mark * 1000), clockFormat.format(mark * 1000)];
    const isNew = day !== before;
    before = day;
    if (step >= DAY_S) return day;
    return isNew ? `${clock}\n${day}` : clock;
  });
}

/** @param {(value: number) => string} format */
export function axes(format) {
  const font = "12px system-ui, sans-serif";
  const look = {
    stroke: ink("--muted"),
    font,
    grid: { stroke: ink("--grid"), width: 1 },
    ticks: { stroke: ink("--grid"), width: 1 },
  };
  return [
    { ...look, space: 76, values: timeMarks },
    {
      ...look,
      size: 44,
      incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000],
      values: (/** @type {any} */ _, /** @type {number[]} */ marks) => marks.map(format),
    },
  ];
}

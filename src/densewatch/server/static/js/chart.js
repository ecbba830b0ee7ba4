/**
 * Counts and crossings over time, by uPlot. A bin without pictures is hatched, never drawn as 0.
 * @module
 */

import UPlot from "../vendor/uplot.js";
import { axes, drawGaps, ink } from "./chart-parts.js";
import { h } from "./dom.js";
import { onTheme } from "./theme.js";

/**
 * @typedef {object} CountLine
 * @property {string} label
 * @property {string} color
 * @property {Array<number | null>} minimum
 * @property {Array<number | null>} mean
 * @property {Array<number | null>} maximum
 */

/** @typedef {{label: string, color: string, entered: Array<number | null>, left: Array<number | null>}} CrossingLine */
/** @typedef {import("./chart-parts.js").Grid} Grid */

/** @type {any} its types are not vendored */
const uPlot = UPlot;

/**
 * A chart that follows the width of its place and the colours of the theme.
 * @param {Grid} grid
 * @param {() => {data: Array<Array<number | null>>, series: object[], bands?: object[], range: (least: number, most: number) => [number, number], format: (value: number) => string}} build
 * @param {(index: number | null) => void} onCursor the bin that somebody points at
 * @returns {{element: HTMLElement, redraw: () => void, close: () => void}}
 */
function chart(grid, build, onCursor) {
  const element = h("div", { class: "chart", "aria-hidden": "true" });
  /** @type {any} */
  let plot = null;
  const size = () => ({
    width: Math.max(200, element.clientWidth),
    height: element.clientWidth < 520 ? 240 : 340,
  });
  const redraw = () => {
    plot?.destroy();
    if (!element.isConnected) return;
    const { data, series, bands = [], range, format } = build();
    const options = {
      ...size(),
      series: [{}, ...series],
      bands,
      axes: axes(format),
      scales: {
        x: { range: () => [grid.start, grid.end] },
        y: {
          range: (/** @type {any} */ _, /** @type {number} */ least, /** @type {number} */ most) =>
            range(least ?? 0, most ?? 1),
        },
      },
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      hooks: {
        drawAxes: [(/** @type {any} */ drawn) => drawGaps(drawn, grid)],
        setCursor: [(/** @type {any} */ drawn) => onCursor(binAt(drawn, grid))],
      },
    };
    plot = new uPlot(options, data, element);
  };
  const resizes = new ResizeObserver(() => (plot ? plot.setSize(size()) : redraw()));
  resizes.observe(element);
  const ended = onTheme(redraw);
  return {
    element,
    redraw,
    close() {
      resizes.disconnect();
      ended();
      plot?.destroy();
    },
  };
}

/**
 * @param {any} plot
 * @param {Grid} grid
 * @returns {number | null}
 */
function binAt(plot, grid) {
  if (plot.cursor.left === undefined || plot.cursor.left < 0) return null;
  const time = plot.posToVal(plot.cursor.left, "x");
  const index = grid.times.findIndex((start) => start <= time && time < start + grid.seconds);
  return index < 0 ? null : index;
}

/**
 * Each bin from its start to its end, so that one between two gaps is seen too.
 * @param {Array<number | null>} values
 */
function steps(values) {
  return values.flatMap((value) => [value, value]);
}

/**
 * The mean as a line, between the least and the most as a band.
 * @param {Grid} grid
 * @param {CountLine[]} lines
 * @param {(label: string) => boolean} isShown
 * @param {(index: number | null) => void} onCursor
 */
export function countChart(grid, lines, isShown, onCursor) {
  const paths = uPlot.paths.linear();
  return chart(
    grid,
    () => {
      const shown = lines.filter(({ label }) => isShown(label));
      const edge = { width: 0, paths, points: { show: false } };
      return {
        data: [
          grid.times.flatMap((start) => [start, start + grid.seconds]),
          ...shown.flatMap(({ minimum, maximum, mean }) => [minimum, maximum, mean].map(steps)),
        ],
        series: shown.flatMap(({ color }) => [
          { ...edge, stroke: "transparent" },
          { ...edge, stroke: "transparent" },
          { stroke: color, width: 2, paths, points: { show: false } },
        ]),
        bands: shown.map(({ color }, index) => ({
          series: [index * 3 + 2, index * 3 + 1],
          fill: `${color}38`,
        })),
        range: (_, most) => [0, Math.max(1, Math.ceil(most * 1.08))],
        format: String,
      };
    },
    onCursor,
  );
}

/**
 * Crossings as bars: in upwards, out downwards, the classes that are shown together.
 * @param {Grid} grid
 * @param {CrossingLine[]} lines
 * @param {(label: string) => boolean} isShown
 * @param {(index: number | null) => void} onCursor
 */
export function crossingChart(grid, lines, isShown, onCursor) {
  const paths = uPlot.paths.bars({ size: [0.8, 40], align: 1 });
  return chart(
    grid,
    () => {
      const shown = lines.filter(({ label }) => isShown(label));
      const sum = (/** @type {"entered" | "left"} */ way, /** @type {number} */ sign) =>
        grid.times.map((_, index) =>
          grid.observed[index] > 0
            ? sign * shown.reduce((all, line) => all + (line[way][index] ?? 0), 0)
            : null,
        );
      const bar = (/** @type {string} */ color) => ({
        stroke: color,
        fill: `${color}b0`,
        width: 1,
        paths,
        points: { show: false },
      });
      return {
        data: [grid.times, sum("entered", 1), sum("left", -1)],
        series: [bar(ink("--in")), bar(ink("--out"))],
        range: (least, most) => [Math.floor(Math.min(-1, least * 1.1)), Math.ceil(Math.max(1, most * 1.1))],
        format: (value) => String(Math.abs(value)),
      };
    },
    onCursor,
  );
}

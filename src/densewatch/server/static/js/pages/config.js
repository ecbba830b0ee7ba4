/**
 * The site's configuration, as it runs now.
 * @module
 */

import { h } from "../dom.js";

const PLAIN = /^[\w./@ -]*[\w./@-]$/;

/**
 * @param {unknown} value
 * @returns {string}
 */
function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && Number.isNaN(Number(value)) && !/^(true|false|null|yes|no|on|off)$/i.test(value)
    ? value
    : JSON.stringify(value);
}

/**
 * @param {unknown} value of JSON
 * @param {string} indent
 * @returns {string[]} lines as in the site's file
 */
function yaml(value, indent = "") {
  if (Array.isArray(value)) {
    if (!value.some((item) => item !== null && typeof item === "object" && !Array.isArray(item)))
      return [`${indent}${JSON.stringify(value)}`];
    return value.flatMap((item) => [`${indent}-`, ...yaml(item, `${indent}  `)]);
  }
  if (value === null || typeof value !== "object") return [`${indent}${scalar(value)}`];
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = `${indent}${scalar(key)}:`;
    const nested = inner !== null && typeof inner === "object" && Object.keys(inner).length > 0;
    const lines = yaml(inner, `${indent}  `);
    if (!nested)
      return [
        `${name} ${Array.isArray(inner) ? "[]" : inner !== null && typeof inner === "object" ? "{}" : scalar(inner)}`,
      ];
    return Array.isArray(inner) && lines.length === 1 ? [`${name} ${lines[0].trim()}`] : [name, ...lines];
  });
}

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("./settings.js").Tab>}
 */
export async function configTab(app) {
  const config = await app.api.get("config");
  const text = yaml(config).join("\n");
  const heading = h("h2", {}, "Configuration");
  const hint = h(
    "p",
    { class: "hint" },
    "As it runs now; passwords and keys are left out. It is changed in the site's file; zones, lines and masks also on a camera's page.",
  );
  return {
    element: h(
      "section",
      { class: "panel" },
      heading,
      hint,
      h("pre", { tabindex: 0, role: "region", "aria-label": "Configuration" }, text),
    ),
  };
}

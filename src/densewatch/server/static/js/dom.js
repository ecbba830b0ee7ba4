/**
 * Builds DOM nodes. Data becomes text or an attribute, never markup: nothing here parses HTML.
 * @module
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Child | Child[]} Children */

/**
 * @param {Element} element
 * @param {Record<string, unknown>} attributes
 */
function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * @param {Element} element
 * @param {Children[]} children
 */
function fill(element, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Make an HTML element. `onclick: f` listens; `true` is an empty attribute; `false` and null leave it out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  apply(element, attributes);
  fill(element, children);
  return element;
}

/**
 * Make an SVG element; attributes and children as in `h`.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...Children} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(element, attributes);
  fill(element, children);
  return element;
}

/**
 * A form field with its label above it.
 * @param {string} text
 * @param {HTMLElement} control must have no id yet
 * @param {string} [hint] a sentence below the control
 * @returns {HTMLElement}
 */
export function field(text, control, hint) {
  control.id ||= uniqueId("field");
  const note = hint ? h("small", { id: uniqueId("hint"), class: "hint" }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), control, note);
}

/**
 * A choice of one out of several.
 * @param {Array<[string, string]>} options value and text
 * @param {string} [chosen]
 * @param {Record<string, unknown>} [attributes]
 * @returns {HTMLSelectElement}
 */
export function select(options, chosen = "", attributes = {}) {
  const element = h(
    "select",
    attributes,
    options.map(([value, text]) => h("option", { value }, text)),
  );
  if (options.some(([value]) => value === chosen)) element.value = chosen;
  return element;
}

let ids = 0;

/**
 * @param {string} prefix
 * @returns {string} an id that no other element has
 */
export function uniqueId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** @type {string[]} */
const toSay = [];

/**
 * Say something to screen readers; what comes at the same time is said together.
 * @param {string} text
 */
export function announce(text) {
  toSay.push(text);
  if (toSay.length > 1) return;
  setTimeout(() => {
    const region = document.getElementById("announcer");
    if (region) region.textContent = toSay.join(". ");
    toSay.length = 0;
  }, 150);
}

/**
 * A sentence about what went wrong, read out when it appears.
 * @param {unknown} error
 * @returns {HTMLElement}
 */
export function errorNote(error) {
  return h(
    "p",
    { class: "note note-error", role: "alert" },
    error instanceof Error ? error.message : String(error),
  );
}

/**
 * A table under a heading of its own, which scrolls sideways where the screen is narrow.
 * @param {string} title
 * @param {string[]} heads of the columns
 * @param {HTMLElement} body the table's rows
 * @returns {HTMLElement}
 */
export function tablePanel(title, heads, body) {
  const columns = heads.map((text) => h("th", { scope: "col" }, text));
  const table = h(
    "table",
    { class: "data" },
    h("caption", { class: "visually-hidden" }, title),
    h("thead", {}, h("tr", {}, columns)),
    body,
  );
  return h("section", { class: "panel" }, h("h2", {}, title), h("div", { class: "scroll" }, table));
}

/**
 * API keys: how machines get in.
 * @module
 */

import { path } from "../api.js";
import { errorNote, field, h, select, tablePanel } from "../dom.js";
import { time } from "../times.js";
import { ROLES } from "./users.js";

/** @typedef {{id: string, name: string, role: string, created: number, expires: number | null, last_used: number | null}} Key */

const DAY_S = 86_400;

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("./settings.js").Tab>}
 */
export async function keysTab(app) {
  const notes = h("div");
  const body = h("tbody");
  const load = async () => {
    /** @type {Key[]} */
    const keys = await app.api.get("api-keys");
    const none = h("tr", {}, h("td", { colspan: 6 }, "There is none yet."));
    body.replaceChildren(...(keys.length ? keys.map((key) => keyRow(key, () => remove(key))) : [none]));
  };
  const remove = async (/** @type {Key} */ key) => {
    try {
      await app.api.delete(path`api-keys/${key.id}`);
      notes.replaceChildren(
        h("p", { class: "note note-good", role: "status" }, `The key ${key.name} is worth nothing any more.`),
      );
      await load();
    } catch (error) {
      notes.replaceChildren(errorNote(error));
    }
  };
  await load();
  const form = newKeyForm(async (wanted) => {
    try {
      const made = await app.api.post("api-keys", wanted);
      notes.replaceChildren(keyNote(made.name, made.key));
      await load();
      return true;
    } catch (error) {
      notes.replaceChildren(errorNote(error));
      return false;
    }
  });
  const table = tablePanel("API keys", ["Name", "Role", "Made", "Ends", "Last used", ""], body);
  return { element: h("div", {}, notes, table, form) };
}

/**
 * @param {Key} key
 * @param {() => void} remove
 */
function keyRow(key, remove) {
  const cell = h("td");
  const button = h(
    "button",
    { type: "button", class: "small danger", "aria-label": `Delete the key ${key.name}` },
    "Delete",
  );
  button.addEventListener("click", () => {
    const yes = h("button", { type: "button", class: "small danger", onclick: remove }, "Delete for good");
    cell.replaceChildren(
      yes,
      " ",
      h("button", { type: "button", class: "small", onclick: () => cell.replaceChildren(button) }, "Keep"),
    );
    yes.focus();
  });
  cell.append(button);
  const when = (/** @type {number | null} */ seconds) =>
    h("td", {}, seconds === null ? "never" : time(seconds, "short"));
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, key.name),
    h("td", {}, key.role),
    when(key.created),
    when(key.expires),
    when(key.last_used),
    cell,
  );
}

/** @param {(wanted: {name: string, role: string, expires: number | null}) => Promise<boolean>} make */
function newKeyForm(make) {
  const name = h("input", { required: true, autocomplete: "off" });
  const role = select(ROLES, "viewer");
  const days = select(
    [
      ["30", "in 30 days"],
      ["365", "in a year"],
      ["", "never"],
    ],
    "365",
  );
  const form = h(
    "form",
    { class: "panel narrow" },
    h("h2", {}, "Make a key"),
    field("Name", name, "What uses it, such as prometheus."),
    field("Role", role),
    field("Ends", days),
    h("button", { class: "primary" }, "Make"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const expires = days.value ? Math.round(Date.now() / 1000 + Number(days.value) * DAY_S) : null;
    if (await make({ name: name.value, role: role.value, expires })) form.reset();
  });
  return form;
}

/**
 * @param {string} name
 * @param {string} key shown this once
 */
function keyNote(name, key) {
  const shown = h("input", {
    class: "key-text",
    readonly: true,
    value: key,
    "aria-label": `The key ${name}`,
  });
  const copy = h("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    shown.select();
    try {
      await navigator.clipboard.writeText(key);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Press Ctrl+C"; // without TLS a browser keeps the clipboard closed; the key is selected
    }
  });
  return h(
    "div",
    { class: "note note-good", role: "status" },
    h(
      "p",
      {},
      h("b", {}, name),
      ": copy the key now, it is not shown again. Machines send it as ",
      h("code", {}, "Authorization: Bearer …"),
    ),
    h("div", { class: "row tight" }, shown, copy),
  );
}

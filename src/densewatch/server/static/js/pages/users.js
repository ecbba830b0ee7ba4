/**
 * Who may sign in, and as what.
 * @module
 */

import { path } from "../api.js";
import { announce, errorNote, field, h, select, tablePanel } from "../dom.js";

/** @typedef {{name: string, role: string}} User */

/** @type {Array<[string, string]>} */
export const ROLES = [
  ["viewer", "viewer: sees"],
  ["operator", "operator: draws zones too"],
  ["admin", "admin: may do everything"],
];

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("./settings.js").Tab>}
 */
export async function usersTab(app) {
  const notes = h("div", { tabindex: -1 });
  const body = h("tbody");
  const attempt = async (/** @type {() => Promise<unknown>} */ action, /** @type {string} */ done) => {
    const goOn = keepFocus(body, notes);
    notes.replaceChildren();
    try {
      await action();
      await load();
      announce(done);
      notes.replaceChildren(h("p", { class: "note note-good" }, done));
      return true;
    } catch (error) {
      notes.replaceChildren(errorNote(error));
      await load();
      return false;
    } finally {
      goOn();
    }
  };
  const load = async () => {
    /** @type {User[]} */
    const users = await app.api.get("users");
    body.replaceChildren(...users.map((user) => userRow(app, user, attempt)));
  };
  await load();
  const table = tablePanel("Users", ["Name", "Role", "New password", ""], body);
  return { element: h("div", {}, notes, table, newUserForm(app, attempt)) };
}

/**
 * Let who works by keyboard go on where they were, in a table that is made anew.
 * @param {HTMLElement} table
 * @param {HTMLElement} instead where the control of before is gone
 * @returns {() => void} to be called with the new table in place
 */
function keepFocus(table, instead) {
  const focused = document.activeElement;
  const name = table.contains(focused) && focused?.getAttribute("aria-label");
  if (!name) return () => {};
  return () => {
    const named = [...table.querySelectorAll("[aria-label]")];
    const again = named.find((control) => control.getAttribute("aria-label") === name);
    (again instanceof HTMLElement ? again : instead).focus();
  };
}

/** @typedef {(action: () => Promise<unknown>, done: string) => Promise<boolean>} Attempt */

/**
 * @param {import("../types.js").App} app
 * @param {User} user
 * @param {Attempt} attempt
 */
function userRow(app, user, attempt) {
  const where = path`users/${user.name}`;
  const own = user.name === app.session.name;
  const role = select(
    ROLES.map(([id]) => [id, id]),
    user.role,
    { "aria-label": `Role of ${user.name}`, disabled: own },
  );
  // A list changes with each arrow key: what is chosen is saved by the button.
  const roleForm = h("form", { class: "row tight" }, role, !own && setButton(`Set ${user.name}'s role`));
  roleForm.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => app.api.patch(where, { role: role.value }), `${user.name} is ${role.value} now.`);
  });
  const password = h("input", {
    type: "password",
    autocomplete: "new-password",
    "aria-label": `New password of ${user.name}`,
    required: true,
  });
  const change = h("form", { class: "row tight" }, password, setButton(`Set ${user.name}'s password`));
  change.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => app.api.patch(where, { password: password.value }), `The password of ${user.name} is set.`);
  });
  const cell = h("td");
  const remove = h(
    "button",
    { type: "button", class: "small danger", "aria-label": `Delete ${user.name}` },
    "Delete",
  );
  remove.addEventListener("click", () => {
    const yes = h(
      "button",
      {
        type: "button",
        class: "small danger",
        "aria-label": `Delete ${user.name} for good`,
        onclick: () => attempt(() => app.api.delete(where), `${user.name} is deleted.`),
      },
      `Delete ${user.name} for good`,
    );
    cell.replaceChildren(
      yes,
      " ",
      h("button", { type: "button", class: "small", onclick: () => cell.replaceChildren(remove) }, "Keep"),
    );
    yes.focus();
  });
  cell.append(own ? "you" : remove);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, user.name),
    h("td", {}, roleForm),
    h("td", {}, own ? h("a", { href: "#/settings/account" }, "in your account") : change),
    cell,
  );
}

/** @param {string} name what it does, for those who do not see beside what it stands */
function setButton(name) {
  return h("button", { class: "small", "aria-label": name }, "Set");
}

/**
 * @param {import("../types.js").App} app
 * @param {Attempt} attempt
 */
function newUserForm(app, attempt) {
  const name = h("input", {
    required: true,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
  });
  const password = h("input", { type: "password", required: true, autocomplete: "new-password" });
  const role = select(ROLES, "viewer");
  const form = h(
    "form",
    { class: "panel narrow" },
    h("h2", {}, "Add a user"),
    field("Name", name),
    field("Password", password),
    field("Role", role),
    h("button", { class: "primary" }, "Add"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { name: name.value, password: password.value, role: role.value };
    if (await attempt(() => app.api.post("users", body), `${body.name} may sign in now.`)) form.reset();
  });
  return form;
}

/**
 * The system: the own account, what runs, who may do what, and how it is configured.
 * @module
 */

import { h } from "../dom.js";
import { hash } from "../router.js";
import { accountTab } from "./account.js";
import { configTab } from "./config.js";
import { keysTab } from "./keys.js";
import { stateTab } from "./system-state.js";
import { usersTab } from "./users.js";

/** @typedef {import("../types.js").App} App */
/** @typedef {{element: HTMLElement, close?: () => void}} Tab */

/** @type {Array<{id: string, text: string, role: "viewer" | "admin", make: (app: App) => Promise<Tab>}>} */
const TABS = [
  { id: "state", text: "State", role: "viewer", make: stateTab },
  { id: "account", text: "Account", role: "viewer", make: accountTab },
  { id: "users", text: "Users", role: "admin", make: usersTab },
  { id: "keys", text: "API keys", role: "admin", make: keysTab },
  { id: "config", text: "Configuration", role: "admin", make: configTab },
];

/**
 * @param {App} app
 * @param {import("../router.js").Route} route
 * @returns {Promise<import("../types.js").Page>}
 */
export async function settingsPage(app, { parts }) {
  const tabs = TABS.filter(({ role }) => app.may(role));
  const tab = tabs.find(({ id }) => id === parts[0]) ?? tabs[0];
  const { element, close } = await tab.make(app);
  const links = tabs.map(({ id, text }) =>
    h("a", { href: hash(["settings", id]), "aria-current": id === tab.id ? "page" : null }, text),
  );
  return {
    title: `${tab.text} · System`,
    element: h(
      "div",
      { class: "settings-page" },
      h("div", { class: "page-head" }, h("h1", {}, "System")),
      h("nav", { class: "tabs", "aria-label": "System" }, links),
      element,
    ),
    close,
  };
}

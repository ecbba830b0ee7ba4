/**
 * The sign-in page.
 * @module
 */

import { ApiError } from "../api.js";
import { errorNote, field, h } from "../dom.js";
import { brandMark } from "../shell.js";
import { themeButton } from "../theme.js";

/**
 * @param {import("../api.js").Api} api
 * @param {string} why the viewer is here, when that is not plain
 * @param {(session: import("../types.js").Session) => Promise<void>} signedIn
 * @returns {HTMLElement}
 */
export function signInPage(api, why, signedIn) {
  const name = h("input", {
    name: "name",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
  });
  const password = h("input", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
  });
  const button = h("button", { class: "primary wide" }, "Sign in");
  const note = h("div", {}, why && h("p", { class: "note", role: "status" }, why));
  const form = h(
    "form",
    { class: "panel sign-in-form" },
    note,
    field("Name", name),
    field("Password", password),
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    note.replaceChildren();
    try {
      const body = { name: name.value, password: password.value };
      await signedIn(await api.request("POST", "session", { body, quiet: true }));
    } catch (error) {
      const wrong = error instanceof ApiError && error.status === 401;
      note.replaceChildren(errorNote(wrong ? "This name and password do not belong together." : error));
      password.value = "";
      password.focus();
    } finally {
      button.disabled = false;
    }
  });
  return h(
    "main",
    { id: "main", class: "sign-in", tabindex: -1 },
    h("div", { class: "sign-in-theme" }, themeButton()),
    h("h1", { class: "sign-in-title" }, brandMark(), "densewatch"),
    form,
  );
}

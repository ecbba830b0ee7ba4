/**
 * The own account: its password.
 * @module
 */

import { errorNote, field, h } from "../dom.js";
import { time } from "../times.js";

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("./settings.js").Tab>}
 */
export async function accountTab({ api, session }) {
  const old = h("input", { type: "password", autocomplete: "current-password", required: true });
  const fresh = h("input", { type: "password", autocomplete: "new-password", required: true });
  const again = h("input", { type: "password", autocomplete: "new-password", required: true });
  const notes = h("div");
  const button = h("button", { class: "primary" }, "Change password");
  const form = h(
    "form",
    { class: "panel narrow" },
    h("h2", {}, "Change password"),
    field("Password of now", old),
    field("New password", fresh),
    field("New password once more", again),
    notes,
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (fresh.value !== again.value) {
      notes.replaceChildren(errorNote("The new passwords differ."));
      return;
    }
    button.disabled = true;
    try {
      await api.put("session/password", { old: old.value, new: fresh.value });
      form.reset();
      notes.replaceChildren(
        h("p", { class: "note note-good", role: "status" }, "Changed. Your other sessions have ended."),
      );
    } catch (error) {
      notes.replaceChildren(errorNote(error));
    } finally {
      button.disabled = false;
    }
  });
  const who = h(
    "p",
    {},
    "Signed in as ",
    h("b", {}, session.name),
    `, ${session.role}`,
    session.expires === null ? "." : [", until ", time(session.expires), "."],
  );
  return { element: h("div", {}, who, form) };
}

// Runs before the modules. The theme is set before the first paint, so that a dark page does not flash white.
document.documentElement.dataset.theme =
  localStorage.getItem("densewatch:theme") ??
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// A module that does not arrive, from a server that restarts or a bad line, would leave an empty page.
addEventListener(
  "error",
  (event) => {
    if (!(event.target instanceof HTMLScriptElement)) return;
    const note = document.createElement("p");
    note.setAttribute("role", "alert");
    note.className = "noscript";
    note.textContent = "The page did not load completely. ";
    const again = document.createElement("button");
    again.textContent = "Load again";
    again.addEventListener("click", () => location.reload());
    note.append(again);
    document.getElementById("app")?.replaceChildren(note);
  },
  true,
);

// Runs before the first paint, so that a dark page does not flash white. theme.js does the rest.
document.documentElement.dataset.theme =
  localStorage.getItem("densewatch:theme") ??
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

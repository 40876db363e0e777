/** Follow the system's theme, unless the reader chose one. */

const KEY = "chunkv2l-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is off
  }
}

function show() {
  const theme = chosen() ?? (system.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (button) button.setAttribute("aria-label", theme === "dark" ? "Light theme" : "Dark theme");
}

show();
system.addEventListener("change", show);
document.addEventListener("DOMContentLoaded", () => {
  show();
  document.getElementById("theme")?.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // the choice lasts as long as the page
    }
    document.documentElement.dataset.theme = next;
    document.getElementById("theme").setAttribute("aria-label", next === "dark" ? "Light theme" : "Dark theme");
  });
});

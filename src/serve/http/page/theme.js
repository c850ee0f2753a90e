// Light or dark, before the first paint: the one script that is no module, so that the page does not flash.
(() => {
  const root = document.documentElement;
  const kept = (() => {
    try {
      return localStorage.getItem("eyeshot.theme");
    } catch {
      return null; // storage may be refused; the system's wish holds
    }
  })();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  window.eyeshotTheme = {
    /** `auto`, `light` or `dark`. */
    now: () => root.dataset.theme ?? "auto",
    set(theme) {
      if (theme === "auto") delete root.dataset.theme;
      else root.dataset.theme = theme;
      try {
        localStorage.setItem("eyeshot.theme", theme);
      } catch {
        // kept for this visit only
      }
    },
  };
})();

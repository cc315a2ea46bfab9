// Follows the theme of Airflow's own pages: of the page around this one, or the choice that Airflow keeps.
(() => {
  const themes = ["light", "dark"];
  const own = document.documentElement;
  const chosen = () => {
    const outer = window.parent === window ? null : window.parent.document.documentElement;
    if (outer) return themes.find((theme) => outer.classList.contains(theme));
    return themes.find((theme) => theme === localStorage.getItem("theme"));
  };
  const follow = () => {
    const theme = chosen();
    if (theme) own.dataset.theme = theme;
  };
  try {
    follow();
    if (window.parent !== window) {
      new MutationObserver(follow).observe(window.parent.document.documentElement, { attributeFilter: ["class"] });
    }
  } catch {
    // Another host around this page, or no storage: the theme of the system stays.
  }
})();

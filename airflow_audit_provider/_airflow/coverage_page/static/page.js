// The tooltip, the arrow keys in the calendar, and the copy buttons. Without this script every page still works.
(() => {
  const tip = document.getElementById("tip");

  // Airflow 3.0 keeps the session in the browser's storage, and a page that is opened by its address does not send it.
  const token = localStorage.getItem("token");
  if (token && document.querySelector("[data-status='401']")) {
    fetch(location.href, { headers: { Authorization: `Bearer ${token}` } }).then(async (answer) => {
      if (answer.status === 401) return;
      const text = await answer.text();
      document.open();
      document.write(text);
      document.close();
    });
  }

  function show(element) {
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    const around = element.getBoundingClientRect();
    const left = Math.min(around.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = around.top - tip.offsetHeight - 6;
    // The policy of the page allows no style in the HTML; a script may set it.
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${(above < 0 ? around.bottom + 6 : above) + window.scrollY}px`;
  }

  function tipOf(event) {
    return event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  }

  for (const kind of ["mouseover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const element = tipOf(event);
      if (element) show(element);
      else tip.hidden = true;
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });

  // Copies a command. Without the clipboard, which browsers refuse to pages without TLS, the selected text is copied.
  async function copy(button) {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      window.getSelection().selectAllChildren(text);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    const link = event.target.closest("a[target=_top]");
    if (button) copy(button);
    // Airflow's frame lets no page inside it open another one around it, so the page around it opens its own link.
    if (link && window.parent !== window) {
      event.preventDefault();
      const outer = window.parent.document.createElement("a");
      outer.href = link.href;
      outer.click();
    }
  });

  // One stop for the Tab key in each grid; arrows, Home and End move inside it.
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 7, ArrowUp: -7 };
  for (const grid of document.querySelectorAll(".cells")) {
    const cells = [...grid.querySelectorAll(".cell")];
    if (!cells.length) continue;
    const isWeeks = grid.classList.contains("months");
    const focusable = isWeeks ? cells.length - 1 : 0;
    cells.forEach((cell, number) => { cell.tabIndex = number === focusable ? 0 : -1; });
    grid.addEventListener("keydown", (event) => {
      const at = cells.indexOf(document.activeElement);
      let to = at + (isWeeks ? steps[event.key] : Math.sign(steps[event.key]));
      if (event.key === "Home") to = 0;
      if (event.key === "End") to = cells.length - 1;
      if (at < 0 || !(to >= 0 && to < cells.length)) return;
      event.preventDefault();
      cells[at].tabIndex = -1;
      cells[to].tabIndex = 0;
      cells[to].focus();
    });
  }
})();

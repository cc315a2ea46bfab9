// Starts the backfill of a gap: by Airflow's public API, with the user's own session, after the dialog has shown the plan
// that the page has of it, and what Airflow would do.
(() => {
  const dialog = document.getElementById("plan");
  if (!dialog) return;
  const words = document.getElementById("plan-words");
  const needs = document.getElementById("plan-needs");
  const runs = document.getElementById("plan-runs");
  const start = document.getElementById("plan-start");
  const most = 10;
  let body = null;

  async function post(address, content) {
    const headers = { "Content-Type": "application/json" };
    // Airflow 3.0 keeps the session in the browser's storage; later versions send it as a cookie.
    const token = localStorage.getItem("token");
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(content) });
    if (answer.ok) return answer.json();
    const text = await answer.text();
    let detail = text;
    try {
      const found = JSON.parse(text).detail;
      detail = typeof found === "string" ? found : JSON.stringify(found);
    } catch {
      // An error of the server itself is plain text.
    }
    throw new Error(`Airflow refuses it (status ${answer.status}): ${detail}`);
  }

  function list(dates) {
    runs.replaceChildren(...dates.map((date) => {
      const item = document.createElement("li");
      item.textContent = date;
      return item;
    }));
  }

  async function plan(button) {
    const { dag, first, last, runs: count, until } = button.dataset;
    const mine = {
      dag_id: dag, from_date: first, to_date: last, max_active_runs: Number(count), reprocess_behavior: "failed",
      run_backwards: false, dag_run_conf: {},
    };
    body = mine;
    start.hidden = true;
    list([]);
    needs.replaceChildren(...[...button.closest("td").querySelectorAll("[data-plan] li")].map((one) => one.cloneNode(true)));
    words.textContent = "Asking Airflow which runs it would create.";
    dialog.showModal();
    try {
      const found = (await post(`${dialog.dataset.api}/dry_run`, mine)).backfills;
      // Meanwhile the dialog can show another gap, and Start would fill that one.
      if (body !== mine) return;
      words.textContent = `DAG ${dag} gets ${found.length === 1 ? "1 run" : `${found.length} runs`}, ${count} at a time, from ${first} to ${last}. ` +
        `Runs that succeeded are not run again. The gap can be read until ${until}.`;
      const dates = found.map((run) => run.logical_date || run.partition_key || "");
      list(dates.length > most ? [...dates.slice(0, most), `and ${dates.length - most} more`] : dates);
      start.hidden = !found.length;
    } catch (error) {
      if (body === mine) words.textContent = error.message;
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-backfill]");
    if (button) plan(button);
  });
  document.getElementById("plan-close").addEventListener("click", () => dialog.close());
  start.addEventListener("click", async () => {
    start.hidden = true;
    const mine = body;
    try {
      const made = await post(dialog.dataset.api, mine);
      if (body !== mine) return;
      words.textContent = `Backfill ${made.id} of DAG ${made.dag_id} was created. Read this page again when its runs have ended.`;
    } catch (error) {
      if (body !== mine) return;
      words.textContent = error.message;
      start.hidden = false;
    }
  });
})();

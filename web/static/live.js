// Keeps the totals of a page up to date: by a stream of events, or by asking every five seconds where that is not to be had.
"use strict";
(() => {
  const pill = document.getElementById("live");
  if (!pill) return;
  const show = (totals) => {
    for (const place of document.querySelectorAll("[data-live]")) {
      const value = totals[place.dataset.live];
      if (typeof value !== "number") continue;
      const text = value.toLocaleString("en-US", { maximumFractionDigits: 1 });
      if (place.textContent !== text) place.textContent = text;
    }
    pill.textContent = pill.dataset.on;
  };
  const lost = () => { pill.textContent = pill.dataset.off; };
  let timer = 0;
  const poll = async () => {
    try {
      const answer = await fetch(pill.dataset.totals, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      show(await answer.json());
    } catch { lost(); }
  };
  let source = null;
  const stop = () => {
    if (source) source.close();
    source = null;
    clearInterval(timer);
  };
  const start = () => {
    stop();
    if (!window.EventSource) { timer = setInterval(poll, 5000); return; }
    source = new EventSource(pill.dataset.stream);
    source.onmessage = (event) => show(JSON.parse(event.data));
    source.onerror = () => {
      lost();
      if (source && source.readyState === EventSource.CLOSED) { stop(); timer = setInterval(poll, 5000); }
    };
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  start();
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of all.form.querySelectorAll("input[name=key]")) box.checked = all.checked;
    });
  }
})();

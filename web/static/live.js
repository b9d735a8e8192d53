// Keeps a page up to date: by a stream of events, or by asking every five seconds where that is not to be had.
// Content is morphed in place, and waits while somebody is at work on it.
"use strict";
(() => {
  const POLL = 5000;
  const AGAIN = 60000;
  const html = document.documentElement;
  const pill = document.getElementById("live");
  const place = document.getElementById("fresh");
  const pending = document.getElementById("pending");
  const said = document.getElementById("said");
  const words = document.getElementById("words").dataset;
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const number = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 1 });

  let source = null;
  let timer = 0;
  let retry = 0;
  let tag = "";
  let paused = false;
  let down = false;
  let waiting = null;
  let last = Date.now();
  let every = POLL;
  let skew = 0;
  let spoken = { at: Date.now(), text: "" };

  const duration = (seconds) => {
    if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
    for (const [unit, length, below] of [["s", 1, 120], ["min", 60, 7200], ["h", 3600, 172800]]) {
      if (seconds < below) return `${Math.round(seconds / length)} ${unit}`;
    }
    return `${number(Math.round(seconds / 86400))} d`;
  };
  const selecting = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && place.contains(selection.anchorNode);
  };
  const local = (date) => `${date.toLocaleString("sv-SE")} ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
  const times = () => {
    if (selecting()) return;
    const now = Date.now() + skew;
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const seconds = (now - at.getTime()) / 1000;
      const text = seconds < 0 ? say(words.in, { time: duration(-seconds) }) : say(words.ago, { time: duration(seconds) });
      if (html.dataset.clock === "local") time.title = local(at);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const figures = (told) => {
    last = Date.now();
    down = false;
    skew = told.now * 1000 - last;
    for (const spot of document.querySelectorAll("[data-live]")) {
      const value = told[spot.dataset.live];
      if (typeof value !== "number" || spot === pill) continue;
      const text = number(value);
      if (spot.textContent !== text) spot.textContent = text;
    }
    const dot = document.querySelector("[data-dot]");
    if (dot) dot.hidden = !told.attention;
    const text = say(words.said, told);
    if (text !== spoken.text && last - spoken.at >= 30000) {
      said.textContent = text;
      spoken = { at: last, text };
    }
    show();
  };

  const names = (root) =>
    [...root.querySelectorAll("tbody tr, [data-row]")].map((row) => row.id || row.querySelector('input[name="key"]')?.value).filter(Boolean);
  const boxes = () => place.querySelectorAll("input[type=checkbox]");
  const held = () => {
    const focused = document.activeElement;
    return (
      [...boxes()].some((box) => box.checked) ||
      (place.contains(focused) && focused.closest("input:not([type=checkbox]), select, textarea, tbody tr")) ||
      (matchMedia("(hover: hover)").matches && place.querySelector("tbody tr:hover, [data-row]:hover")) ||
      place.querySelector("dialog[open], [name=more][open]") ||
      selecting()
    );
  };
  const apply = async (page) => {
    waiting = null;
    const ticked = new Set([...boxes()].filter((box) => box.checked).map((box) => box.value));
    await htmx.swap({ sourceElement: place, target: place, text: page.html, swap: "innerMorph" });
    for (const box of boxes()) box.checked = ticked.has(box.value) && !("all" in box.dataset);
    place.dataset.digest = page.digest;
    times();
    document.dispatchEvent(new Event("jobd:fresh"));
    show();
  };
  const receive = (page) => {
    if (!page.html || page.digest === place.dataset.digest) {
      waiting = null;
      show();
    } else if (paused || held()) {
      waiting = page;
      const known = new Set(names(document));
      waiting.count = names(new DOMParser().parseFromString(page.html, "text/html")).filter((name) => !known.has(name)).length;
      show();
    } else apply(page);
  };
  const load = () => waiting && apply(waiting);

  const show = () => {
    const age = (Date.now() - last) / 1000;
    const stale = !paused && (down || age > (2 * every) / 1000 + 2);
    const text = paused ? `‖ ${words.paused}` : stale ? `○ ${say(words.stale, { time: `${Math.round(age)} s` })}` : `● ${words.live}`;
    if (pill.textContent !== text) pill.textContent = text;
    pill.setAttribute("aria-pressed", String(paused));
    html.toggleAttribute("data-js-stale", stale);
    pending.hidden = !waiting;
    if (waiting) pending.textContent = waiting.count ? say(words.fresh, { count: waiting.count }) : words.changed;
  };

  const address = (more) => `${pill.dataset.stream}${pill.dataset.stream.includes("?") ? "&" : "?"}seen=${place.dataset.digest}&since=${place.dataset.at}${more}`;
  const stop = () => {
    if (source) source.close();
    source = null;
    clearInterval(timer);
    clearTimeout(retry);
  };
  const poll = async () => {
    try {
      const answer = await fetch(address("&once=1"), { headers: tag ? { "if-none-match": tag } : {} });
      if (answer.status === 304) {
        last = Date.now();
        down = false;
      } else if (answer.ok) {
        const told = await answer.json();
        tag = answer.headers.get("etag") ?? "";
        figures(told.figures);
        receive(told);
      } else if (answer.status === 401 || answer.status === 403) {
        stop();
        down = true;
      } else down = true;
    } catch {
      down = true;
    }
    show();
  };
  const ask = () => {
    stop();
    every = POLL;
    poll();
    timer = setInterval(poll, POLL);
    if (window.EventSource) retry = setTimeout(start, AGAIN);
  };
  const start = () => {
    stop();
    if (!window.EventSource) return ask();
    source = new EventSource(address(""));
    source.addEventListener("head", (event) => {
      const told = JSON.parse(event.data);
      every = told.pause * 1000;
      figures(told);
    });
    source.addEventListener("page", (event) => receive(JSON.parse(event.data)));
    source.addEventListener("down", () => {
      down = true;
      show();
    });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) ask();
    };
  };

  htmx.registerExtension("jobd", {
    // What a reader has opened stays open.
    htmx_before_morph_attr: (element, { attrName }) => !(attrName === "open" && element.matches("details, dialog")),
  });
  times();
  setInterval(times, 1000);
  if (!pill.dataset.stream) return;
  pill.addEventListener("click", () => {
    paused = !paused;
    if (paused) stop();
    else {
      last = Date.now();
      if (waiting && !held()) load();
      start();
    }
    show();
  });
  pending.addEventListener("click", load);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (!paused) start();
  });
  setInterval(() => {
    if (waiting && !paused && !held()) load();
    show();
  }, 1000);
  pill.hidden = false;
  show();
  if (!document.hidden) start();
})();

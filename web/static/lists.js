// Lists of jobs: a pane that shows the job of a row beside them, and ranges over the strips of when they run.
"use strict";
(() => {
  const words = document.currentScript.dataset;
  const make = (tag, more, ...inner) => {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...inner);
    return made;
  };
  const on = (kind, act) => document.addEventListener(kind, act);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const current = () => document.querySelector("[data-js-row]");
  const link = (row) => row?.querySelector(".rows a.jid");
  const rowOf = (element) => element.closest?.(".rows tbody tr");

  const close = make("button", { type: "button" }, words.close);
  const page = make("a", { className: "button" }, words.page);
  const body = make("div");
  const pane = make("div", { id: "peek", tabIndex: -1, hidden: true, role: "dialog" }, make("p", { className: "row" }, close, page), body);
  document.body.append(pane);
  let asked = null;
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    asked?.abort();
  };
  const load = async (href) => {
    asked = new AbortController();
    try {
      const answer = await fetch(href, { signal: asked.signal });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("fresh");
      body.replaceChildren(...found.childNodes);
      const value = new URLSearchParams(location.search).get("q");
      // What is done here comes back to what is searched for.
      if (value) for (const form of body.querySelectorAll("form")) form.append(make("input", { type: "hidden", name: "q", value }));
      pane.scrollTop = 0;
      document.dispatchEvent(new Event("jobd:fresh"));
    } catch (error) {
      // The page itself says what is wrong.
      if (error.name !== "AbortError") location = href;
    }
  };
  const show = (row, wait) => {
    const to = link(row);
    if (!to) return;
    current()?.removeAttribute("data-js-row");
    row.setAttribute("data-js-row", "");
    stop();
    page.href = to.href;
    pane.ariaLabel = to.textContent;
    pane.hidden = false;
    pane.focus();
    timer = setTimeout(load, wait, to.href);
  };
  const hide = () => {
    stop();
    pane.hidden = true;
    body.replaceChildren();
    (link(current()) ?? document.getElementById("content")).focus();
  };
  close.onclick = hide;
  on("jobd:peek", () => (pane.hidden ? show(current() ?? rowOf(all(".rows a.jid")[0] ?? pane), 0) : hide()));
  // Whoever holds a key down asks for the last row alone.
  on("jobd:row", () => pane.hidden || show(current(), 150));

  const each = matchMedia("(hover: none), (max-width: 720px)");
  const offer = (row) => {
    const to = link(row);
    if (!to || row.querySelector(".peek")) return;
    if (!each.matches) for (const other of all(".peek:not(:focus)")) other.remove();
    const button = make("button", { type: "button", className: "peek", title: words.peek, ariaLabel: `${words.peek} ${to.textContent}` }, "◨");
    button.onclick = () => show(row, 0);
    to.after(button);
  };
  const everywhere = () => each.matches && all(".rows tbody tr").forEach(offer);
  for (const kind of ["pointerover", "focusin"]) on(kind, ({ target }) => offer(rowOf(target)));
  on("jobd:fresh", everywhere);
  everywhere();

  let strip = null;
  let from = 0;
  let first = null;
  const mark = (links) => {
    for (const other of all("[data-js-in]")) other.removeAttribute("data-js-in");
    for (const one of links) one.setAttribute("data-js-in", "");
  };
  const drop = () => {
    mark([]);
    strip = first = null;
  };
  const search = (links) => {
    const terms = ["since", "until"].map((name, last) => {
      const found = links.map((one) => new RegExp(`${name}:\\S+`).exec(new URLSearchParams(one.getAttribute("href")).get("q"))?.[0]);
      return found.includes(undefined) ? "" : found.sort().at(-last);
    });
    location.search = new URLSearchParams({ q: terms.join(" ").trim() });
  };
  on("pointerdown", (event) => {
    strip = event.button ? null : event.target.closest?.(".when svg");
    from = event.clientX;
  });
  on("pointermove", ({ clientX, pointerId }) => {
    // Less is a click on a bar.
    if (!strip || (!all("[data-js-in]").length && Math.abs(clientX - from) < 6)) return;
    strip.setPointerCapture(pointerId);
    mark([...strip.querySelectorAll("a")].filter((bar) => {
      const { left, right } = bar.getBoundingClientRect();
      return right >= Math.min(from, clientX) && left <= Math.max(from, clientX);
    }));
  });
  on("pointerup", () => {
    const bars = strip ? [...strip.querySelectorAll("[data-js-in]")] : [];
    if (strip) drop();
    if (bars.length) search(bars);
  });
  on("pointercancel", drop);
  for (const kind of ["dragstart", "selectstart"]) on(kind, (event) => strip && event.preventDefault());

  // Before the keys of all pages.
  addEventListener(
    "keydown",
    (event) => {
      const { key, target, shiftKey } = event;
      const time = key === "Enter" && target.closest?.("#when a");
      if (time && (shiftKey || first?.isConnected)) {
        event.preventDefault();
        if (!shiftKey) return search([first, time]);
        first = time;
        mark([time]);
      }
      if (key !== "Escape") return;
      drop();
      if (pane.hidden || document.querySelector(":popover-open")) return;
      event.stopPropagation();
      hide();
    },
    true,
  );
})();

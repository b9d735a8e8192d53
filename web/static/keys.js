// Ticked rows, and the keys: each does what a link or a button of the page does.
"use strict";
(() => {
  const html = document.documentElement;
  const words = document.getElementById("words").dataset;
  const help = document.getElementById("help");
  const said = document.getElementById("said");
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const ours = 'input[type=checkbox][name="key"]';
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  let before = null;

  const forms = () => new Set(all(ours).map((box) => box.form).filter(Boolean));
  const count = () => {
    for (const form of forms()) {
      const boxes = all(ours, form);
      const ticked = boxes.filter((box) => box.checked).length;
      const bar = form.querySelector(".bar");
      const told = bar?.querySelector("[data-selected], span");
      if (told) {
        told.dataset.jsPlain ??= told.textContent;
        const whole = told.dataset.selected ?? document.querySelector(".rail a[aria-current] .count")?.textContent;
        const values = { count: ticked.toLocaleString("en-US"), all: whole };
        told.textContent = ticked ? say(values.all ? words.selected : words.ticked, values) : told.dataset.jsPlain;
      }
      bar?.toggleAttribute("data-js-ticked", ticked > 0);
      for (const box of all("input[data-all]", form)) {
        box.hidden = false;
        box.checked = ticked > 0 && ticked === boxes.length;
        box.indeterminate = ticked > 0 && ticked < boxes.length;
      }
    }
  };
  const range = (from, to, value) => {
    const boxes = all(ours, to.form ?? document);
    const [low, high] = [boxes.indexOf(from), boxes.indexOf(to)].sort((a, b) => a - b);
    for (const box of boxes.slice(Math.max(low, 0), high + 1)) box.checked = value;
  };
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
    if ("all" in box.dataset) for (const each of all(ours, box.form)) each.checked = box.checked;
    else if (box.matches(ours)) {
      if (event.shiftKey && before?.isConnected) range(before, box, box.checked);
      before = box;
    }
    count();
  });
  document.addEventListener("jobd:fresh", count);

  const rows = () => all("main tbody tr, main [data-row]").filter((row) => row.querySelector("a, input, button"));
  const current = () => document.querySelector("[data-js-row]");
  const leave = () => current()?.removeAttribute("data-js-row");
  const move = (by) => {
    const list = rows();
    if (!list.length) return;
    const at = list.indexOf(current());
    const row = list[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : list.length - 1) : at + by, 0), list.length - 1)];
    leave();
    row.setAttribute("data-js-row", "");
    row.scrollIntoView({ block: "nearest" });
    (row.querySelector(ours) ?? row.querySelector("a, button"))?.focus({ preventScroll: true });
    document.dispatchEvent(new Event("jobd:row"));
  };
  const tick = (far) => {
    const box = current()?.querySelector(ours);
    if (!box) return;
    if (far && before?.isConnected) range(before, box, true);
    else box.checked = !box.checked;
    before = box;
    count();
  };
  const act = (...names) => {
    const row = current();
    const boxes = all(`${ours}:checked`);
    const selector = names.map((name) => `button[name="action"][value="${name}"]`).join(",");
    const own = row?.querySelector(selector);
    if (own && !boxes.length) return own.click();
    const box = boxes[0] ?? row?.querySelector(ours);
    if (box) {
      box.checked = true;
      count();
      return box.form?.querySelector(selector)?.click();
    }
    // The page of one job has the buttons alone.
    if (!rows().length) document.querySelector(`main form ${selector.split(",").join(", main form ")}`)?.click();
    return undefined;
  };
  const copy = async () => {
    const link = current()?.querySelector('a[href*="/jobs/"]');
    const path = new URL(link?.href ?? location.href).pathname;
    const jid = current()?.dataset.jid ?? (/\/jobs\/([^/]+)$/.exec(path) ?? [])[1];
    // Browsers have a clipboard over HTTPS and on this machine only.
    if (!jid || jid === "-" || !navigator.clipboard) return;
    await navigator.clipboard.writeText(decodeURIComponent(jid));
    said.textContent = say(words.copied, { text: decodeURIComponent(jid) });
  };
  // What stands on the page to be copied by hand is copied by a button too.
  const offer = () => {
    for (const button of all("button[data-copy]")) button.hidden = !navigator.clipboard;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    await navigator.clipboard.writeText(text.replace("$DASHBOARD", location.origin));
    const plain = button.textContent;
    button.textContent = said.textContent = `✓ ${plain}`;
    setTimeout(() => (button.textContent = plain), 2000);
  });
  document.addEventListener("jobd:fresh", offer);
  const theme = async () => {
    const links = all('a[data-set="theme"]');
    const next = links[(links.findIndex((link) => link.hasAttribute("aria-current")) + 1) % links.length];
    await fetch(next.href, { redirect: "manual" });
    for (const link of links) link.toggleAttribute("aria-current", link === next);
    next.setAttribute("aria-current", "true");
    html.dataset.theme = next.dataset.to;
    document.dispatchEvent(new Event("jobd:theme"));
  };
  const press = (selector) => document.querySelector(selector)?.click();

  let leading = 0;
  const KEYS = {
    "/": () => document.getElementById("find").focus(),
    j: () => move(1),
    k: () => move(-1),
    x: () => tick(false),
    X: () => tick(true),
    a: () => {
      const boxes = all(ours);
      const value = boxes.some((box) => !box.checked);
      for (const box of boxes) box.checked = value;
      count();
    },
    o: () => document.dispatchEvent(new Event("jobd:peek")),
    Enter: () => current()?.querySelector("a")?.click(),
    r: () => act("retry", "enqueue", "run"),
    K: () => act("kill"),
    D: () => act("delete"),
    p: () => press("#live"),
    ".": () => press("#pending:not([hidden])"),
    "[": () => (document.querySelector('main a[rel="prev"]') ? press('main a[rel="prev"]') : history.back()),
    "]": () => press('main a[rel="next"]'),
    t: theme,
    y: copy,
    "?": () => help.togglePopover(),
    Escape: () => {
      leave();
      document.activeElement?.blur();
    },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target, key } = event;
    const typing = target.matches?.("input:not([type=checkbox]), select, textarea, [contenteditable]");
    if (typing && key !== "Escape") return;
    if (html.dataset.keys === "off" && key !== "Escape") return;
    // A link or a button that has the focus is opened by the browser.
    if (key === "Enter" && target.matches?.("a, button, summary")) return;
    const goes = Date.now() - leading < 1500;
    leading = 0;
    if (goes) {
      const link = document.querySelector(`.rail a[data-key="${CSS.escape(key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
        return;
      }
    }
    if (key === "g") {
      leading = Date.now();
      return;
    }
    if (!Object.hasOwn(KEYS, key)) return;
    if (key !== "Escape") event.preventDefault();
    KEYS[key]();
  });
  // What is folded on a phone stands open elsewhere.
  const phone = matchMedia("(max-width: 720px)");
  (phone.onchange = () => {
    for (const each of all("details.fold")) each.open = !phone.matches;
  })();
  html.setAttribute("data-js-on", "");
  count();
  offer();
})();

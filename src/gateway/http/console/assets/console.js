// Keeps pages fresh and handy. Everything works without it: it shows times where the viewer is, copies, and takes
// what has changed out of the same page, asked for again.
"use strict";
(() => {
  const REFRESH_AFTER_MS = 250, REFRESH_EVERY_MS = 20_000, REFRESH_APART_MS = 1_000;

  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

  function timeText(at) {
    const seconds = (at - Date.now()) / 1_000;
    if (Math.abs(seconds) > 14 * 86_400) return full.format(at);
    for (const [unit, length] of UNITS) {
      if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
    }
    return seconds <= 0 ? "just now" : "in a moment";
  }

  function showTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const text = time.hasAttribute("data-full") ? full.format(at) : timeText(at);
      if (time.textContent !== text) time.textContent = text;
      const title = `${full.format(at)} (${time.dateTime})`;
      if (time.title !== title) time.title = title;
    }
  }

  function handy(root) {
    showTimes(root);
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  // What is live on a page has an id and `data-live`. It is replaced where it has changed, and what had the focus
  // has it again.
  function take(fresh) {
    for (const old of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(old.id);
      if (!next) continue;
      handy(next);
      if (next.innerHTML === old.innerHTML) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      if (focused && focused.matches("input, select, textarea")) continue;
      const open = [...old.querySelectorAll("details[open][id]")].map((it) => it.id);
      old.replaceChildren(...next.childNodes);
      for (const id of open) old.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
      if (focused?.id) document.getElementById(focused.id)?.focus();
    }
    showTimes(document);
  }

  let asking = false, again = false, timer = 0, asked = 0;
  async function refresh() {
    if (asking) { again = true; return; }
    if (!document.querySelector("[data-live]")) return;
    asking = true;
    asked = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.reload(); return; }
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* The stream says that the gateway is away. */ }
    asking = false;
    if (again) { again = false; soon(); }
  }
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(REFRESH_AFTER_MS, asked + REFRESH_APART_MS - Date.now()));
  }

  function follow() {
    const lamp = document.getElementById("live");
    if (!lamp) return;
    const say = (text, kind) => {
      lamp.querySelector("[data-text]").textContent = text;
      lamp.querySelector(".dot").className = `dot ${kind}`;
    };
    const kinds = ["start", "reload", "connectivity", "organization", "server", "channel", "peering", "grant",
      "connection", "secret", "connector", "user"];
    let source = null, wait = 1_000;
    const open = () => {
      source = new EventSource("/api/v1/events");
      source.onopen = () => { wait = 1_000; say("Live", "up"); lamp.hidden = false; soon(); };
      source.onerror = () => {
        say("Not live: the gateway is not reached", "down");
        lamp.hidden = false;
        // A browser tries again by itself unless it was refused.
        if (source.readyState !== EventSource.CLOSED) return;
        setTimeout(open, wait);
        wait = Math.min(wait * 2, 30_000);
      };
      for (const kind of kinds) source.addEventListener(kind, () => soon());
    };
    open();
    addEventListener("pagehide", () => source?.close());
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    // What is measured is not told.
    setInterval(() => { if (document.visibilityState === "visible") soon(); }, REFRESH_EVERY_MS);
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") soon(); });
  }

  async function copy(button) {
    const from = document.getElementById(button.dataset.copy);
    if (!from) return;
    const said = document.getElementById("said");
    try {
      await navigator.clipboard.writeText(from.value ?? from.textContent);
      said.textContent = "Copied.";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(from);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      said.textContent = "Selected: copy it with your keyboard.";
    }
    const text = button.textContent;
    button.textContent = said.textContent;
    setTimeout(() => { button.textContent = text; }, 2_000);
  }

  function invited() {
    // The token of an invitation stands behind the # of its link, which reaches no server.
    const field = document.getElementById("invitation-token");
    if (field && location.hash.length > 1 && !field.value) {
      field.value = location.hash.slice(1);
      history.replaceState(null, "", location.pathname);
    }
    const problem = document.getElementById("sign-in-problem");
    if (problem && location.hash.startsWith("#problem=")) {
      const said = new URLSearchParams(location.hash.slice(1));
      problem.querySelector("[data-text]").textContent = said.get("detail") ?? "";
      problem.hidden = false;
      history.replaceState(null, "", location.pathname);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
  // A form is sent once.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 5_000);
  });
  handy(document);
  setInterval(() => showTimes(document), 15_000);
  invited();
  follow();
})();

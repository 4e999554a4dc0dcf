// Keeps pages fresh and handy. Everything works without it: it shows times where the viewer is, copies, and takes
// what has changed out of the same page, asked for again.
"use strict";
(() => {
  const REFRESH_AFTER_MS = 250, REFRESH_SPREAD_MS = 250, REFRESH_EVERY_MS = 20_000, REFRESH_APART_MS = 1_500;

  // Who has gone away is signed out after a while, whatever a page asks for by itself.
  const UNATTENDED = { "X-Unattended": "1" };

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

  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

  // Of a plot's axis: hours, or days where `data-day` stands.
  function showAxis(root) {
    for (const text of root.querySelectorAll("text[data-at]")) {
      const at = new Date(text.dataset.at);
      text.textContent = (text.dataset.day === undefined ? hour : day).format(at);
    }
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
    showAxis(root);
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  // By what a control is known when its part of the page is shown anew.
  function does(it) {
    const place = it.closest("tr, li, section, figure")?.querySelector("[id]")?.id;
    return [it.tagName, it.textContent.trim(), it.getAttribute("href"), it.getAttribute("aria-label"),
      it.form?.getAttribute("action"), it.id || place].join("\n");
  }

  // Gives the focus back to what did `what`; where that is there no more, to the part of the page that it was in.
  function focusAgain(part, what) {
    const again = [...part.querySelectorAll("a, button, summary, [tabindex]")]
      .find((it) => !it.disabled && does(it) === what);
    if (!again) part.tabIndex = -1;
    (again ?? part).focus({ preventScroll: true });
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
      const did = focused && does(focused);
      const open = [...old.querySelectorAll("details[open][id]")].map((it) => it.id);
      old.replaceChildren(...next.childNodes);
      for (const id of open) old.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
      if (did) focusAgain(old, did);
    }
    showTimes(document);
  }

  // Pages lead there whose session has ended, but for one that holds what somebody has typed.
  const isSignIn = (answer) => answer.redirected && new URL(answer.url).pathname === "/sign-in";
  const isFilledIn = () => [...document.querySelectorAll("form[method=post] :is(input, textarea)")]
    .some((it) => it.value !== it.defaultValue || it.checked !== it.defaultChecked);

  let asking = false, again = false, timer = 0, asked = 0;
  async function refresh() {
    if (asking) { again = true; return; }
    if (!document.querySelector("[data-live]")) return;
    asking = true;
    asked = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", ...UNATTENDED }, cache: "no-store" });
      const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
      const isSame = !fresh || [...document.querySelectorAll("[data-live]")].some((it) => fresh.getElementById(it.id));
      // What was deleted, or may be seen no more, says so on a page of its own.
      const isLeft = isSignIn(answer) ? !isFilledIn() : answer.status === 404 || !isSame;
      if (isLeft) { location.assign(location.href.split("#")[0]); return; }
      if (fresh) take(fresh);
    } catch { /* The stream says that the gateway is away. */ }
    asking = false;
    if (again) { again = false; soon(); }
  }
  // Not all who hear of a change ask in the same moment.
  function soon() {
    clearTimeout(timer);
    const after = REFRESH_AFTER_MS + Math.random() * REFRESH_SPREAD_MS;
    timer = setTimeout(refresh, Math.max(after, asked + REFRESH_APART_MS - Date.now()));
  }

  function follow() {
    const lamp = document.getElementById("live");
    if (!lamp) return;
    const say = (text, kind) => {
      lamp.querySelector("[data-text]").textContent = text;
      lamp.querySelector(".dot").className = `dot ${kind}`;
    };
    const kinds = ["start", "reload", "connectivity", "organization", "server", "channel", "peering", "grant",
      "connection", "admin_session", "secret", "connector", "user"];
    let source = null, wait = 1_000;
    const isSeen = () => document.visibilityState === "visible";
    const close = () => { source?.close(); source = null; };
    const open = () => {
      if (source || !isSeen()) return;
      source = new EventSource("/api/v1/events");
      source.onopen = () => { wait = 1_000; say("Live", "up"); lamp.hidden = false; soon(); };
      source.onerror = async () => {
        say("Not live: the gateway is not reached", "down");
        lamp.hidden = false;
        // A browser tries again by itself unless it was refused.
        if (source?.readyState !== EventSource.CLOSED) return;
        close();
        if (await hasEnded()) return;
        setTimeout(open, wait);
        wait = Math.min(wait * 2, 30_000);
      };
      for (const kind of kinds) source.addEventListener(kind, () => soon());
    };
    // A page that shows what is live goes to sign-in; one that is being filled in stays, and says so.
    const hasEnded = async () => {
      const answer = await fetch("/", { headers: UNATTENDED, cache: "no-store" }).catch(() => null);
      if (!answer || !isSignIn(answer)) return false;
      say("You are signed out: what you send now is not done", "down");
      soon();
      return true;
    };
    open();
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    // What is measured is not told.
    setInterval(() => { if (isSeen()) soon(); }, REFRESH_EVERY_MS);
    // A browser has six connections to a site at most: pages that nobody sees keep none of them.
    document.addEventListener("visibilitychange", () => {
      if (!isSeen()) { close(); return; }
      open();
      soon();
    });
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

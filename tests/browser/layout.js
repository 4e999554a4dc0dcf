// Stands in every page before its own script: says in words what is wrong with how the page is laid out.
"use strict";
(() => {
  const BOXES = "td, th, li, dd, dt, figure, .card, .notice, .sheet, .bar, .head, .filters, nav, form, details";
  const CONTROLS = "button, input, select, textarea, svg, img, .chip, .dot";
  const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
  // With a sign between them alone, the second of two would come first.
  const TURNED = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc][\s→:;,=()]*[→:;,=()][\s→:;,=()]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
  const ISOLATED = /\u2068[^\u2069]*\u2069/g;

  const isAway = (element) =>
    !element.checkVisibility({ visibilityProperty: true }) ||
    element.closest(".visually-hidden, .skip, [type=hidden]") !== null ||
    isInHiddenHead(element);
  const isInHiddenHead = (element) => {
    const head = element.closest("thead");
    return head !== null && getComputedStyle(head).position === "absolute";
  };

  function say(element) {
    const name = element.id ? `#${element.id}` : [...element.classList].map((it) => `.${it}`).join("");
    const text = (element.textContent || element.value || "").trim().replace(/\s+/g, " ");
    return `<${element.localName}${name}> "${[...text].slice(0, 24).join("")}"`;
  }

  // All that is seen and holds nothing else that is: each line of a text, each control and picture.
  function leaves() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const owner = node.parentElement;
      if (!node.data.trim() || owner.closest("svg, select, textarea, script") || isAway(owner)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) if (box.width > 0) found.push({ owner, node, box });
    }
    for (const owner of document.querySelectorAll(CONTROLS)) {
      if (isAway(owner) || owner.parentElement.closest("svg")) continue;
      const box = owner.getBoundingClientRect();
      if (box.width > 0) found.push({ owner, node: owner, box });
    }
    return found;
  }

  function outside(faults, all) {
    const width = document.documentElement.clientWidth;
    for (const { owner, box } of all) {
      const scroller = owner.closest(".scroll");
      const isReached = scroller !== null && scroller.scrollWidth > scroller.clientWidth;
      if (!isReached && (box.left < -1 || box.right > width + 1)) {
        faults.push(`${say(owner)} lies at ${Math.round(box.left)} to ${Math.round(box.right)}, outside the window`);
      }
      const start = owner.matches(CONTROLS) ? owner.parentElement : owner;
      const around = start.closest(BOXES);
      if (!around) continue;
      const whole = around.getBoundingClientRect();
      if (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 3 ||
          box.bottom > whole.bottom + 3) {
        faults.push(`${say(owner)} leaves its ${say(around)}`);
      }
      const hasLabel = around.localName === "td" && getComputedStyle(around).display === "grid";
      if (hasLabel && box.left < whole.left + 104) faults.push(`${say(owner)} stands below a label`);
    }
  }

  const holds = (one, other) => one.node === one.owner && one.owner.contains(other.owner);

  function overlapping(faults, all) {
    const sorted = [...all].sort((a, b) => a.box.top - b.box.top);
    sorted.forEach((one, at) => {
      for (let next = at + 1; next < sorted.length && sorted[next].box.top < one.box.bottom - 3; next += 1) {
        const other = sorted[next];
        if (one.node === other.node || holds(one, other) || holds(other, one)) continue;
        const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const high = Math.min(one.box.bottom, other.box.bottom) - other.box.top;
        // A line's text may be higher than the line.
        const most = Math.max(3, Math.min(one.box.height, other.box.height) / 4);
        if (wide > 2 && high > most) faults.push(`${say(one.owner)} and ${say(other.owner)} overlap`);
      }
    });
  }

  // Content that is wider than its box is cut off there, or stands out of it.
  function cutOff(faults) {
    const deepest = new Set();
    for (const element of document.querySelectorAll("body, body *")) {
      if (element.matches("input, select, textarea, svg, svg *, .scroll") || isAway(element)) continue;
      if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0) {
        deepest.delete(element.parentElement);
        deepest.add(element);
      }
    }
    for (const element of deepest) {
      if (element.querySelector(".scroll, .visually-hidden")) continue;
      faults.push(`${say(element)} holds ${element.scrollWidth} px in ${element.clientWidth}`);
    }
  }

  // What is read from right to left changes the order of nothing around it.
  function turned(faults, all) {
    for (const { owner, node } of all) {
      const open = node === owner || owner.closest("pre") ? "" : node.data.replace(ISOLATED, "");
      if (!RIGHT_TO_LEFT.test(open)) continue;
      if (!owner.closest("bdi")) {
        faults.push(`${say(owner)} is not isolated`);
      } else if (TURNED.test(open) || (owner.closest("bdi").dir !== "ltr" && /[A-Za-z→]/.test(open))) {
        faults.push(`${say(owner)} mixes what is isolated together alone`);
      }
    }
    const inOrder = all.filter(({ owner, node }) => node !== owner && !owner.closest("pre"));
    inOrder.forEach((one, at) => {
      const next = inOrder[at + 1];
      if (!next || one.node === next.node) return;
      const isOneLine = Math.abs(one.box.top - next.box.top) < 4 && one.owner.closest(BOXES) === next.owner.closest(BOXES);
      if (isOneLine && next.box.left < one.box.right - 2) faults.push(`${say(next.owner)} stands before ${say(one.owner)}`);
    });
  }

  // Nothing but what our templates write.
  function strange(faults) {
    const ours = "script[src^='/assets/'][defer], link[href^='/assets/'], meta[charset], meta[name], meta[http-equiv]";
    for (const element of document.querySelectorAll("script, link, meta, style, iframe, object, embed, base, img, math")) {
      if (!element.matches(`${ours}, .brand > img[src^='/assets/']`)) faults.push(`${say(element)} is not ours`);
    }
    for (const element of document.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        const isAddress = ["href", "src", "action", "formaction"].includes(name);
        const leads = isAddress && /^\s*(javascript|data|vbscript):/i.test(value);
        if (name.startsWith("on") || name === "style" || leads) faults.push(`${say(element)} has ${name}="${value}"`);
      }
    }
  }

  window.aditLook = {
    layout() {
      const faults = [];
      const root = document.documentElement;
      if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} px wide in ${root.clientWidth}`);
      const all = leaves();
      outside(faults, all);
      overlapping(faults, all);
      cutOff(faults);
      turned(faults, all);
      strange(faults);
      return [...new Set(faults)].slice(0, 8);
    },
    // How many lists must be scrolled sideways.
    scrolled: () => [...document.querySelectorAll(".scroll")].filter((it) => it.scrollWidth > it.clientWidth + 1).map(say),
    seen: [],
  };
  addEventListener("securitypolicyviolation", (event) => {
    aditLook.seen.push(`the policy was violated: ${event.violatedDirective} ${event.blockedURI}`);
  });
  for (const name of ["alert", "confirm", "prompt"]) {
    window[name] = (text) => { aditLook.seen.push(`${name}(${text})`); };
  }
})();

// Stands in every page beside layout.js: says what axe does not look for.
"use strict";
(() => {
  const say = (element) => `<${element.localName}> "${(element.textContent || element.name || "").trim().slice(0, 30)}"`;
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
  const textOf = (element) => (element.textContent || element.getAttribute("aria-label") || "").trim();

  function headings(faults) {
    const all = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(isShown);
    const first = all.filter((it) => it.localName === "h1");
    if (first.length !== 1) faults.push(`${first.length} headings of the first level`);
    let level = 0;
    for (const heading of all) {
      const its = Number(heading.localName[1]);
      if (its > level + 1) faults.push(`${say(heading)} is of level ${its} after ${level}`);
      if (!textOf(heading)) faults.push(`a heading of level ${its} is empty`);
      level = its;
    }
  }

  // A state is a word, or a picture that has one; its colour says nothing more.
  function states(faults) {
    for (const chip of document.querySelectorAll(".chip")) if (!textOf(chip)) faults.push("a chip has no word");
    for (const dot of document.querySelectorAll(".dot")) {
      const picture = dot.closest("[role=img]");
      const isSaid = picture ? picture.getAttribute("aria-label") : textOf(dot.parentElement);
      if (!isSaid && isShown(dot)) faults.push(`${say(dot.parentElement)} has a dot without a word`);
    }
    for (const mark of document.querySelectorAll(".mark, .spark")) {
      if (!textOf(mark)) faults.push("a mark has neither sign nor word");
    }
  }

  // At least 24 px each way (WCAG 2.5.8); a link within a sentence is as high as its line.
  function targets(faults) {
    for (const target of document.querySelectorAll("button, .button, select, textarea, input, nav a, summary, td a")) {
      if (target.type === "hidden" || !isShown(target)) continue;
      const box = (target.closest("label") ?? target).getBoundingClientRect();
      if (box.width < 24 || box.height < 24) {
        faults.push(`${say(target)} is ${Math.round(box.width)} by ${Math.round(box.height)} px`);
      }
    }
  }

  aditLook.words = () => {
    const faults = [];
    if (document.documentElement.lang !== "en") faults.push("the page has no language");
    if (!/\S.* · adit$/.test(document.title)) faults.push(`its title is "${document.title}"`);
    for (const head of document.querySelectorAll("th")) if (!textOf(head)) faults.push("a column has no name");
    headings(faults);
    states(faults);
    targets(faults);
    return [...new Set(faults)];
  };

  aditLook.axe = async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const found = await axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
    const faults = found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
      `${rule.id}: ${node.target}: ${[...node.any, ...node.all, ...node.none].map((it) => it.message).join("; ")}`));
    return { faults, rules: found.passes.map((rule) => rule.id) };
  };
})();

"use strict";
/* Tables: means with intervals, and paired differences to the baseline, sorted by a click on a heading. */

/** Return whether a difference is a better one, a worse one, or may be none. */
const verdict = (found, column) => {
  if (!found || !column.better || found[1] === null || found[2] === null || (found[1] <= 0 && found[2] >= 0)) return "";
  return found[0] > 0 === (column.better === "higher") ? "better" : "worse";
};

/** Make the table of one group: a line for each configuration, sorted by the state's column. */
const tableOf = (group, lines, headings, state) => {
  const [sort, falls] = [state.sort ?? "", state.order === "down"];
  const sorted = [...lines];
  if (sort !== "") {
    const value = (line) => (sort === "name" ? line.configuration.name : line.values[Number(sort)]?.value ?? null);
    sorted.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      return (falls ? -1 : 1) * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    });
  }
  const heading = (text, key, better) => {
    const own = String(key) === sort, next = own ? (falls ? "up" : "down") : better === "lower" || key === "name" ? "up" : "down";
    return make("th", { scope: "col", "aria-sort": own ? (falls ? "descending" : "ascending") : null },
      make("button", { type: "button", onclick: () => Report.go({ sort: String(key), order: next }, true) }, text, make("span", { class: "mark" }, own ? (falls ? "\u00a0▼" : "\u00a0▲") : "\u00a0↕")));
  };
  return make("div", { class: "wide" }, make("table", { class: "numbers" },
    make("caption", {}, group),
    make("thead", {}, make("tr", {}, heading("configuration", "name"), headings.map((one, place) => heading(one.text, place, one.better)))),
    make("tbody", {}, sorted.map((line) => make("tr", { class: line.configuration.name === Report.data.summary.baseline ? "baseline" : null },
      make("th", { scope: "row" }, make("a", { href: Report.address({ view: "pictures", group, first: line.id, kind: state.kind === "all" ? "" : state.kind }, {}) }, line.configuration.name)),
      line.values.map((one) => make("td", { class: one.verdict || null }, one.element, one.verdict ? make("span", { class: "only-read" }, ` ${one.verdict}`) : null)))))));
};

Report.views.tables = {
  title: "Tables",
  build(root, state) {
    const { kinds, baseline } = Report.data.summary;
    this.results = make("div", {});
    root.append(make("h2", {}, "Tables"), make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
      choice("show", "show", [["means", "means"], ["differences", `differences to ${baseline || "a baseline"}, edit by edit`]], state.show ?? "means"),
      choice("kind of edit", "kind", [["", "all"], ...kinds.map((kind) => [kind, kind])], state.kind ?? ""),
      choice("backbone", "group", [["", "all"], ...groupsOf().map((group) => [group, group])], state.group ?? ""),
      search("configuration has", "name", state.name)),
    this.results);
  },
  update(state) {
    const { columns, configurations, baseline, published } = Report.data.summary;
    const differ = state.show === "differences", kind = state.kind || "all";
    const costs = ["calls", "rows", "s/edit", "CPU s/edit"];
    const headings = columns.map((one) => ({ text: differ ? one.points : one.heading, better: one.better }));
    if (!differ && kind === "all") headings.push(...costs.map((text) => ({ text, better: "lower" })));
    const words = (state.name ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const parts = groupsOf().filter((group) => !state.group || group === state.group).map((group) => {
      const lines = configurations.map((configuration, id) => ({ configuration, id })).filter(({ configuration: one }) =>
        one.group === group && words.every((word) => one.name.toLowerCase().includes(word)) && (differ ? one.differences : one.means)?.[kind]);
      for (const line of lines) {
        const found = (differ ? line.configuration.differences : line.configuration.means)[kind];
        line.values = columns.map((column, place) => ({ value: found[place]?.[0] ?? null, element: estimate(found[place]), verdict: differ ? verdict(found[place], column) : "" }));
        if (!differ && kind === "all") line.values.push(...line.configuration.cost.map((value, place) => ({ value, element: value.toFixed(place < 2 ? 0 : 2), verdict: "" })));
      }
      return lines.length ? tableOf(group, lines, headings, state) : null;
    });
    const empty = parts.every((part) => part === null);
    this.results.replaceChildren(make("p", { class: "hint" }, differ
      ? `Each edit minus the same edit by ${baseline || "the baseline"}. ▲ and ▼: the interval excludes zero, for the better and for the worse.`
      : "Means, or rates in per cent, with 95 % intervals that count the edits of one picture together. A heading sorts."),
    ...(empty ? [make("p", { class: "none" }, differ && !baseline ? "The experiment has no baseline." : "Nothing to show.")] : parts.filter(Boolean)),
    ...published.map(publishedTable));
  },
};

/** Columns of a published table before its figures: whose, the system, the model. */
const WORDS = 3;

/** Return a figure, its interval small, with the marks of its notes raised: "22.90 [22.1, 23.7] a,c". */
const marked = (text, notes) => {
  const known = new Set(notes.map(([mark]) => mark)), [, rest, marks] = /^(.*) ([a-z,]+)$/.exec(text) ?? [];
  const own = rest !== undefined && marks.split(",").every((mark) => known.has(mark));
  const [value, interval] = (own ? rest : text).split(/ (?=\[[^\]]*\]$)/);
  return [value, interval ? make("small", {}, ` ${interval}`) : null, own ? make("sup", {}, ` ${marks}`) : null];
};

/** Make a table of published figures beside ours, each line marked with where it is from. */
const publishedTable = (one) => make("section", { class: "published" },
  make("h3", {}, one.title, " ", make("span", { class: "tag" }, "with published figures")),
  make("p", { class: "hint" }, `Published: ${one.source}. A published figure has no interval, and no picture here.`),
  make("div", { class: "wide" }, make("table", { class: "numbers" },
    make("thead", {}, make("tr", {}, one.headings.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, one.lines.map((line) => make("tr", { class: line.origin },
      (line.origin === "missing" ? line.cells.slice(0, WORDS) : line.cells).map((text, place) =>
        make("td", {}, place ? marked(text, one.notes) : make("span", { class: "tag" }, line.origin))),
      line.origin === "missing" ? make("td", { class: "remark", colspan: Math.max(1, one.headings.length - WORDS) }, line.remark) : null))))),
  make("ul", { class: "hint" }, one.notes.map(([mark, text]) => make("li", {}, make("sup", {}, mark), " ", text))));

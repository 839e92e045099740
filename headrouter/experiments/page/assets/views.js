"use strict";
/* The views of the page, and the way from the address to what is shown. */

Report.views.overview = {
  title: "Overview",
  build(root, state) {
    const { columns, kinds, axes, configurations, radarKinds } = Report.data.summary;
    const options = columns.map((one, place) => [place, one.heading]);
    this.pareto = make("div", { class: "charts" });
    this.radar = make("div", { class: "charts" });
    if (!columns.length || !configurations.some((one) => one.means)) {
      root.append(make("h2", {}, "Overview"), make("p", { class: "none" }, "There is no measured edit yet, so there are no charts."));
      return;
    }
    const eight = Object.keys(Report.data.summary.radarOf).length > 0;
    this.axes = radarKinds.every((kind) => configurations.some((one) => one.radar?.[kind])) ? "eight" : "own";
    const [left, right] = [make("section", {}), make("section", {})];
    root.append(make("div", { class: groupsOf().length === 1 ? "halves" : null }, left, right));
    left.append(
      make("h2", {}, "Edit against preservation"),
      make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
        choice("across", "across", options, state.across ?? axes?.[0] ?? 0), choice("up", "up", options, state.up ?? axes?.[1] ?? 0),
        choice("kind of edit", "kind", [["", "all"], ...kinds.map((kind) => [kind, kind])], state.kind ?? "")),
      this.pareto);
    right.append(
      make("h2", {}, "By kind of edit"),
      make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
        choice("column", "column", options, state.column ?? axes?.[0] ?? 0),
        choice("axes", "axes", [...(eight ? [["eight", "the eight kinds of all data sets"]] : []), ["own", "kinds of this data set"]], state.axes ?? this.axes)),
      this.radar);
  },
  update(state) {
    const { axes, configurations, baseline } = Report.data.summary;
    if (!this.radar.isConnected) return;
    const groups = groupsOf(), across = Number(state.across ?? axes?.[0] ?? 0), up = Number(state.up ?? axes?.[1] ?? 0);
    const column = Number(state.column ?? axes?.[0] ?? 0);
    this.pareto.replaceChildren(...groups.map((group) => Report.pareto(group, across, up, state.kind || "all")));
    const some = (group) => {
      const own = configurations.map((one, id) => ({ one, id })).filter(({ one }) => one.group === group && one.means && !isReference(one));
      const sign = Report.data.summary.columns[column].better === "lower" ? 1 : -1;
      const best = [...own].sort((one, other) => sign * ((one.one.means.all[column]?.[0] ?? -Infinity) - (other.one.means.all[column]?.[0] ?? -Infinity)));
      return [...own.filter(({ one }) => one.name === baseline), ...best.filter(({ one }) => one.name !== baseline)].slice(0, 4).map(({ id }) => id);
    };
    const chosen = state.radar ? state.radar.split(".").map(Number) : groups.flatMap(some);
    const which = state.axes ?? this.axes;
    this.radar.replaceChildren(...groups.filter((group) => configurations.some((one) => one.group === group && one.means)).map((group) => Report.radar(group, column, which, chosen)));
  },
};

Report.views.failures = {
  title: "Failures",
  build(root) {
    const { failures, configurations, rows } = Report.data.summary;
    root.append(make("h2", {}, "Failures"));
    if (!failures.length) root.append(make("p", { class: "none" }, "No cell failed."));
    for (const one of failures) {
      const [, , traceback] = one.cells[0];
      root.append(make("section", { class: "failure" },
        make("h3", {}, make("span", { class: "tag" }, one.during === "edit" ? "edit" : `metric ${one.during}`), ` ${one.cells.length} × ${one.type}`),
        make("pre", { class: "error" }, one.sentence),
        traceback ? make("p", {}, make("a", { href: `../${encodeURI(traceback)}` }, "traceback of the first")) : null,
        make("details", {}, make("summary", {}, "cells"), make("ul", { class: "cells" }, one.cells.slice(0, 500).map(([row, id]) =>
          make("li", {}, make("a", { href: Report.address({ view: "pictures", group: configurations[id].group, cell: `${row}.${id}` }, {}) }, `${configurations[id].group} ${configurations[id].name}, ${rows[row][0]}, seed ${rows[row][3]}`))),
        one.cells.length > 500 ? make("li", {}, `and ${one.cells.length - 500} more`) : null))));
    }
  },
  update() {},
};

Report.views.files = {
  title: "Configurations",
  build(root) {
    const { configurations } = Report.data.summary;
    root.append(make("h2", {}, "Configurations"), make("p", { class: "hint" }, "Each with a file that runs it alone, on all edits of the data set."));
    for (const one of configurations)
      root.append(make("details", { class: "configuration" },
        make("summary", {}, make("b", {}, one.name), ` ${one.group} `, make("small", {}, `${one.done} done`, one.failed ? `, ${one.failed} failed` : "", one.left ? `, ${one.left} left` : "")),
        listOf([["hash", one.hash], ["weights", one.weights || "none"], ["seeds", one.seeds.join(", ")]]),
        one.yaml ? [code(`headrouter experiment run ${one.file} -o again`), code(one.yaml), make("p", {}, make("a", { href: `files/${encodeURIComponent(one.file)}` }, one.file))]
          : make("p", { class: "none" }, "The run folder does not say which file this configuration has.")));
  },
  update() {},
};

/** Show what the address says. */
Report.show = async () => {
  const state = Report.state(), name = state.view in Report.views ? state.view : "overview";
  const main = document.getElementById("main");
  if (Report.now !== name) {
    Report.now = name;
    main.replaceChildren();
    main.className = `view-${name}`;
    Report.views[name].build(main, state);
    for (const one of document.querySelectorAll(".problems details")) one.open = name === "overview";
    for (const link of document.querySelectorAll("#views a")) link.toggleAttribute("aria-current", link.dataset.view === name);
    document.querySelector("#views [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const wrong = (error) => main.prepend(make("p", { class: "error", role: "alert" }, error.message));
  const { cell, ...rest } = state;
  const key = JSON.stringify(rest);
  if (Report.key !== key) {
    Report.key = key;
    await Promise.resolve(Report.views[name].update(state)).catch(wrong);
  }
  const found = /^(\d+)\.(\d+)$/.exec(cell ?? "");
  if (found) await Report.viewer.open(Number(found[1]), Number(found[2]), state).catch(wrong);
  else Report.viewer.close();
};

addEventListener("hashchange", () => {
  if (Report.now !== (Report.state().view ?? "overview")) scrollTo(0, 0);
  Report.key = Report.now === "pictures" || Report.now === "tables" || Report.now === "overview" ? Report.key : null;
  Report.show();
});

addEventListener("DOMContentLoaded", () => {
  const theme = document.getElementById("theme"), root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("headrouter-theme"); } catch { return null; } };
  if (remembered()) root.dataset.theme = remembered();
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("headrouter-theme", root.dataset.theme); } catch { /* a browser that remembers nothing on disk */ }
  });
  document.getElementById("viewer").addEventListener("close", () => {
    const { cell } = Report.state();
    if (cell) {
      Report.go({ cell: "" }, true);
      document.querySelector(`[data-row="${cell.split(".")[0]}"] button.cell`)?.focus();
    }
  });
  if (!Report.data.summary) {
    document.getElementById("main").append(make("p", { class: "error", role: "alert" }, "data/summary.js is missing or damaged; write the report again."));
    return;
  }
  const failed = Report.data.summary.failures.reduce((sum, one) => sum + one.cells.length, 0);
  document.getElementById("views").append(...Object.entries(Report.views).sort(([one], [other]) => ORDER.indexOf(one) - ORDER.indexOf(other)).map(([name, view]) =>
    make("a", { href: Report.address({ view: name }, {}), "data-view": name }, view.title, name === "failures" && failed ? make("span", { class: "count" }, String(failed)) : null)));
  Report.show();
});

const ORDER = ["overview", "tables", "pictures", "failures", "files"];

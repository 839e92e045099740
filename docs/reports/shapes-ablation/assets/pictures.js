"use strict";
/* Pictures: a row for each edit and seed, a column for each configuration, a page of rows at a time. */

const PER_PAGE = 24;

/** Mark the words of a prompt that the source prompt does not have, and the other way round. */
const changes = (source, prompt) => {
  const [from, to] = [source.split(/\s+/).filter(Boolean), prompt.split(/\s+/).filter(Boolean)];
  if (from.length * to.length > 40000 || !from.length) return [[source], [prompt]];
  const table = Array.from({ length: from.length + 1 }, () => new Uint16Array(to.length + 1));
  for (let i = from.length - 1; i >= 0; i--)
    for (let j = to.length - 1; j >= 0; j--)
      table[i][j] = from[i] === to[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const found = [[], []];
  for (let i = 0, j = 0; i < from.length || j < to.length;) {
    if (i < from.length && j < to.length && from[i] === to[j]) {
      found[0].push(`${from[i]} `);
      found[1].push(`${to[j]} `);
      i++, j++;
    } else if (j === to.length || (i < from.length && table[i + 1][j] >= table[i][j + 1])) found[0].push(make("del", {}, from[i++]), " ");
    else found[1].push(make("ins", {}, to[j++]), " ");
  }
  return found;
};

/** Make the lines that say what an edit asks for. */
const promptsOf = (row) => {
  const [item, picture, kind, seed, source, prompt, instruction] = row;
  const several = Report.data.summary.configurations.some((one) => one.seeds.length > 1);
  const [from, to] = changes(source, prompt);
  return make("div", { class: "prompts" },
    source ? make("p", { class: "from" }, from) : null,
    prompt ? make("p", { class: "to" }, to) : make("p", { class: "none" }, "prompt unknown"),
    instruction ? make("p", { class: "to" }, `“${instruction}”`) : null,
    make("p", { class: "hint" }, make("span", { class: "tag" }, kind || "no kind"), ` ${item}`, several ? `, seed ${seed}` : "", picture === item ? "" : `, of picture ${picture}`));
};

/** Return the configurations that are shown, the first one where the state names it. */
Report.columnsOf = (state) => {
  const { configurations } = Report.data.summary;
  const groups = groupsOf(), group = state.group ?? groups[0];
  const hidden = new Set((state.hide ?? "").split(".").filter(Boolean).map(Number));
  const ids = configurations.map((_, id) => id).filter((id) => (group === "every" || configurations[id].group === group) && !hidden.has(id));
  ids.sort((one, other) => isReference(configurations[one]) - isReference(configurations[other]) || one - other);
  const first = Number(state.first ?? NaN);
  return ids.includes(first) ? [first, ...ids.filter((id) => id !== first)] : ids;
};

/** Return a promise of the numbers of the rows that are shown, in their order. */
Report.rowsOf = async (state) => {
  const { rows, columns } = Report.data.summary;
  const words = (state.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.map((_, number) => number).filter((number) => {
    const row = rows[number];
    return (!state.kind || row[2] === state.kind) && (!state.only || row[7]) &&
      words.every((word) => `${row[0]} ${row[1]} ${row[4]} ${row[5]} ${row[6]}`.toLowerCase().includes(word));
  });
  const column = valueColumn(state), about = columns[column];
  if (!state.rank || !about) return found;
  const values = (await Report.load("values"))[about.name][Report.columnsOf(state)[0]] ?? [];
  const sign = (about.better === "lower" ? -1 : 1) * (state.rank === "worst" ? 1 : -1);
  const number = (row) => (values[row] === null || values[row] === undefined ? Infinity : sign * Number(values[row]));
  return found.sort((one, other) => { const [a, b] = [number(one), number(other)]; return a === b ? one - other : a - b; });
};

const valueColumn = (state) => Number(state.value ?? Report.data.summary.axes?.[0] ?? 0);

/** Return one row's data, after its chunk was loaded. */
Report.rowData = async (number) => {
  const { chunk } = Report.data.summary;
  return (await Report.load(`rows-${Math.floor(number / chunk)}`))[number % chunk];
};

/** Make the picture of a cell, or a visible gap that says why there is none. */
const thumbnail = (found, alternative, none) => {
  if (!found?.picture) return make("span", { class: found?.missing ? "gap missing" : "gap", title: found?.missing ?? "" }, found?.missing ? "picture missing" : none);
  const image = make("img", { src: found.thumbnail || found.picture, alt: alternative, loading: "lazy", decoding: "async", class: found.thumbnail ? null : "small",
    onerror: (event) => event.target.replaceWith(make("span", { class: "gap missing" }, "picture missing")) });
  return image;
};

/** Make one cell of the table: a button that opens it at full size. */
const cellOf = (cell, row, id, number, column, state) => {
  const { columns, configurations, rows } = Report.data.summary, configuration = configurations[id];
  const open = () => Report.go({ cell: `${number}.${id}` });
  const seed = rows[number][3], label = `${configuration.name}, ${rows[number][0]}`;
  if (!cell) return make("span", { class: "gap" }, configuration.seeds.includes(seed) ? "not made yet" : `the same as seed ${configuration.seeds[0]}`);
  const about = columns[column], value = cell.values?.[column];
  const failed = (cell.failures ?? []).find(([during]) => during === "edit");
  const picture = failed ? make("span", { class: "gap failed" }, make("b", {}, "failed"), make("small", {}, failed[2])) : thumbnail(cell, label, "no picture");
  const right = about?.rate && typeof value === "boolean" ? (value ? "right" : "wrong") : null;
  const says = !about || failed ? "" : about.rate ? (value === true ? "✓" : value === false ? "✗" : "–") : shown(about, value);
  return make("button", { type: "button", class: `cell ${right ?? ""}`, onclick: open, "aria-label": `${label}${right ? `, ${about.heading}: ${right}` : ""}${failed ? ", failed" : ""}` },
    picture, make("span", { class: "value" }, says, !failed && cell.failures?.length ? make("span", { class: "warn", title: "a metric failed" }, " !") : null));
};

Report.views.pictures = {
  title: "Pictures",
  build(root, state) {
    const { kinds, columns, rows } = Report.data.summary;
    this.count = make("p", { class: "hint", "aria-live": "polite" });
    this.results = make("div", { class: "wide gallery" });
    this.pages = make("nav", { class: "pages", "aria-label": "Pages" });
    this.hide = make("details", { class: "columns" }, make("summary", {}, "columns"), make("div", {}));
    const groups = groupsOf();
    root.append(make("h2", {}, "Pictures"), make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
      groups.length > 1 ? choice("backbone", "group", [...groups.map((group) => [group, group]), ["every", "all"]], state.group ?? groups[0]) : null,
      choice("kind of edit", "kind", [["", "all"], ...kinds.map((kind) => [kind, kind])], state.kind ?? ""),
      columns.length ? choice("value", "value", columns.map((one, place) => [place, one.heading]), valueColumn(state)) : null,
      columns.length ? choice("order", "rank", [["", "of the data set"], ["worst", "worst of the first column first"], ["best", "best of the first column first"]], state.rank ?? "") : null,
      rows.some((row) => row[7]) ? choice("only", "only", [["", "all"], ["failed", "with a failure"]], state.only ?? "") : null,
      search("text", "text", state.text), this.hide),
    this.count, this.results, this.pages);
    this.results.addEventListener("keydown", walk);
  },
  async update(state) {
    const { rows, configurations, baseline } = Report.data.summary;
    const ids = Report.columnsOf(state), column = valueColumn(state), all = await Report.rowsOf(state);
    const last = Math.max(0, Math.ceil(all.length / PER_PAGE) - 1), page = Math.min(last, Math.max(0, Number(state.page ?? 1) - 1 || 0));
    const part = all.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    const token = (this.token = {});
    const data = await Promise.all(part.map((number) => Report.rowData(number)));
    if (token !== this.token) return; // another state came meanwhile
    const truths = data.some((one) => one.of.truth), sources = data.some((one) => one.of.source);
    const head = (id) => make("th", { scope: "col" }, make("a", { href: Report.address({ first: id, page: "" }), title: "put this column first", style: `--own: ${colourOf(configurations[id])}` },
      make("span", { class: "dot" }), ids.length && state.group === "every" ? `${configurations[id].group}: ` : "", configurations[id].name), configurations[id].name === baseline ? make("span", { class: "tag" }, "baseline") : null);
    this.results.replaceChildren(part.length ? make("table", { class: "pictures" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "edit"), sources ? make("th", { scope: "col" }, "source") : null, truths ? make("th", { scope: "col" }, "true result") : null, ids.map(head))),
      make("tbody", {}, part.map((number, place) => make("tr", { "data-row": number },
        make("th", { scope: "row" }, promptsOf(rows[number])),
        sources ? make("td", { "data-label": "source" }, make("span", { class: "cell" }, thumbnail(data[place].of.source, "source", "no source"), make("span", { class: "value" }, ""))) : null,
        truths ? make("td", { "data-label": "true result" }, make("span", { class: "cell" }, thumbnail(data[place].of.truth, "true result", "not known"), make("span", { class: "value" }, ""))) : null,
        ids.map((id) => make("td", { "data-label": configurations[id].name }, cellOf(data[place].cells[id], data[place], id, number, column, state))))))) :
      make("p", { class: "none" }, rows.length ? "No edit fits." : "Nothing was made yet."));
    this.count.textContent = `${all.length} of ${rows.length} rows, ${ids.length} configuration${ids.length === 1 ? "" : "s"}${last ? `, page ${page + 1} of ${last + 1}` : ""}.`;
    const to = (number, text, shownIf) => make("a", { href: Report.address({ page: number + 1 }), class: shownIf ? null : "off", "aria-disabled": shownIf ? null : "true" }, text);
    this.pages.replaceChildren(...(last ? [to(0, "first", page > 0), to(page - 1, "previous", page > 0), make("span", {}, `${page + 1} / ${last + 1}`), to(page + 1, "next", page < last), to(last, "last", page < last)] : []));
    const hidden = new Set((state.hide ?? "").split(".").filter(Boolean).map(Number));
    this.hide.lastChild.replaceChildren(...configurations.map((one, id) => [one, id]).filter(([one, id]) => hidden.has(id) || ids.includes(id)).map(([one, id]) =>
      make("label", {}, make("input", { type: "checkbox", checked: !hidden.has(id), onchange: (event) => {
        event.target.checked ? hidden.delete(id) : hidden.add(id);
        Report.go({ hide: [...hidden].join(".") }, true);
      } }), ` ${one.name}`)));
  },
};

/** Walk among the cells by the arrow keys. */
const walk = (event) => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const cell = event.target.closest("td");
  if (!step || !cell) return;
  let [row, place] = [cell.parentElement, [...cell.parentElement.children].indexOf(cell)];
  do {
    row = step[0] < 0 ? row.previousElementSibling : step[0] > 0 ? row.nextElementSibling : row;
    place += step[1];
  } while (row?.children[place] && !row.children[place].querySelector("button.cell"));
  const next = row?.children[place]?.querySelector("button.cell");
  if (next) {
    event.preventDefault();
    next.focus();
  }
};

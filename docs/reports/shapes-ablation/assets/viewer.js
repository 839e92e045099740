"use strict";
/* One cell at full size: slider, flip and difference, maps over the picture, numbers, and how to make it again. */

const MODES = { slider: "s", flip: "f", difference: "d", edit: "e" };
const SMALLEST = 384; // pixels on the screen that a small picture is enlarged to

/** Return the bytes of a map: [rows, columns] in 0 to 1; null where there is no value. */
const unpacked = (map) => {
  const bytes = Uint8Array.from(atob(map.values), (letter) => letter.charCodeAt(0));
  return { rows: map.shape[0], columns: map.shape[1], at: (row, column) => { const byte = bytes[row * map.shape[1] + column]; return byte ? (byte - 1) / 254 : null; } };
};

/** Draw a map with a colour for each value, [red, green, blue, opacity]. */
const canvasOf = (map, colour, attributes) => {
  const { rows, columns, at } = unpacked(map);
  const canvas = make("canvas", { width: columns, height: rows, ...attributes });
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) pixels.data.set(colour(at(row, column)), 4 * (row * columns + column));
  context.putImageData(pixels, 0, 0);
  return canvas;
};

/** Colour from dark violet over red to yellow, as maps are printed. */
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];
const heat = (value) => {
  const place = Math.min(3.999, value * 4), low = Math.floor(place), share = place - low;
  return STOPS[low].map((one, channel) => Math.round(one + (STOPS[low + 1][channel] - one) * share));
};

/** Return what can lie over the picture: names, and a function that makes each. */
const overlays = (data, cell) => {
  const found = [["", "nothing", () => null]];
  if (data.of.mask?.picture) found.push(["mask", "where the data set allows a change", () => make("img", { class: "over dim", src: data.of.mask.picture, alt: "" })]);
  const maps = cell.maps ?? {};
  if (maps.mask) found.push(["blend", "mask of the edit", () => canvasOf(maps.mask, (value) => [128, 128, 128, value === null ? 0 : Math.round(190 * (1 - value))], { class: "over" })]);
  for (const [word, map] of Object.entries(maps.words ?? {}))
    found.push([`word ${word}`, `where “${word}” acts`, () => canvasOf(map, (value) => (value === null ? [0, 0, 0, 0] : [...heat(value), Math.round(50 + 160 * value)]), { class: "over smooth" })]);
  return found;
};

Report.viewer = {
  element: null,
  mode: "slider",
  against: "source",
  over: "",
  gain: 4,
  whole: false,

  async open(number, id, state) {
    const dialog = (this.element = document.getElementById("viewer"));
    const { rows, configurations } = Report.data.summary, row = rows[number], configuration = configurations[id];
    if (!row || !configuration) return this.close();
    const data = await Report.rowData(number);
    this.order = await Report.rowsOf(state);
    Object.assign(this, { number, id, state, data, row, configuration, cell: data.cells[id] ?? {} });
    const go = (changes) => Report.go(changes, true);
    const step = (rowsOn, columnsOn) => this.step(rowsOn, columnsOn);
    dialog.replaceChildren(
      make("div", { class: "bar" },
        make("button", { type: "button", onclick: () => step(-1, 0), title: "edit before (↑)" }, "↑"),
        make("button", { type: "button", onclick: () => step(1, 0), title: "next edit (↓)" }, "↓"),
        make("button", { type: "button", onclick: () => step(0, -1), title: "configuration before (←)" }, "←"),
        make("button", { type: "button", onclick: () => step(0, 1), title: "next configuration (→)" }, "→"),
        make("h2", {}, configuration.name, " ", make("small", {}, configuration.group)),
        make("button", { type: "button", class: "close", onclick: () => go({ cell: "" }), title: "close (Esc)" }, "✕")),
      promptsOf(row), make("div", { class: "sides" }, this.stage(), this.facts()));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  },

  close() {
    if (this.element?.open) this.element.close();
    this.number = undefined;
  },

  /** Go to another row, or another configuration, of those that are shown. */
  step(rowsOn, columnsOn) {
    const columns = Report.columnsOf(this.state), row = this.order.indexOf(this.number) + rowsOn, column = columns.indexOf(this.id) + columnsOn;
    if (row in this.order && column in columns) Report.go({ cell: `${this.order[row]}.${columns[column]}` }, true);
  },

  /** Make the pictures and their controls. */
  stage() {
    const { cell, data } = this, failed = (cell.failures ?? []).find(([during]) => during === "edit");
    if (!cell.picture) {
      const why = failed ? `failed: ${failed[1]}: ${failed[2]}` : (cell.missing ?? "not made yet");
      return make("div", { class: "stage", tabindex: "-1", autofocus: true }, make("span", { class: failed ? "gap failed" : "gap missing" }, why));
    }
    const others = Report.columnsOf(this.state).filter((id) => id !== this.id && data.cells[id]?.picture);
    const befores = [["source", "the source", data.of.source?.picture], ["truth", "the true result", data.of.truth?.picture],
      ...others.map((id) => [String(id), Report.data.summary.configurations[id].name, data.cells[id].picture])].filter(([, , address]) => address);
    const before = befores.find(([key]) => key === this.against) ?? befores[0], over = overlays(data, cell);
    const stage = make("div", { class: "stage", tabindex: "-1", autofocus: true });
    const frame = make("div", { class: `frame ${this.mode}${this.whole ? " whole" : ""}` });
    const gap = (event) => event.target.replaceWith(make("span", { class: "gap missing" }, "picture missing"));
    const edit = make("img", { class: "after", src: cell.picture, alt: `edit: ${this.row[5]}`, draggable: "false", onerror: gap });
    const size = () => {
      const scale = Math.max(1, Math.floor(SMALLEST / Math.max(edit.naturalWidth, edit.naturalHeight, 1)));
      const [width, aspect] = [edit.naturalWidth * scale, edit.naturalWidth / edit.naturalHeight];
      frame.style.width = this.whole ? `${width}px` : `min(${width}px, ${70 * aspect}vh)`;
      this.element.classList.toggle("beside", width <= 640);
      frame.style.aspectRatio = `${edit.naturalWidth} / ${edit.naturalHeight}`;
      frame.classList.toggle("small", scale > 1);
    };
    edit.addEventListener("load", size);
    frame.append(edit);
    const tools = [];
    if (before && this.mode !== "edit") {
      frame.prepend(make("img", { class: "before", src: before[2], alt: before[1], draggable: "false", onerror: gap }));
      this[`_${this.mode}`](frame, tools, before[1]);
    }
    const layer = (over.find(([key]) => key === this.over) ?? over[0])[2]();
    if (layer) frame.append(layer);
    const again = (changes) => { Object.assign(this, changes); stage.replaceWith(this.stage()); };
    stage.append(frame, make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
      make("fieldset", {}, make("legend", { class: "only-read" }, "view"), Object.entries(MODES).map(([mode, key]) => make("label", { title: `key ${key}` },
        make("input", { type: "radio", name: "mode", value: mode, checked: mode === this.mode, onchange: () => again({ mode }) }), mode === "edit" ? "edit alone" : mode))),
      tools,
      make("label", { title: "key 1" }, make("input", { type: "checkbox", name: "whole", checked: this.whole, onchange: (event) => again({ whole: event.target.checked }) }), " pixel for pixel"),
      befores.length ? make("label", { class: "choice" }, make("span", {}, "against"), make("select", { name: "against", onchange: (event) => again({ against: event.target.value }) },
        befores.map(([key, text]) => make("option", { value: key, selected: key === before[0] }, text)))) : make("p", { class: "none" }, "There is no picture to compare with."),
      over.length > 1 ? make("label", { class: "choice" }, make("span", {}, "over it"), make("select", { name: "over", onchange: (event) => again({ over: event.target.value }) },
        over.map(([key, text]) => make("option", { value: key, selected: key === this.over }, text)))) : null));
    return stage;
  },

  _slider(frame, tools, name) {
    const range = make("input", { type: "range", min: 0, max: 100, value: 50, step: 0.5, "aria-label": `share of ${name}`, oninput: () => place() });
    const place = () => frame.style.setProperty("--at", `${range.value}%`);
    const drag = (event) => {
      const box = frame.getBoundingClientRect();
      range.value = (100 * (event.clientX - box.left)) / box.width;
      place();
    };
    frame.addEventListener("pointerdown", (event) => { frame.setPointerCapture(event.pointerId); drag(event); });
    frame.addEventListener("pointermove", (event) => { if (event.buttons || event.pressure) drag(event); });
    place();
    frame.append(make("span", { class: "edge" }));
    tools.push(make("label", { class: "choice range" }, make("span", {}, `${name} ↔ edit`), range));
  },

  _flip(frame, tools, name) {
    const says = make("button", { type: "button", class: "flipper", onclick: () => turn() });
    const turn = () => {
      const before = frame.classList.toggle("turned");
      says.textContent = before ? `shows ${name}` : "shows the edit";
    };
    says.textContent = "shows the edit";
    frame.addEventListener("click", turn);
    tools.push(says);
  },

  _difference(frame, tools) {
    const range = make("input", { type: "range", min: 1, max: 16, value: this.gain, step: 1, oninput: () => gain() });
    const says = make("span", {});
    const gain = () => {
      this.gain = Number(range.value);
      frame.style.setProperty("--gain", range.value);
      says.textContent = `difference × ${range.value}`;
    };
    gain();
    tools.push(make("label", { class: "choice range" }, says, range));
  },

  /** Make the numbers of the cell, its head weights, errors, and how to make it again. */
  facts() {
    const { columns, rows } = Report.data.summary, { cell, row, configuration } = this;
    const facts = make("div", { class: "facts" });
    for (const [during, type, sentence] of cell.failures ?? [])
      facts.append(make("p", { class: "error" }, make("b", {}, during === "edit" ? "The edit failed" : `The metric ${during} failed`), `: ${type}: ${sentence}`));
    if (cell.maps?.missing) facts.append(make("p", { class: "error" }, cell.maps.missing));
    const [calls, count, seconds, processor, memory] = cell.cost ?? [];
    const costs = cell.cost ? [["model calls", calls], ["rows", Number(count?.toFixed(1))], ["seconds", seconds?.toFixed(2)], ["processor seconds", processor?.toFixed(2)], ...(memory ? [["peak memory, MiB", (memory / 2 ** 20).toFixed(0)]] : [])] : [];
    facts.append(listOf([...columns.map((one, place) => [one.heading, shown(one, cell.values?.[place])]), ...Object.entries(cell.texts ?? {}), ...costs]));
    if (cell.maps?.heads) {
      const map = cell.maps.heads;
      facts.append(make("figure", { class: "heads" }, canvasOf(map, (value) => (value === null ? [128, 128, 128, 60] : [...heat(value), 255]), { role: "img", "aria-label": "weight of each head", style: `width: min(100%, ${20 * map.shape[1]}px)` }),
        make("figcaption", {}, `Weight of each head, mean over the steps: a row for each of ${map.shape[0]} layers, a column for each of ${map.shape[1]} heads; dark ${map.low}, bright ${map.high}, grey where none acted.`)));
    }
    const command = configuration.command.replace("ITEM", row[0]).replace("SEED", row[3]);
    facts.append(make("details", { open: true, class: "again" }, make("summary", {}, "Make this cell again"),
      configuration.yaml ? [make("p", { class: "hint" }, "With the file ", make("a", { href: `files/${encodeURIComponent(configuration.file)}` }, configuration.file), " in the folder where the experiment was run:"), code(command), code(configuration.yaml)]
        : make("p", { class: "none" }, "The run folder does not say which file this configuration has: it was made from Python with parts of no name, or its file is missing.")));
    return facts;
  },
};

document.addEventListener("keydown", (event) => {
  const viewer = Report.viewer;
  if (!viewer.element?.open || event.target.matches("select, input[type=range], input[type=search]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const mode = Object.keys(MODES).find((one) => MODES[one] === event.key);
  if (step) viewer.step(...step);
  else if (mode) viewer.element.querySelector(`input[value=${mode}]`)?.click();
  else if (event.key === "1") viewer.element.querySelector("input[name=whole]")?.click();
  else if (event.key === " " && viewer.mode === "flip" && !event.target.matches("button, summary, a")) viewer.element.querySelector(".flipper")?.click();
  else if (event.key === "m") {
    const select = viewer.element.querySelector("select[name=over]");
    if (!select) return;
    select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
    select.dispatchEvent(new Event("change"));
  } else return;
  event.preventDefault();
});

"use strict";
/* What all views share: data that arrives by <script>, the state in the address, and elements made of text, never of HTML. */

const Report = { data: {}, waiting: {}, views: {} };

/** Take data that a script of the folder data/ hands over. */
Report.receive = (name, value) => {
  Report.data[name] = value;
};

/** Return a promise of data, loading its script at the first time. */
Report.load = (name) => {
  if (name in Report.data) return Promise.resolve(Report.data[name]);
  Report.waiting[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = () => resolve(Report.data[name]);
    script.onerror = () => {
      delete Report.waiting[name];
      reject(new Error(`data/${name}.js is missing or damaged; write the report again.`));
    };
    document.head.append(script);
  });
  return Report.waiting[name];
};

/** Return the state, which is in the address after #. */
Report.state = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Return the address of a state: the present one with changes, of which empty ones are taken out. */
Report.address = (changes, from = Report.state()) => {
  const whole = Object.entries({ ...from, ...changes }).filter(([, value]) => value !== "" && value != null);
  return `#${new URLSearchParams(whole)}`;
};

/** Go to another state; one that replaces does not lengthen the browser's history. */
Report.go = (changes, replaces = false) => {
  const address = Report.address(changes);
  if (address === location.hash) return;
  if (replaces) {
    history.replaceState(null, "", address);
    Report.show();
  } else location.hash = address;
};

/** Make an element; text children become text, whatever is in them. */
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "open") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

/** Make a select with a label, which changes one key of the state. */
const choice = (label, key, options, initial, replaces = true) =>
  make("label", { class: "choice" }, make("span", {}, label),
    make("select", { name: key, onchange: (event) => Report.go({ [key]: event.target.value, page: "" }, replaces) },
      options.map(([value, text]) => make("option", { value, selected: String(value) === String(initial) }, text))));

/** Make a field of text with a label, which changes one key of the state. */
const search = (label, key, initial) =>
  make("label", { class: "choice" }, make("span", {}, label),
    make("input", { type: "search", name: key, value: initial ?? "", oninput: (event) => Report.go({ [key]: event.target.value, page: "" }, true) }));

/** Make a button that copies a text. */
const copier = (text, label = "copy") =>
  make("button", { type: "button", class: "copy", onclick: async (event) => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text, class: "only-read" });
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  } }, label);

/** Make a block of code with a button that copies it. */
const code = (text) => make("div", { class: "code" }, copier(text), make("pre", {}, text));

/** Make a list of names and values. */
const listOf = (pairs) => make("dl", { class: "values" }, pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));

/** Split "27.5 [26.1, 28.9]" into a value and a fainter interval. */
const estimate = (found) => {
  if (!found) return make("span", { class: "none" }, "–");
  const [value, interval] = found[4].split(/ (?=\[)/);
  return make("span", { title: `${found[3]} values` }, make("b", {}, value), " ", make("small", {}, interval ?? ""));
};

/** Return a value of one cell as a text. */
const shown = (column, value) => {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return (value * (column.rate ? 1 : column.scale)).toFixed(column.digits);
};

/** Return the name of a configuration without the values that were swept. */
const familyOf = (name) => name.split(/ \S+=/)[0];
const isReference = (configuration) => configuration.name.startsWith("reference ");

/** Return the colour of a configuration: one for each family of names, grey for references. */
const colourOf = (configuration) => {
  if (isReference(configuration)) return "var(--faint)";
  const families = [...new Set(Report.data.summary.configurations.filter((one) => !isReference(one)).map((one) => familyOf(one.name)))];
  return `var(--colour-${families.indexOf(familyOf(configuration.name)) % 9})`;
};

/** Return the groups of configurations, in their order. */
const groupsOf = () => [...new Set(Report.data.summary.configurations.map((one) => one.group))];

"use strict";
/* Charts: edit against preservation with intervals, and the radar over kinds of edit. */

const UNCHANGED = 99; // decibels that stand for a picture that is unchanged

/** Return about five round numbers from low to high. */
const ticks = (low, high) => {
  const raw = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
};

/** Return a range that has all means, and of their intervals what does not squeeze the means. */
const rangeOf = (estimates) => {
  const means = estimates.map((one) => one[0]);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const finite = (place) => estimates.map((one) => one[place]).filter((one) => one !== null);
  const [lowest, highest] = [Math.min(low, ...finite(1)), Math.max(high, ...finite(2))];
  const reach = Math.max(high - low, Math.abs(high) * 0.05) || highest - lowest || 1;
  const bottom = Math.max(lowest, low - reach), top = Math.min(highest, high + reach);
  if (top === bottom) return [bottom - reach, top + reach];
  return [bottom - 0.06 * (top - bottom), top + 0.06 * (top - bottom)];
};

/** Return the configurations that no other surpasses in both columns. */
const frontier = (points, across, up) => {
  const sign = (column) => (column.better === "lower" ? -1 : 1);
  const beats = (one, other) => {
    const a = sign(across) * (one.x[0] - other.x[0]), b = sign(up) * (one.y[0] - other.y[0]);
    return a >= 0 && b >= 0 && a + b > 0;
  };
  return points.filter((one) => !points.some((other) => beats(other, one))).sort((one, other) => one.x[0] - other.x[0]);
};

/** Draw one group: a point with both intervals for each configuration, which leads to its pictures. */
Report.pareto = (group, across, up, kind) => {
  const { columns, configurations } = Report.data.summary;
  const [x, y] = [columns[across], columns[up]];
  const scaled = (found, column) => found && found.slice(0, 3).map((one) => (one === null ? null : one * column.scale));
  const fits = (found, column) => found && !(column.heading.endsWith(", dB") && found[0] >= UNCHANGED);
  const own = configurations.map((one, id) => ({ one, id })).filter(({ one }) => one.group === group);
  const points = own.map(({ one, id }, place) => {
    const means = one.means?.[kind] ?? [];
    return { one, id, number: place + 1, text: [means[across]?.[4], means[up]?.[4]], x: scaled(means[across], x), y: scaled(means[up], y) };
  });
  const drawn = points.filter(({ x: a, y: b }) => fits(a, x) && fits(b, y));
  const figure = make("figure", { class: "chart" }, make("h3", {}, group));
  if (!drawn.length) {
    figure.append(make("p", { class: "none" }, "No configuration has values in both columns."));
    return figure;
  }
  const [width, height, left, right, top, bottom] = [520, 400, 58, 14, 10, 46];
  const [xs, ys] = [rangeOf(drawn.map((one) => one.x)), rangeOf(drawn.map((one) => one.y))];
  const px = (value) => left + ((value - xs[0]) / (xs[1] - xs[0])) * (width - left - right);
  const py = (value) => height - bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (height - top - bottom);
  const per = (column) => `${column.heading}${column.rate ? ", per cent" : ""}`;
  const clip = `clip-${Math.random().toString(36).slice(2)}`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${per(y)} against ${per(x)}, ${group}` });
  svg.append(draw("clipPath", { id: clip }, draw("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom })));
  for (const at of ticks(...xs)) {
    svg.append(draw("line", { class: "grid", x1: px(at), x2: px(at), y1: top, y2: height - bottom }));
    svg.append(draw("text", { class: "tick", x: px(at), y: height - bottom + 16, "text-anchor": "middle" }, String(at)));
  }
  for (const at of ticks(...ys)) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: py(at), y2: py(at) }));
    svg.append(draw("text", { class: "tick", x: left - 6, y: py(at) + 4, "text-anchor": "end" }, String(at)));
  }
  const arrow = (column) => ({ higher: " →", lower: " ←" })[column.better] ?? "";
  svg.append(draw("text", { class: "axis", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, per(x) + arrow(x)));
  svg.append(draw("text", { class: "axis", transform: `translate(14 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, per(y) + arrow(y)));
  const front = frontier(drawn.filter(({ one }) => !isReference(one)), x, y);
  svg.append(draw("polyline", { class: "frontier", "clip-path": `url(#${clip})`, points: front.map((one) => `${px(one.x[0])},${py(one.y[0])}`).join(" ") }));
  const says = make("figcaption", { class: "says", "aria-live": "polite" }, "The dashed line joins what nothing surpasses in both. A point leads to its pictures.");
  const legend = make("ol", { class: "legend" }), labels = [];
  const taken = drawn.map((one) => [px(one.x[0]), py(one.y[0])]);
  const near = (places, x0, y0, wide, high) => places.some(([x1, y1]) => Math.abs(x1 - x0) < wide && Math.abs(y1 - y0) < high);
  const labelled = (number, x0, y0) => { // at a corner of the point where nothing is covered, or not at all
    const corners = [[8, -7], [8, 15], [-8 - 7 * String(number).length, -7], [-8 - 7 * String(number).length, 15]];
    const free = corners.map(([right, down]) => [x0 + right, y0 + down]).find(([x1, y1]) => !near(labels, x1, y1, 15, 11) && !near(taken, x1 + 5, y1 - 4, 10, 9));
    if (!free) return null;
    labels.push(free);
    return draw("text", { x: free[0], y: free[1] }, String(number));
  };
  for (const { one, id, number, text, x: a, y: b } of points) {
    const colour = colourOf(one), there = drawn.some((other) => other.id === id);
    const sentence = there ? `${number}  ${one.name}: ${x.heading} ${text[0]}, ${y.heading} ${text[1]}` : `${one.name} is off the chart`;
    const tell = () => { says.textContent = sentence; };
    const address = Report.address({ view: "pictures", group, first: id, kind: kind === "all" ? "" : kind }, {});
    legend.append(make("li", { class: there ? null : "none" }, make("a", { href: address, style: `--own: ${colour}`, onmouseenter: tell, onfocus: tell },
      make("span", { class: "dot" }), `${number}  ${one.name}${there ? "" : " (off the chart)"}`)));
    if (!there) continue;
    const bars = [[a, (at) => ({ x1: px(at[1] ?? at[0]), x2: px(at[2] ?? at[0]), y1: py(b[0]), y2: py(b[0]) })],
      [b, (at) => ({ x1: px(a[0]), x2: px(a[0]), y1: py(at[1] ?? at[0]), y2: py(at[2] ?? at[0]) })]];
    svg.append(draw("a", { href: address, class: "point", "aria-label": sentence, style: `--own: ${colour}`, onmouseenter: tell, onfocus: tell },
      bars.map(([at, place]) => draw("line", { class: "bar", "clip-path": `url(#${clip})`, ...place(at) })),
      draw("circle", { cx: px(a[0]), cy: py(b[0]), r: 6 }),
      draw("circle", { class: "target", cx: px(a[0]), cy: py(b[0]), r: 14 }),
      labelled(number, px(a[0]), py(b[0])), draw("title", {}, sentence)));
  }
  figure.append(svg, says, legend);
  return figure;
};

/** Draw the means of some configurations over kinds of edit, one axis for each kind. */
Report.radar = (group, column, which, chosen) => {
  const { columns, configurations, kinds, radarKinds } = Report.data.summary;
  const about = columns[column], axes = which === "eight" ? radarKinds : kinds;
  const of = (one, kind) => (which === "eight" ? one.radar : one.means)?.[kind]?.[column];
  const own = configurations.map((one, id) => ({ one, id })).filter(({ one }) => one.group === group && one.means);
  const figure = make("figure", { class: "chart" }, make("h3", {}, group));
  const lines = own.filter(({ id }) => chosen.includes(id));
  const colour = (id) => { const place = lines.findIndex((one) => one.id === id); return place < 0 ? "var(--line)" : `var(--colour-${place % 9})`; };
  const all = own.flatMap(({ one }) => axes.map((kind) => of(one, kind)?.[0])).filter((one) => one !== undefined && one !== null);
  if (!all.length) {
    figure.append(make("p", { class: "none" }, "No edit is of any of these kinds."));
    return figure;
  }
  if (axes.length < 3) {
    figure.append(make("p", { class: "none" }, `A radar takes three kinds of edit; here are ${axes.length}. The tables have the values of each.`));
    return figure;
  }
  let [low, high] = about.rate ? [0, 1] : [Math.min(...all), Math.max(...all)];
  if (!about.rate && about.better === "lower") high += 0.15 * (high - low || 1);
  else if (!about.rate) low -= 0.15 * (high - low || 1);
  const [width, height, centre, middle, radius] = [520, 380, 260, 190, 150];
  const at = (place, share) => {
    const angle = (2 * Math.PI * place) / axes.length - Math.PI / 2;
    return [centre + radius * share * Math.cos(angle), middle + radius * share * Math.sin(angle)];
  };
  const share = (value) => Math.max(0, Math.min(1, (about.better === "lower" ? high - value : value - low) / (high - low || 1)));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${about.heading} by kind of edit, ${group}` });
  for (const ring of [0.25, 0.5, 0.75, 1]) {
    svg.append(draw("polygon", { class: "grid", points: axes.map((_, place) => at(place, ring).join(",")).join(" ") }));
    const value = about.better === "lower" ? high - ring * (high - low) : low + ring * (high - low);
    svg.append(draw("text", { class: "tick", x: centre + 4, y: middle - radius * ring - 3 }, (value * about.scale).toFixed(about.digits > 1 && about.rate ? 0 : about.digits)));
  }
  axes.forEach((kind, place) => {
    const [x, y] = at(place, 1), [labelX, labelY] = at(place, 1.13), empty = !own.some(({ one }) => of(one, kind));
    svg.append(draw("line", { class: "grid", x1: centre, y1: middle, x2: x, y2: y }));
    const anchor = Math.abs(labelX - centre) < 12 ? "middle" : labelX > centre ? "start" : "end";
    svg.append(draw("text", { class: empty ? "axis none" : "axis", x: labelX, y: labelY + 4, "text-anchor": anchor }, kind.replace(/^change /, "").replace("add or delete object", "add or delete"), empty ? draw("title", {}, "no edit of this kind") : null));
  });
  for (const { one, id } of lines) {
    const found = axes.map((kind, place) => { const value = of(one, kind)?.[0]; return value === undefined || value === null ? null : at(place, share(value)); });
    const whole = found.every(Boolean);
    const sides = found.map((point, place) => [point, found[(place + 1) % axes.length]]).filter(([from, to]) => from && to);
    svg.append(draw("g", { style: `--own: ${colour(id)}`, class: "ring" }, draw("title", {}, one.name),
      whole ? draw("polygon", { points: found.map((point) => point.join(",")).join(" ") }) : null,
      sides.map(([[x1, y1], [x2, y2]]) => draw("line", { x1, y1, x2, y2 })),
      found.filter(Boolean).map(([x, y]) => draw("circle", { cx: x, cy: y, r: 3.5 }))));
  }
  const legend = make("ul", { class: "legend" }, own.map(({ one, id }) => make("li", {}, make("label", { style: `--own: ${colour(id)}` },
    make("input", { type: "checkbox", checked: chosen.includes(id), onchange: (event) => {
      const rest = chosen.filter((other) => other !== id);
      Report.go({ radar: (event.target.checked ? [...rest, id] : rest).join(".") || "none" }, true);
    } }), make("span", { class: "dot" }), one.name))));
  figure.append(svg, legend);
  return figure;
};

"use strict";

// The data of the page, as it was written; nothing here asks a network for anything.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const FAMILIES = ["vae", "gan", "flow", "autoregressive", "diffusion"];
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a4f9e", "#7f7f7f", "#a05a2c", "#5f8a00"];
const SYMBOLS = { vae: "circle", gan: "diamond", flow: "square", autoregressive: "triangle-up", diffusion: "star" };
const GAP = 8; // pixels between the middle of a point and its label

// Filters

let visible = new Set(); // numbers of the runs that the filters let through

function filter() {
  const [dataset, family] = [byId("dataset").value, byId("family").value];
  const words = byId("name").value.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = (run) => {
    const text = [run.name, run.folder, run.differs.join(" "), ...run.about.map(([, value]) => value)].join(" ").toLowerCase();
    return (!dataset || run.dataset === dataset) && (!family || run.family === family) && words.every((w) => text.includes(w));
  };
  visible = new Set(data.runs.map((_, i) => i).filter((i) => passes(data.runs[i])));
  const groups = visibleGroups();
  all("[data-run]:is(tr, figure)").forEach((node) => { node.hidden = !visible.has(Number(node.dataset.run)); });
  all("tr[data-group]").forEach((node) => { node.hidden = !groups.has(Number(node.dataset.group)); });
  byId("shown").textContent = `${visible.size} of ${data.runs.length} shown`;
  markBest();
  draw();
}

const visibleGroups = () => new Set([...visible].map((i) => data.runs[i].group));

// Tables

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const now = header.getAttribute("aria-sort");
  const descending = now ? now === "ascending" : header.dataset.mode === "max"; // the best come first
  all("thead th", table).forEach((th) => th.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const text = header.classList.contains("text");
  const key = (row) => {
    const cell = row.children[column];
    if (text) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value ? Number(cell.dataset.value) : null;
  };
  const compare = (a, b) => (text ? a.localeCompare(b, "en", { numeric: true }) : a - b) * (descending ? -1 : 1);
  const empty = (value) => value === null || value === "";
  const rows = all("tbody tr", table).map((row) => [key(row), row]);
  rows.sort(([a], [b]) => (empty(a) || empty(b) ? empty(a) - empty(b) : compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function markBest() {
  all("#table thead th").forEach((header, column) => {
    if (!header.dataset.metric) return;
    const sign = { min: 1, max: -1 }[header.dataset.mode];
    const rivals = new Map(); // dataset and way of measuring -> cells
    all("#table tbody tr").forEach((row) => {
      const cell = row.children[column];
      cell.classList.remove("best");
      if (row.hidden || !cell.dataset.value || !sign) return;
      const key = data.runs[row.dataset.run].dataset + cell.dataset.against;
      rivals.set(key, [...(rivals.get(key) || []), cell]);
    });
    rivals.forEach((cells) => {
      const values = cells.map((cell) => sign * Number(cell.dataset.value));
      const best = Math.min(...values);
      if (Math.max(...values) > best) cells.forEach((cell, i) => cell.classList.toggle("best", values[i] === best));
    });
  });
}

// Dialogs

function element(tag, text, children = []) {
  const node = document.createElement(tag);
  if (text !== null) node.textContent = text;
  node.append(...children);
  return node;
}

const facts = (pairs) => element("table", null, pairs.map(([key, value]) => element("tr", null, [element("th", key), element("td", value)])));

function openRun(run, metric) {
  const seed = `seed ${run.seed}`;
  const title = element("h3", metric ? `${metric} of ${run.name}, ${seed}` : `${run.name}, ${seed}`);
  const results = run.results.filter((result) => !metric || result.metric === metric);
  const parts = results.flatMap((result) => [element("h4", `${result.metric}: ${result.text}`), facts(result.protocol)]);
  show([title, ...(metric ? [] : [facts(run.about)]), ...parts], false);
}

function show(nodes, picture) {
  byId("dialog-body").replaceChildren(...nodes);
  byId("dialog").classList.toggle("picture", picture);
  byId("dialog").showModal();
  byId("dialog").scrollTop = 0;
}

// Plots

const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg" } };

function layout(x, y, more = {}) {
  const axis = { gridcolor: color("grid"), linecolor: color("line"), zeroline: false, automargin: true, ticks: "outside", tickcolor: color("line") };
  const narrow = window.innerWidth < 560;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 55, r: 20, t: 10, b: 45 },
    font: { color: color("ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    hoverlabel: { bgcolor: color("raised"), bordercolor: color("line"), font: { color: color("ink") }, align: "left" },
    hovermode: "closest", showlegend: true,
    legend: narrow ? { orientation: "h", y: -0.25, font: { size: 11 } } : { font: { size: 12 } },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y }, ...more,
  };
}

function plot(id, traces, made) {
  const node = byId(id);
  if (!traces.length) {
    Plotly.purge(node);
    node.replaceChildren(element("p", "Nothing to draw for what the filters show.", []));
    node.firstChild.className = "empty";
    return;
  }
  const isNew = !node.classList.contains("js-plotly-plot");
  if (isNew) node.replaceChildren();
  Plotly.react(node, traces, made, config).then(() => keepLabelsApart(node));
  if (isNew) node.on("plotly_afterplot", () => keepLabelsApart(node));
}

function keepLabelsApart(node) {
  // Puts each label where it covers no other label and no point; one without such a place is left to the pointer.
  const area = node.querySelector(".nsewdrag").getBoundingClientRect();
  const taken = all(".points path.point", node).map((point) => point.getBoundingClientRect());
  all(".textpoint text", node).forEach((label) => {
    label.style.transform = "";
    const { left, top, width, height } = label.getBoundingClientRect(); // above its point
    const beside = width / 2 + GAP;
    const shifts = [[0, 0], [0, height + 2 * GAP], [beside, height / 2 + GAP], [-beside, height / 2 + GAP], [beside, 0], [-beside, 0], [beside, height + GAP], [-beside, height + GAP]];
    const moved = shifts.map(([x, y]) => ({ x, y, left: left + x, right: left + x + width, top: top + y, bottom: top + y + height }));
    const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const within = (box) => box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
    const place = moved.find((box) => within(box) && !taken.some((other) => overlap(box, other)));
    label.style.visibility = place ? "" : "hidden";
    if (!place) return;
    label.style.transform = `translate(${place.x}px, ${place.y}px)`;
    taken.push(place);
  });
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const familyColor = (family) => (FAMILIES.includes(family) ? color(family) : color("quiet"));

// Curves over images seen, or over time

function drawCurves() {
  const metric = byId("curve").value;
  if (!metric) return;
  const time = document.querySelector("input[name=axis]:checked").value === "time";
  const has = [...visible].map((i) => data.runs[i]).filter((run) => run.curves[metric]);
  const runs = has.filter((run) => !time || run.secondsPerImage);
  const groups = [...new Set(runs.map((run) => run.group))];
  const oneEach = new Set(groups.map((g) => data.groups[g].family)).size === groups.length;
  const many = groups.length > 20;
  const named = new Set();
  const traces = runs.map((run) => {
    const { x, y } = run.curves[metric];
    const first = !named.has(run.group);
    named.add(run.group);
    const hue = oneEach ? familyColor(run.family) : PALETTE[groups.indexOf(run.group) % PALETTE.length];
    return {
      x: time ? x.map((images) => images * run.secondsPerImage) : x, y, type: "scatter",
      mode: x.length > 30 ? "lines" : "lines+markers", line: { color: hue, width: 1.5 }, marker: { color: hue, size: x.length > 1 ? 5 : 9 },
      name: escaped(data.groups[run.group].label), legendgroup: run.group, showlegend: first && !many,
      hovertemplate: `${escaped(run.name)}, seed ${run.seed} (${escaped(run.folder)})<br>%{x}: %{y}<extra></extra>`,
    };
  });
  traces.sort((a, b) => (a.x.length === 1) - (b.x.length === 1)); // what has one point lies upon the lines
  const log = byId("log").checked;
  const x = { title: { text: time ? "seconds of training and evaluation" : "images seen" } };
  plot("curves-plot", traces, layout(x, { title: { text: escaped(metric) }, type: log ? "log" : "linear" }));
  const left = has.length - runs.length;
  const about = time ? `Time is images seen times a run's mean seconds for each, over its starts with a known end, evaluation included (history.jsonl).${left ? ` ${left} without such a time left out.` : ""} ` : "";
  byId("curves-note").textContent = `${about}${many ? "Too many for a legend: point at a line. " : ""}Runs that differ in their seed only share a colour.`;
}

// Figures of what was measured, a point for each group of runs over seeds and each way of sampling

const waysOf = (dataset) => data.points.filter((way) => data.groups[way.group].dataset === dataset && visibleGroups().has(way.group));
const log10 = (metric) => /fid|samples_per_second/.test(metric);
const better = (metric) => (data.directions[metric] === "min" ? -1 : 1);

function comparable(ways, metrics) {
  // Of the ways that have all of the metrics those that are measured against what most are; and how many are not.
  const whole = ways.filter((way) => metrics.every((metric) => way.values[metric]));
  const against = (way) => metrics.map((metric) => way.values[metric].against).join();
  const counts = new Map();
  whole.forEach((way) => counts.set(against(way), (counts.get(against(way)) || 0) + 1));
  const most = [...counts].sort((a, b) => b[1] - a[1])[0];
  const kept = whole.filter((way) => most && against(way) === most[0]);
  return { kept, left: whole.length - kept.length };
}

function axis(metric, ways, side) {
  // Turned so that better is up or to the right, with room for labels.
  const values = ways.map((way) => way.values[metric]).flatMap(({ mean, std }) => [mean, mean - (std || 0), mean + (std || 0)]);
  const log = log10(metric) && values.every((v) => v > 0);
  const scaled = values.map((v) => (log ? Math.log10(v) : v));
  const [low, high] = [Math.min(...scaled), Math.max(...scaled)];
  const room = (high - low || Math.abs(high) || 1) * (side === "x" ? 0.22 : 0.14);
  const range = better(metric) > 0 ? [low - room, high + room] : [high + room, low - room];
  const arrow = side === "x" ? "better →" : "better ↑";
  const name = metric.replace(/^test\//, "").replaceAll("_", " ");
  return { title: { text: `${escaped(name)} (${arrow})`, font: { size: 12 } }, type: log ? "log" : "linear", range, nticks: 6, minor: { nticks: 0 } };
}

function points(ways, xOf, yMetric, label, hover) {
  // One trace for each group and sampler with its settings, so that a line joins its numbers of steps.
  const lines = new Map();
  ways.forEach((way) => {
    const key = `${way.group} ${way.settings}`;
    lines.set(key, [...(lines.get(key) || []), way]);
  });
  const families = new Set();
  return [...lines.values()].map((line) => {
    const sorted = [...line].sort((a, b) => (a.steps || 0) - (b.steps || 0));
    const group = data.groups[line[0].group];
    const first = !families.has(group.family);
    families.add(group.family);
    const hue = familyColor(group.family);
    const error = (get) => ({ type: "data", array: sorted.map((way) => get(way) || 0), visible: sorted.some(get), color: hue, thickness: 1, width: 3 });
    return {
      x: sorted.map((way) => xOf(way).mean), y: sorted.map((way) => way.values[yMetric].mean),
      error_x: error((way) => xOf(way).std), error_y: error((way) => way.values[yMetric].std),
      text: sorted.map((way, i) => escaped(label(way, i, sorted))), textposition: "top center",
      mode: sorted.length > 1 ? "lines+markers+text" : "markers+text", type: "scatter", cliponaxis: false,
      line: { color: hue, width: 1.5, dash: "dot" }, marker: { color: hue, size: 11, symbol: SYMBOLS[group.family] || "cross", line: { color: color("paper"), width: 1 } },
      textfont: { color: color("ink"), size: 12 }, name: escaped(group.family), legendgroup: group.family, showlegend: first,
      hovertext: sorted.map((way) => hover(way).map(escaped).join("<br>")), hovertemplate: "%{hovertext}<extra></extra>",
    };
  });
}

const steps = (way) => (way.steps ? `${way.steps} steps` : "");
const short = (way, i, line) => (line.length > 1 && i > 0 ? steps(way) : [data.groups[way.group].short, line.length > 1 ? steps(way) : ""].filter(Boolean).join(", "));
const seeds = (value) => (value.n > 1 ? ` over ${value.n} seeds` : "");
const tell = (way, metrics) => [
  [data.groups[way.group].label, way.sampler, steps(way)].filter(Boolean).join(", "),
  ...metrics.map((metric) => `${metric}: ${way.values[metric].text}${seeds(way.values[metric])}`),
];

function caveat(section, ways, metrics, left) {
  const common = (metric) => {
    const hows = [...new Set(ways.map((way) => way.values[metric] && way.values[metric].how).filter(Boolean))];
    const parts = hows.map((how) => how.split(", "));
    const shared = parts.length ? parts[0].filter((part) => parts.every((other) => other.includes(part))) : [];
    return `${metric}: ${shared.join(", ") || "see each point's protocol"}`;
  };
  const own = ways.some((way) => metrics.some((metric) => way.values[metric].how.includes("features classifier")));
  const apart = own ? " What is measured in the features of a classifier compares models on one dataset and cannot be laid beside a paper's." : "";
  const note = ways.length ? `Measured as ${metrics.map(common).join("; ")}.${apart}` : "";
  section.querySelector(".caveat").textContent = note + (left ? ` ${left} measured against another reference, or on another machine, left out.` : "");
}

function chosen(section, ...kinds) {
  return kinds.map((kind) => section.querySelector(`select.${kind}`).value);
}

function drawTrilemma() {
  const section = byId("trilemma");
  if (!section) return;
  const [dataset, quality, diversity] = chosen(section, "of-dataset", "quality", "diversity");
  const [speed] = data.kinds.speed;
  const metrics = [quality, diversity, speed];
  const { kept, left } = comparable(waysOf(dataset), metrics);
  const panels = [[diversity, quality], [speed, quality], [speed, diversity]];
  panels.forEach(([x, y], i) => {
    const traces = points(kept, (way) => way.values[x], y, short, (way) => tell(way, metrics));
    plot(`panel-${i + 1}`, traces, layout(axis(x, kept, "x"), axis(y, kept, "y"), { showlegend: false }));
  });
  caveat(section, kept, metrics, left);
}

function drawLikelihood() {
  const section = byId("likelihood");
  if (!section) return;
  const [dataset, likelihood, quality] = chosen(section, "of-dataset", "likelihood", "quality");
  const { kept, left } = comparable(waysOf(dataset), [likelihood, quality]);
  const label = (way, i) => (i ? steps(way) : `${data.groups[way.group].short} (${way.values[likelihood].bound})`);
  const traces = points(kept, (way) => way.values[likelihood], quality, label, (way) => tell(way, [likelihood, quality]));
  plot("likelihood-plot", traces, layout(axis(likelihood, kept, "x"), axis(quality, kept, "y")));
  caveat(section, kept, [likelihood, quality], left);
}

function drawSteps() {
  const section = byId("steps");
  if (!section) return;
  const [dataset, quality] = chosen(section, "of-dataset", "quality");
  const { kept, left } = comparable(waysOf(dataset).filter((way) => way.steps), [quality]);
  const label = (way, i, line) => (i === line.length - 1 ? [data.groups[way.group].short, way.sampler].filter(Boolean).join(", ") : "");
  const traces = points(kept, (way) => ({ mean: way.steps, std: null }), quality, label, (way) => tell(way, [quality]));
  const logs = kept.map((way) => Math.log10(way.steps));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const x = { title: { text: "sampling steps (log scale)", font: { size: 12 } }, type: "log", range: [low - 0.3, high + 0.3], dtick: 1, minor: { nticks: 0 } };
  plot("steps-plot", traces, layout(x, axis(quality, kept, "y")));
  caveat(section, kept, [quality], left);
}

function draw() {
  followDataset();
  drawCurves();
  drawTrilemma();
  drawLikelihood();
  drawSteps();
}

// Choices

function fill(select, values, preferred) {
  select.replaceChildren(...values.map((value) => element("option", value)));
  if (preferred && values.includes(preferred)) select.value = preferred;
}

function fillFigures() {
  all(".figure").forEach((section) => {
    Object.entries(data.kinds).forEach(([kind, values]) => all(`select.${kind}`, section).forEach((select) => fill(select, values)));
    const sets = [...new Set(data.points.map((way) => data.groups[way.group].dataset))];
    const wanted = data.axes[section.id].map((kind) => data.kinds[kind]);
    const count = (set) => data.points.filter((way) => data.groups[way.group].dataset === set && wanted.every((kind) => kind.some((metric) => way.values[metric]))).length;
    fill(section.querySelector(".of-dataset"), sets.filter(count).sort((a, b) => count(b) - count(a)));
  });
}

function followDataset() {
  const wanted = byId("dataset").value;
  all(".of-dataset").forEach((select) => {
    if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
  });
}

function fillCurves() {
  const names = [...new Set(data.runs.flatMap((run) => Object.keys(run.curves)))];
  byId("curves").hidden = !names.length;
  fill(byId("curve"), names, names.includes("val/bits_per_dim") ? "val/bits_per_dim" : "train/loss");
}

all(".sortable thead button").forEach((button) => button.addEventListener("click", () => sortBy(button.closest("th"))));
all("button.open").forEach((button) => button.addEventListener("click", () => openRun(data.runs[button.dataset.run], button.dataset.metric)));
all("button.enlarge").forEach((button) => button.addEventListener("click", () => {
  const figure = button.closest("figure");
  show([element("h3", figure.querySelector("figcaption").textContent), button.querySelector("img").cloneNode()], true);
}));
byId("dialog").addEventListener("click", (event) => { if (event.target === byId("dialog")) byId("dialog").close(); });
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("input", filter);
byId("curves").addEventListener("input", drawCurves);
all(".figure").forEach((section) => section.addEventListener("input", draw));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
fillCurves();
fillFigures();
filter();

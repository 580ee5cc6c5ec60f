"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows.map((values, i) => {
    const row = Object.fromEntries(data.fields.map((name, j) => [name, values[j]]));
    row.id = data.ids[i];
    row.detail = data.details[row.id] || {};
    return row;
  });
  const byId = new Map(rows.map((row) => [row.id, row]));
  const $ = (id) => document.getElementById(id);

  /* Text only ever enters the page through textContent: what is in a name or a text stays text. */
  const SVG = ["svg", "line", "polyline", "circle", "title"];
  function make(tag, attributes = {}, ...children) {
    const node = SVG.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("--")) node.style.setProperty(name, value);
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => child instanceof Node ? child : String(child)));
    return node;
  }

  const fixed = (digits, scale = 1) => (value) => (value * scale).toFixed(digits);
  const percent = (value) => `${(100 * value).toFixed(1)}%`;
  const short = (value) => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

  /* better: 1 where more is, -1 where less is */
  const COLUMNS = [
    { field: "quality", head: "quality", show: fixed(3), better: 1, interval: true },
    { field: "quality_retained", head: "kept", show: percent, better: 1 },
    { field: "shifted_quality", head: "shifted", show: fixed(3), better: 1 },
    { field: "size_bytes", head: "MB", show: fixed(1, 1e-6), better: -1 },
    { field: "size_ratio", head: "smaller", show: (v) => `${v.toFixed(1)}×`, better: 1, bar: true },
    { field: "memory_inference_peak_bytes", head: "RAM MB", show: fixed(0, 1e-6), better: -1 },
    { field: "latency_single_p50_ms", head: "p50 ms", show: short, better: -1 },
    { field: "latency_single_p95_ms", head: "p95 ms", show: short, better: -1 },
    { field: "speedup", head: "faster", show: (v) => `${v.toFixed(2)}×`, better: 1, interval: true, bar: true },
    { field: "throughput_per_s", head: "texts/s", show: fixed(0), better: 1 },
    { field: "build_seconds", head: "build s", show: fixed(0), better: -1 },
  ];
  const AXES = {
    quality: { label: "quality", better: 1, linear: true },
    quality_retained: { label: "quality kept", better: 1, linear: true },
    shifted_quality: { label: "quality on other domains", better: 1, linear: true },
    size_bytes: { label: "size, MB", better: -1, scale: 1e-6 },
    memory_inference_peak_bytes: { label: "RAM while predicting, MB", better: -1, scale: 1e-6 },
    memory_process_peak_bytes: { label: "RAM of the whole process, MB", better: -1, scale: 1e-6 },
    latency_single_p50_ms: { label: "p50 of one text, ms", better: -1 },
    latency_single_p95_ms: { label: "p95 of one text, ms", better: -1 },
    throughput_per_s: { label: "texts a second, in batches", better: 1 },
    speedup: { label: "times faster", better: 1 },
    build_seconds: { label: "time to build, s", better: -1 },
  };
  const COLORS = {
    reference: ["#111827", "#f3f4f6"], control: ["#9aa3ad", "#7d8894"], training: ["#4b5563", "#cbd5e1"],
    distillation: ["#d55e00", "#ff9a52"], quantization: ["#0072b2", "#63b3ed"], pruning: ["#009e73", "#4fd1a5"],
    factorization: ["#8e44ad", "#c79bea"], vocabulary: ["#a6761d", "#e5bd63"], transfer: ["#cc79a7", "#f0a6cd"],
    conversion: ["#2f855a", "#9ae6b4"], cascade: ["#b83280", "#f687b3"], activation: ["#5a67d8", "#a3bffa"],
    "shorter inputs": ["#b7791f", "#f6e05e"], other: ["#555555", "#bbbbbb"],
  };
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x", "pentagon", "bowtie"];

  function familyOf(row) {
    if (data.references.includes(row.recipe)) return "reference";
    const families = (row.families || "").split(" ").filter(Boolean);
    const telling = families.filter((name) => !["training", "conversion"].includes(name));
    return telling.pop() || families.pop() || "other";
  }
  for (const row of rows) row.family = familyOf(row);
  const tasks = new Set(rows.map((row) => row.task)).size;
  const models = [...new Set(rows.map((row) => row.model))];

  /* ---- filters */

  const SELECTS = ["task", "model", "device", "family", "status"];
  for (const name of SELECTS) {
    const values = [...new Set(rows.map((row) => row[name]).filter((v) => v !== null))].sort();
    $(name).append(make("option", { value: "" }, values.length > 1 ? `all ${values.length}` : "all"));
    $(name).append(...values.map((value) => make("option", { value }, value)));
    $(name).disabled = values.length < 2;
  }
  let visible = rows;
  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    visible = rows.filter((row) =>
      SELECTS.every((name) => !$(name).value || row[name] === $(name).value) &&
      (!$("front").checked || row.pareto) &&
      words.every((word) => row.text.includes(word)));
    $("shown").textContent = `${visible.length} of ${rows.length} rows`;
    mark();
    fill();
    draw();
  }
  for (const row of rows) {
    row.text = [row.recipe, row.model, row.task, row.runtime, row.families, row.device, row.status].join(" ").toLowerCase();
  }

  /* ---- table */

  let order = { field: null, up: false };
  const opened = new Set();
  const heads = [{ field: "recipe", head: "recipe", better: -1 }, ...COLUMNS];
  for (const column of heads) {
    const button = make("button", { type: "button" }, column.head);
    button.addEventListener("click", () => sortBy(column));
    column.th = make("th", { scope: "col" }, button);
    $("head").append(column.th);
  }
  function sortBy(column) {
    order = { field: column.field, up: order.field === column.field ? !order.up : column.better < 0 };
    for (const other of heads) other.th.removeAttribute("aria-sort");
    column.th.setAttribute("aria-sort", order.up ? "ascending" : "descending");
    fill();
  }
  function inOrder(list) {
    const { field, up } = order;
    if (!field) return list;
    const sign = up ? 1 : -1;
    return [...list].sort((a, b) => {
      const [x, y] = [a[field], b[field]];
      if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last
      return typeof x === "string" ? sign * x.localeCompare(y) : sign * (x - y);
    });
  }
  function bestOf(list) {
    const best = {};
    for (const { field, better } of COLUMNS) {
      const values = list.filter((row) => row.status === "ok" && row[field] !== null).map((row) => row[field]);
      const [least, most] = [Math.min(...values), Math.max(...values)];
      if (least < most) best[field] = better > 0 ? most : least;
    }
    return best;
  }
  const largest = Object.fromEntries(COLUMNS.filter((c) => c.bar).map((c) => [c.field, Math.max(1, ...rows.map((row) => row[c.field] || 0))]));
  function rowOf(row) {
    if (row.tr) return row.tr;
    const button = make("button", { type: "button", "aria-expanded": "false" }, row.recipe);
    button.addEventListener("click", () => toggle(row));
    const where = [row.model === "none" ? "no model" : row.model, row.runtime, tasks > 1 ? row.task : null, row.device !== "cpu" ? row.device : null, row.seed ? `seed ${row.seed}` : null];
    const name = make("td", { class: "name" }, row.pareto ? make("span", { class: "mark", title: "on the Pareto front" }, "◆") : null, button, make("span", { class: "muted" }, where.filter(Boolean).join(" · ")));
    row.button = button;
    row.tr = make("tr", { class: "row" }, name);
    row.cells = {};
    if (row.status !== "ok") {
      row.tr.append(make("td", { class: "why", colspan: COLUMNS.length }, row.reason));
      return row.tr;
    }
    for (const column of COLUMNS) {
      const value = row[column.field];
      const cell = make("td", {}, value === null ? "–" : column.show(value));
      if (column.interval && value !== null && row[`${column.field}_low`] !== null) {
        cell.append(make("span", { class: "low" }, `[${column.show(row[`${column.field}_low`])} ${column.show(row[`${column.field}_high`])}]`));
      }
      if (column.bar && value !== null) {
        cell.className = "bar";
        cell.style.setProperty("--share", `${100 * value / largest[column.field]}%`);
      }
      row.cells[column.field] = cell;
      row.tr.append(cell);
    }
    return row.tr;
  }
  function mark() {
    const best = bestOf(visible);
    for (const row of visible) {
      rowOf(row);
      for (const [field, cell] of Object.entries(row.cells)) {
        cell.classList.toggle("best", row[field] !== null && row[field] === best[field]);
      }
    }
  }
  function fill() {
    $("body").replaceChildren(...inOrder(visible).flatMap((row) => opened.has(row.id) ? [row.tr, row.more] : [row.tr]));
  }
  function toggle(row) {
    const open = !opened.has(row.id);
    if (open) {
      row.more ||= make("tr", { class: "more" }, make("td", { colspan: COLUMNS.length + 1 }, detailOf(row)));
      opened.add(row.id);
      row.tr.after(row.more);
    } else {
      opened.delete(row.id);
      row.more.remove();
    }
    row.button.setAttribute("aria-expanded", String(open));
  }
  function show(id) {
    const row = byId.get(id);
    if (!row) return;
    if (!visible.includes(row)) { $("filters").reset(); filter(); }
    if (!opened.has(id)) toggle(row);
    for (const other of rows) other.tr && other.tr.classList.toggle("at", other === row);
    row.tr.scrollIntoView({ block: "center" });
    row.button.focus({ preventScroll: true });
  }

  /* ---- details of one row */

  function part(title, ...content) {
    return make("div", { class: "part" }, make("h3", {}, title), ...content);
  }
  function listing(pairs) {
    const lines = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return make("table", {}, ...lines.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
  }
  function beams(pairs) {
    const lines = pairs.filter(([, value]) => value !== null);
    const most = Math.max(...lines.map(([, value]) => value), 1e-9);
    return make("div", {}, ...lines.map(([name, value, text]) =>
      make("div", { class: "beam" }, make("span", {}, name), make("b", { style: `width:${100 * value / most}%` }), make("span", {}, text))));
  }
  const mb = (value) => value === null || value === undefined ? null : `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB`;
  const signed = (value, show, better) => make("span", { class: value * better > 0 ? "good" : value * better < 0 ? "bad" : "" }, `${value > 0 ? "+" : ""}${show(value)}`);

  function gains(row) {
    const steps = row.recipe.split("+");
    const chain = steps.map((step, i) => [step, byId.get([row.task, row.model, steps.slice(0, i + 1).join("+"), row.device, `s${row.seed}`].join("/"))]).filter(([, found]) => found && found.status === "ok");
    if (chain.length < 2) return null;
    const lines = chain.map(([, at], i) => {
      const before = i ? chain[i - 1][1] : null;
      const name = before ? `+${at.recipe.slice(before.recipe.length + 1)}` : at.recipe;
      const cells = [["quality", fixed(3), 1, false], ["size_bytes", short, -1, true], ["latency_single_p50_ms", short, -1, true]].map(([field, text, better, ratio]) => {
        if (at[field] === null) return make("td", {}, "–");
        if (!before || before[field] === null) return make("td", {}, field === "size_bytes" ? mb(at[field]) : field === "latency_single_p50_ms" ? `${short(at[field])} ms` : text(at[field]));
        if (!ratio) return make("td", {}, signed(at[field] - before[field], text, better));
        const times = before[field] / at[field];
        return make("td", {}, make("span", { class: times > 1.02 ? "good" : times < 0.98 ? "bad" : "" }, `${times.toFixed(2)}×`));
      });
      return make("tr", {}, make("th", { scope: "row" }, name), ...cells);
    });
    return part("What each further step bought", make("table", {}, make("tr", {}, ...["", "quality", "smaller", "faster"].map((head) => make("th", {}, head))), ...lines));
  }
  function histogram({ from, to, counts }) {
    const most = Math.max(...counts);
    const bars = make("div", { class: "hist", role: "img", "aria-label": `calls of one text, from ${short(from)} to ${short(to)} ms` }, ...counts.map((count) => make("i", { style: `height:${100 * count / most}%` })));
    return part("How long one text took", bars, make("div", { class: "ends" }, make("span", {}, `${short(from)} ms`), make("span", {}, `${short(to)} ms (p99 and more)`)));
  }
  function confusion({ labels, counts }) {
    const most = Math.max(...counts.flat(), 1);
    const head = make("tr", {}, make("th", {}, "is ↓ said →"), ...labels.map((name) => make("th", { scope: "col" }, name)));
    const lines = counts.map((line, i) => make("tr", {}, make("th", { scope: "row" }, labels[i]), ...line.map((count) => make("td", { "--share": `${Math.round(70 * count / most)}%` }, count))));
    return part("What was said of what", make("table", { class: "matrix" }, head, ...lines));
  }
  function flips({ lost, gained, examples }) {
    const items = examples.map(([text, is, theirs, ours]) => make("li", {}, `“${text}” `, make("span", { class: ours === is ? "good" : "bad" }, `is ${is}: the reference said ${theirs}, this row ${ours}`)));
    const found = part(`Flipped against the reference: ${lost} lost, ${gained} gained`, make("ul", { class: "flips" }, ...items));
    found.classList.add("wide");
    return found;
  }
  const finely = (value) => `${(value / 1e6).toPrecision(4)} MB`;
  const TRENDS = {
    latency: { title: "faster", show: (v) => `${v.toFixed(2)}×`, scale: Math.log },
    quality: { title: "quality", show: fixed(4), scale: Number },
    size: { title: "size", show: finely, scale: Number },
    memory: { title: "RAM while predicting", show: finely, scale: Number },
  };
  const KINDS = { promoted: "promoted", since: "not promoted", now: "this run" };
  function trend(metric, { points, level, limit, said }) {
    const { title, show, scale } = TRENDS[metric];
    const [width, height, edge] = [320, 90, 10];
    const known = [...points.map(([, value]) => value), level, limit].filter((value) => value !== null).map(scale);
    const [least, most] = [Math.min(...known), Math.max(...known)];
    const [first, last] = [points[0][0], points[points.length - 1][0]];
    const x = (night) => edge + (width - 2 * edge) * (night - first) / (last - first);
    const y = (value) => most > least ? edge + (height - 2 * edge) * (most - scale(value)) / (most - least) : height / 2;
    const across = (name, value) => value === null ? null : make("line", { class: name, x1: 0, x2: width, y1: y(value), y2: y(value) });
    const now = points.find(([night]) => data.trends.nights[night][1] === "now");
    const figures = [now && `now ${show(now[1])}`, level !== null && `baseline ${show(level)}`, limit !== null && `limit ${show(limit)}`].filter(Boolean).join(", ");
    const values = points.map(([, value]) => value);
    const span = `${points.length} nights, from ${show(Math.min(...values))} to ${show(Math.max(...values))}`;
    return make("figure", { class: "trend" },
      make("figcaption", {}, title),
      make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, ${span}; ${figures}` },
        across("level", level), across("limit", limit),
        make("polyline", { points: points.map(([night, value]) => `${x(night)},${y(value)}`).join(" ") }),
        ...points.map(([night, value]) => {
          const [name, kind] = data.trends.nights[night];
          return make("circle", { class: kind, cx: x(night), cy: y(value), r: kind === "now" ? 6 : 4 }, make("title", {}, `${name}, ${KINDS[kind]}: ${show(value)}`));
        })),
      make("p", { class: "muted" }, figures),
      said ? make("p", { class: "muted" }, said) : null);
  }
  function overNights(row) {
    const found = Object.entries(data.trends?.cells[row.id] || {});
    if (!found.length) return null;
    const nights = data.trends.nights.map(([name, kind], i) => [`${name}, ${KINDS[kind]}`, ...found.map(([, { points }]) => points.find(([night]) => night === i)?.[1])]).filter((line) => line.slice(1).some((value) => value !== undefined));
    const head = make("tr", {}, ...["night", ...found.map(([metric]) => TRENDS[metric].title)].map((name) => make("th", { scope: "col" }, name)));
    const lines = nights.map(([name, ...values]) => make("tr", {}, make("th", { scope: "row" }, name), ...values.map((value, i) => make("td", {}, value === undefined ? "–" : TRENDS[found[i][0]].show(value)))));
    const whole = part("Over the nights",
      make("p", { class: "muted" }, "filled: promoted; hollow: not promoted; large: this run; dashed: the limit"),
      make("div", { class: "trends" }, ...found.map(([metric, its]) => trend(metric, its))),
      make("details", {}, make("summary", {}, "The nights in figures"), make("table", {}, head, ...lines)));
    whole.classList.add("whole");
    return whole;
  }
  function detailOf(row) {
    if (row.status !== "ok") return make("div", {}, row.reason);
    const { steps, shifted, beside, latency, confusion: matrix, flips: flipped } = row.detail;
    const interval = (field, text) => row[`${field}_low`] === null ? text(row[field]) : `${text(row[field])} [${text(row[`${field}_low`])} ${text(row[`${field}_high`])}]`;
    const times = (v) => `${v.toFixed(2)}×`;
    return make("div", { class: "parts" },
      part("Figures", listing([
        [row.quality_metric, interval("quality", fixed(4))],
        ...Object.entries(beside || {}).filter(([name]) => name !== row.quality_metric).map(([name, value]) => [name.replaceAll("_", " "), value]),
        ["agreement", row.agreement === null ? null : percent(row.agreement)],
        ["calibration error", row.calibration_error === null ? null : row.calibration_error.toFixed(3)],
        ["faster, one text", row.speedup === null ? null : interval("speedup", times)],
        ["faster, in batches", row.speedup_batch === null ? null : times(row.speedup_batch)],
        ["faster than this runtime's fp32", row.speedup_same_runtime === null ? null : times(row.speedup_same_runtime)],
        ["parameters", row.parameters === null ? null : row.parameters.toLocaleString("en")],
        ["not zero", row.nonzero_parameters === row.parameters || row.nonzero_parameters === null ? null : row.nonzero_parameters.toLocaleString("en")],
        ["timed calls", row.latency_samples],
      ])),
      gains(row),
      part("Memory", beams([
        ["while loading", row.memory_load_peak_bytes, mb(row.memory_load_peak_bytes)],
        ["loaded", row.memory_steady_bytes, mb(row.memory_steady_bytes)],
        ["while predicting", row.memory_inference_peak_bytes, mb(row.memory_inference_peak_bytes)],
        ["whole process", row.memory_process_peak_bytes, mb(row.memory_process_peak_bytes)],
      ])),
      latency ? histogram(latency) : null,
      shifted ? part("On other domains", beams(Object.entries(shifted).map(([name, value]) => [name, Math.max(value, 0), String(value)]))) : null,
      steps ? part("What each step cost", make("table", {}, ...steps.map(([name, seconds, peak]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, seconds === null ? "–" : `${short(seconds)} s`), make("td", {}, mb(peak) || ""))))) : null,
      matrix ? confusion(matrix) : null,
      overNights(row),
      flipped && flipped.lost + flipped.gained ? flips(flipped) : null);
  }

  /* ---- chart */

  for (const id of ["x", "y"]) {
    $(id).append(...Object.entries(AXES).filter(([field]) => rows.some((row) => row[field] !== null)).map(([field, { label }]) => make("option", { value: field }, label)));
  }
  const preferred = (id, field) => { if ([...$(id).options].some((o) => o.value === field)) $(id).value = field; };
  preferred("x", "latency_single_p50_ms");
  preferred("y", "quality");
  const dark = () => document.documentElement.dataset.theme === "dark";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  function frontOf(points, across, up) {
    const sorted = [...points].sort((a, b) => across.better * (b.x - a.x) || up.better * (b.y - a.y));
    const front = [];
    for (const point of sorted) {
      if (!front.length || up.better * (point.y - front[front.length - 1].y) > 0) front.push(point);
    }
    return front;
  }
  function draw() {
    if (!window.Plotly) return;
    const [across, up] = [AXES[$("x").value], AXES[$("y").value]];
    const points = visible.filter((row) => row.status === "ok" && row[$("x").value] !== null && row[$("y").value] !== null)
      .map((row) => ({ row, x: row[$("x").value] * (across.scale || 1), y: row[$("y").value] * (up.scale || 1) }));
    const front = frontOf(points, across, up);
    const families = [...new Set(points.map((point) => point.row.family))].sort();
    const traces = families.map((family) => {
      const own = points.filter((point) => point.row.family === family);
      const kept = new Set(front);
      return {
        type: "scatter", mode: "markers", name: family, x: own.map((p) => p.x), y: own.map((p) => p.y),
        customdata: own.map((p) => p.row.id), hovertemplate: "%{text}<extra></extra>",
        text: own.map(({ row, x, y }) => [
          `<b>${escape(row.recipe)}</b>`, escape([row.model === "none" ? "no model" : row.model, row.runtime].filter(Boolean).join(" · ")),
          `${across.label}: ${short(x)}`, `${up.label}: ${y < 2 ? y.toFixed(3) : short(y)}`,
          ...(row.detail.steps || []).map(([name, seconds]) => `${escape(name)}: ${seconds === null ? "?" : short(seconds)} s`),
        ].join("<br>")),
        marker: {
          size: own.map((p) => kept.has(p) ? 13 : 9), symbol: own.map((p) => SYMBOLS[models.indexOf(p.row.model) % SYMBOLS.length]),
          color: (COLORS[family] || COLORS.other)[dark() ? 1 : 0], opacity: own.map((p) => kept.has(p) ? 1 : 0.72),
          line: { width: own.map((p) => kept.has(p) ? 2 : 0.5), color: css("--card") },
        },
      };
    });
    traces.unshift({ type: "scatter", mode: "lines", name: "front", x: front.map((p) => p.x), y: front.map((p) => p.y), line: { color: css("--accent"), width: 2, dash: "dot", shape: "linear" }, hoverinfo: "skip" });
    const axis = (one) => ({
      title: { text: `${one.label} ${one.better > 0 ? "(more is better)" : "(less is better)"}` }, type: $("log").checked && !one.linear ? "log" : "linear",
      gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true, tickformat: one.linear ? ".3~f" : "", dtick: $("log").checked && !one.linear ? "D2" : undefined,
    });
    Plotly.react($("plot"), traces, {
      margin: { l: 64, r: 16, t: 8, b: 52 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: 13, color: css("--ink") }, xaxis: axis(across), yaxis: axis(up),
      legend: { orientation: "h", y: 1.08, x: 0 }, hoverlabel: { align: "left", bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } },
    }, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
    const named = front.slice(0, 6).map(({ row }) => row.recipe);
    $("plot-says").textContent = front.length ? `Front of ${across.label} and ${up.label}: ${named.join("; ")}${front.length > 6 ? ` and ${front.length - 6} more` : ""}. ${models.length > 1 ? "A model has a symbol, a family a colour. " : ""}A point opens its row.` : "No row has both figures.";
  }

  /* ---- what people do */

  for (const id of [...SELECTS, "front"]) $(id).addEventListener("change", filter);
  $("search").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  for (const id of ["x", "y", "log"]) $(id).addEventListener("change", draw);
  for (const link of document.querySelectorAll("[data-cell]")) {
    link.addEventListener("click", (event) => { event.preventDefault(); show(link.dataset.cell); });
  }
  function paint(name) {
    document.documentElement.dataset.theme = name;
    $("theme").setAttribute("aria-pressed", String(name === "dark"));
    $("theme").textContent = name === "dark" ? "Light" : "Dark";
  }
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  paint(wanted.matches ? "dark" : "light");
  wanted.addEventListener("change", () => { paint(wanted.matches ? "dark" : "light"); draw(); });
  $("theme").addEventListener("click", () => { paint(dark() ? "light" : "dark"); draw(); });
  filter();

  /* Plotly takes longer to start than all the rest: the table is there first. */
  async function startPlotly() {
    const packed = Uint8Array.from(atob($("plotly").textContent), (character) => character.charCodeAt(0));
    const script = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(make("script", { nonce: $("data").nonce }, await new Response(script).text()));
    draw();
    $("plot").on("plotly_click", ({ points }) => points[0].customdata && show(points[0].customdata));
  }
  requestAnimationFrame(() => setTimeout(startPlotly));
})();

"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const main = document.getElementById("main");
  const byName = new Map(data.features.map((feature, i) => [feature.name, i]));
  const state = { query: "", sort: null, down: true, scroll: 0, shown: data.features.map((_, i) => i) };

  // text is only ever set as text, never parsed as HTML
  function make(tag, options, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(options || {})) {
      if (name === "text") node.textContent = value;
      else if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    for (const child of children) if (child !== null) node.append(child);
    return node;
  }
  function svg(tag, options, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(options)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function format(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  }
  const address = (name) => "#" + encodeURIComponent(name);

  // ------------------------------------------------------------------ table
  function search() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    state.shown = data.features.map((_, i) => i)
      .filter((i) => words.every((word) => data.features[i].search.includes(word)));
    if (state.sort !== null) {
      const sign = state.down ? -1 : 1;
      const missing = (value) => value === null || value === undefined || value === "";
      state.shown.sort((a, b) => {
        const [x, y] = [data.features[a].row[state.sort], data.features[b].row[state.sort]];
        if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
        const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return sign * order || a - b;
      });
    }
  }
  function cell(column, feature) {
    const value = feature.row[column.at];
    if (column.kind === "name") return make("td", {}, make("a", { href: address(feature.name), text: feature.name }));
    if (column.kind === "flags") {
      return make("td", {}, ...feature.flags.map((flag) => make("span", { class: "flag", text: flag })));
    }
    return make("td", { class: column.kind === "number" ? "number" : null, text: format(value) });
  }
  function fillRows(body, count) {
    search();
    body.replaceChildren(...state.shown.map((i) =>
      make("tr", {}, ...data.columns.map((column) => cell(column, data.features[i])))));
    count.textContent = `${state.shown.length} of ${data.features.length} features`;
  }
  function showTable() {
    document.title = data.title;
    const body = make("tbody");
    const count = make("p", { class: "soft", role: "status", id: "count" });
    const heads = data.columns.map((column) => {
      const head = make("th", { scope: "col", class: column.kind === "number" ? "number" : null, title: column.help });
      head.append(make("button", { type: "button", text: column.label, on: { click: () => {
        const numeric = column.kind === "number";
        state.down = state.sort === column.at ? !state.down : numeric;
        state.sort = column.at;
        mark();
        fillRows(body, count);
      } } }));
      return head;
    });
    function mark() {
      heads.forEach((head, i) => {
        const sorted = data.columns[i].at === state.sort;
        head.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      });
    }
    const field = make("input", {
      type: "search", id: "search", value: state.query, placeholder: "name, gene, gene set, group …",
      on: { input: (event) => { state.query = event.target.value; fillRows(body, count); } },
    });
    field.value = state.query;
    mark();
    fillRows(body, count);
    main.replaceChildren(
      make("h1", { text: data.title }),
      make("p", { class: "soft", text: data.subtitle }),
      make("div", { class: "bar-of-tools" }, make("label", { for: "search", text: "Search" }), field, count),
      make("div", { class: "scroll" },
        make("table", { "aria-label": "Features" }, make("thead", {}, make("tr", {}, ...heads)), body)),
      make("p", { class: "soft",
        text: "Keys: / search, Enter opens the first feature found; on a feature, ← and → turn pages, Esc comes back." }),
    );
    window.scrollTo(0, state.scroll);
  }

  // ---------------------------------------------------------------- feature
  function card(title, content) {
    return content === null ? null : make("section", { class: "card" }, make("h2", { text: title }), content);
  }
  function note(text) { return make("p", { class: "soft", text }); }
  function numbers(rows) { return rows.length ? table(["", ""], rows, [false, true]) : null; }
  function table(heads, rows, numeric) {
    if (!rows.length) return null;
    const kind = (j) => (numeric[j] ? "number" : null);
    const cells = (row) => row.map((value, j) =>
      make("td", { class: kind(j) }, value instanceof Node ? value : document.createTextNode(format(value))));
    const head = heads.some(Boolean)
      ? make("thead", {}, make("tr", {}, ...heads.map((text, j) => make("th", { scope: "col", class: kind(j), text }))))
      : null;
    return make("div", { class: "scroll" },
      make("table", {}, head, make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row))))));
  }
  function histogram(feature) {
    const { counts, low, high } = feature.histogram;
    if (!counts.length) return note("Never active.");
    const [width, height, bottom] = [460, 170, 26];
    const most = Math.max(...counts);
    const step = width / counts.length;
    const node = svg("svg", { viewBox: `0 0 ${width} ${height + bottom}`, role: "img",
      "aria-label": `Histogram of positive activations from ${format(low)} to ${format(high)}` });
    counts.forEach((n, i) => {
      const h = (height - 6) * n / most;
      node.append(svg("rect", { class: "mark", x: i * step + 0.5, y: height - h, width: Math.max(step - 1, 0.5), height: h }));
    });
    node.append(svg("path", { class: "axis", d: `M0 ${height + .5} H${width}` }));
    node.append(svg("text", { x: 0, y: height + 18 }, format(low)));
    node.append(svg("text", { x: width, y: height + 18, "text-anchor": "end" }, format(high)));
    return make("div", {}, node,
      note(`Active in ${format(feature.n_active)} of ${format(data.n_obs)} observations; those are drawn.`));
  }
  function bytes(text) {
    const raw = atob(text);
    const array = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
    return array;
  }
  const points = data.basis === null ? null : {
    x: new Uint16Array(bytes(data.basis.x).buffer), y: new Uint16Array(bytes(data.basis.y).buffer) };
  function basisMap(feature) {
    if (points === null) return null;
    const side = 680;
    const canvas = make("canvas", { class: "map", width: side, height: side, role: "img",
      "aria-label": `${data.basis.name}: active observations are coloured` });
    const context = canvas.getContext("2d");
    const values = bytes(feature.shade);
    const order = Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
    const size = Math.max(1.6, Math.min(5, 110 / Math.sqrt(values.length)));
    for (const i of order) {
      const value = values[i] / 255;
      context.fillStyle = value === 0 ? "rgba(140,148,158,.35)"
        : `rgb(${Math.round(250 - 60 * value)},${Math.round(170 - 150 * value)},${Math.round(60 + 40 * value)})`;
      const radius = value === 0 ? size : 1.4 * size;
      context.beginPath();
      context.arc(10 + points.x[i] / 65535 * (side - 20), 10 + (1 - points.y[i] / 65535) * (side - 20), radius, 0, 7);
      context.fill();
    }
    const drawn = points.x.length < data.n_obs ? `${format(points.x.length)} of ${format(data.n_obs)}` : "All";
    return make("div", {}, canvas, note(`${drawn} observations; grey: not active, dark red: most active.`));
  }
  function crops(feature, kind, caption) {
    const sheet = (pictures[kind] || {})[feature.name];
    if (!sheet) return null;
    const grid = make("div", { class: "crops" });
    const image = new Image();
    const figures = feature.top.slice(0, sheet.n).map((one, i) => {
      const canvas = make("canvas", { width: sheet.side, height: sheet.side, role: "img",
        "aria-label": `${one.name}, activation ${format(one.value)}` });
      grid.append(make("figure", {}, canvas, make("figcaption", { text: caption(one) })));
      return canvas;
    });
    image.onload = () => figures.forEach((canvas, i) => canvas.getContext("2d")
      .drawImage(image, i * sheet.side, 0, sheet.side, sheet.side, 0, 0, sheet.side, sheet.side));
    image.src = sheet.src;
    return grid;
  }
  function groups(feature) {
    const parts = feature.groups.map((grouping) => {
      const most = Math.max(...grouping.rows.map((row) => row.mean), 1e-12);
      const grid = make("div", { class: "share" });
      for (const row of grouping.rows) {
        const fill = make("div", { class: "fill" });
        fill.style.width = `${100 * Math.max(row.mean, 0) / most}%`;
        grid.append(
          make("div", { class: "name", text: row.name }),
          make("div", { class: "value", text: `${format(row.mean)}  (${format(100 * row.share)} % active)` }),
          make("div", { class: "track", "aria-hidden": "true" }, fill));
      }
      const hidden = grouping.n_groups - grouping.rows.length;
      return make("div", {}, make("h3", { text: grouping.name }), grid,
        hidden > 0 ? note(`${hidden} more groups are lower.`) : null);
    });
    return parts.length ? make("div", {}, note("Mean activation of each group."), ...parts) : null;
  }
  function neighbours(rows, unit) {
    return table(["feature", unit], rows.map((row) =>
      [byName.has(row.name) ? make("a", { href: address(row.name), text: row.name }) : row.name, row.value]), [false, true]);
  }
  function listed(entry) {
    const numeric = entry.heads.map((_, j) => entry.rows.every((row) => row[j] === null || typeof row[j] === "number"));
    return make("div", {}, table(entry.heads, entry.rows, numeric), entry.note ? note(entry.note) : null);
  }
  function topTable(feature) {
    const labels = feature.top.length ? Object.keys(feature.top[0].labels) : [];
    return table(["observation", "activation", ...labels],
      feature.top.map((one) => [one.name, one.value, ...labels.map((label) => one.labels[label])]),
      [false, true, ...labels.map(() => false)]);
  }
  function showFeature(i) {
    const feature = data.features[i];
    document.title = `${feature.name} · ${data.title}`;
    const at = state.shown.indexOf(i);
    const [before, after] = at < 0 ? [undefined, undefined] : [state.shown[at - 1], state.shown[at + 1]];
    const turn = (target, text) => target === undefined ? make("span", { class: "soft", text })
      : make("a", { href: address(data.features[target].name), text });
    const labelled = (one) => [format(one.value), ...Object.values(one.labels)].join(" · ");
    const heading = make("h1", { text: feature.name, tabindex: "-1", id: "heading" });
    main.replaceChildren(
      make("nav", { class: "bar-of-tools", "aria-label": "Features" },
        make("a", { href: "#", text: "All features" }), turn(before, "← previous"), turn(after, "next →")),
      make("div", { class: "head" }, heading, ...feature.flags.map((flag) => make("span", { class: "flag", text: flag }))),
      feature.description ? make("p", { class: "lead", text: feature.description }) : "",
      ...[
        card("Most active", crops(feature, "crops", labelled)),
        card("Where in the crops", crops(feature, "maps", (one) => format(one.value))),
      ].filter(Boolean),
      make("div", { class: "cards" }, ...[
        card("Activations", histogram(feature)),
        card(data.basis === null ? "" : data.basis.name, basisMap(feature)),
        card("Groups", groups(feature)),
        ...feature.tables.map((entry) => card(entry.title, listed(entry))),
        card("Most alike in the dictionary", neighbours(feature.decoder, "cosine")),
        card("Active together", neighbours(feature.coactive, "cosine of codes")),
        card("Numbers", numbers(feature.numbers)),
        card("Most active observations", topTable(feature)),
      ].filter(Boolean)),
    );
    window.scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }

  // ------------------------------------------------------------------ pages
  let open = null;
  function route() {
    let name = "";
    try { name = decodeURIComponent(location.hash.slice(1)); } catch { name = ""; }
    if (open === null) state.scroll = window.scrollY;
    open = byName.has(name) ? byName.get(name) : null;
    if (open === null) showTable(); else showFeature(open);
  }
  window.addEventListener("scroll", () => { if (open === null) state.scroll = window.scrollY; }, { passive: true });
  window.addEventListener("hashchange", () => {
    const kept = state.scroll;
    route();
    if (open !== null) state.scroll = kept;
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target instanceof HTMLInputElement;
    if (open === null) {
      if (event.key === "/" && !typing) { event.preventDefault(); document.getElementById("search").focus(); }
      if (event.key === "Enter" && typing && state.shown.length) location.hash = address(data.features[state.shown[0]].name);
      return;
    }
    const at = state.shown.indexOf(open);
    const target = event.key === "ArrowLeft" ? state.shown[at - 1] : event.key === "ArrowRight" ? state.shown[at + 1] : undefined;
    if (at >= 0 && target !== undefined) location.hash = address(data.features[target].name);
    if (event.key === "Escape") location.hash = "#";
  });
  route();
})();

// Charts: drawn with uPlot from the values that stand in the page. An empty word is a gap, and stays one. The cursor is shared;
// a part that is dragged over becomes the page's address. What is asked for again replaces values, and nothing else.
"use strict";
{
  const { $, $$, on } = globalThis.twintable;
  const charts = new Map();
  const root = $("[data-charts]");

  const numbers = (text) => text.split(",").map((word) => word === "" ? null : Number(word));
  const dataOf = (plot) => {
    const lines = JSON.parse(plot.dataset.lines).map(numbers);
    const start = plot.dataset.start / 1000, step = plot.dataset.step / 1000;
    return [Array.from({ length: lines[0].length }, (_, at) => start + at * step), ...lines];
  };

  // --- texts; the rule is `valueText` of charts.tsx ---
  const span = (ms) => {
    const s = ms / 1000;
    if (s < 10) return `${Math.floor(s * 10) / 10} s`;
    if (s < 60) return `${Math.floor(s)} s`;
    const min = Math.floor(s / 60), h = Math.floor(min / 60);
    if (min < 60) return `${min} min`;
    if (h < 10 && min % 60 > 0) return `${h} h ${min % 60} min`;
    return h < 48 ? `${h} h` : `${Math.floor(h / 24)} d`;
  };
  const group = (n) => n.toLocaleString("en-US");
  const textOf = (unit, value) => {
    if (value === null || value === undefined) return "no data";
    if (unit === "bytes") return `${group(Math.round(value / 1e5) / 10)} MB`;
    if (unit === "count") return group(Math.round(value * 100) / 100);
    const text = Math.abs(value) < 1000 ? `${Math.round(value)} ms` : span(Math.abs(value));
    return value < 0 && Math.abs(value) >= 1000 ? `−${text}` : text;
  };
  const axisText = (unit, value) => {
    if (unit === "ms" && value === 0) return "0";
    // Between two steps of an axis there may be less than a millisecond, but no two have one text.
    if (unit === "ms" && Math.abs(value) < 10) return `${Number(value.toFixed(2))} ms`;
    if (unit === "bytes") {
      return value >= 1e9 ? `${Number((value / 1e9).toFixed(1))} GB` : `${Math.round(value / 1e6)} MB`;
    }
    if (unit === "count" && Math.abs(value) >= 1e6) return `${Number((value / 1e6).toFixed(1))} M`;
    if (unit === "count" && Math.abs(value) >= 1e4) return `${Math.round(value / 1e3)} k`;
    return textOf(unit, value);
  };
  const pad = (n) => String(n).padStart(2, "0");
  const timeText = (seconds, withDay) => {
    const at = new Date(seconds * 1000), day = `${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
    return withDay ? day : `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
  };

  const colour = (element) => getComputedStyle(element).color;
  const dashOf = (swatch) => $("path", swatch).getAttribute("stroke-dasharray")?.split(" ").map(Number);

  /** Between two gaps: no line leads there, so that a dot has to. */
  const alone = (values) =>
    values.flatMap((value, at) => value !== null && values[at - 1] == null && values[at + 1] == null ? [at] : []);

  /** Of a threshold the line, whatever the values. */
  const rangeOf = (threshold) => (_, min, max) => {
    const low = Math.min(0, min ?? 0), high = Math.max(max ?? 0, threshold ?? 0, 0);
    return high === low ? [low, low + 1] : [low * 1.08, high * 1.08];
  };

  const zoom = (u, id) => {
    if (u.select.width < 8) return;
    const [from, to] = [u.select.left, u.select.left + u.select.width].map((x) => u.posToVal(x, "x") * 1000);
    const url = new URL(location.href);
    url.searchParams.delete("range");
    url.searchParams.set("from", new Date(from).toISOString());
    url.searchParams.set("to", new Date(to).toISOString());
    url.hash = id;
    location.assign(url);
  };

  const values = (figure, u, at) => {
    const texts = $$("[data-value]", figure), unit = $("[data-plot]", figure).dataset.unit;
    texts.forEach((text, line) => {
      const points = u.data[line + 1];
      text.textContent = textOf(unit, at == null ? points.at(-1) ?? points.at(-2) : points[at]);
    });
  };

  const draw = (figure) => {
    const plot = $("[data-plot]", figure), { unit } = plot.dataset, swatches = $$(".swatch", figure);
    const data = dataOf(plot), threshold = plot.dataset.threshold && Number(plot.dataset.threshold);
    const muted = () => colour($(".muted", root));
    const grid = () => getComputedStyle(figure).borderTopColor;
    const axis = { stroke: muted, font: "11px system-ui", ticks: { show: false }, grid: { stroke: grid, width: 1 } };
    const whole = data[0].length * plot.dataset.step / 1000;
    const line = (u) => {
      if (threshold === undefined) return;
      const y = Math.round(u.valToPos(threshold, "y", true)), { left, width } = u.bbox;
      u.ctx.save();
      u.ctx.strokeStyle = colour(swatches.at(-1));
      u.ctx.lineWidth = 1.5 * devicePixelRatio;
      u.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(left, y);
      u.ctx.lineTo(left + width, y);
      u.ctx.stroke();
      u.ctx.restore();
    };
    const u = new uPlot(
      {
        width: plot.clientWidth || 300,
        height: 132,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        scales: { x: { range: (_, min, max) => [min, Math.max(max, min + 60)] }, y: { range: rangeOf(threshold) } },
        cursor: {
          y: false,
          // The cursor alone: what is dragged over is of one chart.
          sync: { key: "charts", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
          drag: { x: root.dataset.zooms !== undefined, y: false, setScale: false },
          bind: { dblclick: () => null },
          points: { size: 7 },
        },
        series: [
          {},
          ...data.slice(1).map((_, at) => ({
            stroke: () => colour(swatches[at]),
            width: 2,
            dash: dashOf(swatches[at]),
            spanGaps: false,
            points: { show: true, size: 5, fill: () => colour(swatches[at]), filter: (u, line) => alone(u.data[line]) },
          })),
        ],
        axes: [
          { ...axis, size: 24, space: 60, values: (_, at) => at.map((one) => timeText(one, whole > 200_000)) },
          { ...axis, size: 62, space: 28, values: (_, at) => at.map((one) => axisText(unit, one)) },
        ],
        hooks: {
          draw: [line],
          setCursor: [(u) => values(figure, u, u.cursor.idx)],
          setSelect: [(u) => zoom(u, figure.id)],
        },
      },
      data,
      plot,
    );
    charts.set(figure.id, u);
    new ResizeObserver(() => u.setSize({ width: plot.clientWidth, height: 132 })).observe(plot);
  };

  const redraw = () => charts.forEach((u) => u.redraw());
  on("tt:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // --- asked again: values and rows are put in place; what is open and focused stays ---
  let asking = false;
  const renew = async () => {
    if (asking || document.hidden) return;
    asking = true;
    const response = await fetch(location.href).catch(() => undefined);
    asking = false;
    if (!response?.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    $$("[data-sentence]").forEach((text, at) => text.textContent = $$("[data-sentence]", page)[at]?.textContent ?? "");
    for (const figure of $$("[data-chart]")) {
      const next = page.getElementById(figure.id);
      if (next) replace(figure, next);
    }
  };
  const replace = (figure, next) => {
    const plot = $("[data-plot]", figure), fresh = $("[data-plot]", next);
    for (const name of ["start", "step", "lines"]) plot.dataset[name] = fresh.dataset[name];
    for (const part of ["thead", "tbody", "[data-keys]"]) $(part, figure).replaceChildren(...$(part, next).childNodes);
    $("[data-empty]", figure).hidden = $("[data-empty]", next).hidden;
    // Another number of lines (a code that was refused) is another chart; its swatches are new in any case.
    charts.get(figure.id)?.destroy();
    draw(figure);
  };
  on("tt:again", renew);
  if (root.dataset.renew) setInterval(renew, Math.max(60_000, root.dataset.renew));

  for (const details of $$("[data-chart] details")) details.open = false;
  // After the first paint: twelve charts take longer than all else, and texts and values need none of them.
  const drawAll = () => {
    for (const figure of $$("[data-chart]")) if (!charts.has(figure.id)) draw(figure);
  };
  requestAnimationFrame(() => setTimeout(drawAll));
  globalThis.twintable.charts = charts;
}

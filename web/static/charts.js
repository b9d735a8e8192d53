// Draws uPlot over the charts of the server: drag to zoom, double click to see all, one cursor over all charts.
"use strict";
(() => {
  const library = document.currentScript.dataset.uplot;
  const drawn = new Map();
  const DASHES = [[], [10, 4], [2, 3], [10, 3, 2, 3]];
  const WHOLE = Array.from({ length: 12 }, (none, i) => [1, 2, 5].map((step) => step * 10 ** i)).flat();
  const STEPS = {
    count: [[0, 1, ""]],
    seconds: [[0, 1, " s"], [1e-9, 0.001, " ms"], [1, 1, " s"], [120, 60, " min"], [7200, 3600, " h"], [172800, 86400, " d"]],
    bytes: [[0, 1, " B"], [1024, 1024, " KB"], [1024 ** 2, 1024 ** 2, " MB"], [1024 ** 3, 1024 ** 3, " GB"]],
  };
  const write = (unit, value) => {
    if (value == null) return "–";
    const [, length, name] = STEPS[unit].findLast(([from]) => value >= from);
    return Number((value / length).toPrecision(4)).toLocaleString("en-US") + name;
  };
  const local = () => document.documentElement.dataset.clock === "local";
  const zoned = (at) => (local() ? new Date(at * 1000) : uPlot.tzDate(new Date(at * 1000), "Etc/UTC"));
  const colour = (figure, state) => {
    const probe = figure.querySelector(`.legend .state-${state}`);
    return getComputedStyle(probe ?? figure).color;
  };

  // The bucket that is not complete is a line of its own, so that it can be dashed.
  const parts = (data) => {
    const columns = [data.x];
    for (const { values: told } of data.series) {
      const values = data.log ? told.map((value) => (value === null ? null : Math.max(value, 0.001))) : told;
      const cut = data.unfinished && values.length > 1;
      columns.push(cut ? values.map((value, i) => (i === values.length - 1 ? null : value)) : values);
      columns.push(values.map((value, i) => (cut && i >= values.length - 2 ? value : null)));
    }
    return columns;
  };
  const lines = (figure, data) => {
    const seen = {};
    const single = data.series.length === 1;
    return data.series.flatMap(({ label, state }) => {
      const stroke = colour(figure, state);
      const nth = seen[state] ?? 0;
      seen[state] = nth + 1;
      const fill = single ? stroke.replace("rgb(", "rgba(").replace(")", ", 0.08)") : undefined;
      const common = { label, stroke, width: 1.5, points: { show: false } };
      return [{ ...common, fill, dash: DASHES[nth % 4] }, { ...common, dash: [4, 4] }];
    });
  };
  const options = (figure, data, at) => {
    const style = getComputedStyle(figure);
    const muted = getComputedStyle(figure.querySelector(".heights, .muted") ?? figure).color;
    const axis = { stroke: muted, font: `12px ${style.fontFamily}`, grid: { stroke: style.borderTopColor, width: 1 }, ticks: { show: false } };
    const canvas = figure.querySelector(".canvas");
    return {
      width: canvas.clientWidth,
      height: matchMedia("(max-width: 720px)").matches ? 160 : 200,
      tzDate: zoned,
      legend: { show: false },
      cursor: { sync: { key: "jobd" }, points: { size: 6 } },
      scales: { y: { distr: data.log ? 3 : 1, range: (plot, low, high) => data.log ? [0.001, Math.max(high ?? 0, 0.01) * 1.5] : [0, Math.max(high ?? 0, data.unit === "count" ? 1 : 0.001) * room(drawn.get(figure)?.data ?? data)] } },
      axes: [
        { ...axis, size: 28, space: 72, values: (plot, splits) => splits.map((split) => stamp(split)) },
        { ...axis, size: 64, incrs: data.unit === "count" ? WHOLE : undefined, values: (plot, splits) => splits.map((split) => (split === null ? "" : write(data.unit, split))) },
      ],
      series: [{}, ...lines(figure, data)],
      hooks: {
        draw: [(plot) => flags(plot, drawn.get(figure)?.data ?? data, muted, style)],
        setCursor: [(plot) => {
          const i = plot.cursor.idx;
          const now = drawn.get(figure)?.data ?? data;
          const shown = i == null ? "" : [
            stamp(now.x[i], true),
            ...now.series.map(({ label, values }) => `${label} ${write(now.unit, values[i])}`),
            ...(now.deploys ?? []).filter(([when]) => when >= now.x[i] && !(when >= now.x[i + 1])).map(([, label]) => `┊ ${label}`),
          ].join(" · ");
          if (at.textContent !== shown) at.textContent = shown;
        }],
      },
    };
  };
  // Above the highest value, for the labels of deploys.
  const room = (data) => (data.deploys?.length ? 1.2 : 1.05);
  // Deploys, the newest first: a vertical each, and the labels for which there is room.
  const flags = (plot, data, colour, style) => {
    const { ctx, bbox } = plot;
    const taken = [];
    const unit = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = unit;
    ctx.font = `${12 * unit}px ${style.fontFamily}`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    for (const [at, label] of data.deploys ?? []) {
      const x = Math.round(plot.valToPos(at, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.setLineDash([3 * unit, 3 * unit]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const most = bbox.width < 360 * unit ? 12 : 24;
      const text = label.length > most ? `${label.slice(0, most - 1)}…` : label;
      const width = ctx.measureText(text).width + 8 * unit;
      const left = x > bbox.left + bbox.width / 2 ? x - width : x;
      if (taken.some(([from, to]) => left < to && left + width > from)) continue;
      taken.push([left, left + width]);
      ctx.setLineDash([]);
      ctx.strokeStyle = style.backgroundColor;
      ctx.lineWidth = 3 * unit;
      ctx.strokeText(text, left + 4 * unit, bbox.top + 2 * unit);
      ctx.fillText(text, left + 4 * unit, bbox.top + 2 * unit);
      ctx.strokeStyle = colour;
      ctx.lineWidth = unit;
    }
    ctx.restore();
  };
  // A day has its date where it begins.
  const stamp = (at, full) => {
    const date = zoned(at);
    const two = (value) => String(value).padStart(2, "0");
    const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    const time = `${two(date.getHours())}:${two(date.getMinutes())}${at % 60 ? `:${two(date.getSeconds())}` : ""}`;
    if (full) return `${date.getFullYear()}-${day} ${time}${local() ? "" : " UTC"}`;
    return time === "00:00" ? day : time;
  };

  const draw = (figure) => {
    const text = figure.dataset.chart;
    const known = drawn.get(figure);
    if (known?.text === text) return;
    const data = JSON.parse(text);
    const canvas = figure.querySelector(".canvas");
    if (!canvas || data.x.length < 2) return;
    const names = data.series.map(({ label, state }) => `${state} ${label}`).join("\n");
    if (known && known.names === names) {
      const zoomed = known.plot.scales.x.min > known.data.x[0] || known.plot.scales.x.max < known.data.x[known.data.x.length - 1];
      drawn.set(figure, { ...known, text, data });
      known.plot.setData(parts(data), !zoomed);
      return;
    }
    known?.plot.destroy();
    figure.setAttribute("data-js-drawn", "");
    const at = canvas.querySelector(".at") ?? canvas.appendChild(document.createElement("p"));
    at.className = "at";
    const plot = new uPlot(options(figure, data, at), parts(data), canvas);
    drawn.set(figure, { text, data, names, plot });
  };
  const drawAll = () => {
    for (const [figure, { plot }] of drawn) {
      if (figure.isConnected) continue;
      plot.destroy();
      drawn.delete(figure);
    }
    for (const figure of document.querySelectorAll("figure.chart[data-chart]")) draw(figure);
  };
  const again = () => {
    for (const [, { plot }] of drawn) plot.destroy();
    drawn.clear();
    drawAll();
  };
  const fit = () => {
    for (const [figure, { plot }] of drawn) plot.setSize({ width: figure.querySelector(".canvas").clientWidth, height: plot.height });
  };
  const begin = () => {
    if (window.uPlot) return drawAll();
    if (document.querySelector("figure.chart[data-chart]") && !document.querySelector("script[data-js-uplot]")) {
      const script = document.createElement("script");
      script.src = library;
      script.dataset.jsUplot = "";
      script.onload = drawAll;
      document.head.append(script);
    }
    return undefined;
  };
  document.addEventListener("jobd:fresh", begin);
  document.addEventListener("jobd:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(fit, 100);
  });
  begin();
})();

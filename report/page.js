"use strict";
// Everything is readable without this script; it adds the readout of the plots and the sliders of the images.
document.documentElement.classList.add("live");

const SVG = "http://www.w3.org/2000/svg";

function written(value) {
  if (value === null) return "no value";
  const size = Math.abs(value);
  if (size >= 1000) return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  if (value !== 0 && size < 1e-4) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

function share(value, [low, high], log) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

function nearest(points, x) {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle;
    else high = middle;
  }
  return x - points[low][0] <= points[high][0] - x ? low : high;
}

function mark(svg, kind, name) {
  const element = svg.appendChild(document.createElementNS(SVG, kind));
  element.setAttribute("class", name);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function readout(figure) {
  const block = figure.querySelector("script");
  if (!block) return;
  const data = JSON.parse(block.textContent);
  const plot = figure.querySelector(".plot");
  const svg = plot.querySelector("svg");
  const where = figure.querySelector(".where");
  const outputs = [...figure.querySelectorAll("output")];
  const resting = [where.textContent, ...outputs.map((output) => output.textContent)];
  const cursor = mark(svg, "line", "cursor");
  const dots = data.curves.map((_, index) => mark(svg, "circle", `dot c${index % 6}`));
  const longest = data.curves.reduce((best, points) => (points.length > best.length ? points : best));
  const along = (x) => share(x, data.x, data.xlog);
  let at = null;

  function show(x) {
    at = nearest(longest, x);
    const here = longest[at][0];
    const left = `${100 * along(here)}%`;
    set(cursor, { x1: left, x2: left, y1: "0", y2: "100%" });
    where.textContent = data.labels ? data.labels[at] : `${data.unit} ${here.toLocaleString("en-US")}`;
    data.curves.forEach((points, index) => {
      const [step, value] = points[nearest(points, here)];
      const apart = Math.abs(along(step) - along(here)) > 0.02;
      outputs[index].textContent = written(value) + (apart ? ` (${data.unit} ${step.toLocaleString("en-US")})` : "");
      const seen = value !== null;
      set(dots[index], {
        cx: `${100 * along(step)}%`,
        cy: `${seen ? 100 * (1 - share(value, data.y, data.log)) : 0}%`,
        r: seen ? 4 : 0,
      });
    });
    figure.classList.add("reading");
  }

  function rest() {
    at = null;
    figure.classList.remove("reading");
    [where, ...outputs].forEach((element, index) => (element.textContent = resting[index]));
  }

  function follow(event) {
    const box = svg.getBoundingClientRect();
    const part = (event.clientX - box.left) / box.width;
    const [low, high] = data.x;
    show(data.xlog ? low * (high / low) ** part : low + part * (high - low));
  }

  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", "Values: the arrow keys move along the axis");
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("pointerleave", rest);
  plot.addEventListener("blur", rest);
  plot.addEventListener("keydown", (event) => {
    const stride = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20 }[event.key];
    if (event.key === "Escape") rest();
    if (!stride) return;
    event.preventDefault();
    const from = at === null ? (stride > 0 ? -1 : longest.length) : at;
    show(longest[Math.max(0, Math.min(longest.length - 1, from + stride))][0]);
  });
}

function slider(figure) {
  const stage = figure.querySelector(".stage");
  const input = stage.querySelector("input");
  const show = () => stage.style.setProperty("--at", `${input.value}%`);
  function follow(event) {
    const box = stage.getBoundingClientRect();
    input.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  }
  input.addEventListener("input", show);
  // The pointer moves the slider from anywhere on the image: some browsers only let the thumb itself be dragged.
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    input.focus({ preventScroll: true });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  show();
}

document.querySelectorAll("figure.chart").forEach(readout);
document.querySelectorAll(".compare").forEach(slider);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));

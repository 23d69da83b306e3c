"use strict";
// Search, opening and closing, and the edges between whatever boxes and ops are to be seen.

const MOST_EDGES = 1500; // more than these would only darken the page
const SVG = "http://www.w3.org/2000/svg";
const root = document.documentElement;
const button = (name) => document.getElementById(name);
const drawings = [...document.querySelectorAll(".drawing")];
let showsEdges = true;

// Edges -----------------------------------------------------------------------------------------

// What stands for an op: itself, or the outermost closed box around it.
function shown(op, drawing) {
  let found = op;
  for (let at = op.parentElement; at && at !== drawing; at = at.parentElement)
    if (at.tagName === "DETAILS" && !at.open) found = at;
  return found;
}

// Pairs of what is shown, with the number of edges between them.
function edgesOf(drawing) {
  const ops = new Map();
  for (const op of drawing.querySelectorAll(".op")) ops.set(op.dataset.op, [op, shown(op, drawing)]);
  const ends = new Map();
  for (const [op, to] of ops.values())
    for (const source of op.dataset.in.split(" ").filter(Boolean)) {
      const from = ops.get(source)[1];
      if (from === to) continue;
      if (!ends.has(from)) ends.set(from, new Map());
      ends.get(from).set(to, (ends.get(from).get(to) || 0) + 1);
    }
  return [...ends].flatMap(([from, tos]) => [...tos].map(([to, count]) => ({ from, to, count })));
}

// Within a phase an edge bulges to the right, from one phase to another it crosses the gap.
function curve(a, b) {
  const y1 = a.top + Math.min(a.height / 2, 14), y2 = b.top + Math.min(b.height / 2, 14);
  if (a.lane === b.lane) {
    const bulge = a.edge + 6 + Math.min(50, Math.abs(y2 - y1) / 12);
    return `M${a.right} ${y1} C${bulge} ${y1} ${bulge} ${y2} ${b.right} ${y2}`;
  }
  const [x1, x2] = a.left < b.left ? [a.right, b.left] : [a.left, b.right];
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}

function measure(drawing) {
  const origin = drawing.getBoundingClientRect(), known = new Map();
  return (element) => {
    if (!known.has(element)) {
      const at = element.getBoundingClientRect(), lane = element.closest(".lane");
      const [x, y] = [drawing.scrollLeft - origin.left, drawing.scrollTop - origin.top];
      known.set(element, { left: at.left + x, right: at.right + x, top: at.top + y,
        height: at.height, lane, edge: lane.getBoundingClientRect().right + x });
    }
    return known.get(element);
  };
}

function redraw(drawing) {
  drawing.querySelector("svg.flow")?.remove();
  if (!showsEdges || !drawing.offsetParent) return;
  const svg = document.createElementNS(SVG, "svg"), place = measure(drawing);
  svg.setAttribute("class", "flow");
  const edges = edgesOf(drawing).filter(({ from, to }) => from.offsetParent && to.offsetParent);
  edges.sort((a, b) => b.count - a.count);
  for (const { from, to, count } of edges.slice(0, MOST_EDGES)) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", curve(place(from), place(to)));
    path.setAttribute("stroke-width", Math.min(1 + Math.log2(count) / 2, 4));
    path.ends = [from, to];
    svg.append(path);
  }
  drawing.append(svg);
}

let waiting = false;
function redrawSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawings.forEach(redraw); });
}

function light(drawing, element) {
  const svg = drawing.querySelector("svg.flow");
  if (!svg) return;
  for (const path of svg.children) path.classList.toggle("lit", path.ends.includes(element));
  svg.classList.toggle("lighting", Boolean(svg.querySelector(".lit")));
}

for (const drawing of drawings) {
  drawing.addEventListener("mouseover", (event) =>
    light(drawing, event.target.closest(".op, .lane details:not([open])")));
  drawing.addEventListener("mouseleave", () => light(drawing, null));
}
document.addEventListener("toggle", redrawSoon, true);
window.addEventListener("resize", redrawSoon);

// Search ----------------------------------------------------------------------------------------

let before = null; // which boxes were open when the search began

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean), boxes = document.querySelectorAll("details");
  if (words.length && !before) before = new Map([...boxes].map((box) => [box, box.open]));
  document.body.classList.toggle("searching", words.length > 0);
  for (const box of boxes) box.classList.remove("holds");
  let hits = 0;
  for (const op of document.querySelectorAll(".op")) {
    const hit = words.length > 0 && words.every((word) => op.dataset.words.includes(word));
    op.classList.toggle("hit", hit);
    hits += hit;
    for (let at = op; hit && (at = at.parentElement.closest("details")); ) at.classList.add("holds");
  }
  for (const box of boxes) box.open = words.length ? box.classList.contains("holds") : (before?.get(box) ?? box.open);
  if (!words.length) before = null;
  button("found").textContent = words.length ? `${hits} op${hits === 1 ? "" : "s"}` : "";
  redrawSoon();
}

let typing = 0;
button("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => search(event.target.value), 150);
});

// Buttons ---------------------------------------------------------------------------------------

const setAll = (open) => document.querySelectorAll(".program, .lane .box").forEach((box) => { box.open = open; });
button("expand").addEventListener("click", () => setAll(true));
button("collapse").addEventListener("click", () => setAll(false));
button("edges").addEventListener("click", (event) => {
  showsEdges = !showsEdges;
  event.target.setAttribute("aria-pressed", showsEdges);
  redrawSoon();
});
button("theme").addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) root.dataset.theme = "dark";

function openTarget() {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (found) found.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();
redrawSoon();

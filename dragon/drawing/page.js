"use strict";
(() => {
  const MARGIN = 16, GAP = 30, PAGE = 950; // MARGIN and GAP as in picture.py; PAGE: pixels of a printed page's height
  const $ = id => document.getElementById(id);
  const { direction, breadth, boxes, arrows } = JSON.parse($("data").textContent);
  const upright = direction === "TB" || direction === "BT", backward = direction === "BT" || direction === "RL";
  const stage = $("stage"), picture = $("picture");
  const shapes = [...picture.querySelectorAll(".box")], paths = [...picture.querySelectorAll(".arrow")];
  const height = box => (box.open ? box.opened : box.closed);
  const extent = box => (upright ? height(box) : box.width);
  let size = [0, 0];

  // -- places ------------------------------------------------------------------------------------------------
  function place() {
    const thick = [];
    for (const box of boxes) thick[box.rank] = Math.max(thick[box.rank] || 0, extent(box));
    const starts = [];
    let at = MARGIN;
    thick.forEach((value, rank) => { starts[rank] = at; at += value + GAP; });
    const length = at - GAP + MARGIN;
    const along = value => (backward ? length - value : value);
    const point = (a, c) => (upright ? [c, along(a)] : [along(a), c]);
    boxes.forEach((box, k) => {
      const start = backward ? length - starts[box.rank] - extent(box) : starts[box.rank];
      const across = box.centre - (upright ? box.width : height(box)) / 2;
      [box.x, box.y] = upright ? [across, start] : [start, across];
      shapes[k].setAttribute("transform", `translate(${box.x} ${box.y})`);
      shapes[k].querySelector("rect").setAttribute("height", height(box));
    });
    arrows.forEach(({ from, route }, k) => {
      const [rank, where] = route[0];
      const stops = [point(starts[rank] + extent(boxes[from]), where), point(starts[rank] + thick[rank], where)];
      for (const [r, c] of route.slice(1, -1)) stops.push(point(starts[r], c), point(starts[r] + thick[r], c));
      const [last, end] = route[route.length - 1];
      stops.push(point(starts[last], end));
      let d = `M${stops[0]}`;
      for (let i = 1; i < stops.length; i++) {
        const [a, b] = stops[i - 1], [x, y] = stops[i], m = (b + y) / 2, n = (a + x) / 2;
        d += i % 2 ? `L${x} ${y}` : upright ? `C${a} ${m} ${x} ${m} ${x} ${y}` : `C${n} ${b} ${n} ${y} ${x} ${y}`;
      }
      paths[k].setAttribute("d", d);
    });
    const across = breadth + 2 * MARGIN;
    size = upright ? [across, length] : [length, across];
    picture.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    picture.setAttribute("width", size[0]);
    picture.setAttribute("height", size[1]);
    slice(starts.map((start, rank) => [start, start + thick[rank]]));
  }

  // Printed, a net that runs down the page is cut between ranks, never through a box.
  function slice(ranks) {
    const out = $("slices");
    out.replaceChildren();
    document.body.classList.toggle("sliced", upright && size[1] > PAGE);
    if (!upright || size[1] <= PAGE) return;
    const cuts = [0];
    const high = PAGE * Math.max(1, size[0] / 700);
    for (let k = 1; k < ranks.length; k++)
      if (ranks[k][1] - cuts[cuts.length - 1] > high - 40) cuts.push((ranks[k - 1][1] + ranks[k][0]) / 2);
    cuts.push(size[1]);
    const flipped = backward ? cuts.map(c => size[1] - c).reverse() : cuts;
    for (let k = 1; k < flipped.length; k++) {
      const part = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const tall = flipped[k] - flipped[k - 1];
      part.setAttribute("viewBox", `0 ${flipped[k - 1]} ${size[0]} ${tall}`);
      part.setAttribute("width", size[0]);
      part.setAttribute("height", tall);
      const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
      use.setAttribute("href", "#net");
      part.append(use);
      out.append(part);
    }
  }

  function open(k, yes) {
    const several = boxes[k].names.length > 1;
    boxes[k].open = yes && several;
    if (!several) return;
    shapes[k].classList.toggle("open", yes);
    shapes[k].setAttribute("aria-expanded", yes);
    shapes[k].querySelector(".sign").textContent = yes ? "−" : "+";
  }
  function toggle(k) {
    const before = [boxes[k].x, boxes[k].y];
    open(k, !boxes[k].open);
    place();
    move((before[0] - boxes[k].x) * view.zoom, (before[1] - boxes[k].y) * view.zoom); // the box stays where it is
  }

  // -- view --------------------------------------------------------------------------------------------------
  const view = { x: 0, y: 0, zoom: 1 };
  const show = () => { picture.style.transform = `translate(${view.x}px,${view.y}px) scale(${view.zoom})`; };
  const move = (dx, dy) => { view.x += dx; view.y += dy; show(); };
  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const next = Math.min(4, Math.max(0.02, view.zoom * factor)), by = next / view.zoom;
    view.x = x - (x - view.x) * by;
    view.y = y - (y - view.y) * by;
    view.zoom = next;
    show();
  }
  function fit() {
    view.zoom = Math.min(1, stage.clientWidth / size[0], stage.clientHeight / size[1]);
    view.x = (stage.clientWidth - size[0] * view.zoom) / 2;
    view.y = Math.max(0, (stage.clientHeight - size[1] * view.zoom) / 2);
    show();
  }
  function begin() { // a deep net begins at its first layers, at a size that can be read
    fit();
    if (view.zoom >= 0.6) return;
    view.zoom = Math.min(1, Math.max(0.6, (upright ? stage.clientWidth / size[0] : stage.clientHeight / size[1])));
    const first = boxes[0];
    view.x = upright ? stage.clientWidth / 2 - first.centre * view.zoom : backward ? stage.clientWidth - size[0] * view.zoom : 0;
    view.y = upright ? (backward ? stage.clientHeight - size[1] * view.zoom : 0) : stage.clientHeight / 2 - first.centre * view.zoom;
    show();
  }
  function centre(k) {
    const box = boxes[k];
    if (view.zoom < 0.5) view.zoom = 0.9;
    view.x = stage.clientWidth / 2 - (box.x + box.width / 2) * view.zoom;
    view.y = stage.clientHeight / 2 - (box.y + height(box) / 2) * view.zoom;
    show();
  }

  // -- search ------------------------------------------------------------------------------------------------
  let found = [], here = -1;
  function search(text) {
    const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    found = words.length ? boxes.map((_, k) => k).filter(k => words.every(word => boxes[k].text.includes(word))) : [];
    shapes.forEach((shape, k) => shape.classList.toggle("found", found.includes(k)));
    here = -1;
    shapes.forEach(shape => shape.classList.remove("here"));
    $("count").textContent = words.length ? "no layer" : "";
    if (found.length) step(1);
  }
  function step(by) {
    if (!found.length) return;
    if (here >= 0) shapes[found[here]].classList.remove("here");
    here = (here + by + found.length) % found.length;
    shapes[found[here]].classList.add("here");
    $("count").textContent = `${here + 1} of ${found.length}`;
    centre(found[here]);
  }
  function fromAddress() { // page.html#NAME shows a layer
    let name = location.hash.slice(1);
    try { name = decodeURIComponent(name); } catch { /* a name with a percent sign stays as it is */ }
    const k = boxes.findIndex(box => box.names.includes(name));
    if (!name) return;
    $("find").value = name;
    search(name);
    const at = found.indexOf(k);
    if (at >= 0) step(at - here);
  }

  // -- what a user does --------------------------------------------------------------------------------------
  const pointers = new Map();
  let moved = 0;
  stage.addEventListener("pointerdown", event => { pointers.set(event.pointerId, event); if (pointers.size === 1) moved = 0; });
  stage.addEventListener("pointermove", event => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
    moved += Math.hypot(dx, dy);
    if (moved > 4 && !stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
    if (pointers.size === 1) move(dx, dy);
    else {
      const other = [...pointers.values()].find(one => one.pointerId !== event.pointerId);
      const apart = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const edge = stage.getBoundingClientRect();
      zoom(apart(event) / apart(before), (event.clientX + other.clientX) / 2 - edge.left, (event.clientY + other.clientY) / 2 - edge.top);
      move(dx / 2, dy / 2);
    }
    pointers.set(event.pointerId, event);
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, event => pointers.delete(event.pointerId));
  stage.addEventListener("wheel", event => {
    event.preventDefault();
    const edge = stage.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - edge.left, event.clientY - edge.top);
  }, { passive: false });
  shapes.forEach((shape, k) => {
    shape.addEventListener("click", () => { if (moved <= 4) toggle(k); });
    shape.addEventListener("focus", () => { if (shape.matches(":focus-visible")) centre(k); });
  });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === $("find")) {
      if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") { $("find").value = ""; search(""); stage.focus(); }
      else return;
      event.preventDefault();
      return;
    }
    const k = shapes.indexOf(event.target);
    const far = 80;
    const does = {
      "/": () => $("find").focus(), "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": fit,
      ArrowUp: () => move(0, far), ArrowDown: () => move(0, -far), ArrowLeft: () => move(far, 0), ArrowRight: () => move(-far, 0),
      PageUp: () => move(0, 0.8 * stage.clientHeight), PageDown: () => move(0, -0.8 * stage.clientHeight),
      n: () => step(1), N: () => step(-1),
    }[event.key] || (k >= 0 && (event.key === "Enter" || event.key === " ") ? () => toggle(k) : null);
    const inside = event.target === document.body || stage.contains(event.target);
    if (!does || !(inside || event.key === "/")) return;
    event.preventDefault();
    does();
  });
  $("find").addEventListener("input", event => search(event.target.value));
  $("next").addEventListener("click", () => step(1));
  $("back").addEventListener("click", () => step(-1));
  $("larger").addEventListener("click", () => zoom(1.25));
  $("smaller").addEventListener("click", () => zoom(0.8));
  $("fit").addEventListener("click", fit);
  $("all").addEventListener("click", event => {
    const yes = event.target.textContent === "open all";
    boxes.forEach((_, k) => open(k, yes));
    event.target.textContent = yes ? "close all" : "open all";
    place();
  });
  addEventListener("hashchange", fromAddress);
  addEventListener("beforeprint", () => { $("layers").open = true; });
  let width = stage.clientWidth;
  addEventListener("resize", () => { if (Math.abs(stage.clientWidth - width) > 1) { width = stage.clientWidth; begin(); } });
  place();
  begin();
  fromAddress();
})();

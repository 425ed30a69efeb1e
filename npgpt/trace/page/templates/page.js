"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const selects = { layer: byId("layer"), head: byId("head"), which: byId("which") };

  // --- selectors: what is not chosen is hidden; without this script everything is there

  const choose = () => {
    const { layer, head, which } = selects;
    for (const part of all("[data-layer]"))
      part.toggleAttribute("hidden", layer.value !== "all" && part.dataset.layer !== layer.value);
    for (const label of all(".label[data-layer]"))  // these are all at one place
      label.toggleAttribute("hidden", label.dataset.layer !== (layer.value === "all" ? "0" : layer.value));
    for (const part of all("[data-head]"))  // there is no choice of one in a model without heads
      part.toggleAttribute("hidden", head && head.value !== "all" && part.dataset.head !== head.value);
    for (const figure of all("figure.heat"))
      figure.toggleAttribute("hidden", which.value !== "both" && !figure.classList.contains(which.value));
  };
  for (const select of Object.values(selects)) select?.addEventListener("change", choose);

  const open = (value) => { for (const box of all("details.box")) box.open = value; };
  byId("open-all").addEventListener("click", () => open(true));
  byId("close-all").addEventListener("click", () => open(false));

  // --- the diagram opens boxes

  const show = (id) => {
    const content = byId(id);
    const box = content && content.closest("details.box");
    if (!box) return;
    box.open = true;
    for (const link of all(".diagram a"))
      link.classList.toggle("chosen", link.getAttribute("href") === "#" + id);
    box.scrollIntoView({ block: "start" });
    content.focus({ preventScroll: true });
  };
  for (const link of all(".diagram a"))
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link.getAttribute("href").slice(1));
    });
  if (location.hash.startsWith("#box-")) show(location.hash.slice(1));

  // --- print: everything that is chosen is open

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });

  // --- heat maps: the colour under the pointer says the value

  const palette = document.body.dataset.palette;
  const steps = (palette.length / 6 - 1) / 2;
  const shareOf = new Map();
  for (let i = -steps; i <= steps; i++)
    shareOf.set(parseInt(palette.substr(6 * (i + steps), 6), 16), i / steps);
  const tokens = all("#tokens .strip bdi").map((token) => token.textContent);
  const pixels = new Map();
  const cellsOf = (image, rows, columns) => {
    if (!pixels.has(image)) {
      const canvas = document.createElement("canvas");
      canvas.width = columns;
      canvas.height = rows;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      pixels.set(image, context.getImageData(0, 0, columns, rows).data);
    }
    return pixels.get(image);
  };
  const range = (cell, cells, size, areTokens) => {
    const first = Math.floor((cell * size) / cells);
    const last = Math.floor(((cell + 1) * size) / cells) - 1;
    if (last > first) return `${first} to ${last}`;
    return areTokens ? `${first} ${tokens[first]}` : `${first}`;
  };
  const readout = document.querySelector(".readout");
  const output = readout.querySelector("output");
  const sizes = (image, name) => image.dataset[name].split(" ").map(Number);
  const read = (image, row, column) => {
    const [rows, columns] = sizes(image, "cells");
    const [height, width] = sizes(image, "shape");
    const [red, green, blue, opaque] = cellsOf(image, rows, columns).slice(4 * (row * columns + column));
    const share = shareOf.get((red << 16) | (green << 8) | blue);
    const value = !opaque || share === undefined ? "no value"
      : (share === 1 ? "≥ " : share === -1 ? "≤ " : "≈ ") + (share * image.dataset.scale).toPrecision(3);
    output.textContent =
      `${image.dataset.caption}: row ${range(row, rows, height, image.dataset.rows)}, ` +
      `column ${range(column, columns, width, image.dataset.columns)}: ${value}`;
    readout.hidden = false;
  };
  const point = (event) => {
    const image = event.target;
    if (!(image instanceof HTMLImageElement)) return;
    const [rows, columns] = sizes(image, "cells");
    const frame = image.getBoundingClientRect();
    const row = Math.floor(((event.clientY - frame.top - 1) / (frame.height - 2)) * rows);
    const column = Math.floor(((event.clientX - frame.left - 1) / (frame.width - 2)) * columns);
    if (row >= 0 && column >= 0 && row < rows && column < columns) read(image, row, column);
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);

  // with the keyboard: a map has the focus, and the arrows go from cell to cell
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const places = new Map();
  const walk = (image, [down, right]) => {
    const [rows, columns] = sizes(image, "cells");
    const [row, column] = places.get(image) ?? [0, 0];
    const place = [Math.min(rows - 1, Math.max(0, row + down)), Math.min(columns - 1, Math.max(0, column + right))];
    places.set(image, place);
    output.setAttribute("aria-live", "polite");
    read(image, ...place);
  };
  for (const image of all("figure.heat img")) {
    image.tabIndex = 0;
    image.addEventListener("focus", () => { if (image.matches(":focus-visible")) walk(image, [0, 0]); });
    image.addEventListener("keydown", (event) => {
      if (!(event.key in arrows)) return;
      event.preventDefault();
      walk(image, arrows[event.key]);
    });
  }

  document.querySelector(".controls").hidden = false;
  choose();
})();

// Uses the page as a person would, and writes down what is to be seen.
addEventListener("load", () => {
  const seen = {};
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isVisible = (element) => element.getClientRects().length > 0;
  const distinct = (values) => [...new Set(values)].sort();
  const box = (name) => document.querySelector(`details.box[data-box="${name}"]`);
  const heads = document.getElementById("head");  // what is used of a model with heads, and of one without
  const used = heads ? { box: "blocks.*.attention", closed: "blocks.*.feed_forward", image: "weights, head 1", layer: "2" }
    : { box: "network.cell", closed: "network.forget_gate", image: "cell_l0", layer: "1" };
  const attention = `details.box[data-box="${used.box}"] `;
  const note = (name) => {
    const images = all(attention + "img").filter(isVisible);
    seen[name] = {
      layers: distinct(all(attention + ".instance").filter(isVisible).map((s) => s.dataset.layer)),
      heads: distinct(images.map((i) => i.closest("[data-head]")?.dataset.head ?? "none")),
      kinds: distinct(images.map((i) => (i.closest(".value") ? "value" : "grad"))),
      labels: distinct(all(".label[data-layer]").filter(isVisible).map((l) => l.dataset.layer)),
      images: images.length,
    };
  };
  const choose = (id, value) => {
    const select = document.getElementById(id);
    if (id === "head" && !select) return;
    select.value = value;
    select.dispatchEvent(new Event("change"));
  };
  const plain = document.documentElement.dataset.plain;
  if (plain !== undefined) {  // the page without its own script: open everything by hand
    for (const details of all("details")) details.open = true;
    document.body.dataset.seen = JSON.stringify({
      images: all("img").length,
      visible: all("img").filter(isVisible).length,
      instances: all(".instance").filter((i) => !isVisible(i)).length,
      tables: all("table").filter((t) => !isVisible(t)).length,
      controls: all(".controls, .readout").filter(isVisible).length,
      labels: distinct(all(".label[data-layer]").filter(isVisible).map((l) => l.dataset.layer)),
    });
    return;
  }
  note("first");
  choose("layer", used.layer);
  note(`layer ${used.layer}`);
  choose("head", "1");
  note(`layer ${used.layer}, head 1`);
  choose("which", "grad");
  note(`layer ${used.layer}, head 1, gradients`);
  choose("layer", "all");
  choose("head", "all");
  choose("which", "both");
  note("all");

  const link = document.querySelector(`.diagram a[href="#box-${used.closed.replace(".*", "").replace(".", "-")}"]`);
  link.focus();
  seen.focused = document.activeElement === link;
  seen.before = box(used.closed).open;
  link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  seen.after = box(used.closed).open;
  seen.reader = document.activeElement.id;
  document.getElementById("open-all").click();
  seen.opened = all("details.box").every((b) => b.open);

  const image = document.querySelector(`img[data-caption="${used.image}"]`);
  image.scrollIntoView();
  const frame = image.getBoundingClientRect();
  const [rows, columns] = image.dataset.cells.split(" ").map(Number);
  const point = (row, column) => {
    image.dispatchEvent(new PointerEvent("pointermove", {
      bubbles: true,
      clientX: frame.left + 1 + ((column + 0.5) * (frame.width - 2)) / columns,
      clientY: frame.top + 1 + ((row + 0.5) * (frame.height - 2)) / rows,
    }));
    return document.querySelector(".readout output").textContent;
  };
  seen.read = [point(0, 0), point(5, 2)];
  const press = (key) => image.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
  for (const key of ["ArrowUp", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowRight"]) press(key);
  seen.walked = document.querySelector(".readout output").textContent;
  seen.tabs = image.tabIndex;
  seen.wide = document.documentElement.scrollWidth > innerWidth;

  document.getElementById("close-all").click();
  seen.closed = all("details.box").every((b) => !b.open);
  seen.scripts = document.scripts.length;
  seen.tokens = all("#tokens .strip bdi").map((token) => token.textContent);
  seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name)
    .filter((name) => !name.startsWith("data:"));
  document.body.dataset.seen = JSON.stringify(seen);
});

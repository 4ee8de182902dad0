// The page: views that move together, keys and buttons.
import { Colours, first } from "./colours.js";
import { Objects } from "./objects.js";
import { Pane } from "./pane.js";
import { Readout } from "./readout.js";

const PAIRS = [["post", "pre"], ["difference", "post"], ["snr", "difference"], ["dq", "difference"], ["pre", "post"], ["coarse", "pre"], ["before", "post"]];
const element = (id) => document.getElementById(id);

class App {
  constructor(slide) {
    this.slide = slide;
    this.looks = Object.fromEntries(slide.layers.map((layer) => [layer.name, first(layer)]));
    this.panes = [];
    this.linked = true;
    this.objects = new Objects(this);
    this.colours = new Colours(this);
    this.readout = new Readout(this);
    this.head();
    this.setPanes(2);
  }

  head() {
    const { sample, dye, verdict, verdict_words: words, reasons, difference_note: aside, notes, has_objects: hasObjects } = this.slide;
    document.title = `${sample} / ${dye} - exo2micro`;
    element("title").textContent = `${sample} / ${dye}`;
    element("verdict").classList.add(verdict);
    const strong = document.createElement("strong");
    strong.textContent = words;
    element("verdict").append(strong, list(aside ? [aside, ...reasons] : reasons));
    element("notes-section").hidden = !notes.length;
    element("notes").replaceChildren(...list(notes).children);
    element("object-section").hidden = element("objects").hidden = !hasObjects;
  }

  // What the views ask of the page

  layer(name) { return this.slide.layers.find((layer) => layer.name === name); }

  source(name) {
    const { shape: [height, width], tile_px: tileSize, highest_level: maxLevel } = this.slide;
    const look = this.looks[name];
    const query = new URLSearchParams({ low: look.low, high: look.high, colours: look.colours });
    const minLevel = Math.max(0, maxLevel - Math.ceil(Math.log2(Math.max(width, height) / tileSize)));
    return { width, height, tileSize, tileOverlap: 0, minLevel, maxLevel,
      getTileUrl: (level, x, y) => `tile/${name}/${level}/${x}_${y}.png?${query}` };
  }

  place(pane) {
    const settled = this.panes.find((other) => other !== pane && other.placed);
    if (settled) pane.follow(settled.view);
    else pane.fit(this.slide.window, true);
  }

  activate(pane) {
    if (this.active === pane) return;
    this.active = pane;
    for (const other of this.panes) other.root.classList.toggle("active", other === pane);
    this.chosen(pane);
    this.tellModes();
  }

  chosen(pane) { if (pane === this.active) this.colours.show([pane.layer.value, pane.other.value]); }

  moved(pane) {
    if (!this.linked || pane !== this.active) return;
    for (const other of this.panes) if (other !== pane && other.placed) other.follow(pane.view);
  }

  resized() { if (this.active?.placed) this.moved(this.active); }

  pointed(pane, position) {
    const pixel = pane.pixelAt(position);
    this.read(Math.floor(pixel.x), Math.floor(pixel.y));
    this.objects.point(pane, pixel, position);
  }

  clicked(pane, position) { this.objects.click(pane, pane.pixelAt(position)); }

  read(x, y) { return this.readout.ask(x, y); }

  redraw() { for (const pane of this.panes) if (pane.placed) this.objects.draw(pane); }

  refresh() { for (const pane of this.panes) pane.refresh(); }

  async failed(tile) {
    if (this.asking) return;
    this.asking = true;
    try {
      const answer = await fetch(tile.getUrl());
      if (!answer.ok) this.say(await answer.text());
    } catch {
      this.say("The viewer was stopped: start `exo2micro view` again.");
    }
    this.asking = false;
  }

  say(text) { element("says").textContent = text; }

  // What people ask of the page

  setPanes(count) {
    this.stopBlinking();
    while (this.panes.length > count) this.panes.pop().destroy();
    element("panes").dataset.count = count;
    const pairs = PAIRS.filter((pair) => pair.every((name) => this.layer(name)));
    while (this.panes.length < count) {
      const names = this.slide.layers.map((layer) => layer.name);
      const [layer, other] = pairs[this.panes.length % Math.max(1, pairs.length)] ?? [names[0], names.at(-1)];
      const pane = new Pane(this, this.panes.length + 1);
      this.panes.push(pane);
      pane.choose(layer, other);
    }
    if (!this.panes.includes(this.active)) this.activate(this.panes[0]);
    for (const button of document.querySelectorAll("[data-panes]"))
      button.setAttribute("aria-pressed", Number(button.dataset.panes) === count);
  }

  zoom(how) {
    const { active } = this, viewport = active.viewer.viewport;
    if (how === "home") active.fit(this.slide.window);
    else if (how === "full") { const { x, y } = active.middle(); active.lookAt(x - 0.5, y - 0.5, 1 / window.devicePixelRatio); }
    else viewport.zoomBy(how === "in" ? 1.5 : 1 / 1.5).applyConstraints();
  }

  pan(x, y) {
    const viewport = this.active.viewer.viewport, size = viewport.getBounds().width * 0.15;
    viewport.panBy(new OpenSeadragon.Point(x * size, y * size)).applyConstraints();
  }

  flip() { this.active.flipped = !this.active.flipped; this.active.arrange(); }

  stopBlinking() { clearInterval(this.timer); this.timer = null; this.tellModes(); }

  blink() {
    if (this.timer) { this.stopBlinking(); return; }
    this.active.swiping = false;
    this.timer = setInterval(() => this.flip(), 1000 * Math.max(0.2, Number(element("speed").value) || 0.7));
    this.active.arrange();
    this.tellModes();
  }

  swipe() {
    this.stopBlinking();
    this.active.swiping = !this.active.swiping;
    this.active.flipped = false;
    this.active.arrange();
    this.tellModes();
  }

  slideEdge(by) {
    const { active } = this;
    if (!active.swiping) return;
    active.range.value = Number(active.range.value) + by;
    active.arrange();
  }

  link() {
    this.linked = !this.linked;
    element("link").setAttribute("aria-pressed", this.linked);
    this.say(this.linked ? "The views move together." : "Each view moves alone.");
    this.moved(this.active);
  }

  tellModes() {
    element("blink").setAttribute("aria-pressed", Boolean(this.timer));
    element("swipe").setAttribute("aria-pressed", Boolean(this.active?.swiping));
  }

  next() { this.stopBlinking(); this.activate(this.panes[(this.panes.indexOf(this.active) + 1) % this.panes.length]); }

  readMiddle() { const { x, y } = this.active.middle(); this.read(Math.floor(x), Math.floor(y)); }

  async key(event) {
    const counts = { 1: 2, 2: 4, 4: 1 };
    const actions = {
      " ": () => { this.stopBlinking(); this.flip(); }, b: () => this.blink(), s: () => this.swipe(), o: () => this.objects.toggle(),
      n: () => this.objects.step(1), p: () => this.objects.step(-1), g: () => element("object-number").focus(),
      l: () => this.link(), v: () => this.setPanes(counts[this.panes.length]), a: () => this.next(), c: () => this.readMiddle(),
      "?": () => element("help").showModal(), "0": () => this.zoom("home"), f: () => this.zoom("full"),
      "+": () => this.zoom("in"), "=": () => this.zoom("in"), "-": () => this.zoom("out"), ",": () => this.slideEdge(-2), ".": () => this.slideEdge(2),
      ArrowLeft: () => this.pan(-1, 0), ArrowRight: () => this.pan(1, 0), ArrowUp: () => this.pan(0, -1), ArrowDown: () => this.pan(0, 1),
    };
    const layer = this.slide.layers[Number(event.key) - 1];
    const action = actions[event.key] ?? (layer && (() => this.active.choose(layer.name, this.active.other.value)));
    if (!action) return;
    event.preventDefault();
    await action();
  }
}

function list(texts) {
  const root = document.createElement("ul");
  for (const text of texts) {
    const item = root.appendChild(document.createElement("li"));
    for (const [place, part] of text.split("`").entries())
      item.appendChild(document.createElement(place % 2 ? "code" : "span")).textContent = part;
  }
  return root;
}

function isTyping(event) {
  const { tagName, type } = event.target;
  if (["SELECT", "TEXTAREA", "SUMMARY"].includes(tagName)) return true;
  if (tagName === "INPUT") return type === "number" || event.key.startsWith("Arrow");
  return tagName === "BUTTON" && [" ", "Enter"].includes(event.key);
}

async function start() {
  const answer = await fetch("slide.json");
  if (!answer.ok) { element("says").textContent = await answer.text(); return; }
  const app = new App(await answer.json());
  window.exo2micro = app;
  const on = (id, action) => element(id).addEventListener("click", action);
  for (const button of document.querySelectorAll("[data-panes]"))
    button.addEventListener("click", () => app.setPanes(Number(button.dataset.panes)));
  for (const button of document.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => app.zoom(button.dataset.zoom));
  on("link", () => app.link());
  on("flip", () => { app.stopBlinking(); app.flip(); });
  on("blink", () => app.blink());
  on("swipe", () => app.swipe());
  on("objects", () => app.objects.toggle());
  on("previous", () => app.objects.step(-1));
  on("next", () => app.objects.step(1));
  on("help-open", () => element("help").showModal());
  element("speed").addEventListener("input", () => { if (app.timer) { app.stopBlinking(); app.blink(); } });
  element("jump").addEventListener("submit", (event) => { event.preventDefault(); app.objects.jump(Number(element("object-number").value)); app.active.viewer.canvas.focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || element("help").open || isTyping(event)) return;
    app.key(event);
  });
}

start();

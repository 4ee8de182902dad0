// Detected objects: marks over the images, their numbers on pointing and clicking, jumping to one.
const CELL = 256, REACH_PX = 12, LEAST_RADIUS_PX = 6, MOST_OUTLINES = 4000, NEAR_PX_PER_PIXEL = 4;

export class Objects {
  constructor(app) {
    this.app = app;
    this.shown = false;
    this.selected = this.hovered = -1;
    this.count = 0;
  }

  async load() {
    this.loading ??= fetch("objects.json").then((answer) => answer.json()).then((found) => {
      this.columns = found.columns;
      this.flagTexts = Object.entries(found.flag_bits);
      this.count = found.columns.id?.length ?? 0;
      this.cells = new Map();
      for (let i = 0; i < this.count; i++) {
        const key = this.key(this.columns.x[i], this.columns.y[i]);
        if (!this.cells.has(key)) this.cells.set(key, []);
        this.cells.get(key).push(i);
      }
      document.getElementById("object").textContent = `${this.count} objects; the first is number ${this.columns.id[0] ?? "-"}.`;
      document.getElementById("object-number").max = this.count;
    });
    return this.loading;
  }

  key(x, y) { return `${Math.floor(x / CELL)} ${Math.floor(y / CELL)}`; }

  async toggle(on = !this.shown) {
    if (!this.app.slide.has_objects) { this.app.say("There is no table of objects; see the notes."); return; }
    await this.load();
    this.shown = on;
    document.getElementById("objects").setAttribute("aria-pressed", on);
    this.app.say(on ? `${this.count} objects are marked; dashed ones have flags.` : "Objects are hidden.");
    this.app.redraw();
  }

  near(pane, pixel) {
    if (!this.shown) return -1;
    const reach = REACH_PX / pane.screenPxPerPixel;
    let best = -1, least = reach;
    for (let x = pixel.x - reach; x <= pixel.x + reach + CELL; x += CELL)
      for (let y = pixel.y - reach; y <= pixel.y + reach + CELL; y += CELL)
        for (const i of this.cells.get(this.key(x, y)) ?? []) {
          const away = Math.hypot(this.columns.x[i] + 0.5 - pixel.x, this.columns.y[i] + 0.5 - pixel.y);
          if (away < least) [best, least] = [i, away];
        }
    return best;
  }

  point(pane, pixel, position) {
    const found = this.near(pane, pixel);
    pane.tip.hidden = found < 0;
    if (found >= 0) {
      const { id, flux, snr } = this.columns;
      pane.tip.textContent = `object ${id[found]}: flux ${number(flux[found], 4)} counts, SNR ${number(snr[found], 4)}`;
      pane.tip.style.left = `${Math.max(0, Math.min(position.x + 14, pane.screen.clientWidth - pane.tip.offsetWidth))}px`;
      pane.tip.style.top = `${position.y + 14}px`;
    }
    if (found !== this.hovered) { this.hovered = found; this.app.redraw(); }
  }

  click(pane, pixel) { const found = this.near(pane, pixel); if (found >= 0) this.select(found); }

  async jump(wanted) {
    await this.toggle(true);
    const index = this.columns?.id.indexOf(wanted) ?? -1;
    if (index < 0) { this.app.say(`There is no object ${wanted}; there are 1 to ${this.count}.`); return; }
    this.select(index);
    const pane = this.app.active;
    pane.lookAt(this.columns.x[index], this.columns.y[index], Math.max(pane.screenPxPerPixel, NEAR_PX_PER_PIXEL));
    this.app.read(Math.round(this.columns.x[index]), Math.round(this.columns.y[index]));
  }

  step(by) {
    const start = this.selected < 0 ? (by > 0 ? -1 : 0) : this.selected;
    const next = this.count ? (start + by + this.count) % this.count : 0;
    return this.load().then(() => this.jump(this.columns.id?.[this.count && next] ?? 1));
  }

  select(index) {
    this.selected = index;
    const c = this.columns, flags = c.flags[index];
    const words = this.flagTexts.filter(([bit]) => flags & bit).map(([, text]) => text);
    const rows = [["number", c.id[index]], ["flux", `${number(c.flux[index], 4)} \u00b1 ${number(c.flux_err[index], 2)} counts`],
      ["SNR", number(c.snr[index], 4)], ["raw post", `${c.x_post[index].toFixed(2)}, ${c.y_post[index].toFixed(2)} px`],
      ["flags", words.join("; ") || "none"]];
    const table = document.createElement("table");
    for (const [name, value] of rows) {
      const row = table.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      row.insertCell().textContent = value;
    }
    document.getElementById("object").replaceChildren(table);
    document.getElementById("object-number").value = c.id[index];
    this.app.redraw();
  }

  draw(pane) {
    const { marks, screen } = pane, ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(screen.clientWidth * ratio), Math.round(screen.clientHeight * ratio)];
    if (marks.width !== width || marks.height !== height) Object.assign(marks, { width, height });
    const pen = marks.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    marks.dataset.drawn = 0;
    if (!this.shown) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const from = pane.pixelAt(new OpenSeadragon.Point(0, 0)), zoom = pane.screenPxPerPixel, c = this.columns;
    const seen = [];
    for (let i = 0; i < this.count; i++) {
      const x = (c.x[i] + 0.5 - from.x) * zoom, y = (c.y[i] + 0.5 - from.y) * zoom;
      if (x > -20 && y > -20 && x < screen.clientWidth + 20 && y < screen.clientHeight + 20) seen.push([i, x, y]);
    }
    const outlined = seen.length <= MOST_OUTLINES;
    for (const [i, x, y] of seen) if (outlined || i === this.selected) this.mark(pen, i, x, y, zoom);
      else { pen.fillStyle = "#fff"; pen.fillRect(x - 1, y - 1, 2, 2); }
    marks.dataset.drawn = seen.length;
  }

  mark(pen, i, x, y, zoom) {
    const c = this.columns, special = i === this.selected || i === this.hovered;
    const radii = [c.semi_major_px[i], c.semi_minor_px[i]].map((sigma) => Math.max(LEAST_RADIUS_PX, 3 * sigma * zoom));
    pen.beginPath();
    pen.ellipse(x, y, ...radii, (c.theta_deg[i] ?? 0) * Math.PI / 180, 0, 2 * Math.PI);
    pen.setLineDash(c.flags[i] ? [4, 3] : []);
    for (const [colour, line] of [["#000", special ? 5 : 3.5], [special ? "#e69f00" : "#fff", special ? 2.5 : 1.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.stroke();
    }
  }
}

export function number(value, digits = 7) {
  if (value === null || value === undefined) return "not a number";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

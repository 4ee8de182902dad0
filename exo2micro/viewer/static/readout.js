// The values of every image at one pixel, and where that lies.
import { number } from "./objects.js";

export class Readout {
  constructor(app) {
    this.app = app;
    this.body = document.querySelector("#readout tbody");
    this.cells = {};
    const size = app.slide.pixel_size_um;
    const rows = [["canvas", "canvas x, y (px)"], ["post", "raw post x, y (px)"]];
    if (size) rows.push(["um", "raw post x, y (\u00b5m)"]);
    for (const layer of app.slide.layers)
      rows.push([`layer ${layer.name}`, layer.unit ? `${layer.title} (${layer.unit})` : layer.title]);
    for (const [name, title] of rows) {
      const row = this.body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = title;
      row.append(head);
      this.cells[name] = row.insertCell();
      this.cells[name].textContent = "\u2013";
      this.cells[name].dataset.value = name;
    }
  }

  async ask(x, y) {
    this.wanted = [x, y];
    if (this.asking) return;
    this.asking = true;
    try {
      while (this.wanted) {
        const [column, row] = this.wanted;
        this.wanted = null;
        const [ny, nx] = this.app.slide.shape;
        if (column < 0 || row < 0 || column >= nx || row >= ny) continue;
        const answer = await fetch(`values.json?x=${column}&y=${row}`);
        if (answer.ok) this.show(await answer.json());
        else this.app.say(await answer.text());
      }
    } catch {
      this.app.say("The viewer was stopped: start `exo2micro view` again.");
    } finally {
      this.asking = false;
    }
  }

  show(found) {
    const pair = (values, digits) => values ? values.map((v) => digits === undefined ? v : v.toFixed(digits)).join(", ") : "outside";
    this.cells.canvas.textContent = pair(found.canvas);
    this.cells.post.textContent = pair(found.post);
    if (this.cells.um) this.cells.um.textContent = found.post ? pair(found.um, 2) : "outside";
    for (const [name, value] of Object.entries(found.values))
      this.cells[`layer ${name}`].textContent = name === "dq" ? found.quality : number(value);
  }
}

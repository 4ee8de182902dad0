// Limits and colour tables of the images in the active view.
const WAIT_MS = 150;

export class Colours {
  constructor(app) {
    this.app = app;
    this.root = document.getElementById("colours");
  }

  show(names) {
    this.root.replaceChildren(...[...new Set(names)].map((name) => this.controls(this.app.layer(name))));
  }

  controls(layer) {
    const box = document.createElement("fieldset");
    box.dataset.layer = layer.name;
    const legend = document.createElement("legend");
    legend.textContent = layer.kind === "flags" || !layer.unit ? layer.title : `${layer.title}, ${layer.unit}`;
    box.append(legend);
    if (layer.kind === "flags") box.append(this.flags());
    else this.fill(box, layer);
    return box;
  }

  flags() {
    const list = document.createElement("ul");
    list.className = "flags";
    const rows = [{ text: "good", colour: [0, 0, 0] }, ...this.app.slide.flags];
    for (const { text, colour } of rows) {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${colour.join(",")})`;
      item.append(swatch, text);
      list.append(item);
    }
    return list;
  }

  fill(box, layer) {
    const look = this.app.looks[layer.name], [least, most] = layer.extremes;
    const step = (most - least) / 500;
    box.insertAdjacentHTML("beforeend", `<div class="ramp" aria-hidden="true"></div><div class="limits">
      <span>low</span><input type="range" data-end="low"><input type="number" step="any" data-end="low">
      <span>high</span><input type="range" data-end="high"><input type="number" step="any" data-end="high">
      <span>map</span><select></select><button type="button">reset</button></div>`);
    for (const input of box.querySelectorAll("input")) {
      const end = input.dataset.end;
      if (input.type === "range") Object.assign(input, { min: least, max: most, step });
      input.setAttribute("aria-label", `${layer.title}, ${end} end of the colours${input.type === "range" ? ", slider" : ""}`);
      input.addEventListener("input", () => {
        const value = Number(input.value);
        if (input.value !== "" && Number.isFinite(value)) this.set(box, layer, { [end]: value }, input);
      });
    }
    const select = box.querySelector("select");
    select.setAttribute("aria-label", `${layer.title}, colour map`);
    for (const name of layer.colours) select.append(new Option(name, name));
    select.addEventListener("change", () => this.set(box, layer, { colours: select.value }));
    const reset = box.querySelector("button");
    reset.setAttribute("aria-label", `reset colours of ${layer.title}`);
    reset.addEventListener("click", () => this.set(box, layer, first(layer)));
    this.write(box, look);
  }

  set(box, layer, change, source) {
    const look = { ...this.app.looks[layer.name], ...change };
    this.app.say(look.low < look.high ? "" : "The low end must lie below the high end.");
    if (!(look.low < look.high)) return;
    this.app.looks[layer.name] = look;
    this.write(box, look, source);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.app.refresh(), WAIT_MS);
  }

  write(box, look, source) {
    for (const input of box.querySelectorAll("input"))
      if (input !== source) input.value = Number(look[input.dataset.end].toPrecision(5));
    box.querySelector("select").value = look.colours;
    box.querySelector(".ramp").style.background = `linear-gradient(to right, ${this.app.slide.colours[look.colours].join(",")})`;
  }
}

export function first(layer) {
  return { low: layer.limits[0], high: layer.limits[1], colours: layer.colours[0] ?? "" };
}

// One view: images of the slide in one OpenSeadragon viewer, with marks, scale bar and swipe edge.
const MAX_SCREEN_PX_PER_PIXEL = 40;
const SHARP_FROM = 1.5;

export class Pane {
  constructor(app, number) {
    this.app = app;
    this.number = number;
    this.images = new Map();
    this.flipped = false;
    this.swiping = false;
    this.build();
    const [ny, nx] = app.slide.shape;
    Object.assign(this, { nx, ny });
    this.viewer = OpenSeadragon({
      element: this.slide, drawer: "canvas", showNavigationControl: false, preserveViewport: true,
      visibilityRatio: 0.2, minZoomImageRatio: 0.4, maxZoomPixelRatio: MAX_SCREEN_PX_PER_PIXEL,
      animationTime: 0.35, springStiffness: 9, immediateRender: true, imageLoaderLimit: 4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      crossOriginPolicy: false, silenceMultiImageWarnings: true,
      subPixelRoundingForTransparency: OpenSeadragon.SUBPIXEL_ROUNDING_OCCURRENCES.ALWAYS,
    });
    this.viewer.canvas.setAttribute("role", "img");
    this.listen();
  }

  build() {
    const template = document.createElement("template");
    template.innerHTML = `<section class="pane"><div class="head">
      <label>shows <select class="layer"></select></label> <label>other <select class="other"></select></label></div><div class="screen"><div class="slide"></div><canvas class="marks"></canvas>
      <div class="edge" hidden></div><div class="scale"><span></span><i></i></div>
      <div class="shown"></div><div class="busy" hidden>loading</div><div class="tip" hidden></div></div>
      <input class="swipe" type="range" min="0" max="100" step="0.5" value="50" aria-label="edge of the swipe, percent" hidden>
      </section>`;
    this.root = template.content.firstElementChild;
    for (const name of ["slide", "screen", "marks", "edge", "scale", "busy", "tip", "shown", "layer", "other"])
      this[name] = this.root.querySelector(`.${name}`);
    this.range = this.root.querySelector(".swipe");
    for (const select of [this.layer, this.other])
      for (const [index, layer] of this.app.slide.layers.entries())
        select.append(new Option(`${index + 1}  ${layer.title}`, layer.name));
    document.getElementById("panes").append(this.root);
  }

  listen() {
    const activate = () => this.app.activate(this);
    for (const kind of ["pointerdown", "focusin", "wheel"])
      this.root.addEventListener(kind, activate, { capture: true, passive: true });
    this.layer.addEventListener("change", () => this.choose(this.layer.value, this.other.value));
    this.other.addEventListener("change", () => this.choose(this.layer.value, this.other.value));
    this.range.addEventListener("input", () => this.arrange());
    this.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
    this.viewer.addHandler("canvas-click", (event) => { if (event.quick) this.app.clicked(this, event.position); });
    this.viewer.addHandler("viewport-change", () => this.app.moved(this));
    this.viewer.addHandler("update-viewport", () => this.decorate());
    this.viewer.addHandler("resize", () => this.app.resized());
    this.viewer.addHandler("tile-load-failed", ({ tile }) => this.app.failed(tile));
    this.screen.addEventListener("pointermove", (event) => {
      const box = this.screen.getBoundingClientRect();
      this.app.pointed(this, new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top));
    });
    this.screen.addEventListener("pointerleave", () => { this.tip.hidden = true; });
  }

  // What is shown

  choose(layer, other) {
    this.layer.value = layer;
    this.other.value = other;
    this.flipped = false;
    this.refresh();
    this.app.chosen(this);
  }

  get visible() {
    if (this.swiping) return [this.layer.value, this.other.value];
    return [this.flipped ? this.other.value : this.layer.value];
  }

  refresh() {
    const wanted = new Set([this.layer.value, this.other.value]);
    for (const [name, entry] of this.images) {
      if (wanted.has(name)) continue;
      for (const item of [entry.item, entry.old]) if (item) this.viewer.world.removeItem(item);
      this.images.delete(name);
    }
    for (const name of wanted) this.want(name);
    this.arrange();
  }

  want(name) {
    const key = JSON.stringify(this.app.looks[name]);
    const had = this.images.get(name);
    if (had?.key === key) return;
    const entry = { key, item: null, old: had?.item ?? had?.old ?? null };
    if (had?.item && had.old) this.viewer.world.removeItem(had.old);
    this.images.set(name, entry);
    this.viewer.addTiledImage({
      tileSource: this.app.source(name), opacity: 0, preload: true,
      success: ({ item }) => {
        if (this.images.get(name) !== entry) { this.viewer.world.removeItem(item); return; }
        entry.item = item;
        if (!this.placed) { this.placed = true; this.app.place(this); }
        item.addHandler("fully-loaded-change", ({ fullyLoaded }) => {
          if (fullyLoaded && entry.old) { this.viewer.world.removeItem(entry.old); entry.old = null; }
          this.tellBusy();
        });
        this.arrange();
      },
    });
  }

  arrange() {
    const visible = this.visible;
    const edge = this.swiping ? this.range.value / 100 : null;
    this.range.hidden = this.edge.hidden = edge === null;
    if (edge !== null) this.edge.style.left = `${100 * edge}%`;
    for (const [name, { item, old }] of this.images) {
      const opacity = visible.includes(name) ? 1 : 0;
      for (const image of [item, old]) {
        if (!image) continue;
        if (image.getOpacity() !== opacity) image.setOpacity(opacity);
        image.setClip(edge === null || visible[0] === visible[1] ? null : this.half(name === visible[0], edge));
      }
    }
    const titles = visible.map((name) => this.app.layer(name).title);
    this.shown.textContent = this.swiping ? titles.join(" | ") : titles[0];
    this.root.setAttribute("aria-label", `view ${this.number}`);
    this.viewer.canvas.setAttribute("aria-label", `view ${this.number}: ${titles.join(" and ")}`);
    this.screen.dataset.shown = visible.join(" ");
    this.tellBusy();
  }

  half(isLeft, edge) {
    const middle = this.pixelAt(new OpenSeadragon.Point(edge * this.screen.clientWidth, 0)).x;
    const cut = Math.max(0, Math.min(this.nx, middle));
    return isLeft ? new OpenSeadragon.Rect(0, 0, cut, this.ny) : new OpenSeadragon.Rect(cut, 0, this.nx - cut, this.ny);
  }

  tellBusy() {
    const loaded = this.visible.every((name) => this.images.get(name)?.item?.getFullyLoaded());
    this.busy.hidden = loaded;
    this.screen.dataset.loaded = loaded;
  }

  // Where it looks

  get view() {
    const centre = this.viewer.viewport.getCenter(true);
    return { centre, zoom: this.viewer.viewport.getZoom(true) };
  }

  follow({ centre, zoom }) {
    this.viewer.viewport.zoomTo(zoom, null, true);
    this.viewer.viewport.panTo(centre, true);
  }

  fit([left, top, right, bottom], immediately = false) {
    const { nx } = this;
    const rect = new OpenSeadragon.Rect(left / nx, top / nx, (right - left) / nx, (bottom - top) / nx);
    this.viewer.viewport.fitBounds(rect, immediately);
  }

  lookAt(x, y, screenPxPerPixel) {
    const viewport = this.viewer.viewport;
    if (screenPxPerPixel) viewport.zoomTo(screenPxPerPixel * this.nx / this.screen.clientWidth, null, true);
    viewport.panTo(new OpenSeadragon.Point((x + 0.5) / this.nx, (y + 0.5) / this.nx), true);
  }

  get screenPxPerPixel() { return this.viewer.viewport.getZoom(true) * this.screen.clientWidth / this.nx; }

  pixelAt(point) { return this.viewer.viewport.pointFromPixel(point, true).times(this.nx); }

  middle() { return this.pixelAt(new OpenSeadragon.Point(this.screen.clientWidth / 2, this.screen.clientHeight / 2)); }

  // Marks and scale bar

  decorate() {
    if (this.swiping && !this.arranging) {
      this.arranging = true;
      this.arrange();
      this.arranging = false;
    }
    const sharp = this.screenPxPerPixel >= SHARP_FROM;
    if (sharp !== this.sharp) { this.sharp = sharp; this.viewer.drawer.setImageSmoothingEnabled(!sharp); }
    this.drawScale();
    this.app.objects.draw(this);
  }

  drawScale() {
    const size = this.app.slide.pixel_size_um;
    const unit = size ? size[0] : 1;
    const most = 150 * unit / this.screenPxPerPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((step) => step * power <= most) * power;
    const text = size && length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(3))} ${size ? "\u00b5m" : "px"}`;
    this.scale.firstElementChild.textContent = text;
    this.scale.lastElementChild.style.width = `${length / unit * this.screenPxPerPixel}px`;
  }

  destroy() { this.viewer.destroy(); this.root.remove(); }
}

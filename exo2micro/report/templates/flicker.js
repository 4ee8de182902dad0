"use strict";
(() => {
  const CONTRAST = "contrast: how far apart the two are as shown, not amplified (x 1), black where they are equal";
  const NAVIGATION = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
  const places = JSON.parse(document.getElementById("flicker-data").textContent);
  const root = document.getElementById("flicker");
  const screen = root.querySelector(".screen");
  const edge = root.querySelector(".edge");
  const failed = root.querySelector(".failed");
  const [pre, post, says, state, speed, swipe, swipeLabel] = ["pre", "post", "says", "state", "speed", "swipe",
    "swipe-label"].map((name) => document.getElementById(`flicker-${name}`));
  const has = (name) => name in places[place].frames;
  let place = 0, mode = "post", timer = null;

  function show() {
    const frames = places[place].frames;
    if (mode === "result" && !has("difference")) mode = "post";
    const upper = mode === "result" ? frames.difference : frames.post;
    for (const [image, frame] of [[pre, frames[state.value]], [post, upper]]) {
      if (image.src !== frame.uri) image.src = frame.uri;
      image.alt = frame.alt;
    }
    post.style.visibility = mode === "pre" ? "hidden" : "visible";
    post.style.clipPath = mode === "swipe" ? `inset(0 0 0 ${swipe.value}%)` : "none";
    edge.hidden = mode !== "swipe";
    edge.style.left = `${swipe.value}%`;
    swipeLabel.hidden = mode !== "swipe";
    if (failed) failed.hidden = mode !== "result";
    screen.dataset.shown = mode;
    const shown = mode === "result" ? [upper] : mode === "pre" ? [frames[state.value]]
      : mode === "post" ? [upper] : [frames[state.value], upper];
    const legend = mode === "difference" ? [CONTRAST] : [];
    legend.push(...shown.map((f) => f.range));
    says.textContent = `${places[place].title}, ${places[place].where}. ${legend.join("; ")}`;
    for (const button of root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", button.dataset.mode === (timer ? "blink" : mode));
      if (button.dataset.mode === "result") button.hidden = !has("difference");
    }
    for (const button of root.querySelectorAll("[data-place]"))
      button.setAttribute("aria-pressed", Number(button.dataset.place) === place);
  }

  const flip = () => { mode = mode === "post" ? "pre" : "post"; show(); };
  const stop = () => { clearInterval(timer); timer = null; };
  function choose(wanted) {
    const was = timer;
    stop();
    if (wanted === "blink") {
      if (!was) timer = setInterval(flip, 1000 * speed.value);
      if (mode !== "pre") mode = "post";
    } else mode = wanted;
    show();
  }
  const slide = (value) => { swipe.value = Math.max(0, Math.min(100, value)); show(); };

  // Whoever uses the mouse goes on with the keys of the picture; whoever uses the keyboard stays.
  let byMouse = false;
  root.addEventListener("pointerdown", () => { byMouse = true; }, { capture: true });
  document.addEventListener("keydown", () => { byMouse = false; }, { capture: true });
  const toPicture = () => { if (byMouse) screen.focus({ preventScroll: true }); };
  root.addEventListener("change", toPicture);

  root.addEventListener("click", (event) => {
    const { mode: wanted, place: number } = event.target.dataset;
    if (event.target.tagName !== "BUTTON") return;
    toPicture();
    if (number !== undefined) { place = Number(number); show(); } else if (wanted) choose(wanted);
  });
  state.addEventListener("change", show);
  swipe.addEventListener("input", show);
  speed.addEventListener("input", () => { if (timer) { stop(); choose("blink"); } });
  screen.addEventListener("click", () => { stop(); if (mode !== "swipe") flip(); });
  screen.addEventListener("pointermove", (event) => {
    const box = screen.getBoundingClientRect();
    if (mode === "swipe") slide(100 * (event.clientX - box.left) / box.width);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName } = event.target;
    if (["INPUT", "SELECT"].includes(tagName) && NAVIGATION.includes(event.key)) return;
    if (["BUTTON", "SUMMARY"].includes(tagName) && [" ", "Enter"].includes(event.key)) return;
    const number = Number(event.key) - 1;
    const step = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    const wanted = { b: "blink", s: "swipe", d: "difference", r: "result" }[event.key];
    if (event.key === " ") { stop(); flip(); }
    else if (wanted) choose(wanted);
    else if (event.key === "a") { state.selectedIndex = (state.selectedIndex + 1) % 3; show(); }
    else if (places[number]) { place = number; show(); }
    else if (step && mode === "swipe") slide(Number(swipe.value) + step);
    else return;
    event.preventDefault();
  });
  show();
})();

// The live page: one websocket, and everything on the page follows from its messages.
// A message is 4 bytes of length, JSON of that length, a JPEG and a PNG; each is answered "next".

import { isQuiet, listCameras, showCameras, trouble } from "./cameras.js";
import { Series, drawBars, drawLine, drawStack } from "./charts.js";
import { Connection } from "./connection.js";
import { $, banner, count, element, keep, memory, say } from "./dom.js";
import { Picture } from "./picture.js";

const CHARTS_MS = 250;
const STAGE_COLORS = ["#60a5fa", "#a78bfa", "#2dd4bf", "#fbbf24", "#f472b6", "#94a3b8"];
const STAGE_ORDER = ["decode", "pre", "infer", "post", "draw", "encode"];

const picture = new Picture($("picture"));
const utf8 = new TextDecoder();

let hello = null;
let camera = 0;
let paused = false;
let stageNames = [];
let series = null;
let last = null;
let drawnMs = 0;

// ---- the connection ----------------------------------------------------------------------------

const connection = new Connection({
  take,
  lost(over) {
    say("lost", over ? "The run is over" : "Connection lost");
    banner(over ? "The run is over. The next one at this address appears here." : "Connection lost. Trying again…");
    $("stage").classList.add("faded");
  },
  mayBeSilent: () => paused || document.hidden,
});

function watch() {
  connection.send(paused || document.hidden ? "pause" : `watch ${camera}`);
}

// ---- messages ----------------------------------------------------------------------------------

async function take(data, done) {
  try {
    const length = new DataView(data).getUint32(0);
    const values = JSON.parse(utf8.decode(new Uint8Array(data, 4, length)));
    if (values.kind === "hello") greet(values);
    if (!hello) return;
    figures(values);
    if (values.kind === "frame" && values.camera === camera && !paused) {
      shares(values.shares);
      const jpeg = new Uint8Array(data, 4 + length, values.jpeg);
      const png = new Uint8Array(data, 4 + length + values.jpeg, values.png);
      if (await picture.show(jpeg, png)) $("waiting").hidden = true;
    }
  } finally {
    done();
  }
}

function greet(values) {
  const same = hello && JSON.stringify([hello.classes, hello.names]) === JSON.stringify([values.classes, values.names]);
  hello = values;
  picture.aspect = values.pixel_aspect;
  $("title").textContent = values.title;
  document.title = values.title ? `${values.title} · edgeseg` : "edgeseg live";
  banner("");
  $("stage").classList.remove("faded");
  if (!same) {
    camera = Math.min(camera, values.names.length - 1);
    picture.hidden.clear();
    legend();
    clear();
    listCameras(values.names, camera, chooseCamera);
    series = values.names.map(() => ({ fps: new Series(), age: new Series(), worst: new Series(), drops: new Series(), stages: new Series(), lost: null }));
    chooseView(memory.view || values.view);
    chooseOpacity(memory.alpha ?? Math.round(100 * values.alpha));
  }
  for (const one of series) one.lost = null;
  watch();
}

function figures(values) {
  const nowS = performance.now() / 1000;
  last = values;
  values.cameras.forEach((one, at) => remember(series[at], one, nowS));
  const one = values.cameras[camera];
  const quiet = isQuiet(one);
  $("fps").textContent = one.fps.toFixed(1);
  $("age").textContent = quiet ? "–" : one.age_ms.toFixed(one.age_ms < 10 ? 1 : 0);
  $("age-max").textContent = quiet ? "" : `worst ${one.age_max_ms.toFixed(0)}`;
  const lostFrames = one.dropped + one.late;
  $("drops").textContent = count(lostFrames);
  $("drops-share").textContent = one.captured ? `${((100 * lostFrames) / one.captured).toFixed(1)} %` : "";
  $("frames").textContent = count(one.frames);
  $("size").textContent = `${one.width}×${one.height}`;
  $("viewers").textContent = values.viewers;
  $("trouble").textContent = trouble(one);
  stageKeys(one.stages_ms);
  showCameras(values.cameras, camera);
  if (paused) return say("paused", "Paused");
  const missing = one.frames ? `No frame for ${one.quiet_s.toFixed(0)} s` : "No frame yet";
  say(quiet ? "quiet" : "live", quiet ? missing : "Live");
  banner(quiet && one.frames ? missing : "");
  if (performance.now() - drawnMs > CHARTS_MS) charts();
}

function remember(kept, one, nowS) {
  const lostFrames = one.dropped + one.late;
  kept.drops.push(nowS, kept.lost === null ? 0 : Math.max(0, lostFrames - kept.lost));
  kept.lost = lostFrames;
  kept.fps.push(nowS, one.fps);
  if (isQuiet(one)) return;
  kept.age.push(nowS, one.age_ms);
  kept.worst.push(nowS, one.age_max_ms);
  const names = Object.keys(one.stages_ms);
  if (names.some((name) => !stageNames.includes(name))) {
    const known = STAGE_ORDER.filter((name) => stageNames.includes(name) || names.includes(name));
    stageNames = known.concat([...stageNames, ...names].filter((name, at, all) => !known.includes(name) && all.indexOf(name) === at));
    for (const other of series) other.stages.clear();
    stageList();
  }
  kept.stages.push(nowS, stageNames.map((name) => one.stages_ms[name] || 0));
}

// ---- charts ------------------------------------------------------------------------------------

function charts() {
  drawnMs = performance.now();
  if (!series) return;
  const style = getComputedStyle(document.documentElement);
  const [ink, accent, bad] = ["--muted", "--accent", "--bad"].map((name) => style.getPropertyValue(name).trim());
  const shown = series[camera];
  const nowS = drawnMs / 1000;
  drawLine($("fps-chart"), nowS, shown.fps, { color: accent, ink });
  drawLine($("age-chart"), nowS, shown.age, { color: accent, upper: shown.worst, ink });
  drawBars($("drops-chart"), nowS, shown.drops, { color: bad, ink });
  drawStack($("stages-chart"), nowS, shown.stages, { colors: stageNames.map(stageColor), ink });
}

function stageColor(name) {
  const at = STAGE_ORDER.indexOf(name);
  return STAGE_COLORS[(at < 0 ? stageNames.indexOf(name) : at) % STAGE_COLORS.length];
}

function stageList() {
  $("stages-legend").replaceChildren(
    ...stageNames.map((name) => {
      const item = element("li", "", element("i"), element("span", "", name), element("b"));
      item.firstChild.style.background = stageColor(name);
      return item;
    }),
  );
}

function stageKeys(stages) {
  stageNames.forEach((name, at) => {
    $("stages-legend").children[at].lastChild.textContent = name in stages ? stages[name].toFixed(1) : "–";
  });
  const sum = Object.values(stages).reduce((total, spent) => total + spent, 0);
  $("stages-sum").textContent = sum ? `${sum.toFixed(1)} ms` : "";
}

// ---- classes -----------------------------------------------------------------------------------

function legend() {
  $("classes").replaceChildren(
    ...hello.classes.map((name, id) => {
      const bar = element("span", "bar", element("span"));
      const button = element("button", "", element("i"), element("span", "name", name), bar, element("span", "share", "–"));
      button.type = "button";
      button.ariaPressed = "true";
      button.title = `Show or hide ${name}`;
      button.querySelector("i").style.background = hello.colors[id];
      bar.firstChild.style.background = hello.colors[id];
      button.onclick = () => {
        if (!picture.hidden.delete(id)) picture.hidden.add(id);
        button.ariaPressed = String(!picture.hidden.has(id));
        picture.again();
      };
      return element("li", "", button);
    }),
  );
}

function shares(values) {
  values.forEach((share, id) => {
    const button = $("classes").children[id].firstChild;
    button.querySelector(".bar span").style.transform = `scaleX(${share / 100})`;
    button.querySelector(".share").textContent = share && share < 0.05 ? "<0.1 %" : `${share.toFixed(1)} %`;
  });
}

function clear() {
  picture.clear();
  $("waiting").hidden = false;
  for (const button of $("classes").querySelectorAll("button")) {
    button.querySelector(".bar span").style.transform = "scaleX(0)";
    button.querySelector(".share").textContent = "–";
  }
}

$("picture").addEventListener("pointermove", (event) => {
  const color = hello && picture.colorAt(event.clientX, event.clientY);
  const hex = color && `#${color.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  const id = hex ? hello.colors.indexOf(hex) : -1;
  const label = $("pointed");
  label.hidden = id < 0;
  if (id < 0) return;
  const box = $("stage").getBoundingClientRect();
  label.textContent = hello.classes[id];
  label.style.setProperty("--class", hex);
  const left = event.clientX - box.left + 14;
  label.style.left = `${left + label.offsetWidth > box.width ? left - label.offsetWidth - 28 : left}px`;
  label.style.top = `${Math.max(4, event.clientY - box.top - 34)}px`;
});
$("picture").addEventListener("pointerleave", () => ($("pointed").hidden = true));

// ---- controls ----------------------------------------------------------------------------------

function chooseView(view) {
  const radio = document.querySelector(`input[name=view][value="${view}"]`);
  if (!radio) return;
  radio.checked = true;
  picture.view = view;
  $("opacity").disabled = view !== "overlay";
  $("opacity").parentElement.classList.toggle("off", view !== "overlay");
  $("picture").setAttribute("aria-label", `Live picture: ${view}`);
  picture.draw();
}

function chooseOpacity(percent) {
  const value = Math.min(100, Math.max(0, percent));
  $("opacity").value = value;
  $("opacity-value").textContent = `${value} %`;
  picture.alpha = value / 100;
  picture.draw();
}

function chooseCamera(index) {
  if (index !== camera) clear(); // the picture of one camera is not to be taken for another's
  camera = index;
  $("camera").value = String(index);
  if (paused) pause(false);
  if (last) figures({ ...last });
  charts();
  watch();
}

function pause(wanted) {
  paused = wanted;
  $("pause").ariaPressed = String(paused);
  $("pause").querySelector("span").textContent = paused ? "Go on" : "Pause";
  if (connection.isOpen) {
    say(paused ? "paused" : "live", paused ? "Paused" : "Live");
    banner("");
  }
  connection.heard();
  watch();
}

$("views").addEventListener("change", (event) => {
  chooseView(event.target.value);
  keep("view", event.target.value);
});
$("opacity").addEventListener("input", () => {
  chooseOpacity(Number($("opacity").value));
  keep("alpha", Number($("opacity").value));
});
$("camera").addEventListener("change", () => chooseCamera(Number($("camera").value)));
$("pause").addEventListener("click", () => pause(!paused));
$("full").addEventListener("click", fullScreen);
$("full").hidden = !document.fullscreenEnabled;

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen?.();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.toLowerCase();
  const presses = event.target.closest("button, select, a"); // what the space bar does something to
  const radios = document.querySelectorAll("input[name=view]");
  const radio = radios[Number(event.key) - 1];
  if (key === " " && !presses) pause(!paused);
  else if (radio) radio.click();
  else if (key === "+" || key === "-") nudge(key === "+" ? 5 : -5);
  else if (key === "c" && hello) chooseCamera((camera + 1) % hello.names.length);
  else if (key === "f") fullScreen();
  else return;
  event.preventDefault();
});

function nudge(percent) {
  chooseOpacity(Number($("opacity").value) + percent);
  keep("alpha", Number($("opacity").value));
}

document.addEventListener("visibilitychange", () => {
  connection.heard();
  watch();
});
window.addEventListener("resize", () => {
  picture.draw();
  charts();
});

// ---- the start ---------------------------------------------------------------------------------

const here = new URL(location.href);
if (here.searchParams.has("token")) {
  here.searchParams.delete("token"); // it is in a cookie by now, and need not be in the history
  history.replaceState(null, "", here);
}
connection.open();

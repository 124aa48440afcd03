// Several cameras: the choice of one, and a line of figures for each.

import { $, count, element } from "./dom.js";

const COLUMNS = ["Camera", "Frames/s", "Age ms", "Worst ms", "Dropped"];
const QUIET_S = 2;

/** Make the list; `choose(index)` is called with the camera that is clicked. */
export function listCameras(names, chosen, choose) {
  const many = names.length > 1;
  const called = names.map((name, index) => name || `Camera ${index}`);
  $("camera-choice").hidden = $("cameras").hidden = !many;
  $("camera").replaceChildren(...called.map((name, index) => new Option(name, String(index))));
  $("camera").value = String(chosen);
  if (!many) return $("cameras").replaceChildren();
  const head = element("tr", "", ...COLUMNS.map((text) => element("th", "", text)));
  const rows = called.map((name, index) => {
    const button = element("button", "", name);
    button.type = "button";
    button.onclick = () => choose(index);
    return element("tr", "", element("td", "", button), ...COLUMNS.slice(1).map(() => element("td")));
  });
  $("cameras").replaceChildren(element("table", "", element("thead", "", head), element("tbody", "", ...rows)));
}

export function showCameras(figures, chosen) {
  const rows = $("cameras").querySelectorAll("tbody tr");
  rows.forEach((row, index) => {
    const one = figures[index];
    const ages = isQuiet(one) ? ["–", "–"] : [one.age_ms.toFixed(0), one.age_max_ms.toFixed(0)];
    const texts = [one.fps.toFixed(1), ...ages, count(one.dropped + one.late)];
    texts.forEach((text, at) => (row.children[at + 1].textContent = text));
    row.toggleAttribute("aria-current", index === chosen);
    row.toggleAttribute("data-quiet", isQuiet(one));
  });
}

/** Whether no frame came yet, or none for a while. */
export function isQuiet(one) {
  return !one.frames || one.quiet_s > QUIET_S;
}

export function trouble(one) {
  const found = [];
  if (one.reconnects) found.push(`${one.reconnects} reconnect${one.reconnects > 1 ? "s" : ""}`);
  if (one.damaged) found.push(`${one.damaged} damaged`);
  if (one.resized) found.push(`${one.resized} resized`);
  return found.join(", ") || "none";
}

// Small things around the document: elements, words, and what a viewer chose last time.

export const $ = (id) => document.getElementById(id);
export const memory = remembered();

export function say(state, text) {
  const status = $("status");
  if (status.dataset.state !== state) status.dataset.state = state;
  const words = status.querySelector("span");
  if (words.textContent !== text) words.textContent = text;
}

export function banner(text) {
  $("banner").hidden = !text;
  if ($("banner").textContent !== text) $("banner").textContent = text;
}

export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function count(value) {
  return value.toLocaleString("en", { useGrouping: true });
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem("edgeseg")) || {};
  } catch {
    return {};
  }
}

export function keep(key, value) {
  memory[key] = value;
  try {
    localStorage.setItem("edgeseg", JSON.stringify(memory));
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

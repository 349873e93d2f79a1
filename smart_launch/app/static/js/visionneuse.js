// The image viewer: series on the side, a stack in the middle, frames rendered by the server in the window asked for.
import { edges, framesOf, pictureOf, seriesOf } from "./visionneuse/etude.js";
import { gestures } from "./visionneuse/gestes.js";
import { Stack, round } from "./visionneuse/pile.js";
import { View } from "./visionneuse/vue.js";

const page = document.querySelector("[data-visionneuse]");
const one = (name) => page.querySelector(`[data-${name}]`);
const scene = one("scene");
const view = new View(one("toile"));
const stack = new Stack(arrived, () => view.shown?.bitmap);
const PRESETS = {
  CT: [["Cerveau", 40, 80], ["Ischémie", 35, 40], ["Sous-dural", 75, 215], ["Os", 500, 2000], ["Poumon", -600, 1500], ["Médiastin", 50, 350], ["Abdomen", 60, 400], ["Foie", 85, 150]],
};
const AHEAD = 10;
const BEHIND = 4;

let series = [];
let current = null; // the series shown
let index = 0;
let direction = 1;
let voi = null; // the window in force, or null for the server's own
let cine = 0;
let tool = "defiler";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const frame = () => current?.frames[index];
const french = (value) => round(value).toLocaleString("fr-FR");

function message(said, problem = false) {
  const place = one("message");
  place.textContent = said;
  place.classList.toggle("erreur", problem);
}

/** Draw the frame in view if it is there, ask for it and its neighbours if not. */
function update() {
  if (!frame()) return;
  const key = Stack.key(frame(), voi);
  const bitmap = stack.get(key);
  if (bitmap) { view.show(bitmap, voi, frame().spacing); message(""); scene.dataset.affiche = String(index + 1); }
  else if (view.shown?.of === frame().address) view.preview(voi);
  if (bitmap) view.shown.of = frame().address;
  const keys = [key];
  for (let step = 1; step <= AHEAD; step += 1) {
    const next = current.frames[index + step * direction];
    const back = step <= BEHIND ? current.frames[index - step * direction] : null;
    if (next) keys.push(Stack.key(next, voi));
    if (back) keys.push(Stack.key(back, voi));
  }
  stack.want(keys);
  overlay();
}

function arrived(key, error) {
  if (!frame() || key !== Stack.key(frame(), voi)) return;
  if (error) { message("Cette image n'a pas pu être affichée. Flèches pour continuer.", true); return; }
  update();
}

function overlay() {
  const total = current.frames.length;
  const at = frame();
  const late = view.shown?.of !== at.address; // the picture on screen is still another one: say so
  one("position").textContent = `Image ${index + 1} / ${total}${late ? " · chargement…" : ""}`;
  const parts = [];
  if (at.location !== null) parts.push(`Position ${french(at.location)} mm`);
  if (at.thickness) parts.push(`Ép. ${french(at.thickness)} mm`);
  one("coupe").textContent = parts.join(" · ");
  one("fenetre").textContent = voi ? `C ${french(voi.center)} · L ${french(voi.width)}` : "";
  one("zoom").textContent = `Zoom ${Math.round(view.zoom * 100)} %`;
  const cursor = one("curseur");
  if (cursor.max !== String(total)) cursor.max = String(total);
  cursor.value = String(index + 1);
  cursor.setAttribute("aria-valuetext", `Image ${index + 1} sur ${total}`);
  const marks = edges(at.orientation);
  for (const [place, letter] of [["g", marks[0]], ["d", marks[1]], ["h", marks[2]], ["b", marks[3]]]) {
    scene.querySelector(`.v-bord.${place}`).textContent = letter;
  }
}

function go(to) {
  if (!current?.frames) return;
  const next = clamp(to, 0, current.frames.length - 1);
  if (next === index) return;
  direction = next > index ? 1 : -1;
  index = next;
  update();
}

function setWindow(next) {
  voi = next ? { center: round(next.center), width: Math.max(1, round(next.width)) } : null;
  update();
}

/** A drag: across widens, down brightens; the pace follows the width so that every kind of image feels the same. */
function dragWindow(dx, dy) {
  const base = voi ?? frame()?.window;
  if (!base || frame().colour) return;
  const pace = Math.max(0.2, base.width / 300);
  const next = { center: base.center + dy * pace, width: base.width + dx * pace };
  const whole = base.width >= 40; // parts of a unit say nothing there, and whole windows are asked for again
  setWindow(whole ? { center: Math.round(next.center), width: Math.round(next.width) } : next);
  one("preset").value = "libre";
}

function presets() {
  const list = one("preset");
  const own = [["origine", "Fenêtre d'origine"], ["libre", "Fenêtre libre"]];
  const named = (PRESETS[current.modality] ?? []).map(([name], place) => [String(place), `${place + 1}. ${name}`]);
  list.replaceChildren(...[own[0], ...named, own[1]].map(([value, name]) => new Option(name, value)));
}

function preset(value) {
  const found = (PRESETS[current.modality] ?? [])[Number(value)];
  if (found) setWindow({ center: found[1], width: found[2] });
  else if (value === "origine") setWindow(frame()?.window ?? null);
}

async function open(chosen) {
  if (!chosen) return;
  stopCine();
  view.clear();
  stack.clear();
  delete scene.dataset.affiche;
  current = chosen;
  for (const item of page.querySelectorAll("[data-serie]")) item.setAttribute("aria-selected", String(item.dataset.serie === chosen.uid));
  page.querySelector(`[data-serie="${CSS.escape(chosen.uid)}"]`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  one("serie-nom").textContent = chosen.name || `Série ${chosen.number ?? ""}`;
  message("Chargement des images…");
  try {
    chosen.frames ??= await framesOf(chosen);
  } catch {
    message("La série n'a pas pu être ouverte. Vérifiez le réseau, puis choisissez-la de nouveau.", true);
    return;
  }
  if (current !== chosen) return;
  if (!chosen.frames.length) { message("Cette série ne contient pas d'image."); return; }
  index = chosen.last ?? Math.floor(chosen.frames.length / 2);
  voi = frame().window ?? (PRESETS[chosen.modality] ? { center: 40, width: 80 } : null);
  presets();
  view.fit();
  update();
}

function neighbour(step) {
  if (current) current.last = index;
  const place = series.indexOf(current) + step;
  if (series[place]) open(series[place]);
}

function stopCine() {
  clearInterval(cine);
  cine = 0;
}

function playCine() {
  if (cine) { stopCine(); return; }
  cine = setInterval(() => {
    const next = index + 1 < current.frames.length ? index + 1 : 0;
    if (stack.get(Stack.key(frame(), voi))) go(next);
  }, 100);
}

function setTool(name) {
  tool = name;
  for (const button of page.querySelectorAll("[data-outil]")) button.setAttribute("aria-checked", String(button.dataset.outil === name));
}

const actions = {
  ajuster() { view.fit(); overlay(); },
  inverser() {
    view.inverted = !view.inverted;
    page.querySelector("[data-action=inverser]").setAttribute("aria-pressed", String(view.inverted));
    view.draw();
  },
  retablir() {
    if (view.inverted) actions.inverser();
    view.fit();
    setTool("defiler");
    one("preset").value = "origine";
    setWindow(frame()?.window ?? null);
  },
};

function key(event) {
  if (one("dialogue").open || !current?.frames?.length) return;
  const target = event.target;
  if (target.matches("select, input") && !["?", "Escape"].includes(event.key)) return;
  if (target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) return;
  const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const arrow = arrows[event.key];
  const verbs = {
    PageUp: () => go(index - 10), PageDown: () => go(index + 10),
    Home: () => go(0), End: () => go(current.frames.length - 1),
    "+": () => { view.zoomBy(1.2); overlay(); }, "=": () => { view.zoomBy(1.2); overlay(); }, "-": () => { view.zoomBy(1 / 1.2); overlay(); },
    a: actions.ajuster, i: actions.inverser, r: actions.retablir, " ": playCine, "?": () => one("dialogue").showModal(),
  };
  if (arrow && event.shiftKey) dragWindow(arrow[0] * 10, arrow[1] * 10);
  else if (arrow && event.altKey) view.moveBy(arrow[0] * 40, arrow[1] * 40);
  else if (arrow && arrow[1]) go(index + arrow[1]);
  else if (arrow) neighbour(arrow[0]);
  else if (/^[1-9]$/.test(event.key) && (PRESETS[current.modality] ?? [])[Number(event.key) - 1]) {
    one("preset").value = String(Number(event.key) - 1);
    preset(Number(event.key) - 1);
  } else if (verbs[event.key] ?? verbs[event.key.toLowerCase()]) (verbs[event.key] ?? verbs[event.key.toLowerCase()])();
  else return;
  event.preventDefault();
}

function strip() {
  one("series").replaceChildren(...series.map((item) => {
    const place = document.createElement("li");
    place.role = "presentation";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "v-serie";
    button.dataset.serie = item.uid;
    button.role = "option";
    button.setAttribute("aria-selected", "false");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 160;
    canvas.setAttribute("aria-hidden", "true");
    const name = document.createElement("span");
    name.textContent = item.name || `Série ${item.number ?? ""}`;
    const count = document.createElement("span");
    count.textContent = `${item.modality} · ${item.count} image${item.count > 1 ? "s" : ""}`;
    button.append(canvas, name, count);
    button.addEventListener("click", () => { if (current) current.last = index; open(item); });
    place.append(button);
    return place;
  }));
}

/** One after another, after the first image: the stack goes first. */
async function pictures() {
  for (const item of series) {
    const bitmap = await pictureOf(item).catch(() => null);
    if (!bitmap) continue;
    const canvas = page.querySelector(`[data-serie="${CSS.escape(item.uid)}"] canvas`);
    const scale = Math.min(160 / bitmap.width, 160 / bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 80 - (bitmap.width * scale) / 2, 80 - (bitmap.height * scale) / 2, bitmap.width * scale, bitmap.height * scale);
    bitmap.close();
  }
}

for (const side of ["g", "d", "h", "b"]) {
  const mark = document.createElement("span");
  mark.className = `v-bord ${side}`;
  mark.setAttribute("aria-hidden", "true");
  scene.append(mark);
}
gestures(scene, {
  tool: () => tool,
  scroll: (steps) => go(index + steps),
  window: dragWindow,
  settled: update,
  move: (dx, dy) => view.moveBy(dx, dy),
  zoom: (factor, x, y) => { view.zoomBy(factor, x, y); overlay(); },
  fit: actions.ajuster,
});
document.addEventListener("keydown", key);
one("curseur").addEventListener("input", (event) => go(Number(event.target.value) - 1));
one("preset").addEventListener("change", (event) => { preset(event.target.value); scene.focus(); });
one("aide").addEventListener("click", () => one("dialogue").showModal());
for (const button of page.querySelectorAll("[data-pas]")) button.addEventListener("click", () => go(index + Number(button.dataset.pas)));
for (const button of page.querySelectorAll("[data-outil]")) button.addEventListener("click", () => { setTool(button.dataset.outil); });
for (const button of page.querySelectorAll("[data-action]")) button.addEventListener("click", () => actions[button.dataset.action]());

try {
  series = await seriesOf(page.dataset.etude);
  strip();
  if (series.length) {
    await open(series[0]);
    scene.focus({ preventScroll: true });
    pictures();
  } else message("Les images de cet examen ne sont pas encore arrivées. Revenez dans un instant.");
} catch {
  message("Les images n'ont pas pu être chargées. Vérifiez le réseau, puis rechargez la page.", true);
}

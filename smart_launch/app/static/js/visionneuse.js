// The image viewer: series on the side, one or two panes side by side, frames rendered by the server in the window asked
// for. The toolbar, the keyboard and the strip of series act on the pane that has the focus.
import { pictureOf } from "./visionneuse/etude.js";
import { Pane } from "./visionneuse/volet.js";

const page = document.querySelector("[data-visionneuse]");
const one = (name) => page.querySelector(`[data-${name}]`);
const exams = JSON.parse(page.dataset.examens);
const exam = (uid) => exams.find((found) => found.uid === uid);

let tool = "defiler";
let linked = true;
let active = null;

const shell = {
  tool: () => tool,
  active(pane) {
    if (active === pane) return;
    active = pane;
    for (const other of panes) other.scene.toggleAttribute("data-actif", other === pane);
    strip(pane);
    toolbar(pane);
  },
  changed(pane) { if (pane === active) toolbar(pane); },
  opened(pane) { if (pane === active) strip(pane); },
  scrolled(pane, steps) {
    const other = partner(pane);
    if (!linked || !other) return;
    if (!other.goNear(pane.frame)) other.go(other.index + steps);
  },
};
const panes = [...page.querySelectorAll("[data-scene]")].map((scene) => new Pane(scene, shell));

const comparing = () => panes.length > 1 && !panes[1].scene.hidden; // one exam: nothing to compare
const partner = (pane) => (comparing() ? panes[pane === panes[0] ? 1 : 0] : null);

// -- the toolbar says what the active pane shows
let presetsOf = null;

function toolbar(pane) {
  const cursor = one("curseur");
  const total = pane.current?.frames?.length || 1;
  if (cursor.max !== String(total)) cursor.max = String(total);
  cursor.value = String(pane.index + 1);
  cursor.setAttribute("aria-valuetext", `Image ${pane.index + 1} sur ${total}`);
  page.classList.toggle("lecture", Boolean(pane.frame?.reading)); // its tools are the browser's
  page.classList.toggle("seule", total === 1);
  const list = one("preset");
  if (presetsOf !== pane.current) {
    presetsOf = pane.current;
    list.replaceChildren(...pane.presets().map(([value, name]) => new Option(name, value)));
  }
  list.value = pane.preset;
  page.querySelector("[data-action=inverser]").setAttribute("aria-pressed", String(pane.view.inverted));
  for (const item of page.querySelectorAll("[data-serie]")) item.setAttribute("aria-selected", String(item.dataset.serie === pane.current?.uid));
}

function setTool(name) {
  tool = name;
  for (const button of page.querySelectorAll("[data-outil]")) button.setAttribute("aria-checked", String(button.dataset.outil === name));
}

// -- the strip of the active pane's series
function strip(pane) {
  one("series").replaceChildren(...pane.series.map((item) => card(pane, item)));
  toolbar(pane);
  page.querySelector(`[data-serie="${CSS.escape(pane.current?.uid ?? "")}"]`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  pictures(pane);
}

function card(pane, item) {
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
  const unit = item.read ? "élément" : "image";
  count.textContent = `${item.modality} · ${item.count} ${unit}${item.count > 1 ? "s" : ""}`;
  button.append(canvas, name, count);
  button.addEventListener("click", () => pane.open(item));
  place.append(button);
  return place;
}

/** One after another, and kept: the stack goes first. */
async function pictures(pane) {
  for (const item of pane.series) {
    item.picture ??= await pictureOf(item).catch(() => null);
    const canvas = page.querySelector(`[data-serie="${CSS.escape(item.uid)}"] canvas`);
    if (canvas && !item.picture) mark(canvas, item.read || "▶");
    if (!item.picture || !canvas) continue;
    const { width, height } = item.picture;
    const scale = Math.min(160 / width, 160 / height);
    canvas.getContext("2d").drawImage(item.picture, 80 - (width * scale) / 2, 80 - (height * scale) / 2, width * scale, height * scale);
  }
}

/** A word where there is no picture: a report, a document, a film. */
function mark(canvas, word) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#a9bac6";
  context.font = "600 44px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(word, 80, 82, 140);
}

// -- two panes
function compare(uid) {
  const second = panes[1];
  second.scene.hidden = !uid;
  page.classList.toggle("compare", Boolean(uid));
  one("comparer")?.setAttribute("aria-pressed", String(Boolean(uid)));
  for (const element of page.querySelectorAll("[data-en-comparaison]")) element.hidden = !uid;
  address(uid);
  if (!uid) { second.empty(); second.study = null; panes[0].scene.focus({ preventScroll: true }); shell.active(panes[0]); return; }
  second.one("choix").value = uid;
  second.show(exam(uid));
}

/** What is compared stands in the address: a reload and the back button keep it. */
function address(uid) {
  const next = new URL(location.href);
  if (uid) next.searchParams.set("avec", uid);
  else next.searchParams.delete("avec");
  history.replaceState(null, "", next);
}

/** With what the first pane is compared unless a person says: a prior of the same kind, another prior, any other. */
function suggestion() {
  const shown = panes[0].study;
  const others = exams.filter((found) => found.uid !== shown.uid);
  const rank = (found) => (found.anterieur !== shown.anterieur ? 2 : 0) + (found.modalite === shown.modalite ? 1 : 0);
  return others.sort((a, b) => rank(b) - rank(a))[0]?.uid;
}

const toggleCompare = () => compare(comparing() ? null : suggestion());

const actions = {
  ajuster: () => active.fit(),
  inverser: () => active.invert(),
  retablir() { setTool("defiler"); active.restore(); },
  lier() {
    linked = !linked;
    page.querySelector("[data-action=lier]").setAttribute("aria-pressed", String(linked));
  },
};

function key(event) {
  if (one("dialogue").open || !active?.frame) return;
  const target = event.target;
  if (target.matches("select, input, video") && !["?", "Escape"].includes(event.key)) return;
  if (target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) return;
  const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const arrow = arrows[event.key];
  const verbs = {
    PageUp: () => active.scroll(-10), PageDown: () => active.scroll(10),
    Home: () => active.scroll(-active.index), End: () => active.scroll(active.current.frames.length),
    "+": () => { active.view.zoomBy(1.2); active.overlay(); }, "=": () => { active.view.zoomBy(1.2); active.overlay(); }, "-": () => { active.view.zoomBy(1 / 1.2); active.overlay(); },
    a: actions.ajuster, i: actions.inverser, r: actions.retablir, " ": () => active.playCine(), "?": () => one("dialogue").showModal(),
    ...(exams.length > 1 ? { c: toggleCompare } : {}), ...(comparing() ? { l: actions.lier } : {}),
  };
  if (arrow && event.shiftKey) active.dragWindow(arrow[0] * 10, arrow[1] * 10);
  else if (arrow && event.altKey) active.view.moveBy(arrow[0] * 40, arrow[1] * 40);
  else if (arrow && arrow[1]) active.scroll(arrow[1]);
  else if (arrow) active.neighbour(arrow[0]);
  else if (/^[1-9]$/.test(event.key)) { if (!active.usePreset(String(Number(event.key) - 1))) return; }
  else if (verbs[event.key] ?? verbs[event.key.toLowerCase()]) (verbs[event.key] ?? verbs[event.key.toLowerCase()])();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", key);
one("curseur").addEventListener("input", (event) => active.scroll(Number(event.target.value) - 1 - active.index));
one("preset").addEventListener("change", (event) => { active.usePreset(event.target.value); active.scene.focus(); });
one("aide").addEventListener("click", () => one("dialogue").showModal());
one("comparer")?.addEventListener("click", toggleCompare);
for (const button of page.querySelectorAll("[data-pas]")) button.addEventListener("click", () => active.scroll(Number(button.dataset.pas)));
for (const button of page.querySelectorAll("[data-outil]")) button.addEventListener("click", () => setTool(button.dataset.outil));
for (const button of page.querySelectorAll("[data-action]")) button.addEventListener("click", () => actions[button.dataset.action]());
for (const pane of panes) {
  pane.one("choix")?.addEventListener("change", (event) => {
    if (pane === panes[1]) address(event.target.value);
    pane.show(exam(event.target.value));
    pane.scene.focus({ preventScroll: true });
  });
}

shell.active(panes[0]);
panes[0].show(exam(page.dataset.etude)).then(() => panes[0].scene.focus({ preventScroll: true }));
if (panes.length > 1 && exam(page.dataset.avec)) compare(page.dataset.avec);

// The draft's form: saves itself, shows what is missing, hides questions that do not apply.
import { fillThumbnails, whileVisible } from "./commun.js";
import { deposit } from "./depot.js";

const form = document.querySelector("[data-brouillon]");
const state = document.querySelector("[data-etat-enregistrement]");
const version = form.elements.version;
const DELAY = 1200;
let timer = 0;
let running = null;
let dirty = false;
let leaving = false;

function say(text, problem = false) {
  state.textContent = text;
  state.classList.toggle("probleme", problem);
}

async function save() {
  clearTimeout(timer);
  if (running) { await running; if (!dirty) return; }
  dirty = false;
  running = post();
  await running;
  running = null;
  if (dirty) timer = setTimeout(save, DELAY);
}

async function post() {
  try {
    const answer = await fetch(form.dataset.enregistrement, { method: "POST", body: new FormData(form), redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) { dirty = true; say("Session terminée : reconnectez-vous dans un autre onglet, la saisie reste ici.", true); return; }
    const told = await answer.json().catch(() => ({}));
    if (answer.status === 412) { dirty = true; return; } // an image joined at the same instant: again, on what is there now
    if (!answer.ok) { say(told.message ?? "Enregistrement impossible, la saisie reste ici.", true); return; }
    if (told.version) version.value = told.version;
    say(`Enregistré à ${told.heure}`);
  } catch {
    dirty = true;
    say("Réseau absent : la saisie reste ici et sera enregistrée au retour.", true);
    timer = setTimeout(save, 5000);
  }
}

form.addEventListener("input", (event) => {
  if (event.target.type === "file") return;
  dirty = true;
  say("Modifié…");
  clearTimeout(timer);
  timer = setTimeout(save, DELAY);
  const field = event.target.closest("[data-champ]");
  if (field?.classList.contains("faux")) {
    field.classList.remove("faux");
    for (const fault of field.querySelectorAll(".faute")) fault.textContent = "";
    event.target.removeAttribute("aria-invalid");
  }
  conditions();
  summary();
});

// A click on a button waits for the save under way, so that the version it carries is the newest.
form.addEventListener("submit", async (event) => {
  if (leaving) return;
  const button = event.submitter;
  clearTimeout(timer);
  if (running) {
    event.preventDefault();
    await running;
    leaving = true;
    form.requestSubmit(button);
    return;
  }
  leaving = true;
  setTimeout(() => { leaving = false; }, 8000);
});
window.addEventListener("beforeunload", (event) => { if (dirty && !leaving) event.preventDefault(); });

function summary() {
  const chosen = [...form.querySelectorAll("input[name=correspondant]:checked")].map((box) => box.dataset.nom);
  const list = document.querySelector("[data-choisis]");
  const shown = [...list.children].map((item) => item.textContent).join("|");
  if (shown !== (chosen.join("|") || "aucun pour l'instant")) {
    list.replaceChildren(...(chosen.length ? chosen : ["aucun pour l'instant"]).map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      if (!chosen.length) item.className = "discret";
      return item;
    }));
  }
  const vital = form.elements.priorite.value === "stat";
  document.querySelector("[data-vitale]").hidden = !vital;
  form.classList.toggle("urgence-vitale", vital);
  document.querySelector("[data-envoyer]").classList.toggle("vitale", vital);
}

function valueOf(name) {
  const field = form.elements[name];
  return field ? String(field.value ?? "") : "";
}

function holds(operator, value, answer) {
  if (operator === "exists") return Boolean(value) === (answer === "true");
  if (!value) return false;
  if (operator === "=") return value === answer;
  if (operator === "!=") return value !== answer;
  const number = (text) => Number(text.replace(/\s/g, "").replace(",", "."));
  const [left, right] = Number.isNaN(number(value)) || Number.isNaN(number(answer)) ? [value, answer] : [number(value), number(answer)];
  return { ">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right }[operator] ?? false;
}

function conditions() {
  for (const field of form.querySelectorAll("[data-conditions]")) {
    const operators = field.dataset.operateurs.split("|");
    const wanted = field.dataset.reponses.split("|");
    const results = field.dataset.conditions.split("|").map((name, index) => holds(operators[index], valueOf(name), wanted[index]));
    field.hidden = !("une" in field.dataset ? results.some(Boolean) : results.every(Boolean));
  }
}

conditions();
summary();

// Images and documents join while the person writes: their parts alone are replaced, nothing typed is touched.
const address = form.getAttribute("action").replace(/\/formulaire$/, "/suivi");
const known = new Map();
let etag = "";

async function follow() {
  const headers = etag ? { accept: "text/html", "if-none-match": etag } : { accept: "text/html" };
  const answer = await fetch(address, { headers, redirect: "manual", cache: "no-store" });
  if (answer.status !== 200) return;
  etag = answer.headers.get("etag") ?? "";
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  for (const name of ["examens", "documents"]) {
    const old = document.querySelector(`[data-zone="${name}"]`);
    const zone = next.querySelector(`[data-zone="${name}"]`);
    if (!old || !zone || known.get(name) === zone.outerHTML) continue;
    known.set(name, zone.outerHTML);
    old.replaceWith(zone);
    fillThumbnails(zone);
  }
}
deposit(whileVisible(follow, 3000));

// The tab « À partir d'un répertoire »: choose, look, tick, send; a cut is taken up where it was.
import { person } from "./dicom.js";
import { catalogue } from "./support.js";
import { Cut, Refused, send, sending } from "./envoi.js";
import { content, make, many } from "./contenu.js";

const CLOSED = "Le télédossier est clos : on ne peut plus y ajouter d'examen.";

/** How far an interrupted sending came: counts only, no name of a file or patient stays in the browser. */
const memory = {
  key: (address) => `envoi:${address}`,
  get(address) { try { return JSON.parse(localStorage.getItem(this.key(address)) ?? "null"); } catch { return null; } },
  set(address, value) { try { if (value) localStorage.setItem(this.key(address), JSON.stringify(value)); else localStorage.removeItem(this.key(address)); } catch { /* kept by the server too */ } },
};

function left(seconds) {
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, "0")} s` : `${Math.max(1, Math.round(seconds))} s`;
}

export function directoryTab(zone, address, back) {
  const one = (name) => zone.querySelector(`[data-${name}]`);
  const frame = one("envoi"), bar = one("envoi-barre"), said = one("envoi-texte"), fault = one("envoi-faute"), place = one("contenu");
  const stop = one("envoi-arret"), again = one("envoi-reprise"), choices = one("choix");
  let going = null, state = null, began = 0, before = 0, told = 0;

  const interrupted = memory.get(address);
  if (interrupted?.sent < interrupted?.total) {
    said.textContent = `Un envoi a été interrompu : ${interrupted.sent} images sur ${interrupted.total}. Choisissez le même support, il reprend où il en était.`;
    frame.hidden = false;
    bar.hidden = stop.hidden = true;
  }
  addEventListener("beforeunload", (event) => { if (going && state) event.preventDefault(); });
  stop.addEventListener("click", () => going?.abort());
  again.addEventListener("click", () => { if (state && !going) run(); });
  for (const input of zone.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => { const files = [...input.files]; input.value = ""; if (files.length && !going) look(files); });
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("survol", kind === "dragover" && !going);
      if (kind === "drop" && !going) dropped(event.dataTransfer).then((files) => { if (files.length) look(files); });
    });
  }

  function open() {
    going = new AbortController();
    fault.textContent = "";
    frame.hidden = bar.hidden = stop.hidden = false;
    again.hidden = choices.hidden = true;
  }

  function close() {
    going = null;
    stop.hidden = true;
  }

  async function look(files) {
    open();
    place.hidden = true;
    bar.removeAttribute("value");
    said.textContent = "Lecture du support…";
    try {
      const found = await catalogue(files, (read, all) => { said.textContent = `Lecture du support : ${read} images sur ${all} fichiers…`; }, going.signal);
      if (!found.patients.length) { reset("Aucune image DICOM n'a été trouvée.", found.left); return; }
      await compare(found.patients);
      frame.hidden = true;
      content(place, found, (entries) => { place.hidden = true; state = sending(entries); run(); }, () => reset(""));
    } catch (error) {
      reset(error.name === "AbortError" ? "" : error.status === 409 ? CLOSED : "Le support n'a pas pu être lu. Réessayez.");
    } finally {
      close();
    }
  }

  function reset(text, leftOut = []) {
    place.replaceChildren();
    if (leftOut.length) place.append(make("ul", { class: "support-ecartes" }, ...leftOut.slice(0, 20).map((file) => make("li", {}, `${file.name} : ${file.why}`))));
    place.hidden = !leftOut.length;
    frame.hidden = true;
    choices.hidden = false;
    fault.textContent = text;
    state = null;
  }

  /** The platform says whose images they are, by the rules that judge again when they have come. */
  async function compare(patients) {
    for (let at = 0; at < patients.length; at += 100) {
      const some = patients.slice(at, at + 100);
      const body = JSON.stringify({ patients: some.map(({ name, birth, ids }) => ({ name, birth, ids })) });
      const answer = await fetch(`${address}/identity`, { method: "POST", headers: { "content-type": "application/json" }, body, signal: going.signal });
      if (!answer.ok) throw new Refused(answer.status, "");
      (await answer.json()).forEach((verdict, number) => Object.assign(some[number], { verdict, shown: person(some[number].name) }));
    }
    const rank = { same: 0, unknown: 1, differs: 2 };
    patients.sort((a, b) => rank[a.verdict.verdict] - rank[b.verdict.verdict]);
  }

  function show(now, moving) {
    const seconds = (performance.now() - began) / 1000, bytes = now.seen - before + moving;
    const part = Math.min(1, (now.seen + moving) / (now.bytes || 1));
    bar.value = 100 * part;
    if (performance.now() - told < 200 && now.pending.length) return;
    told = performance.now();
    const rate = bytes / Math.max(seconds, 0.1);
    const rest = rate ? ` · ${(rate / 1e6).toFixed(1).replace(".", ",")} Mo/s · reste ${left((now.bytes - now.seen - moving) / rate)}` : "";
    said.textContent = `${now.sent.toLocaleString("fr-FR")} images sur ${now.total.toLocaleString("fr-FR")}${navigator.onLine ? rest : " · réseau absent, l'envoi reprendra de lui-même"}`;
    memory.set(address, { sent: now.sent, total: now.total });
  }

  async function run() {
    open();
    bar.value = 0;
    began = performance.now();
    before = state.seen;
    said.textContent = "Envoi…";
    try {
      await send(state, address, show, going.signal);
      finished();
    } catch (error) {
      again.hidden = error instanceof Refused && error.status === 409;
      said.textContent = `${state.sent.toLocaleString("fr-FR")} images sur ${state.total.toLocaleString("fr-FR")}.`;
      if (error.name === "AbortError") fault.textContent = "Envoi interrompu. Rien de ce qui est arrivé ne sera renvoyé.";
      else if (error instanceof Refused) fault.textContent = error.status === 409 ? CLOSED : "La plateforme refuse l'envoi. Rechargez la page et reconnectez-vous.";
      else if (error instanceof Cut) fault.textContent = "Le réseau est coupé. Reprenez quand il est revenu.";
      else fault.textContent = "L'envoi s'est arrêté. Reprenez-le.";
    } finally {
      close();
    }
  }

  function finished() {
    memory.set(address, null);
    bar.value = 100;
    const known = state.known ? ` (${many(state.known, "déjà présente", "déjà présentes")})` : "";
    said.textContent = `${many(state.sent, "image envoyée", "images envoyées")}${known}.`;
    if (!state.refused.length) { setTimeout(() => location.assign(`${back}?fait=exam-asked`), 1200); state = null; return; }
    fault.textContent = `${many(state.refused.length, "image n'est pas arrivée", "images ne sont pas arrivées")} :`;
    const lines = state.refused.slice(0, 200).map((file) => make("li", {}, `${file.name} : ${file.why}`));
    place.replaceChildren(make("ul", { class: "support-ecartes" }, ...lines), make("div", { class: "barre-actions espace" }, make("a", { class: "bouton principal", href: `${back}?fait=exam-asked` }, "Revenir au télédossier")));
    place.hidden = false;
    state = null;
  }
}

/** Every file of what was dropped, folders opened. */
async function dropped(transfer) {
  const found = [];
  const open = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      Object.defineProperty(file, "webkitRelativePath", { value: path + file.name });
      found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const inner of some) await open(inner, `${path}${entry.name}/`);
    }
  };
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  for (const entry of entries) await open(entry, "");
  return found;
}

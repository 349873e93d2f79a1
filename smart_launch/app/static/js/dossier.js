// An open télédossier: posts the reading once, follows what others do within a second, keeps what is being typed.
import { fillThumbnails, refreshAges, whileVisible } from "./commun.js";
import { deposit } from "./depot.js";

const head = document.querySelector("[data-dossier]");
const id = head.dataset.dossier;
const announce = document.querySelector("[data-annonce]");
let etag = "";

function zones(root) {
  return new Map([...root.querySelectorAll("[data-zone]")].map((zone) => [zone.dataset.zone, zone]));
}

function readMarks(root) {
  return [...root.querySelectorAll("[data-lu]")].map((mark) => mark.textContent.trim());
}

/** Show the steps the server allows now; an editor in which something is typed stays. */
function offer(steps) {
  const allowed = new Set(steps.split(" ").filter(Boolean));
  for (const editor of document.querySelectorAll("[data-etape]")) {
    const typed = [...editor.querySelectorAll("textarea, input:not([type=hidden])")].some((field) => field.value.trim());
    editor.hidden = !allowed.has(editor.dataset.etape) && !(editor.open && typed);
  }
  const any = [...document.querySelectorAll("[data-etape]")].some((editor) => !editor.hidden);
  document.querySelector("[data-etapes-cadre]").hidden = !any;
  document.querySelector("[data-vers-etapes]").hidden = !any;
}

const first = new Map([...zones(document)].map(([name, zone]) => [name, zone.outerHTML.replace(/\s+/g, " ")]));

function swap(html) {
  const next = new DOMParser().parseFromString(html, "text/html").body;
  const seen = new Set(readMarks(document));
  for (const [name, zone] of zones(next)) {
    const old = document.querySelector(`[data-zone="${name}"]`);
    const source = zone.outerHTML.replace(/\s+/g, " ");
    if (!old || first.get(name) === source) continue;
    first.set(name, source);
    const inside = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    zone.classList.add("change");
    old.replaceWith(zone);
    refreshAges(zone);
    fillThumbnails(zone);
    if (inside) zone.querySelector(`[href="${CSS.escape(inside)}"]`)?.focus({ preventScroll: true });
    if (name === "etat") offer(zone.dataset.etapes);
  }
  const marks = readMarks(document).filter((mark) => !seen.has(mark));
  if (marks.length) announce.textContent = marks.join(". ");
}

async function follow() {
  const headers = { accept: "text/html" };
  if (etag) headers["if-none-match"] = etag;
  const answer = await fetch(`/dossiers/${id}/suivi`, { headers, redirect: "manual", cache: "no-store" });
  if (answer.type === "opaqueredirect" || answer.status === 401) { location.replace(`/dossiers/${id}`); return; }
  if (answer.status !== 200) return;
  etag = answer.headers.get("etag") ?? "";
  swap(await answer.text());
}

const now = whileVisible(follow, 1000);

/** The reading by a recipient, once, when the page is really before someone's eyes. */
async function read() {
  if (document.hidden) { document.addEventListener("visibilitychange", read, { once: true }); return; }
  const answer = await fetch(`/dossiers/${id}/lecture`, { method: "POST", headers: { accept: "application/json" } });
  if (answer.ok) now();
}
if ("aLire" in head.dataset) read();

for (const form of document.querySelectorAll("[data-editeur]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.parti) { event.preventDefault(); return; } // a double click sends once
    form.dataset.parti = "oui";
    setTimeout(() => { delete form.dataset.parti; }, 5000);
  });
}
window.addEventListener("beforeunload", (event) => {
  const open = [...document.querySelectorAll("[data-editeur]")].some(
    (form) => !form.dataset.parti && [...form.querySelectorAll("textarea")].some((area) => area.value !== area.defaultValue),
  );
  const leaving = [...document.querySelectorAll("[data-editeur]")].some((form) => form.dataset.parti);
  if (open && !leaving) event.preventDefault();
});
document.querySelector("[data-vers-etapes]").addEventListener("click", (event) => {
  event.preventDefault();
  const frame = document.querySelector("[data-etapes-cadre]");
  frame.scrollIntoView({ block: "start" });
  frame.focus({ preventScroll: true });
});
new IntersectionObserver(([seen]) => {
  document.querySelector("[data-vers-etapes]").classList.toggle("inutile", seen.isIntersecting);
}).observe(document.querySelector("[data-etapes-cadre]"));
deposit(now);

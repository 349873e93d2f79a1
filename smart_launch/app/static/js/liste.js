// The list refreshes itself every few seconds, keeping the reader's place, focus and scroll.
import { refreshAges, whileVisible } from "./commun.js";

const list = document.querySelector("[data-liste]");
const announce = document.querySelector("[data-annonce]");
const filters = document.querySelector("[data-filtres]");
const asked = new URLSearchParams(new FormData(filters)); // as shown, not as being typed
if (list.dataset.page) asked.set("page", list.dataset.page);
let etag = "";

function rows(root) {
  return new Map([...root.querySelectorAll("[data-cle]")].map((row) => [row.dataset.cle, row.dataset.etat]));
}

function tell(before, after) {
  const fresh = [...after.keys()].filter((key) => !before.has(key)).length;
  const moved = [...after].filter(([key, state]) => before.has(key) && before.get(key) !== state).length;
  const parts = [];
  if (fresh) parts.push(fresh > 1 ? `${fresh} nouveaux télédossiers` : "1 nouveau télédossier");
  if (moved) parts.push(moved > 1 ? `${moved} télédossiers ont changé d'état` : "1 télédossier a changé d'état");
  if (parts.length) announce.textContent = parts.join(", ");
}

function swap(html) {
  const before = rows(list);
  const focused = document.activeElement?.closest("[data-cle]")?.dataset.cle;
  const anchor = [...list.querySelectorAll("[data-cle]")].find((row) => row.getBoundingClientRect().bottom > 0);
  const top = anchor?.getBoundingClientRect().top;
  const next = new DOMParser().parseFromString(html, "text/html").body;
  list.replaceChildren(...next.childNodes);
  refreshAges(list);
  if (window.scrollY > 0 && anchor) {
    const same = list.querySelector(`[data-cle="${CSS.escape(anchor.dataset.cle)}"]`);
    if (same) window.scrollBy(0, same.getBoundingClientRect().top - top);
  }
  if (focused) list.querySelector(`[data-cle="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  for (const row of list.querySelectorAll("[data-cle]")) row.classList.toggle("nouvelle", !before.has(row.dataset.cle));
  tell(before, rows(list));
}

async function refresh() {
  const headers = { accept: "text/html" };
  if (etag) headers["if-none-match"] = etag;
  const answer = await fetch("/dossiers/liste", { method: "POST", body: asked, headers, redirect: "manual" });
  if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
  if (answer.status !== 200) return;
  const first = !etag;
  etag = answer.headers.get("etag") ?? "";
  const html = await answer.text();
  if (!first || html.trim() !== list.innerHTML.trim()) swap(html);
}

whileVisible(refresh, 4000);

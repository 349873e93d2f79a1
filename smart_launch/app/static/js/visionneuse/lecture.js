// What is read rather than scrolled: films, reports, documents, tracings, and what this viewer only names. Over the pane's canvas.
import { text } from "../commun.js";

const FILMS = new Set(["1.2.840.10008.5.1.4.1.1.77.1.1.1", "1.2.840.10008.5.1.4.1.1.77.1.2.1", "1.2.840.10008.5.1.4.1.1.77.1.4.1"]);
const KINDS = [
  ["report", "1.2.840.10008.5.1.4.1.1.88."], ["document", "1.2.840.10008.5.1.4.1.1.104."], ["tracing", "1.2.840.10008.5.1.4.1.1.9."], ["presentation", "1.2.840.10008.5.1.4.1.1.11."],
  ["other", "1.2.840.10008.5.1.4.1.1.66"], ["other", "1.2.840.10008.5.1.4.1.1.481.3"], ["other", "1.2.840.10008.5.1.4.1.1.481.5"],
];
/** Modalities whose series hold no picture, and what stands for one. */
export const READ = { SR: "CR", KO: "★", DOC: "DOC", PR: "PR", ECG: "ECG", REG: "REG", PLAN: "PLAN", RTPLAN: "PLAN", RTSTRUCT: "RT", HD: "HD", EPS: "ECG", RESP: "RESP" };
export const FIELDS = ["00080016", "00420010", "00420012", "0040A043", "00700080", "00700081", "00700084", "00081115"];

/** How an instance is shown: image, film, report, document, tracing, presentation or other. */
export function kindOf(one) {
  const sopClass = text(one, "00080016");
  if (FILMS.has(sopClass)) return "film";
  return KINDS.find(([, prefix]) => sopClass.startsWith(prefix))?.[0] ?? "image";
}

const NAMES = { film: "Vidéo", report: "Compte rendu", document: "Document", tracing: "Tracé", presentation: "Présentation", other: "Objet" };

/** What a reading is called, from its instance. */
export function reading(one, kind, root) {
  const concept = one["0040A043"]?.Value?.[0];
  const named = kind !== "report" && concept ? text(concept, "00080104") : ""; // a report says its own, in French
  const title = text(one, "00420010") || named || text(one, "00700081") || text(one, "00700080");
  const series = one["00081115"]?.Value ?? [];
  const images = series.reduce((sum, part) => sum + (part["00081140"]?.Value?.length ?? 0), 0);
  return { kind, title: title || NAMES[kind], media: text(one, "00420012").toLowerCase(), author: text(one, "00700084").split("^").join(" ").trim(), images, address: `${root}/instances/${text(one, "00080018")}/rendered` };
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const as = (address, media) => `${address}?accept=${encodeURIComponent(media)}`;

export class Reading {
  constructor(scene) {
    this.place = make("div", { class: "v-lecture", "data-lecture": "" });
    this.place.hidden = true;
    this.shown = null;
    for (const kind of ["pointerdown", "wheel", "dblclick", "contextmenu"]) this.place.addEventListener(kind, (event) => event.stopPropagation());
    scene.append(this.place);
  }

  hide() {
    if (this.place.hidden) return;
    this.place.hidden = true;
    this.place.replaceChildren(); // a film stops
    this.shown = null;
  }

  show(item) {
    if (this.shown === item) return;
    this.shown = item;
    this.place.className = `v-lecture ${item.kind}`;
    this.place.replaceChildren(...(this[item.kind] ?? this.other).call(this, item));
    this.place.hidden = false;
  }

  film(item) {
    const film = make("video", { controls: "", playsinline: "", preload: "metadata", src: as(item.address, "video/mp4"), "aria-label": item.title });
    film.addEventListener("error", () => film.replaceWith(make("p", { class: "v-lecture-dit" }, "Ce navigateur ne lit pas cette vidéo. ", this.link(item, "video/mp4", "La télécharger"))));
    return [film];
  }

  report(item) { return this.page(item, "text/html"); }

  document(item) {
    if (item.media === "application/pdf" || item.media === "text/plain") return this.page(item, item.media);
    const name = item.media.endsWith("xml") ? "Document CDA (XML)" : `Document ${item.media}`;
    return [make("div", { class: "v-lecture-dit" }, make("p", {}, make("strong", {}, item.title)), make("p", {}, `${name} : cette visionneuse ne l'ouvre pas.`), this.link(item, item.media, "Télécharger"))];
  }

  tracing(item) { return [this.head(item, "image/svg+xml"), make("div", { class: "v-lecture-trace", tabindex: "0" }, make("img", { src: as(item.address, "image/svg+xml"), alt: `${item.title}, tracé` }))]; }

  presentation(item) {
    const images = item.images ? `${item.images} image${item.images > 1 ? "s" : ""}` : "des images de l'examen";
    return [make("div", { class: "v-lecture-dit" }, make("p", {}, make("strong", {}, item.title)), make("p", {}, `Réglages d'affichage pour ${images}${item.author ? `, par ${item.author}` : ""}. Cette visionneuse ne les applique pas.`))];
  }

  other(item) { return [make("div", { class: "v-lecture-dit" }, make("p", {}, make("strong", {}, item.title)), make("p", {}, "Cet objet n'a pas d'image : cette visionneuse ne le montre pas."))]; }

  page(item, media) {
    const frame = make("iframe", { src: as(item.address, media), title: item.title });
    if (media !== "application/pdf") frame.setAttribute("sandbox", ""); // the browser's own viewer of PDF needs none
    return [this.head(item, media), frame];
  }

  head(item, media) { return make("p", { class: "v-lecture-tete" }, make("span", {}, item.title), this.link(item, media, "Ouvrir dans un onglet")); }

  link(item, media, words) { return make("a", { href: as(item.address, media), target: "_blank", rel: "noopener" }, words); }
}

// One pane of the viewer: a series of an examination as a stack of images. What concerns the whole page (toolbar, the
// other pane) is told through `page`: `active(pane)`, `changed(pane)`, `scrolled(pane, steps)`, `opened(pane)`, `tool()`.
import { edges, framesOf, seriesOf } from "./etude.js";
import { gestures } from "./gestes.js";
import { Reading } from "./lecture.js";
import { Stack, round } from "./pile.js";
import { View } from "./vue.js";

export const PRESETS = {
  CT: [["Cerveau", 40, 80], ["Ischémie", 35, 40], ["Sous-dural", 75, 215], ["Os", 500, 2000], ["Poumon", -600, 1500], ["Médiastin", 50, 350], ["Abdomen", 60, 400], ["Foie", 85, 150]],
};
const AHEAD = 10;
const BEHIND = 4;
const CINE = 100; // ms
const SIDES = ["g", "d", "h", "b"];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const french = (value) => round(value).toLocaleString("fr-FR");

export class Pane {
  constructor(scene, page) {
    this.scene = scene;
    this.page = page;
    this.view = new View(this.one("toile"));
    this.stack = new Stack((key, error) => this.arrived(key, error), () => this.view.shown?.bitmap);
    this.reading = new Reading(scene);
    this.study = null; // { uid, title, modality, date }
    this.series = [];
    this.current = null; // the series shown
    this.index = 0;
    this.direction = 1;
    this.voi = null; // the window in force, or null for the server's own
    this.preset = "origine";
    this.cine = 0;
    for (const side of SIDES) {
      const mark = document.createElement("span");
      mark.className = `v-bord ${side}`;
      mark.setAttribute("aria-hidden", "true");
      scene.append(mark);
    }
    gestures(scene, {
      tool: page.tool,
      scroll: (steps) => this.scroll(steps),
      window: (dx, dy) => this.dragWindow(dx, dy),
      settled: () => this.update(),
      move: (dx, dy) => this.view.moveBy(dx, dy),
      zoom: (factor, x, y) => { this.view.zoomBy(factor, x, y); this.overlay(); },
      fit: () => this.fit(),
    });
    scene.addEventListener("focus", () => page.active(this));
  }

  one(name) { return this.scene.querySelector(`[data-${name}]`); }

  get frame() { return this.current?.frames?.[this.index]; }

  message(said, problem = false) {
    const place = this.one("message");
    place.textContent = said;
    place.classList.toggle("erreur", problem);
  }

  /** Show this examination, from its first series. */
  async show(study) {
    this.study = study;
    this.series = [];
    this.empty();
    this.one("examen-nom").textContent = study.titre;
    this.one("examen-genre").textContent = study.modalite;
    this.one("examen-date").textContent = study.date;
    this.message("Chargement des images…");
    let found;
    try {
      found = await seriesOf(study.uid);
    } catch {
      this.message("Les images n'ont pas pu être chargées. Vérifiez le réseau, puis rechargez la page.", true);
      return;
    }
    if (this.study !== study) return;
    this.series = found;
    this.page.opened(this);
    if (found.length) await this.open(found[0]);
    else this.message("Les images de cet examen ne sont pas encore arrivées. Revenez dans un instant.");
  }

  empty() {
    this.stopCine();
    this.view.clear();
    this.stack.clear();
    this.reading.hide();
    delete this.scene.dataset.affiche;
    this.current = null;
    for (const name of ["serie-nom", "position", "coupe", "fenetre", "zoom"]) this.one(name).textContent = "";
    for (const side of SIDES) this.scene.querySelector(`.v-bord.${side}`).textContent = "";
  }

  async open(chosen) {
    if (!chosen) return;
    if (this.current) this.current.last = this.index;
    this.empty();
    this.current = chosen;
    this.one("serie-nom").textContent = chosen.name || `Série ${chosen.number ?? ""}`;
    this.page.changed(this);
    this.message("Chargement des images…");
    try {
      chosen.frames ??= await framesOf(chosen);
    } catch {
      this.message("La série n'a pas pu être ouverte. Vérifiez le réseau, puis choisissez-la de nouveau.", true);
      return;
    }
    if (this.current !== chosen) return;
    if (!chosen.frames.length) { this.message("Cette série ne contient pas d'image."); return; }
    this.index = chosen.last ?? Math.floor(chosen.frames.length / 2);
    this.voi = this.frame.window ?? (PRESETS[chosen.modality] ? { center: 40, width: 80 } : null);
    this.preset = "origine";
    this.view.fit();
    this.page.changed(this);
    this.update();
  }

  neighbour(step) { this.open(this.series[this.series.indexOf(this.current) + step]); }

  /** Draw the frame in view if it is there, ask for it and its neighbours if not. */
  update() {
    const { frame, stack, view } = this;
    if (!frame) return;
    if (frame.reading) { this.read(frame); return; }
    this.reading.hide();
    const key = Stack.key(frame, this.voi);
    const bitmap = stack.get(key);
    if (bitmap) { view.show(bitmap, this.voi, frame.spacing); this.message(""); this.scene.dataset.affiche = String(this.index + 1); }
    else if (view.shown?.of === frame.address) view.preview(this.voi);
    if (bitmap) view.shown.of = frame.address;
    const keys = [key];
    for (let step = 1; step <= AHEAD; step += 1) {
      const next = this.current.frames[this.index + step * this.direction];
      const back = step <= BEHIND ? this.current.frames[this.index - step * this.direction] : null;
      if (next) keys.push(Stack.key(next, this.voi));
      if (back) keys.push(Stack.key(back, this.voi));
    }
    stack.want(keys);
    this.overlay();
  }

  /** A film, a report, a document: shown by the browser itself. */
  read(frame) {
    this.stack.want([]);
    this.view.clear();
    this.message("");
    this.reading.show(frame.reading);
    this.scene.dataset.affiche = String(this.index + 1);
    const total = this.current.frames.length;
    this.one("position").textContent = total > 1 ? `${this.index + 1} / ${total}` : "";
    this.page.changed(this);
  }

  arrived(key, error) {
    if (!this.frame || key !== Stack.key(this.frame, this.voi)) return;
    if (error && !this.frame.tried) { this.tryFilm(this.frame); return; }
    if (error) { this.message("Cette image n'a pas pu être affichée. Flèches pour continuer.", true); return; }
    this.update();
  }

  /** Frames that cannot be drawn may be those of a film: then it is played. */
  async tryFilm(frame) {
    frame.tried = true;
    const series = this.current;
    const address = frame.address.replace(/\/frames\/.*$/, "/rendered");
    const answer = await fetch(`${address}?accept=video/mp4`, { headers: { range: "bytes=0-0" } }).catch(() => null);
    if (this.current !== series) return;
    if (answer?.ok) {
      const at = series.frames.findIndex((one) => one.uid === frame.uid);
      const film = { ...frame, address, reading: { kind: "film", title: series.name || "Vidéo", address } };
      series.frames = series.frames.filter((one) => one.uid !== frame.uid);
      series.frames.splice(at, 0, film);
      this.index = at;
    }
    this.update();
  }

  overlay() {
    const at = this.frame;
    if (!at) return;
    const total = this.current.frames.length;
    const late = this.view.shown?.of !== at.address; // the picture on screen is still another one: say so
    this.one("position").textContent = `Image ${this.index + 1} / ${total}${late ? " · chargement…" : ""}`;
    const parts = [];
    if (at.location !== null) parts.push(`Position ${french(at.location)} mm`);
    if (at.thickness) parts.push(`Ép. ${french(at.thickness)} mm`);
    this.one("coupe").textContent = parts.join(" · ");
    this.one("fenetre").textContent = this.voi ? `C ${french(this.voi.center)} · L ${french(this.voi.width)}` : "";
    this.one("zoom").textContent = `Zoom ${Math.round(this.view.zoom * 100)} %`;
    edges(at.orientation).forEach((letter, place) => { this.scene.querySelector(`.v-bord.${SIDES[place]}`).textContent = letter; });
    this.page.changed(this);
  }

  /** A person's scrolling: the other pane may follow. */
  scroll(steps) {
    if (this.go(this.index + steps)) this.page.scrolled(this, steps);
  }

  /** Whether the image in view is another one now. */
  go(to) {
    if (!this.frame) return false;
    const next = clamp(to, 0, this.current.frames.length - 1);
    if (next === this.index) return false;
    this.direction = next > this.index ? 1 : -1;
    this.index = next;
    this.update();
    return true;
  }

  /** The same place of the body as `frame` of another stack; false when places cannot be compared. PS3.3 C.7.6.2 */
  goNear(frame) {
    const frames = this.current?.frames;
    if (!frames || frame.location === null || !sameDirection(frame, this.frame)) return false;
    let best = -1;
    frames.forEach((one, place) => {
      if (one.location === null) return;
      if (best < 0 || Math.abs(one.location - frame.location) < Math.abs(frames[best].location - frame.location)) best = place;
    });
    if (best >= 0) this.go(best);
    return best >= 0;
  }

  setWindow(next) {
    this.voi = next ? { center: round(next.center), width: Math.max(1, round(next.width)) } : null;
    this.update();
  }

  /** A drag: across widens, down brightens; the pace follows the width so that every kind of image feels the same. */
  dragWindow(dx, dy) {
    const base = this.voi ?? this.frame?.window;
    if (!base || this.frame.colour) return;
    const pace = Math.max(0.2, base.width / 300);
    const next = { center: base.center + dy * pace, width: base.width + dx * pace };
    const whole = base.width >= 40; // parts of a unit say nothing there, and whole windows are asked for again
    this.preset = "libre";
    this.setWindow(whole ? { center: Math.round(next.center), width: Math.round(next.width) } : next);
  }

  /** The windows that suit this kind of image, as [value, name]. */
  presets() {
    const named = (PRESETS[this.current?.modality] ?? []).map(([name], place) => [String(place), `${place + 1}. ${name}`]);
    return [["origine", "Fenêtre d'origine"], ...named, ["libre", "Fenêtre libre"]];
  }

  usePreset(value) {
    const found = (PRESETS[this.current?.modality] ?? [])[Number(value)];
    if (value !== "origine" && !found) return false;
    this.preset = value;
    this.setWindow(found ? { center: found[1], width: found[2] } : this.frame?.window ?? null);
    return true;
  }

  fit() {
    this.view.fit();
    this.overlay();
  }

  invert() {
    this.view.inverted = !this.view.inverted;
    this.view.draw();
    this.page.changed(this);
  }

  restore() {
    if (this.view.inverted) this.invert();
    this.view.fit();
    this.usePreset("origine");
  }

  stopCine() {
    clearInterval(this.cine);
    this.cine = 0;
  }

  playCine() {
    if (this.cine) { this.stopCine(); return; }
    this.cine = setInterval(() => {
      if (!this.frame || !this.stack.get(Stack.key(this.frame, this.voi))) return;
      const last = this.index + 1 >= this.current.frames.length;
      this.scroll(last ? -this.index : 1);
    }, CINE);
  }
}

/** Whether two stacks are cut the same way, so that their positions in mm can be compared. */
function sameDirection(one, other) {
  if (!other || [...one.orientation, ...other.orientation].some((value) => value === null)) return false;
  return one.orientation.every((value, place) => Math.abs(value - other.orientation[place]) < 0.05);
}

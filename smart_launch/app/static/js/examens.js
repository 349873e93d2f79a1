// Adding exams from this computer: folders, files and zip archives by STOW-RS, some at a time, resumable; photos to an exam.
import { entries } from "./zip.js";

const head = document.querySelector("[data-televersement]");
const address = head.dataset.televersement;
const BATCH_FILES = 40, BATCH_BYTES = 16e6, RETRIES = 6;

/** Whether a file says that it is DICOM. PS3.10 §7.1 */
async function isDicom(blob) {
  if (blob.size < 136) return false;
  return (await blob.slice(128, 132).text()) === "DICM";
}

/** Every DICOM file chosen, those within zip archives too: {key, blob()}. */
async function* candidates(files) {
  for (const file of files) {
    if (/\.zip$/i.test(file.name)) {
      for await (const entry of entries(file)) yield { key: `${file.name}/${entry.name}|${entry.size}`, size: entry.size, blob: entry.blob };
    } else {
      const path = file.webkitRelativePath || file.name;
      yield { key: `${path}|${file.size}|${file.lastModified}`, size: file.size, blob: async () => file };
    }
  }
}

/** What has arrived, kept by the browser: choosing the same folder again goes on from there. */
class Arrived {
  constructor() {
    this.name = `envoi:${address}`;
    try { this.keys = new Set(JSON.parse(localStorage.getItem(this.name) ?? "[]")); } catch { this.keys = new Set(); }
  }
  has(key) { return this.keys.has(key); }
  add(keys) {
    for (const key of keys) this.keys.add(key);
    try { localStorage.setItem(this.name, JSON.stringify([...this.keys])); } catch { /* full: the server knows them too */ }
  }
}

async function store(blobs, signal) {
  const boundary = `b${crypto.getRandomValues(new Uint32Array(4)).join("")}`;
  const parts = blobs.flatMap((blob) => [`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, blob, "\r\n"]);
  const body = new Blob([...parts, `--${boundary}--\r\n`]);
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await fetch(`${address}/studies`, {
        method: "POST", body, signal,
        headers: { "content-type": `multipart/related; type="application/dicom"; boundary=${boundary}`, accept: "application/dicom+json" },
      });
      if (answer.ok || answer.status === 409) return await answer.json().catch(() => ({}));
      if (answer.status < 500 && answer.status !== 429) throw new Refused(answer.status);
    } catch (error) {
      if (error instanceof Refused || signal.aborted) throw error;
    }
    if (attempt === RETRIES) throw new Error("coupure");
    await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
  }
}

class Refused extends Error { constructor(status) { super(`${status}`); this.status = status; } }

const many = (count, one, several) => `${count} ${count > 1 ? several : one}`;
const sequence = (answer, tag) => answer[tag]?.Value?.length ?? 0;

function left(seconds) {
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, "0")} s` : `${Math.round(seconds)} s`;
}

export async function upload(files, show, signal) {
  const arrived = new Arrived();
  const wanted = [];
  let ignored = 0, known = 0;
  for await (const one of candidates(files)) {
    if (arrived.has(one.key)) known += 1; else wanted.push(one);
  }
  const total = wanted.length + known, began = performance.now();
  const all = wanted.reduce((sum, one) => sum + one.size, 0);
  let sent = known, bytes = 0, seen = 0, failed = 0, at = 0;
  while (at < wanted.length) {
    const batch = [];
    let size = 0;
    while (at < wanted.length && batch.length < BATCH_FILES && (size < BATCH_BYTES || !batch.length)) {
      const one = wanted[at];
      at += 1;
      const blob = await one.blob();
      seen += one.size;
      if (!(await isDicom(blob))) { ignored += 1; continue; }
      batch.push({ key: one.key, blob });
      size += one.size;
    }
    if (batch.length) {
      const answer = await store(batch.map((one) => one.blob), signal);
      const refused = sequence(answer, "00081198");
      failed += refused;
      sent += batch.length - refused;
      bytes += size;
      if (!refused) arrived.add(batch.map((one) => one.key));
    }
    const seconds = (performance.now() - began) / 1000;
    show({ sent, failed, ignored, total, part: all ? seen / all : 1, rate: bytes / seconds, left: seen ? (seconds * (all - seen)) / seen : 0 });
  }
  return { sent, failed, ignored, total };
}

const zone = document.querySelector("[data-dossier-dicom]");
if (zone) {
  const frame = zone.querySelector("[data-envoi]"), bar = zone.querySelector("[data-envoi-barre]");
  const text = zone.querySelector("[data-envoi-texte]"), fault = zone.querySelector("[data-envoi-faute]");
  let going = null;
  const stop = zone.querySelector("[data-envoi-arret]");
  stop.addEventListener("click", () => going?.abort());
  for (const input of zone.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", async () => {
      if (!input.files.length || going) return;
      going = new AbortController();
      fault.textContent = "";
      frame.hidden = stop.hidden = false;
      bar.value = 0;
      text.textContent = "Lecture du dossier…";
      const say = (now) => {
        bar.value = 100 * now.part;
        text.textContent = `${now.sent} images sur ${now.total - now.ignored} · ${(now.rate / 1e6).toFixed(1).replace(".", ",")} Mo/s · reste ${left(now.left)}`;
      };
      try {
        const end = await upload([...input.files], say, going.signal);
        bar.value = 100;
        text.textContent = `${many(end.sent, "image envoyée", "images envoyées")}${end.ignored ? `, ${many(end.ignored, "fichier sans image ignoré", "fichiers sans image ignorés")}` : ""}.`;
        if (end.failed) fault.textContent = `${many(end.failed, "image a été refusée", "images ont été refusées")}.`;
        else if (!end.sent) fault.textContent = "Aucune image DICOM n'a été trouvée.";
        else setTimeout(() => location.assign(`${head.dataset.retour}?fait=exam-asked`), 1200);
      } catch (error) {
        if (going.signal.aborted) fault.textContent = "Envoi interrompu. Choisissez le même dossier pour reprendre.";
        else if (error.status === 409) fault.textContent = "Le télédossier est clos : on ne peut plus y ajouter d'examen.";
        else if (error.message === "zip") fault.textContent = "Cette archive ne peut pas être lue.";
        else fault.textContent = "L'envoi est coupé. Choisissez le même dossier pour reprendre où il en était.";
      } finally {
        stop.hidden = true;
        going = null;
        input.value = "";
      }
    });
  }
}

const creation = document.querySelector("[data-creation]");
if (creation) {
  creation.addEventListener("submit", (event) => {
    event.preventDefault();
    const message = creation.querySelector("[data-creation-message]"), bar = creation.querySelector("[data-progression]");
    const button = creation.querySelector("button");
    if (!creation.reportValidity()) return;
    const request = new XMLHttpRequest();
    message.textContent = "";
    bar.hidden = false;
    button.disabled = true;
    request.upload.addEventListener("progress", (step) => { if (step.lengthComputable) bar.value = (100 * step.loaded) / step.total; });
    request.addEventListener("loadend", () => {
      bar.hidden = true;
      button.disabled = false;
      if (request.status === 201) { location.assign(`${head.dataset.retour}?fait=exam-asked`); return; }
      message.textContent = { 409: "Le télédossier est clos : on ne peut plus y ajouter d'examen.", 413: "Un fichier dépasse 100 Mo.", 415: "Seuls les fichiers JPEG, PNG et PDF sont acceptés." }[request.status] ?? "L'examen n'est pas créé. Réessayez.";
    });
    request.open("POST", creation.action);
    request.send(new FormData(creation));
  });
}

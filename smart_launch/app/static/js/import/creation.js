// The tab « Créer un examen »: photographs, films and documents to an exam of the télédossier's patient.
import { make, many, size } from "./contenu.js";

const HEIC = /\.(heic|heif|avif)$/i, MOST = { photo: 100e6, film: 2e9 };
const FAULTS = {
  "too-large": "Un fichier est trop lourd : 100 Mo pour une photo ou un document, 2 Go pour une vidéo.",
  "unsupported-media": "Un fichier n'est pas pris ici : photos JPEG ou PNG, documents PDF, vidéos MP4.",
  "photo-heic": "Les photos HEIC ne sont pas prises ici. Réglez l'appareil sur « le plus compatible » (JPEG), ou exportez-les en JPEG.",
  "film-container": "Cette vidéo n'est pas un fichier MP4. Exportez-la en MP4 (H.264 ou H.265).",
  "film-fragmented": "Cette vidéo est enregistrée par fragments. Exportez-la en MP4 ordinaire.",
  "film-codec": "Cette vidéo n'est pas en H.264 ni en H.265. Exportez-la dans l'un de ces formats.",
  "film-profile": "Cette vidéo est codée au-delà de ce que DICOM permet. Exportez-la en H.264, 1080p au plus.",
  "film-sound": "Le son de cette vidéo ne peut pas être gardé. Exportez-la en MP4 avec un son AAC, ou sans son.",
  "film-protected": "Cette vidéo est protégée : elle ne peut pas être ajoutée.",
  "film-broken": "Cette vidéo est abîmée ou incomplète.",
  "bad-date": "La date de l'examen n'est pas possible.",
  "request-closed": "Le télédossier est clos : on ne peut plus y ajouter d'examen.",
};

/** A photo that only some browsers read, as JPEG where this one does; null where not. */
async function converted(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const made = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    return new File([made], file.name.replace(HEIC, ".jpg"), { type: "image/jpeg" });
  } catch {
    return null;
  }
}

/** `8/8/2024` → `2024-08-08` */
function iso(text) {
  const [day, month, year] = String(text ?? "").trim().split("/");
  return year ? `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}` : "";
}

export function creationTab(form, back) {
  const message = form.querySelector("[data-creation-message]"), bar = form.querySelector("[data-progression]"), list = form.querySelector("[data-fichiers]");
  const input = form.querySelector("input[type=file]"), button = form.querySelector("button");
  let going = null;

  input.addEventListener("change", () => {
    message.textContent = "";
    list.replaceChildren(...[...input.files].map((file) => make("li", {}, file.name, make("span", { class: "discret" }, ` · ${size(file.size)}`))));
    list.hidden = !input.files.length;
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (going || !form.reportValidity()) return;
    message.textContent = "";
    const data = new FormData(form);
    const files = data.getAll("file");
    data.set("date", iso(data.get("date")));
    data.delete("file");
    for (const file of files) {
      const film = /\.(mp4|m4v|mov)$/i.test(file.name) || file.type.startsWith("video/");
      if (file.size > (film ? MOST.film : MOST.photo)) { message.textContent = FAULTS["too-large"]; return; }
      const ready = HEIC.test(file.name) ? await converted(file) : file;
      if (!ready) { message.textContent = FAULTS["photo-heic"]; return; }
      data.append("file", ready);
    }
    post(data, files.length);
  });

  function post(data, count) {
    going = new XMLHttpRequest();
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    going.upload.addEventListener("progress", (step) => {
      if (step.lengthComputable) bar.value = (100 * step.loaded) / step.total;
      bar.setAttribute("aria-valuetext", `${many(count, "fichier", "fichiers")}, ${Math.round(bar.value)} %`);
    });
    going.addEventListener("loadend", () => {
      const { status } = going;
      let code = "";
      try { code = JSON.parse(going.responseText).code; } catch { /* no JSON */ }
      going = null;
      bar.hidden = true;
      button.disabled = false;
      if (status === 201) { location.assign(`${back}?fait=exam-asked`); return; }
      message.textContent = FAULTS[code] ?? "L'examen n'est pas créé. Réessayez.";
      message.focus();
    });
    going.open("POST", form.action);
    going.setRequestHeader("accept", "application/json");
    going.send(data);
  }
}

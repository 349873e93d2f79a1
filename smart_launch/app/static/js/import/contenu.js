// The content of a medium on the page: patients compared with the télédossier's, exams, series to tick. All text goes in as text.
const SEXES = { M: "masculin", F: "féminin", O: "autre" };
const VERDICTS = {
  same: ["fait", "Même patient"], differs: ["alerte", "Identité différente"], unknown: ["attente", "Identité à vérifier"],
};
const BY = {
  identifier: "Même identifiant que le télédossier.", traits: "Même date de naissance, nom identique ou proche.", ins: "L'INS du support n'est pas celui du télédossier.",
  birth: "La date de naissance n'est pas celle du télédossier.", name: "Le nom n'est pas celui du télédossier.", "": "Le support n'en dit pas assez pour comparer.",
};

export const many = (count, one, several) => `${count.toLocaleString("fr-FR")} ${count > 1 ? several : one}`;
export const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1).replace(".", ",")} Go` : `${Math.max(0.1, bytes / 1e6).toFixed(1).replace(".", ",")} Mo`);
const day = (text) => (/^\d{8}$/.test(text) ? `${text.slice(6)}/${text.slice(4, 6)}/${text.slice(0, 4)}` : "");

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const total = (list, value) => list.reduce((sum, one) => sum + value(one), 0);
const images = (study) => total(study.series, (series) => series.entries.length);

function seriesLine(series, ticked) {
  const box = make("input", { type: "checkbox" });
  box.checked = ticked;
  box.series = series;
  const title = [Number.isFinite(series.number) ? `n° ${series.number}` : "", series.title || series.modality || "Série"].filter(Boolean).join(" · ");
  return make("label", { class: "case" }, box, make("span", {}, `${title} `, make("span", { class: "discret" }, `· ${many(series.entries.length, "image", "images")}, ${size(series.bytes)}`)));
}

function studyPart(study, ticked) {
  const all = make("input", { type: "checkbox" });
  const modalities = [...new Set(study.series.map((one) => one.modality).filter(Boolean))].join("/");
  const title = [day(study.date), modalities, study.title].filter(Boolean).join(" · ") || "Examen sans description";
  const lines = study.series.map((one) => seriesLine(one, ticked));
  const boxes = lines.map((line) => line.firstElementChild);
  const settle = () => {
    const on = boxes.filter((box) => box.checked).length;
    all.checked = on === boxes.length;
    all.indeterminate = on > 0 && on < boxes.length;
  };
  all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; });
  for (const box of boxes) box.addEventListener("change", settle);
  settle();
  const counts = `${many(study.series.length, "série", "séries")} · ${many(images(study), "image", "images")}`;
  return make("div", { class: "support-etude" },
    make("label", { class: "case" }, all, make("span", {}, make("strong", {}, title), make("span", { class: "discret" }, ` · ${counts}`))),
    make("details", { class: "support-series", hidden: lines.length < 2 }, make("summary", {}, "Choisir les séries"), ...lines));
}

function patientPart(patient, number) {
  const { verdict, by } = patient.verdict;
  const [tone, label] = VERDICTS[verdict];
  const ids = patient.ids.map((id) => id.value).join(", ");
  const traits = [day(patient.birth) && `né(e) le ${day(patient.birth)}`, SEXES[patient.sex], ids && `identifiant ${ids}`].filter(Boolean).join(" · ");
  const part = make("fieldset", { class: `support-patient ${tone}` },
    make("legend", {}, make("strong", {}, patient.shown || "Patient sans nom"), " ", make("span", { class: `support-verdict ${tone}` }, label)),
    make("p", { class: "aide" }, [traits, BY[by] ?? ""].filter(Boolean).join(". ").replace(/\.\.$/, ".")),
    ...patient.studies.map((study) => studyPart(study, verdict === "same")));
  if (verdict !== "same") {
    const sure = make("input", { type: "checkbox", id: `sur-${number}` });
    sure.dataset.certain = "";
    part.append(make("label", { class: "case support-certain", hidden: true }, sure, make("span", {}, "J'ai vérifié : ces images concernent bien le patient du télédossier. Elles y seront proposées, pas rattachées d'office.")));
  }
  return part;
}

function leftOut(left) {
  const shown = left.slice(0, 200).map((one) => make("li", {}, one.name, make("span", { class: "discret" }, ` : ${one.why}`)));
  if (left.length > 200) shown.push(make("li", {}, `et ${many(left.length - 200, "autre", "autres")}`));
  return make("details", { class: "support-ecartes" }, make("summary", {}, many(left.length, "fichier laissé de côté", "fichiers laissés de côté")), make("ul", {}, ...shown));
}

/** Shows what a medium holds; `add(entries)` is called with the chosen series' files. */
export function content(place, found, add, cancel) {
  const parts = found.patients.map(patientPart);
  const studies = found.patients.flatMap((one) => one.studies);
  const said = found.patients.length > 1 ? `Ce support porte les images de ${found.patients.length} patients : choisissez.` : `${many(studies.length, "examen", "examens")}, ${many(total(studies, images), "image", "images")}.`;
  const button = make("button", { type: "button", class: "bouton principal" });
  const stop = make("button", { type: "button", class: "bouton discret" }, "Annuler");
  const chosen = () => [...place.querySelectorAll("input[type=checkbox]")].filter((box) => box.series && box.checked).flatMap((box) => box.series.entries);
  const settle = () => {
    const entries = chosen();
    let ready = entries.length > 0;
    for (const part of parts) {
      const sure = part.querySelector(".support-certain");
      if (!sure) continue;
      sure.hidden = ![...part.querySelectorAll("input")].some((box) => box.series && box.checked);
      if (!sure.hidden && !sure.querySelector("input").checked) ready = false;
    }
    button.disabled = !ready;
    button.textContent = entries.length ? `Ajouter ${many(entries.length, "image", "images")} (${size(total(entries, (one) => one.size))})` : "Ajouter";
  };
  place.replaceChildren(
    make("p", { role: "status", tabindex: "-1", class: "support-dit" }, said),
    found.missing ? make("p", { class: "avis attente" }, `${many(found.missing, "fichier annoncé par le support manque", "fichiers annoncés par le support manquent")}.`) : "",
    ...parts, found.left.length ? leftOut(found.left) : "", make("div", { class: "barre-actions espace" }, button, stop));
  place.onchange = settle;
  button.addEventListener("click", () => add(chosen()));
  stop.addEventListener("click", cancel);
  settle();
  place.hidden = false;
  place.querySelector(".support-dit").focus();
}

// Adding exams: what each tab of the page does.
import { creationTab } from "./import/creation.js";
import { directoryTab } from "./import/page.js";

const head = document.querySelector("[data-televersement]");
const zone = document.querySelector("[data-dossier-dicom]");
const creation = document.querySelector("[data-creation]");
if (zone) directoryTab(zone, head.dataset.televersement, head.dataset.retour);
if (creation) creationTab(creation, head.dataset.retour);

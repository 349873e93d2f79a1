// What a CD, a folder or an archive holds: its DICOMDIR when it tells the truth, else the files themselves.
import { entries as unzip } from "../zip.js";
import { identify } from "./dicom.js";
import { MOST_BYTES, directory } from "./dicomdir.js";

const READERS = 6, INFLATED = 262144;

const view = async (blob) => new DataView(await blob.arrayBuffer());

/** Every file chosen, those within archives too: {name, size, fault, blob(), head(most)}. */
async function listed(files) {
  const found = [];
  for (const file of files) {
    const name = file.webkitRelativePath || file.name;
    if (/\.zip$/i.test(name)) {
      try {
        for (const one of await unzip(file)) found.push({ ...one, name: `${name}/${one.name}` });
      } catch {
        found.push({ name, size: file.size, fault: "archive illisible" });
      }
    } else found.push({ name, size: file.size, fault: "", blob: async () => file, head: async (most) => file.slice(0, most) });
  }
  return found;
}

/** What a file says of itself; null for one that is no DICOM. */
export async function headOf(entry) {
  const inflate = async (at) => {
    const stream = (await entry.blob()).slice(at).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const reader = stream.getReader(), made = new Uint8Array(INFLATED);
    let got = 0;
    while (got < INFLATED) {
      const { done, value } = await reader.read().catch(() => ({ done: true })); // a padding byte ends it too
      if (done) break;
      made.set(value.subarray(0, INFLATED - got), got);
      got += Math.min(value.length, INFLATED - got);
    }
    reader.cancel().catch(() => {});
    return new DataView(made.buffer, 0, got);
  };
  try {
    const head = await identify(async (most) => view(await entry.head(most)), inflate);
    return head?.study && head.series && head.instance ? head : null;
  } catch (error) {
    if (error?.name === "NotReadableError" || error?.name === "NotFoundError") entry.fault = "illisible sur le support";
    return null;
  }
}

const folded = (path) => path.toUpperCase().replace(/;\d+$/, "").replace(/\.$/, "");

/** The files that a DICOMDIR names, matched to those chosen; null when it is none, or is found to lie. */
async function byDirectory(entry, all) {
  if (entry.size > MOST_BYTES) return null;
  let named;
  try {
    named = directory(await view(await entry.blob())).files;
  } catch {
    return null;
  }
  const root = entry.name.slice(0, entry.name.length - "DICOMDIR".length);
  const here = new Map(all.map((one) => [folded(one.name), one]));
  const found = new Map(), firsts = new Map();
  let missing = 0;
  for (const one of named) {
    const file = here.get(folded(root + one.path));
    if (!file || file.fault) { missing += 1; continue; }
    if (found.has(file)) return null; // two records of one file
    found.set(file, one.head);
    firsts.set(`${one.head.study} ${one.head.series}`, [file, one.head]);
  }
  for (const [file, head] of firsts.values()) {
    const own = await headOf(file);
    if (!own || !sameExam(own, head) || own.patient.ids[0]?.value !== head.patient.ids[0]?.value) return null;
    head.patient = own.patient; // the directory knows no issuer
    head.time = own.time;
    for (const [other, its] of found) if (its.study === own.study && other !== file) its.patient = own.patient;
  }
  return { found, missing };
}

export const sameExam = (own, told) => own.study === told.study && own.series === told.series && (!told.instance || own.instance === told.instance);

/** Catalogue of what was chosen: {patients, left: [{name, why}], missing, read}. `progress(done, total)`; stops with `signal`. */
export async function catalogue(files, progress, signal) {
  const all = await listed(files);
  const left = [], heads = new Map();
  let missing = 0;
  for (const entry of all.filter((one) => !one.fault && /(^|\/)DICOMDIR(;1)?$/i.test(one.name))) {
    signal.throwIfAborted();
    entry.directory = true;
    const told = await byDirectory(entry, all);
    if (!told) { left.push({ name: entry.name, why: "répertoire illisible ou faux : les fichiers ont été lus un à un" }); continue; }
    missing += told.missing;
    for (const [file, head] of told.found) heads.set(file, head);
  }
  const unread = all.filter((one) => !one.fault && !one.directory && !heads.has(one));
  let done = 0;
  const lanes = Array.from({ length: READERS }, async () => {
    while (unread.length) {
      signal.throwIfAborted();
      const entry = unread.shift();
      const head = await headOf(entry);
      if (head) heads.set(entry, head);
      else if (!entry.fault) entry.fault = "n'est pas une image DICOM";
      done += 1;
      if (done % 25 === 0) progress(heads.size, all.length);
    }
  });
  await Promise.all(lanes);
  for (const one of all) if (one.fault) left.push({ name: one.name, why: one.fault });
  return { patients: grouped(heads), left, missing };
}

/** Patients → studies → series → entries, each with counts and bytes. */
function grouped(heads) {
  const patients = new Map();
  for (const [entry, head] of heads) {
    const who = head.patient;
    const patient = at(patients, JSON.stringify([who.name, who.birth, who.ids]), () => ({ ...who, studies: new Map() }));
    const study = at(patient.studies, head.study, () => ({ uid: head.study, date: head.date, time: head.time, title: head.title, accession: head.accession, series: new Map() }));
    const series = at(study.series, head.series, () => ({ uid: head.series, number: Number.parseInt(head.number, 10), title: head.seriesTitle, modality: head.modality, entries: [], bytes: 0 }));
    series.entries.push({ ...entry, told: { study: head.study, series: head.series, instance: head.instance } });
    series.bytes += entry.size;
  }
  const order = (a, b) => (a.number || 1e9) - (b.number || 1e9) || a.uid.localeCompare(b.uid);
  return [...patients.values()].map((patient) => ({
    ...patient,
    studies: [...patient.studies.values()].sort((a, b) => b.date.localeCompare(a.date)).map((study) => ({ ...study, series: [...study.series.values()].sort(order) })),
  }));
}

function at(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

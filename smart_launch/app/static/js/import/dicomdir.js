// The directory of a medium: patients, studies, series and the files of each. What contradicts itself is none. PS3.3 §F, PS3.10 §8
import { Broken, EXPLICIT, Short, ascii, elements, isDicom, items, text } from "./dicom.js";

const TAGS = { next: 0x00041400, inUse: 0x00041410, lower: 0x00041420, type: 0x00041430, file: 0x00041500, instance: 0x00041511, charset: 0x00080005, date: 0x00080020, accession: 0x00080050, modality: 0x00080060, title: 0x00081030, seriesTitle: 0x0008103e, name: 0x00100010, id: 0x00100020, birth: 0x00100030, sex: 0x00100040, study: 0x0020000d, series: 0x0020000e, number: 0x00200011 };
const WANTED = new Set(Object.values(TAGS));
const MOST = 200000;
export const MOST_BYTES = 64e6;
const BELOW = { PATIENT: "STUDY", STUDY: "SERIES" };

/** {files: [{path, instance, patient, study, series}], name} of a DICOMDIR's bytes. Raises Broken when it is none, is cut or goes round in circles. */
export function directory(view) {
  try {
    return read(view);
  } catch (error) {
    if (error instanceof Short || error instanceof RangeError) throw new Broken("cut");
    throw error;
  }
}

function read(view) {
  if (!isDicom(view)) throw new Broken("no DICOMDIR");
  const end = 144 + view.getUint32(140, true);
  const meta = elements(view, 144, EXPLICIT, new Set([0x00020002]), 0x0002ffff, end);
  if (ascii(view, meta.get(0x00020002)) !== "1.2.840.10008.1.3.10") throw new Broken("no DICOMDIR");
  const top = new Set([0x00041200, 0x00041220]);
  const longer = new DataView(padded(view));
  const found = elements(longer, end, EXPLICIT, top, 0x00041220);
  if (!found.has(0x00041220)) throw new Broken("no records");
  const records = new Map();
  for (const item of items(longer, found.get(0x00041220), EXPLICIT, MOST)) records.set(item.at, record(longer, item));
  const first = found.get(0x00041200);
  const start = first ? longer.getUint32(first.begin, true) : 0;
  const files = [];
  const seen = new Set();
  walk(records, start, "PATIENT", {}, files, seen);
  return { files };
}

/** A record of a high tag behind the end, so that the walk knows that nothing is missing. */
function padded(view) {
  const made = new Uint8Array(view.byteLength + 12);
  made.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  made.set([0xff, 0x7f, 0, 0, 0x55, 0x4c, 0, 0], view.byteLength);
  return made.buffer;
}

function record(view, item) {
  const found = elements(view, item.begin, EXPLICIT, WANTED, 0xfffcffff, item.end);
  const charset = ascii(view, found.get(TAGS.charset));
  const number = (tag) => (found.has(tag) && found.get(tag).end - found.get(tag).begin === 4 ? view.getUint32(found.get(tag).begin, true) : 0);
  const inUse = found.get(TAGS.inUse);
  return {
    next: number(TAGS.next), lower: number(TAGS.lower), type: ascii(view, found.get(TAGS.type)),
    used: !inUse || view.getUint16(inUse.begin, true) !== 0,
    plain: (name) => ascii(view, found.get(TAGS[name])), word: (name) => text(view, found.get(TAGS[name]), charset),
  };
}

/** The records from `at` on and below them, one level after another; `path` is what stands above. */
function walk(records, at, type, path, files, seen) {
  while (at) {
    const one = records.get(at);
    if (!one || seen.has(at)) throw new Broken("an offset that leads nowhere, or back");
    seen.add(at);
    if (one.used) {
      if (type === "FILE") leaf(one, path, files);
      else if (one.type === type) walk(records, one.lower, BELOW[type] ?? "FILE", { ...path, [type]: one }, files, seen);
    }
    at = one.next;
  }
}

function leaf(one, path, files) {
  const name = one.plain("file");
  if (!name) return; // a record without a file: nothing to send
  const { PATIENT: patient, STUDY: study, SERIES: series } = path;
  files.push({
    path: name.split("\\").map((part) => part.trim()).join("/"),
    head: {
      study: study.plain("study"), series: series.plain("series"), instance: one.plain("instance"), date: study.plain("date"), time: "", accession: study.word("accession"), modality: series.plain("modality"), title: study.word("title"),
      seriesTitle: series.word("seriesTitle"), number: series.plain("number"),
      patient: { name: patient.word("name"), birth: patient.plain("birth"), sex: patient.plain("sex"), ids: [{ value: patient.word("id"), issuer: "" }].filter((id) => id.value) },
    },
  });
}
